"""Layers of your own in a compiled step, parameters that layers share, arrays put in by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nplenet import compile
from nplenet.backend import Backend
from nplenet.compiled import CompiledStep, TextbookStep
from nplenet.gradcheck import check_layer
from nplenet.layers import BatchNorm2d, Conv2d, Dense, Flatten, Layer, ReLU, Residual, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD, clip_gradients

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 1, 6, 6)), np.arange(8) % 3


class Caching(Layer):
    """Keeps what backward needs as many write it, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: Any = None
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.cache, self.calls = (x, x > 0), self.calls + 1
        return x * self.cache[1]

    def backward(self, dy: Any) -> Any:
        return dy * self.cache[1]


def chain(middle: Layer) -> Sequential:
    return Sequential(
        Conv2d(1, 2, 3, rng=0), middle, Flatten(), Dense(32, 8, rng=1), ReLU(), Dense(8, 3, rng=2)
    ).astype("f8")


def compiled(model: Layer) -> CompiledStep:
    step = compile(model, CrossEntropyLoss(), SGD(model.parameters(), 0.1), 8, tunables={})
    assert isinstance(step, CompiledStep)
    return step


def test_a_layer_that_keeps_arrays_in_attributes_trains_on_one_plan() -> None:
    steps = compiled(chain(Caching())), compiled(chain(ReLU()))
    losses: list[list[float]] = [[], []]
    plans = set()
    for _ in range(3):
        for step, found in zip(steps, losses, strict=True):
            found.append(float(step(X, Y)))
        plans.add(id(steps[0].plan))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    assert len(plans) == 1
    np.testing.assert_allclose(steps[0].predict(X), steps[1].predict(X), rtol=1e-12)


def test_arrays_noted_on_a_layer_of_the_library_are_not_settings(backend: Backend) -> None:
    """Such as activations that a program collects from outside."""
    model = chain(ReLU()).to(backend)
    model[0].seen = None
    step = compile(model, CrossEntropyLoss(), SGD(model.parameters(), 0.1), 8, tunables={})
    assert step.compiled
    x, y = backend.asarray(X), backend.asarray(Y)
    for _ in range(3):
        step(x, y)
        model[0].seen = [x + 1]


