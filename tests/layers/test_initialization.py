"""Initial weights: the variance and the bounds that each rule promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nplenet.layers import Conv2d, Dense

FAN_IN, FAN_OUT = 8 * 5 * 5, 64 * 5 * 5
BOUNDS = {"xavier": math.sqrt(6 / (FAN_IN + FAN_OUT)), "pytorch": 1 / math.sqrt(FAN_IN)}
VARIANCES = {"he": 2 / FAN_IN, "xavier": 2 / (FAN_IN + FAN_OUT), "pytorch": 1 / (3 * FAN_IN)}


def conv(init: str, seed: int = 0) -> Conv2d:
    return Conv2d(8, 64, 5, rng=np.random.default_rng(seed), init=init)


@pytest.mark.parametrize("init", VARIANCES)
def test_weights_have_mean_0_and_the_variance_of_the_rule(init: str) -> None:
    weight = conv(init).weight.data.astype(np.float64)  # 12,800 values
    assert weight.mean() == pytest.approx(0, abs=5 * math.sqrt(VARIANCES[init] / weight.size))
    assert weight.var() == pytest.approx(VARIANCES[init], rel=0.07)  # five deviations


@pytest.mark.parametrize("init", BOUNDS)
def test_uniform_weights_fill_their_bounds(init: str) -> None:
    largest = np.abs(conv(init).weight.data).max()
    assert 0.99 * BOUNDS[init] < largest <= BOUNDS[init] * (1 + 1e-6)


def test_he_weights_are_normal_not_uniform() -> None:
    weight = conv("he").weight.data.astype(np.float64)
    assert np.mean(weight**4) / np.mean(weight**2) ** 2 == pytest.approx(3, abs=0.25)


@pytest.mark.parametrize("init", ["he", "xavier"])
def test_biases_begin_at_zero(init: str) -> None:
    layer = conv(init)
    assert layer.bias is not None
    assert not layer.bias.data.any()


def test_pytorch_biases_are_uniform_within_the_bound_of_the_weights() -> None:
    layer = Dense(25, 4000, rng=np.random.default_rng(0), init="pytorch")
    assert layer.bias is not None
    assert 0.99 / 5 < np.abs(layer.bias.data).max() <= 1 / 5 * (1 + 1e-6)
    assert layer.bias.data.var() == pytest.approx(1 / 75, rel=0.07)


def test_he_keeps_the_mean_square_through_relu() -> None:
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((2000, 500)), 0)
    y = Dense(500, 500, rng=rng, dtype=np.float64)(x)
    assert np.mean(np.maximum(y, 0) ** 2) == pytest.approx(np.mean(x**2), rel=0.05)


@pytest.mark.parametrize("init", VARIANCES)
def test_the_same_generator_gives_the_same_weights(init: str) -> None:
    a, b, c = conv(init, seed=1), conv(init, seed=1), conv(init, seed=2)
    assert np.array_equal(a.weight.data, b.weight.data)
    assert not np.array_equal(a.weight.data, c.weight.data)


def test_without_a_generator_weights_differ() -> None:
    assert not np.array_equal(Dense(9, 9).weight.data, Dense(9, 9).weight.data)


def test_float64_weights_are_those_of_float32_unrounded() -> None:
    single = Dense(9, 9, rng=np.random.default_rng(0)).weight.data
    double = Dense(9, 9, rng=np.random.default_rng(0), dtype=np.float64).weight.data
    np.testing.assert_array_equal(double.astype(np.float32), single, strict=True)
