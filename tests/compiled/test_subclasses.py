"""A layer that inherits from one of the library computes what it says, wherever it stands.

Some operations of a compiled step take several layers at once, such as a batch norm, a ReLU and a
pooling; a subclass among them, or a layer whose ``forward`` was replaced, must not be taken for
the layer that it was made from.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nplenet
from nplenet.backend import Backend
from nplenet.compiled import TextbookStep
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD

X = np.random.default_rng(0).standard_normal((8, 2, 12, 12))
Y = np.arange(8) % 3


def chain() -> list[Layer]:
    """Return layers of which the compiled step takes several at once."""
    first = [Conv2d(2, 4, 3, rng=0), BatchNorm2d(4), ReLU(), AvgPool2d(2)]
    second = [Conv2d(4, 4, 3, rng=1), BatchNorm2d(4), Sigmoid(), MaxPool2d(3), Flatten()]
    head = [Dense(4, 6, rng=2), BatchNorm1d(6), LeakyReLU(0.1), Dropout(0.3, rng=3)]
    return [*first, *second, *head, Tanh(), Dense(6, 3, rng=4)]


def halved(layer: Layer) -> Layer:
    """Make a layer one of a subclass that gives half of what its parent gives."""
    kind = type(layer)

    class Half(kind):  # type: ignore[valid-type, misc]
        def forward(self, x: Any) -> Any:
            return 0.5 * super().forward(x)

        def backward(self, dy: Any) -> Any:
            return super().backward(0.5 * dy)

    layer.__class__ = Half
    return layer


def patched(layer: Layer) -> Layer:
    """Replace forward and backward of a layer alone."""
    forward, backward = layer.forward, layer.backward
    layer.forward = lambda x: 0.5 * forward(x)  # type: ignore[method-assign]
    layer.backward = lambda dy: backward(0.5 * dy)  # type: ignore[method-assign]
    return layer


def results(model: Sequential, backend: Backend, step: Any) -> list[np.ndarray]:
    """Return the losses of two steps, a prediction, and the parameters."""
    x, y = backend.asarray(X), backend.asarray(Y)
    losses = [backend.to_numpy(step(x, y)) for _ in range(2)]
    logits = backend.to_numpy(step.predict(x))
    return [*map(np.array, losses), logits, *model.state_dict().values()]


@pytest.mark.parametrize("change", [halved, patched])
@pytest.mark.parametrize("place", range(len(chain())))
def test_a_layer_of_another_forward_is_run_as_it_is(
    place: int, change: Any, backend: Backend
) -> None:
    found = []
    for compiled in (True, False):
        layers = chain()
        change(layers[place])
        model = Sequential(*layers).astype("float64").to(backend)
        loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), 0.1)
        step: Any = TextbookStep(model, loss, optimizer, 8, "to compare with")
        if compiled:
            step = nplenet.compile(model, loss, optimizer, 8, tunables={"threads": 1})
        found.append(results(model, backend, step))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)  # float64, sums in another order


def test_dropout_that_stays_on_in_prediction_is_not_left_out() -> None:
    """Monte Carlo dropout (Gal & Ghahramani, 2016): the answers of many masks."""

    class AlwaysOn(Dropout):
        def forward(self, x: Any) -> Any:
            self.training = True
            return super().forward(x)

    model = Sequential(Flatten(), AlwaysOn(0.5, rng=0), Dense(288, 3, rng=1))
    x = X.astype(np.float32)
    twin = copy.deepcopy(model).eval()
    step = nplenet.compile(model)
    first, second = step.predict(x), step.predict(x)
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(first, twin(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second, twin(x), rtol=1e-4, atol=1e-5)


def test_a_chain_whose_forward_was_replaced_is_not_unrolled() -> None:
    inner = Sequential(Dense(288, 3, rng=0))
    forward = inner.forward
    inner.forward = lambda x: 2.0 * forward(x)  # type: ignore[method-assign]
    model = Sequential(Flatten(), ReLU(), inner)
    x = X.astype(np.float32)
    np.testing.assert_allclose(nplenet.compile(model).predict(x), model.eval()(x), rtol=1e-5)


@pytest.mark.parametrize("place", ["a layer", "a chain"])
def test_a_forward_that_is_replaced_after_compiling_is_refused(
    place: str, backend: Backend
) -> None:
    model = Sequential(Sequential(*chain())).astype("float64").to(backend)
    inner = model[0]
    assert isinstance(inner, Sequential)
    step = nplenet.compile(model, CrossEntropyLoss(), SGD(model.parameters(), 0.1), 8)
    before = results(model, backend, step)
    patched(inner if place == "a chain" else inner[0])
    x, y = backend.asarray(X), backend.asarray(Y)
    path = r"0 \(Sequential\)" if place == "a chain" else r"0\.0 \(.*\)"
    for call in (lambda: step(x, y), lambda: step.predict(x)):
        with pytest.raises(ValueError, match=rf"or backward of {path} was replaced since"):
            call()
    for a, b in zip(before[3:], model.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_attributes_of_a_layer_may_come_after_compiling() -> None:
    model = Sequential(Flatten(), Dense(288, 3, rng=0))
    step, x = nplenet.compile(model), X.astype(np.float32)
    before = step.predict(x)
    model[0].note = "mine"  # type: ignore[attr-defined]
    np.testing.assert_array_equal(step.predict(x), before)