class Wrong(Layer):
    """Makes one column of many, against its ``output_shape``; or one row of many in backward."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method

    def forward(self, x: Any) -> Any:
        return x[:, :1] if self.method == "forward" else x

    def backward(self, dy: Any) -> Any:
        return dy[:1]


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_an_array_of_another_shape_is_refused_rather_than_broadcast(method: str) -> None:
    model = Sequential(Flatten(), Dense(36, 4, rng=0), Wrong(method), Dense(4, 3, rng=1))
    model.astype("f8")
    with pytest.raises(ValueError, match=rf"^2 \(Wrong\(\)\): its {method} returned .* \(8, 4\)"):
        compiled(model)(X, Y)
    if method == "forward":
        with pytest.raises(ValueError, match=r"its output_shape says \(8, 4\)"):
            compile(model, tunables={}).predict(X)


class Converts(Layer):
    """Doubles x, and converts the result of one of its methods."""

    def __init__(self, method: str, convert: Any) -> None:
        super().__init__()
        self.method, self.convert = method, convert

    def forward(self, x: Any) -> Any:
        self.check(x)
        y = self.remember(2 * x)
        return self.convert(y) if self.method == "forward" else y

    def backward(self, dy: Any) -> Any:
        self.recall(dy)
        return self.convert(2 * dy) if self.method == "backward" else 2 * dy


CONVERSIONS = {
    "int64": lambda a: a.astype("int64"),
    "bool": lambda a: a > 0,
    "float16": lambda a: a.astype("float16"),
    "complex128": lambda a: a + 0j,
    "object": lambda a: a.astype(object),
    "masked": lambda a: np.ma.array(a, mask=a > 0),
    "list": lambda a: a.tolist(),
    "tuple": lambda a: (a, a),
}


@pytest.mark.parametrize("method", ["forward", "backward"])
@pytest.mark.parametrize("conversion", CONVERSIONS.values(), ids=CONVERSIONS)
def test_a_layer_of_your_own_that_makes_no_floats_is_refused_as_by_the_layers(
    method: str, conversion: Any
) -> None:
    # The compiled step rounded the integers of such a layer to numbers, and dropped a mask.
    def model() -> Sequential:
        layers = Flatten(), Dense(36, 4, rng=0), Converts(method, conversion), Dense(4, 3, rng=1)
        return Sequential(*layers).astype("f8")

    chain_of_layers = model()
    with pytest.raises(TypeError):
        chain_of_layers.backward(np.ones_like(chain_of_layers(X)))
    with pytest.raises(TypeError, match=rf"^2 \(Converts\(.*: its {method} returned"):
        compiled(model())(X, Y)
    with pytest.raises(TypeError, match=rf"Converts\(.*: its {method} returned"):
        check_layer(Converts(method, conversion), RNG.standard_normal((3, 4)))
    if method == "forward":
        with pytest.raises(TypeError, match=r"^2 \(Converts\(.*: its forward returned"):
            compile(model(), tunables={}).predict(X)


class Fails(Layer):
    """Fails in one of its methods, once it is told which."""

    method = ""

    def forward(self, x: Any) -> Any:
        if self.method == "forward":
            raise ValueError("my fault")
        return None if self.method == "nothing" else self.remember(x)

    def backward(self, dy: Any) -> Any:
        if self.method == "backward":
            raise ValueError("my fault")
        return None if self.method == "nothing back" else dy


@pytest.mark.parametrize(
    ("method", "in_residual"),
    [
        ("forward", False),
        ("backward", False),
        ("nothing", False),
        ("nothing back", False),
        ("forward", True),
        ("backward", True),
    ],
)
def test_an_error_of_a_layer_has_its_path_as_with_the_textbook_layers(
    method: str, in_residual: bool
) -> None:
    said = []
    for kind in (TextbookStep, compile):
        own = Fails()
        middle = Residual(own) if in_residual else Sequential(ReLU(), own)
        model = Sequential(features=Sequential(chain(middle)))
        loss, optimizer = CrossEntropyLoss(), SGD(model.parameters())
        more: dict[str, Any] = {"why": ""} if kind is TextbookStep else {"tunables": {}}
        step: Any = kind(model, loss, optimizer, 8, **more)
        step(X, Y)
        own.method = method
        with pytest.raises((TypeError, ValueError), match=r"^features\.0\.1\..* \(Fails") as error:
            step(X, Y)
        said.append(str(error.value))
        if method == "forward":
            with pytest.raises(ValueError, match=r"^features\.0\.1\..* \(Fails"):
                step.predict(X)
    assert said[0] == said[1]


def tied() -> tuple[Sequential, Dense]:
    first, second = Dense(5, 5, rng=0), Dense(5, 5, rng=1)
    second.weight = first.weight
    model = Sequential(first, ReLU(), second, ReLU(), Dense(5, 3, rng=2)).astype("f8")
    return model, first


def test_a_shared_parameter_is_one_parameter_with_the_sum_of_its_gradients(
    backend: Backend,
) -> None:
    model, first = tied()
    model.to(backend)
    assert [p.name for p in model.parameters()] == [
        *("0.weight", "0.bias", "2.bias", "4.weight", "4.bias")
    ]
    loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), 0.1)
    step = compile(model, loss, optimizer, 8, tunables={})
    assert isinstance(step, TextbookStep)
    assert "layers share a parameter" in step.describe()
    x, y = backend.asarray(RNG.standard_normal((8, 5))), backend.asarray(Y)
    step.gradients(x, y)
    found = backend.to_numpy(first.weight.grad).copy()

    def value(change: float) -> float:
        first.weight.data[1, 2] += change
        return float(loss(model(x), y))

    difference = (value(1e-6) - value(-2e-6)) / 2e-6
    value(1e-6)
    assert found[1, 2] == pytest.approx(difference, rel=1e-6, abs=1e-9)


def test_a_shared_parameter_counts_once_in_the_norm() -> None:
    model, _ = tied()
    for parameter in model.parameters():
        parameter.grad[...] = 1.0
    numbers = sum(p.grad.size for p in model.parameters())
    assert float(clip_gradients(model.parameters(), 1.0)) == pytest.approx(np.sqrt(numbers))
    assert float(clip_gradients(model.parameters(), 9.0)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("running_mean", np.zeros(2, np.float32)),
        ("running_var", np.ones((2, 1))),
        ("num_batches_tracked", np.zeros((), np.int32)),
    ],
    ids=["dtype", "shape", "integer"],
)
def test_running_statistics_of_another_kind_are_refused(
    backend: Backend, name: str, value: Any
) -> None:
    """A kernel would read them as what they are not."""
    model = Sequential(Conv2d(1, 2, 3, rng=0), BatchNorm2d(2), Flatten(), Dense(32, 3, rng=1))
    model.astype("f8").to(backend)
    step = compile(model, CrossEntropyLoss(), SGD(model.parameters(), 0.1), 8, tunables={})
    assert step.compiled
    x, y = backend.asarray(X), backend.asarray(Y)
    step(x, y)
    setattr(model[1], name, backend.asarray(value))
    for use in (lambda: step(x, y), lambda: step.predict(x)):
        with pytest.raises(ValueError, match=rf"{name} of 1 \(BatchNorm2d.*must be an array"):
            use()
