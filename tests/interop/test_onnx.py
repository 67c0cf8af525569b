"""What an exported ONNX file computes, by onnxruntime, and what it is made of."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nplenet
from nplenet.backend import Backend
from nplenet.cases import ROWS, Case
from nplenet.interop.onnx import EXPORTERS, export
from nplenet.layers import (
    GELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    GroupNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from nplenet.models import LeNet5, LeNet5For28x28

EXPORTED = [row for row in ROWS if "onnx" in row.rungs]
LAYERS = {row.kind for row in EXPORTED if not issubclass(row.kind, (Sequential, Residual))}


def every_layer(rng: np.random.Generator) -> Sequential:
    """Return a chain of (N, 2, 12, 11) to (N, 4) with each class of layer that has an exporter."""
    return Sequential(
        images=Sequential(
            Conv2d(2, 6, 3, padding=1, rng=rng),
            BatchNorm2d(6, eps=0.1),
            LeakyReLU(0.1),
            MaxPool2d(2, stride=3, dilation=4, ceil_mode=True),
            Conv2d(6, 8, (1, 2), bias=False, rng=rng),
            Sigmoid(),
            AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
            GroupNorm(4, 8),
            LayerNorm((3, 2)),
            Tanh(),
        ),
        pooled=Residual(
            GlobalAvgPool2d(), Sequential(Flatten(), Dense(8 * 3 * 2, 8, bias=False, rng=rng))
        ),
        vectors=Sequential(
            Flatten(),
            Dense(8, 10, rng=rng),
            BatchNorm1d(10, eps=0.2),
            GELU(),
            Softmax(),
            ReLU(),
            Dropout(0.5, rng=rng),
            Dense(10, 4, rng=rng),
        ),
    )


CASES = [
    *(case for row in EXPORTED for case in row.cases),
    Case("every-layer", every_layer, (2, 2, 12, 11)),
    Case("lenet5/notebook", lambda rng: LeNet5For28x28(seed=3), (2, 1, 28, 28)),
    Case("conv2d/padding-beyond-the-kernel", lambda rng: Conv2d(1, 2, 1, padding=2), (2, 1, 3, 3)),
    Case("flatten/one-number", lambda rng: Flatten(), (2,)),
]


def exported(model: Layer, path: Path, input_shape: tuple[int, ...], **options: Any) -> Any:
    """Export ``model`` and return the file as onnx reads it; skip where onnx is missing."""
    onnx = pytest.importorskip("onnx", reason="needs the package onnx")
    export(model, path, input_shape, **options)
    return onnx.load(path)


def onnxruntime_result(path: Path, x: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(["logits"], {"x": x})
    return y


def draw(shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(dtype)


def assert_close(y: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    assert np.isfinite(y).all()
    assert np.abs(y - expected).max() <= tolerance * max(1, np.abs(expected).max())


# -------------------------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_onnxruntime_computes_what_the_model_computes(case: Case, tmp_path: Path) -> None:
    model = case.build(dtype=np.float32)
    assert isinstance(model, Layer)
    exported(model, tmp_path / "model.onnx", case.input_shape)
    model.eval()
    for batch in (1, 7):
        x = draw((batch, *case.input_shape[1:]))
        # 1e-5: a hundred roundings of 6e-8 of sums made in another order.
        assert_close(onnxruntime_result(tmp_path / "model.onnx", x), model(x), 1e-5)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.build().parameters()], ids=lambda case: case.name
)
def test_a_float64_model_keeps_its_dtype_and_numbers(case: Case, tmp_path: Path) -> None:
    model = case.build(dtype=np.float64)
    assert isinstance(model, Layer)
    proto = exported(model, tmp_path / "model.onnx", case.input_shape)
    from onnx.reference import ReferenceEvaluator  # onnxruntime has no float64 convolution

    x = draw(case.input_shape, np.float64)
    (y,) = ReferenceEvaluator(proto).run(None, {"x": x})
    # 1e-7: eps and negative_slope are float32 in ONNX, 6e-8 off.
    assert_close(y, model.eval()(x), 1e-7)


@pytest.mark.parametrize("pool", ["average", "counting padding", "max", "dilated max"])
def test_every_window_of_a_pooling_is_the_same(pool: str, tmp_path: Path) -> None:
    for size, stride, padding, ceil in itertools.product((2, 3), (1, 2, 4), (0, 1), (False, True)):
        window = {"kernel_size": size, "stride": stride, "padding": padding, "ceil_mode": ceil}
        if "max" in pool:
            model: Layer = MaxPool2d(**window, dilation=3 if "dilated" in pool else 1)
        else:
            model = AvgPool2d(**window, count_include_pad="counting" in pool)
        for shape in ((1, 1, 7, 8), (1, 1, 9, 10)):
            x = draw(shape)
            exported(model, tmp_path / "pool.onnx", shape)
            assert_close(onnxruntime_result(tmp_path / "pool.onnx", x), model(x), 1e-6)


def test_the_ways_of_nested_residual_blocks_are_added(tmp_path: Path) -> None:
    model = Sequential(
        Residual(Sequential(Residual(Sequential()), Residual(Dense(3, 3)))),
        Residual(Dense(3, 4), Sequential(Residual(Tanh()), Dense(3, 4, bias=False))),
    )
    proto = exported(model, tmp_path / "model.onnx", (1, 3))
    assert [node.op_type for node in proto.graph.node].count("Add") == 5
    x = draw((4, 3))
    assert_close(onnxruntime_result(tmp_path / "model.onnx", x), model(x), 1e-6)


def test_padding_of_a_maximum_never_wins(tmp_path: Path) -> None:
    model = MaxPool2d(2, stride=3, dilation=4, ceil_mode=True)
    x = -1 - np.abs(draw((1, 1, 5, 5)))
    exported(model, tmp_path / "pool.onnx", x.shape)
    assert_close(onnxruntime_result(tmp_path / "pool.onnx", x), model(x), 0)


def test_every_exporter_is_tried_in_a_chain() -> None:
    chain = every_layer(np.random.default_rng())
    tried = {type(layer) for _, layer in chain.modules()} - {Sequential, Residual}
    assert tried == set(EXPORTERS) == LAYERS


# ----------------------------------------------------------------------------------- the file


def test_weights_have_their_names_in_the_state_dict(tmp_path: Path) -> None:
    model = LeNet5(seed=0)
    proto = exported(model, tmp_path / "model.onnx", (1, 1, 32, 32))
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert [tensor.name for tensor in proto.graph.initializer] == list(state)


def test_a_model_on_any_backend_gives_the_same_file(backend: Backend, tmp_path: Path) -> None:
    model = every_layer(np.random.default_rng(0))
    proto = exported(model, tmp_path / "model.onnx", (1, 2, 12, 11))
    assert exported(model.to(backend), tmp_path / "moved.onnx", (1, 2, 12, 11)) == proto


def test_the_file_names_its_maker_and_both_ends(tmp_path: Path) -> None:
    proto = exported(LeNet5(seed=0), tmp_path / "model.onnx", (1, 1, 32, 32))
    assert (proto.producer_name, proto.producer_version) == ("nplenet", nplenet.__version__)
    assert [value.name for value in proto.graph.input] == ["x"]
    assert [value.name for value in proto.graph.output] == ["logits"]


@pytest.mark.parametrize(("dynamic_batch", "batch"), [(True, "N"), (False, 5)])
def test_the_batch_is_open_unless_told_otherwise(
    dynamic_batch: bool, batch: str | int, tmp_path: Path
) -> None:
    proto = exported(
        LeNet5(seed=0), tmp_path / "m.onnx", (5, 1, 32, 32), dynamic_batch=dynamic_batch
    )
    for value, sizes in ((proto.graph.input[0], [1, 32, 32]), (proto.graph.output[0], [10])):
        axes = value.type.tensor_type.shape.dim
        assert [axis.dim_param or axis.dim_value for axis in axes] == [batch, *sizes]


def test_layers_may_have_the_names_of_the_graphs_ends(tmp_path: Path) -> None:
    model = Sequential(x=Sequential(y=ReLU(), x=Tanh()), logits=Dense(3, 2), y=Sigmoid())
    exported(model, tmp_path / "model.onnx", (1, 3))
    x = draw((4, 3))
    assert_close(onnxruntime_result(tmp_path / "model.onnx", x), model(x), 1e-6)


def test_an_export_leaves_the_model_in_training_mode(tmp_path: Path) -> None:
    model = LeNet5(seed=0)
    before = model.state_dict()
    exported(model, tmp_path / "model.onnx", (1, 1, 32, 32))
    assert all(layer.training for _, layer in model.modules())
    np.testing.assert_equal(model.state_dict(), before)


# ------------------------------------------------------------------------------------- refusals


class Double(Layer):
    def forward(self, x: np.ndarray) -> np.ndarray:
        return 2 * x


class Squared(ReLU):
    def forward(self, x: np.ndarray) -> np.ndarray:
        return super().forward(x) ** 2


class Branching(Sequential):
    def forward(self, x: np.ndarray) -> np.ndarray:
        return x + super().forward(x)


@pytest.mark.parametrize("own", [Double(), Squared(), Branching(ReLU())])
def test_a_layer_of_ones_own_is_refused_by_its_place(own: Layer, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the package onnx")
    model = Sequential(features=Sequential(ReLU(), own))
    with pytest.raises(TypeError, match=rf"layer features\.1 is a {type(own).__name__}, for which"):
        export(model, tmp_path / "model.onnx", (1, 3))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "shape", "error", "says"),
    [
        (Dense(3, 2), (1, 4), ValueError, "takes 3 channels or features"),
        (Dense(3, 2), (1, "3"), TypeError, r"export: input_shape\[1\] must be an int, got '3'"),
        (Dense(3, 2), 3, TypeError, "export: input_shape must be a tuple of ints, got 3"),
        (
            Sequential(features=Sequential(ReLU(), Conv2d(1, 2, 3))),
            (1, 8, 8),
            ValueError,
            r"begins with the batch axis, does not fit layer features\.1: .* axis is missing",
        ),
        (ReLU(), (), ValueError, "takes an input with a batch axis"),
        (Sequential(), (1, 4), ValueError, "no layer to export"),
        (Sequential(Dense(3, 2), Dense(2, 2, dtype=np.float64)), (1, 3), ValueError, "astype"),
        (MaxPool2d(2, padding=1, dilation=2), (1, 1, 1, 1), ValueError, "no pixel"),
    ],
    ids=[
        "shape",
        "size",
        "number",
        "no-batch",
        "no-axes",
        "empty",
        "two-dtypes",
        "window-without-pixels",
    ],
)
def test_what_has_no_equal_in_onnx_is_refused(
    model: Layer, shape: Any, error: type[Exception], says: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="needs the package onnx")
    with pytest.raises(error, match=says):
        export(model, tmp_path / "model.onnx", shape)
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'nplenet\[onnx\]'"):
        export(ReLU(), tmp_path / "model.onnx", (1, 3))
