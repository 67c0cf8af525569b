"""The pooling kernels against their twins, over windows of all kinds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.layers import AvgPool2d, MaxPool2d
from nplenet.layers.pooling import (
    average_pool,
    average_pool_backward,
    max_pool,
    max_pool_backward,
)
from nplenet.window import Window

Check = Callable[..., None]
Count = Callable[[Callable[[], object]], tuple[int, int]]

GEOMETRIES = [
    ((1, 1, 1, 1), Window((1, 1), (1, 1))),
    ((2, 3, 28, 28), Window((2, 2), (2, 2))),
    ((3, 2, 7, 5), Window((3, 2), (1, 1))),
    ((1, 2, 11, 13), Window((3, 3), (2, 2), padding=(1, 1))),
    ((2, 1, 7, 6), Window((2, 2), (3, 3))),
    ((2, 2, 8, 7), Window((3, 4), (2, 3), padding=(1, 2), ceil_mode=True)),
    ((1, 5, 3, 3), Window((2, 2), (2, 2), ceil_mode=True)),
    ((1, 1, 2, 2), Window((3, 3), (2, 2), ceil_mode=True)),
]
DILATED = [
    ((2, 2, 9, 8), Window((2, 3), (1, 2), dilation=(3, 2))),
    ((1, 3, 11, 7), Window((3, 2), (2, 1), (1, 1), dilation=(2, 3), ceil_mode=True)),
]
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def normal(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def output_shape(shape: tuple[int, ...], window: Window) -> tuple[int, ...]:
    return (*shape[:2], *window.output_size(*shape[2:]))


@every_dtype
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(("shape", "window"), GEOMETRIES)
def test_average_pooling_equals_its_twin(
    shape: tuple[int, ...], window: Window, counted: bool, dtype: type, assert_equals_twin: Check
) -> None:
    assert_equals_twin(average_pool, normal(shape, dtype), window, counted)
    dy = normal(output_shape(shape, window), dtype)
    assert_equals_twin(average_pool_backward, dy, shape, window, counted)


@every_dtype
@pytest.mark.parametrize(("shape", "window"), GEOMETRIES + DILATED)
def test_maximum_pooling_equals_its_twin(
    shape: tuple[int, ...], window: Window, dtype: type, assert_equals_twin: Check
) -> None:
    x = normal(shape, dtype)
    assert_equals_twin(max_pool, x, window)
    _, winner = max_pool(np, x, window)
    dy = normal(winner.shape, dtype)
    assert_equals_twin(max_pool_backward, dy, winner, shape, window)


@every_dtype
@pytest.mark.parametrize("values", [[0.0], [-np.inf, 1.0], [np.nan, 2.0, 3.0], [-0.0, np.inf]])
def test_ties_infinities_and_nan_win_as_in_the_twin(
    values: list[float], dtype: type, assert_equals_twin: Check
) -> None:
    x = np.random.default_rng(0).choice(values, (2, 2, 9, 9)).astype(dtype)
    assert_equals_twin(max_pool, x, Window((3, 3), (2, 2), padding=(1, 1)))


@pytest.mark.parametrize("kind", [AvgPool2d, MaxPool2d])
def test_a_pooling_is_one_launch_each_way(
    kind: type[AvgPool2d] | type[MaxPool2d], cuda: Backend, launches_of: Count
) -> None:
    layer = kind(3, 2, padding=1, ceil_mode=True).to(cuda)
    x = cuda.asarray(normal((2, 2, 8, 8), np.float32))
    assert launches_of(lambda: layer.backward(layer(x))) == (2, 0)


@pytest.mark.parametrize("kind", [AvgPool2d, MaxPool2d])
def test_an_input_in_another_memory_order_gives_the_same(
    kind: type[AvgPool2d] | type[MaxPool2d], cuda: Backend
) -> None:
    x = cuda.asarray(normal((3, 4, 6, 6), np.float32))
    strided = cuda.xp.asarray(x, order="F")
    assert bool((kind(2).to(cuda)(x) == kind(2).to(cuda)(strided)).all())


@pytest.mark.parametrize("kind", [AvgPool2d, MaxPool2d])
def test_a_batch_of_no_images_gives_no_images(
    kind: type[AvgPool2d] | type[MaxPool2d], cuda: Backend
) -> None:
    layer = kind(2).to(cuda)
    y = layer(cuda.asarray(np.ones((0, 3, 4, 4), np.float32)))
    assert y.shape == (0, 3, 2, 2)
    assert layer.backward(y).shape == (0, 3, 4, 4)


def test_winners_that_are_no_int32_are_refused(cuda: Backend) -> None:
    dy, winner = cuda.asarray(np.ones((1, 1, 2, 2))), cuda.asarray(np.ones((1, 1, 2, 2), np.int64))
    with pytest.raises(
        TypeError, match="kernel max_pool_backward: winner is int64, expected int32"
    ):
        cuda.primitive(max_pool_backward, dy, winner, (1, 1, 4, 4), Window((2, 2), (2, 2)))
