"""Activations at the places where they are hard: zero, far out, and infinity."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet.backend import Backend
from nplenet.cases import Case
from nplenet.compiled import TextbookStep, compile
from nplenet.layers import Dense, Layer, LeakyReLU, ReLU, Sequential, Sigmoid, Tanh
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD


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


def test_relu_passes_nan_on_and_its_gradient_back(backend: Backend) -> None:
    """As PyTorch does, whatever the sign of the NaN, and whoever computes."""
    y, dx = run(ReLU(), backend, [np.nan, -np.nan, 1.0])
    assert np.isnan(y).tolist() == [True, True, False]
    assert dx.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("kind", [ReLU, Sigmoid])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_activations_are_the_textbooks_at_the_edges(
    kind: type[Layer], dtype: type, backend: Backend
) -> None:
    """The loss is NaN, and so is dy: the gradients of the biases show where it passes."""
    edges = np.array(
        [np.nan, -np.nan, -0.0, 0.0, -100.0, -16.0, 16.0, np.inf, 1e-30, -1e-30], dtype
    )
    found = []
    for fast in (True, False):
        model = Sequential(Dense(1, 10), kind(), Dense(10, 10)).astype(dtype).to(backend)
        model[0].weight.data[...] = 0
        model[0].bias.data[...] = backend.asarray(edges)
        model[2].weight.data[...] = backend.asarray(np.eye(10, dtype=dtype))
        model[2].bias.data[...] = 0
        loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), lr=0.0)
        step = (
            compile(model, loss, optimizer, 1, tunables={})
            if fast
            else TextbookStep(model, loss, optimizer, 1, "")
        )
        with np.errstate(invalid="ignore"):
            step.gradients(backend.asarray(np.ones((1, 1), dtype)), backend.asarray(np.array([0])))
        found.append(backend.to_numpy(model[0].bias.grad))
    assert np.isnan(found[0][:2]).all()
    if backend.name == "numpy":  # a fused kernel multiplies NaN by a slope of 0
        assert (np.isnan(found[0]) == np.isnan(found[1])).all()


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_is_exact_in_its_tails(dtype: type, backend: Backend) -> None:
    """To 8 units in the last place: (1 + tanh(x / 2)) / 2 is 6 % off at -16, and 0 from -20 on."""
    x = np.array([-80.0, -40.0, -20.0, -18.0, -16.0, -8.0, -1.0, 0.0, 1.0, 8.0, 16.0], dtype)
    expected = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    y, dx = run(Sigmoid(), backend, x.tolist(), dtype)
    tolerance = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected.astype(dtype), rtol=tolerance)
    below = x <= 1  # above, 1 - y cancels, as in PyTorch
    slope = (expected * (1 - expected)).astype(dtype)
    np.testing.assert_allclose(dx[below], slope[below], rtol=2 * tolerance)
    model = Sequential(Sigmoid(), Dense(11, 11)).astype(dtype).to(backend)
    model[1].weight.data[...] = backend.asarray(np.eye(11, dtype=dtype))
    step = compile(model, CrossEntropyLoss(), SGD(model.parameters()), 1, tunables={})
    compiled = backend.to_numpy(step.predict(backend.asarray(x[None])))[0]
    np.testing.assert_allclose(compiled, expected.astype(dtype), rtol=tolerance)


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


@pytest.mark.parametrize("case", cases_of("relu", "leakyrelu", "sigmoid", "tanh"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)
