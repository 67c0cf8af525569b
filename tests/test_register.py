"""A registered class of your own is saved, loaded, shown and exported like the library's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nplenet
from nplenet import architecture
from nplenet.__main__ import main
from nplenet.backend import Array
from nplenet.checkpoint import CheckpointError
from nplenet.compiled import CompiledStep
from nplenet.interop.onnx import Operator, export
from nplenet.layers import Conv2d, Dense, Flatten, Layer, Parameter, ReLU, Residual, Sequential
from nplenet.page import write_page


class Swish(Layer):
    """y = x sigmoid(beta x), with a scale that is learned."""

    def __init__(self, size: int, beta: float = 1.0) -> None:
        super().__init__()
        self.size, self.beta = size, beta
        self.scale = Parameter(np.ones(size, np.float32))

    def forward(self, x: Array) -> Array:
        self.check(x)
        gate = 1 / (1 + np.exp(-self.beta * x))
        return self.remember(x * gate * self.scale.data, x, gate)

    def backward(self, dy: Array) -> Array:
        x, gate = self.recall(dy)
        self.scale.grad += (dy * x * gate).sum(axis=0)
        return dy * self.scale.data * gate * (1 + self.beta * x * (1 - gate))

    def arguments(self) -> dict[str, Any]:
        return {"size": self.size, "beta": np.float64(self.beta)}

    def onnx(self, input_shape: tuple[int, ...], dtype: np.dtype) -> list[Operator]:
        return [
            Operator("Mul", {"beta": np.array(self.beta, dtype)}),
            Operator("Sigmoid"),
            Operator("Mul", takes_x=True),
            Operator("Mul", {"scale": self.scale.data}),
        ]


class Both(Layer):
    """The sum of any number of layers, of which one has a name."""

    def __init__(self, first: Layer, others: tuple[Layer, ...] = ()) -> None:
        super().__init__()
        self.first, self.others = first, list(others)

    def forward(self, x: Array) -> Array:
        return self.remember(self.first(x) + sum(layer(x) for layer in self.others))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.first.output_shape(input_shape)

    def arguments(self) -> dict[str, Any]:
        return {"first": self.first, "others": self.others}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architecture, "TYPES", dict(architecture.TYPES))
    for kind in (Swish, Both):
        assert nplenet.register(kind) is kind


def network() -> Sequential:
    rng = np.random.default_rng(0)
    model = Sequential(
        body=Sequential(Flatten(), Dense(4, 6, rng=rng), Swish(6, beta=0.5)),
        ways=Both(Dense(6, 3, rng=rng), (Residual(Swish(6), Dense(6, 6, rng=rng)),)),
    )
    model.ways.others.append(Dense(6, 3, rng=rng))  # type: ignore[attr-defined]
    model.ways.others[0] = Sequential(model.ways.others[0], Dense(6, 3, rng=rng))  # type: ignore[attr-defined]
    for parameter in model.parameters():
        parameter.data += 0.1 * rng.standard_normal(parameter.data.shape).astype(np.float32)
    return model


X = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model = network()
    nplenet.save_model(model, tmp_path / "m.safetensors")
    loaded = nplenet.load_model(tmp_path / "m.safetensors")
    assert isinstance(loaded.body[2], Swish)  # type: ignore[attr-defined]
    assert loaded.body[2].beta == 0.5  # type: ignore[attr-defined]
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert loaded(X).tobytes() == model.eval()(X).tobytes()


def test_a_process_that_has_not_registered_it_says_what_to_do_and_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.safetensors"
    nplenet.save_model(network(), path)
    del architecture.TYPES["Swish"]
    with pytest.raises(
        CheckpointError, match=r"body\.2 is of the unknown type 'Swish'; .* call nplenet\.register"
    ):
        nplenet.load_model(path)
    assert main(["info", str(path)]) == 0
    assert '"type": "Swish"' in capsys.readouterr().out


def test_info_shows_a_registered_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Sequential(Conv2d(1, 2, 3), Flatten(), Swish(1800), Dense(1800, 10))
    nplenet.save_model(model, tmp_path / "m.safetensors")
    assert main(["info", str(tmp_path / "m.safetensors")]) == 0
    assert "\n2 Swish " in capsys.readouterr().out


def test_it_is_exported_if_it_says_how(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the package onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
    model = network().body
    export(model, tmp_path / "m.onnx", (1, 4))
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (y,) = session.run(["logits"], {"x": X})
    np.testing.assert_allclose(y, model(X), rtol=0, atol=1e-6)
    with pytest.raises(
        TypeError, match=r"layer ways is a Both, .* a method onnx\(input_shape, dtype"
    ):
        export(network(), tmp_path / "m.onnx", (1, 4))


def test_a_subclass_that_changes_its_forward_does_not_inherit_its_operators(
    tmp_path: Path,
) -> None:
    class Louder(Swish):
        def forward(self, x: Array) -> Array:
            return 2 * super().forward(x)

    pytest.importorskip("onnx", reason="needs the package onnx")
    with pytest.raises(TypeError, match="layer at the top is a Louder"):
        export(Louder(4), tmp_path / "m.onnx", (1, 4))


def test_it_runs_in_the_compiled_step() -> None:
    model = network()
    step = nplenet.compile(model, tunables={})
    assert isinstance(step, CompiledStep)
    np.testing.assert_allclose(step.predict(X), model.eval()(X), rtol=0, atol=1e-6)
    assert "Both (textbook)" in step.describe()


# ------------------------------------------------------------------------------ refusals


def test_names_that_are_taken_are_refused() -> None:
    for name in ("ReLU", "Sequential", "Layer", "Swish"):
        with pytest.raises(ValueError, match=f"another layer of the name {name}"):
            nplenet.register(type(name, (Layer,), {"__module__": "elsewhere"}))
    for kind in (3, dict, Swish(3)):
        with pytest.raises(TypeError, match="takes a subclass of Layer"):
            nplenet.register(kind)  # type: ignore[type-var]
    assert nplenet.register(ReLU) is ReLU


def test_a_class_defined_again_takes_the_place_of_the_old_one() -> None:
    again = type("Swish", (Layer,), {"__module__": __name__, "__qualname__": "Swish"})
    nplenet.register(again)
    assert architecture.TYPES["Swish"] is again


class Forgetful(Swish):
    def arguments(self) -> dict[str, Any]:
        return {"beta": self.beta, "colour": "red"}


class Unplain(Swish):
    def arguments(self) -> dict[str, Any]:
        return {"size": np.ones(3)}


class Network(Sequential):
    def forward(self, x: Array) -> Array:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (Forgetful(3), r"missing \['size'\], unknown \['colour'\]"),
        (Unplain(3), "whose argument is a ndarray, which JSON does not have"),
        (Network(ReLU()), "its layers are missing"),
    ],
    ids=["arguments", "array", "network"],
)
def test_what_could_not_be_loaded_is_not_saved(layer: Layer, says: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"layer inner is a \w+, not a layer of this library"):
        nplenet.save_model(Sequential(inner=layer), tmp_path / "m.safetensors")
    nplenet.register(type(layer))
    with pytest.raises(TypeError, match=says):
        nplenet.save_model(Sequential(inner=layer), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["model", "ONNX", "page"])
def test_a_layer_whose_forward_was_replaced_is_not_written_as_its_class(
    kind: str, tmp_path: Path
) -> None:
    model, file = nplenet.models.LeNet5(seed=0), tmp_path / "m"
    layer = next(layer for _, layer in model.modules() if isinstance(layer, ReLU))
    layer.forward = lambda x: x  # type: ignore[method-assign]
    write: dict[str, Callable[[], object]] = {
        "model": lambda: nplenet.save_model(model, file),
        "ONNX": lambda: export(model, file, (1, 1, 32, 32)),
        "page": lambda: write_page(model, file),
    }
    with pytest.raises(TypeError, match="is a ReLU, whose forward or backward was replaced"):
        write[kind]()
    assert not list(tmp_path.iterdir())
