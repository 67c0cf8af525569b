"""Batch norm: statistics, running statistics, and inputs that are hard on rounding."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet.backend import Backend
from nplenet.cases import Case
from nplenet.layers import BatchNorm1d, BatchNorm2d

SHAPES = [(BatchNorm1d, (6, 3)), (BatchNorm1d, (4, 3, 5)), (BatchNorm2d, (4, 3, 5, 2))]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def other_axes(x: np.ndarray) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_output_is_normalised_with_the_biased_variance(
    kind: type[BatchNorm1d], shape: tuple[int, ...], backend: Backend
) -> None:
    x = 3 * normal(*shape) + 2
    axes = other_axes(x)
    expected = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    layer = kind(3, dtype=np.float64).to(backend)
    y = layer(backend.asarray(x))
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=0, atol=1e-13, strict=True)


@pytest.mark.parametrize("weight", [2.0, 0.0, -1.5])
def test_weight_scales_and_bias_shifts(weight: float) -> None:
    x = normal(5, 3)
    plain, layer = BatchNorm1d(3, dtype=np.float64), BatchNorm1d(3, dtype=np.float64)
    layer.weight.data[:], layer.bias.data[:] = weight, 7.0
    np.testing.assert_allclose(layer(x), weight * plain(x) + 7.0, rtol=0, atol=1e-14, strict=True)


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_running_statistics_take_the_unbiased_variance(
    kind: type[BatchNorm1d], shape: tuple[int, ...], backend: Backend
) -> None:
    first, second = normal(*shape), 2 * normal(*shape, seed=1) + 1
    layer = kind(3, momentum=0.3, dtype=np.float64).to(backend)
    layer(backend.asarray(first))
    layer(backend.asarray(second))
    mean, var = np.zeros(3), np.ones(3)
    for x in (first, second):
        mean = 0.7 * mean + 0.3 * x.mean(other_axes(x))
        var = 0.7 * var + 0.3 * x.var(other_axes(x), ddof=1)
    state = layer.state_dict()
    np.testing.assert_allclose(state["running_mean"], mean, rtol=1e-13, strict=True)
    np.testing.assert_allclose(state["running_var"], var, rtol=1e-13, strict=True)
    assert state["num_batches_tracked"] == 2
    assert state["num_batches_tracked"].dtype == np.int64


def test_without_momentum_all_batches_count_alike() -> None:
    batches = [normal(5, 2, seed=seed) + seed for seed in range(4)]
    layer = BatchNorm1d(2, momentum=None, dtype=np.float64)
    for x in batches:
        layer(x)
    expected = np.mean([x.mean(axis=0) for x in batches], axis=0)
    np.testing.assert_allclose(layer.running_mean, expected, rtol=1e-13, strict=True)
    expected = np.mean([x.var(axis=0, ddof=1) for x in batches], axis=0)
    np.testing.assert_allclose(layer.running_var, expected, rtol=1e-13, strict=True)


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_eval_uses_the_running_statistics_and_leaves_them(
    kind: type[BatchNorm1d], shape: tuple[int, ...], backend: Backend
) -> None:
    layer = kind(3, dtype=np.float64)
    layer.running_mean[:], layer.running_var[:] = [1.0, 2.0, 3.0], [0.5, 1.0, 4.0]
    before = layer.state_dict()
    x = normal(*shape)
    view = (3,) + (1,) * (x.ndim - 2)
    expected = (x - layer.running_mean.reshape(view)) / np.sqrt(
        layer.running_var.reshape(view) + 1e-5
    )
    y = layer.eval().to(backend)(backend.asarray(x))
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=0, atol=1e-13, strict=True)
    assert all(np.array_equal(a, before[k]) for k, a in layer.state_dict().items())


def test_the_mode_of_the_forward_decides_over_backward() -> None:
    x, dy = normal(6, 3), normal(6, 3, seed=1)
    layer, other = BatchNorm1d(3, dtype=np.float64), BatchNorm1d(3, dtype=np.float64)
    layer(x)
    other(x)
    np.testing.assert_array_equal(other.eval().backward(dy), layer.backward(dy), strict=True)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1)])
def test_one_value_per_channel_is_refused_in_training(shape: tuple[int, ...]) -> None:
    layer = BatchNorm1d(3)
    with pytest.raises(ValueError, match=r"BatchNorm1d\(3.* more than one value per channel"):
        layer(np.ones(shape, np.float32))
    assert layer.num_batches_tracked == 0
    assert layer.eval()(np.ones(shape, np.float32)).shape == shape


@pytest.mark.parametrize("mean", [1e3, 1e4])
def test_a_mean_far_beyond_the_deviation_keeps_float32_accuracy(
    mean: float, backend: Backend
) -> None:
    x = (normal(16, 3, 12, 12) + mean).astype(np.float32)
    exact = x.astype(np.float64)
    expected = exact - exact.mean((0, 2, 3), keepdims=True)
    expected /= np.sqrt(exact.var((0, 2, 3), keepdims=True) + 1e-5)
    layer = BatchNorm2d(3).to(backend)
    y = backend.to_numpy(layer(backend.asarray(x)))
    # The mean itself can be subtracted only to its float32 rounding, mean * 6e-8.
    np.testing.assert_allclose(
        y, expected.astype(np.float32), rtol=0, atol=1e-5 + mean * 1.2e-7, strict=True
    )


@pytest.mark.parametrize("value", [0.0, 3.0, -1000.0])
def test_a_constant_channel_gives_the_bias_and_finite_gradients(
    value: float, backend: Backend
) -> None:
    layer = BatchNorm2d(2)
    layer.bias.data[:] = [0.5, -2.0]
    layer.to(backend)
    x = normal(4, 2, 3, 3).astype(np.float32)
    x[:, 1] = value
    y = backend.to_numpy(layer(backend.asarray(x)))
    assert (y[:, 1] == -2.0).all()
    dx = backend.to_numpy(layer.backward(backend.asarray(np.ones_like(x))))
    assert np.isfinite(dx).all()


def test_the_gradient_of_a_constant_upstream_vanishes() -> None:
    layer = BatchNorm2d(2, dtype=np.float64)
    layer(normal(4, 2, 3, 3))
    np.testing.assert_allclose(
        layer.backward(np.ones((4, 2, 3, 3))), np.zeros((4, 2, 3, 3)), atol=1e-14, strict=True
    )


@pytest.mark.parametrize(("kind", "shape"), [(BatchNorm1d, (4, 3, 2, 2)), (BatchNorm2d, (4, 3))])
def test_an_input_of_another_rank_is_refused(
    kind: type[BatchNorm1d], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}\(3.*takes an input of .* axes, got"):
        kind(3)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("momentum", [float("nan"), -0.1, 2.0, float("inf")])
def test_a_momentum_that_is_not_a_fraction_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match=r"BatchNorm1d: momentum must be a number in \[0, 1\]"):
        BatchNorm1d(2, momentum=momentum)


@pytest.mark.parametrize("case", cases_of("batchnorm1d", "batchnorm2d"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)
