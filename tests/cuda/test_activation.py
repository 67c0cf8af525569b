"""The kernels of the activations against their twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.layers import Layer, LeakyReLU, ReLU, Sigmoid, Tanh
from nplenet.layers.activation import (
    leaky_relu,
    leaky_relu_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh_backward,
)

Count = Callable[[Callable[[], object]], tuple[int, int]]
SHAPES = [(1,), (7, 5), (2, 3, 11, 13), (257,)]
TWINS: list[tuple[Callable[..., Any], int, tuple[float, ...]]] = [  # arrays taken, numbers taken
    (relu_backward, 2, ()),
    (leaky_relu, 1, (0.01,)),
    (leaky_relu, 1, (-2.0,)),
    (leaky_relu_backward, 2, (0.01,)),
    (sigmoid, 1, ()),
    (sigmoid_backward, 2, ()),
    (tanh_backward, 2, ()),
]
every_twin = pytest.mark.parametrize(("twin", "arrays", "numbers"), TWINS)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@every_dtype
@every_twin
@pytest.mark.parametrize("shape", SHAPES)
def test_a_kernel_equals_its_twin(
    twin: Callable[..., Any],
    arrays: int,
    numbers: tuple[float, ...],
    shape: tuple[int, ...],
    dtype: type,
    assert_equals_twin: Callable[..., None],
) -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape).astype(dtype) for _ in range(arrays)]
    assert_equals_twin(twin, *values, *numbers)


@every_dtype
@every_twin
def test_kinks_infinities_and_nan_give_what_the_twin_gives(
    twin: Callable[..., Any],
    arrays: int,
    numbers: tuple[float, ...],
    dtype: type,
    assert_equals_twin: Callable[..., None],
) -> None:
    special = np.array([0.0, -0.0, 1e30, -1e30, np.inf, -np.inf, np.nan, 1.0], dtype)
    values = np.meshgrid(special, special)[:arrays]
    with np.errstate(invalid="ignore", over="ignore"):
        assert_equals_twin(twin, *values, *numbers)


@pytest.mark.parametrize("kind", [ReLU, LeakyReLU, Sigmoid, Tanh])
def test_an_activation_is_one_launch_each_way(
    kind: type[Layer], cuda: Backend, launches_of: Count
) -> None:
    layer = kind().to(cuda)
    x = cuda.asarray(np.linspace(-1, 1, 300, dtype=np.float32))
    assert launches_of(lambda: layer.backward(layer(x))) == (2, 0)


def test_an_upstream_gradient_of_another_dtype_is_refused(cuda: Backend) -> None:
    y, dy = cuda.asarray(np.ones(3, np.float32)), cuda.asarray(np.ones(3))
    with pytest.raises(TypeError, match="kernel relu_backward: y is float32, expected float64"):
        cuda.primitive(relu_backward, dy, y)
