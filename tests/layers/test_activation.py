"""Activations at the places where they are hard: zero, far out, and infinity."""

from __future__ import annotations

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.layers import Layer, LeakyReLU, ReLU, Sigmoid, Tanh


def run(layer: Layer, backend: Backend, x: list[float], dtype: type = np.float64) -> np.ndarray:
    """Return y and dx for dy = 1, one above the other."""
    layer.to(backend)
    values = backend.asarray(x, dtype)
    y = layer(values)
    dx = layer.backward(backend.xp.ones_like(values))
    return np.stack([backend.to_numpy(y), backend.to_numpy(dx)])


def test_relu_has_output_and_slope_0_at_0(backend: Backend) -> None:
    assert run(ReLU(), backend, [-2.0, 0.0, -0.0, 3.0]).tolist() == [
        [0.0, 0.0, 0.0, 3.0],
        [0.0, 0.0, 0.0, 1.0],
    ]


def test_relu_passes_nan_on(backend: Backend) -> None:
    assert np.isnan(run(ReLU(), backend, [np.nan])[0, 0])


def test_leaky_relu_keeps_a_part_of_the_negative(backend: Backend) -> None:
    assert run(LeakyReLU(0.25), backend, [-2.0, 0.0, 3.0]).tolist() == [
        [-0.5, 0.0, 3.0],
        [0.25, 0.25, 1.0],
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_saturates_without_a_warning(dtype: type, backend: Backend) -> None:
    y, dx = run(Sigmoid(), backend, [-np.inf, -1000.0, 0.0, 1000.0, np.inf], dtype)
    assert y.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert dx.tolist() == [0.0, 0.0, 0.25, 0.0, 0.0]


def test_sigmoid_equals_its_definition(backend: Backend) -> None:
    x = np.linspace(-20, 20, 101)
    y, dx = run(Sigmoid(), backend, x.tolist())
    expected = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-15, strict=True)
    np.testing.assert_allclose(dx, expected * (1 - expected), rtol=0, atol=1e-15, strict=True)


def test_tanh_equals_its_definition(backend: Backend) -> None:
    x = np.array([-1000.0, -1.0, 0.0, 0.5, 1000.0])
    y, dx = run(Tanh(), backend, x.tolist())
    np.testing.assert_allclose(y, np.tanh(x), rtol=1e-15, strict=True)
    np.testing.assert_allclose(dx, 1 - np.tanh(x) ** 2, rtol=0, atol=1e-15, strict=True)
