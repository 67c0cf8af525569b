"""Products that add up and sums of channels: what the dense layer and biases need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.layers import Dense
from nplenet.layers.products import add_product, add_sums

Check = Callable[..., None]
Count = Callable[[Callable[[], object]], tuple[int, int]]
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def normal(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@every_dtype
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (7, 1), (64, 10), (300, 33), (3, 31), (1, 2, 1), (5, 3, 7), (2, 2, 1031), (0, 4)],
)
def test_sums_of_channels_equal_their_twin(
    shape: tuple[int, ...], dtype: type, assert_equals_twin: Check
) -> None:
    assert_equals_twin(add_sums, normal(shape[1:2], dtype, 1), normal(shape, dtype))


@every_dtype
@pytest.mark.parametrize(("m", "k", "p"), [(1, 1, 1), (10, 64, 84), (3, 1, 5), (1, 7, 1)])
def test_a_product_is_added_as_by_its_twin(
    m: int, k: int, p: int, dtype: type, assert_equals_twin: Check
) -> None:
    total, a, b = normal((m, p), dtype), normal((m, k), dtype, 1), normal((k, p), dtype, 2)
    assert_equals_twin(add_product, total, a, b)


def test_a_sum_of_large_numbers_keeps_the_small_ones(cuda: Backend) -> None:
    a = np.full((4097, 2), 0.1, np.float32)
    a[0] = 1e8
    total = cuda.asarray(np.full(2, -1e8, np.float32))
    cuda.primitive(add_sums, total, cuda.asarray(a))
    expected = np.float32(np.float64(np.float32(0.1)) * 4096)
    assert cuda.to_numpy(total).tolist() == [expected] * 2


def test_a_dense_layer_takes_five_launches_and_copies_nothing(
    cuda: Backend, launches_of: Count
) -> None:
    layer = Dense(40, 12).to(cuda)
    x = cuda.asarray(normal((8, 40), np.float32))
    assert launches_of(lambda: layer.backward(layer(x))) == (2, 3)  # bias, dbias; y, dweight, dx


def test_a_gradient_of_another_shape_in_memory_is_refused(cuda: Backend) -> None:
    layer = Dense(3, 2).to(cuda)
    layer.weight.grad = cuda.xp.zeros((3, 2), np.float32).T
    layer(cuda.asarray(np.ones((4, 3), np.float32)))
    with pytest.raises(TypeError, match=r"C-contiguous arrays only, got float32 of shape \(2, 3\)"):
        layer.backward(cuda.asarray(np.ones((4, 2), np.float32)))


def test_a_gradient_on_the_host_is_refused(cuda: Backend) -> None:
    a = cuda.asarray(np.ones((4, 3)))
    with pytest.raises(TypeError, match="kernel add_sums: total must be a CuPy array, got ndarray"):
        cuda.primitive(add_sums, np.zeros(3), a)
