"""The batch norm kernels against their twins, and against exact statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.layers import BatchNorm1d, BatchNorm2d
from nplenet.layers.batchnorm import (
    batch_norm_backward,
    batch_norm_center,
    batch_norm_gradient_sums,
    batch_norm_inference,
    batch_norm_sums,
    batch_norm_training,
)

Check = Callable[..., None]
Count = Callable[[Callable[[], object]], tuple[int, int]]

# (N, C, L): the least there may be, features, primes, no image on this rank, parts of more numbers
# than threads; and 64, 8 and 1 parts per channel.
SHAPES = [(2, 1, 1), (17, 5, 1), (3, 2, 7), (0, 3, 5), (17, 3, 1031), (3, 65, 120), (3, 513, 2)]
every_shape = pytest.mark.parametrize("shape", SHAPES)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def normal(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def channels(c: int, dtype: type) -> tuple[np.ndarray, ...]:
    """Return weight, bias, running_mean, running_var."""
    weight, bias, mean, var = normal((4, c), dtype, seed=1)
    return weight, bias, mean, np.abs(var) + dtype(0.1)


def in_parts(*shape: int, seed: int) -> np.ndarray:
    """Return random positive sums in five parts; the kernels make 1 to 64."""
    return np.random.default_rng(seed).uniform(0.1, 0.4, (5, *shape))


@every_dtype
@every_shape
def test_sums_equal_their_twin_and_the_batch_is_counted(
    shape: tuple[int, ...], dtype: type, assert_equals_twin: Check
) -> None:
    assert_equals_twin(batch_norm_sums, normal(shape, dtype), np.array(3), parts=0)


@every_dtype
@every_shape
def test_centering_equals_its_twin(
    shape: tuple[int, ...], dtype: type, assert_equals_twin: Check
) -> None:
    sums = in_parts(shape[1], seed=2)
    assert_equals_twin(batch_norm_center, normal(shape, dtype), sums, 7, parts=1)


@every_dtype
@every_shape
@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_training_equals_its_twin(
    shape: tuple[int, ...], momentum: float | None, dtype: type, assert_equals_twin: Check
) -> None:
    statistics = (in_parts(shape[1], seed=2), in_parts(shape[1], seed=3), 7)
    state = (*channels(shape[1], dtype), np.array(3))
    assert_equals_twin(
        batch_norm_training, normal(shape, dtype), *statistics, *state, momentum, 1e-5
    )


@every_dtype
@every_shape
def test_inference_equals_its_twin(
    shape: tuple[int, ...], dtype: type, assert_equals_twin: Check
) -> None:
    arrays = (normal(shape, dtype), *channels(shape[1], dtype))
    assert_equals_twin(batch_norm_inference, *arrays, 1e-5)


@every_dtype
@every_shape
def test_gradient_sums_equal_their_twin(
    shape: tuple[int, ...], dtype: type, assert_equals_twin: Check
) -> None:
    dy, centered = normal(shape, dtype), normal(shape, dtype, seed=2)
    inverse_std = np.linspace(0.5, 2.0, shape[1])
    assert_equals_twin(batch_norm_gradient_sums, dy, centered, inverse_std, parts=0)


@every_dtype
@every_shape
@pytest.mark.parametrize("batch_statistics", [True, False])
def test_backward_equals_its_twin(
    shape: tuple[int, ...], batch_statistics: bool, dtype: type, assert_equals_twin: Check
) -> None:
    dy, centered = normal(shape, dtype), normal(shape, dtype, seed=2)
    weight, dweight, dbias, _ = channels(shape[1], dtype)
    inverse_std = np.linspace(0.5, 2.0, shape[1])
    sums = in_parts(2, shape[1], seed=3)
    total = in_parts(2, shape[1], seed=4) if batch_statistics else None
    arrays = (dy, centered, inverse_std, weight, sums, total, 7, dweight, dbias)
    assert_equals_twin(batch_norm_backward, *arrays)


@pytest.mark.parametrize("mean", [1e3, 1e4, -1e6])
def test_statistics_stay_exact_where_the_mean_is_far_beyond_the_deviation(
    mean: float, cuda: Backend
) -> None:
    x = (normal((64, 3, 9, 9), np.float64) + mean).astype(np.float32)
    layer = BatchNorm2d(3, momentum=1.0).to(cuda)
    layer(cuda.asarray(x))
    exact = x.astype(np.float64)
    state = layer.state_dict()
    # One rounding to float32 each: the sums are float64.
    np.testing.assert_allclose(state["running_mean"], exact.mean((0, 2, 3)), rtol=1.2e-7)
    np.testing.assert_allclose(state["running_var"], exact.var((0, 2, 3), ddof=1), rtol=1.2e-7)


@pytest.mark.parametrize("value", [0.1, -1000.7])
def test_a_constant_channel_has_no_variance_at_all(value: float, cuda: Backend) -> None:
    layer = BatchNorm2d(1, momentum=1.0).to(cuda)
    layer(cuda.asarray(np.full((7, 1, 31, 31), value, np.float32)))
    assert layer.state_dict()["running_var"].tolist() == [0.0]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_training_is_three_launches_forward_two_backward_and_waits_for_nothing(
    momentum: float | None, cuda: Backend, launches_of: Count
) -> None:
    layer = BatchNorm2d(3, momentum=momentum).to(cuda)
    x = cuda.asarray(normal((4, 3, 8, 8), np.float32))
    assert launches_of(lambda: layer.backward(layer(x))) == (5, 0)


def test_inference_is_one_launch(cuda: Backend, launches_of: Count) -> None:
    layer = BatchNorm1d(3).eval().to(cuda)
    x = cuda.asarray(normal((4, 3), np.float32))
    assert launches_of(lambda: layer(x)) == (1, 0)


@pytest.mark.filterwarnings("ignore:a float64 input")
def test_parameters_of_another_dtype_are_refused(cuda: Backend) -> None:
    layer = BatchNorm1d(3).to(cuda)
    with pytest.raises(
        TypeError, match=r"kernel batch_norm_.*: weight is float32, expected float64"
    ):
        layer(cuda.asarray(np.ones((4, 3))))
