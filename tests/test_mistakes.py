"""What a newcomer does wrong, and the words that must answer: what is wrong, and the cure."""

from __future__ import annotations

import importlib
import re
import typing
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nplenet
from nplenet import names
from nplenet.backend import get_backend
from nplenet.backend.base import A
from nplenet.data import DataLoader
from nplenet.gradcheck import check_layer
from nplenet.layers import (
    BatchNorm2d,
    Conv2d,
    Dense,
    Flatten,
    Layer,
    Parameter,
    ReLU,
    Sequential,
    Softmax,
)
from nplenet.losses import CrossEntropyLoss, softmax
from nplenet.models import LeNet5
from nplenet.optim import SGD, Adam
from nplenet.schedules import CosineLR
from nplenet.train import fit

X = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)
Y = np.arange(8) % 3


def net(*last: Layer) -> Sequential:
    return Sequential(Conv2d(1, 2, 3, rng=0), Flatten(), Dense(72, 3, rng=0), *last)


def train(model: Layer, images: np.ndarray = X) -> None:
    optimizer = SGD(model.parameters(), lr=0.1)
    loader = DataLoader(images, Y, 4)
    fit(model, CrossEntropyLoss(), optimizer, loader, epochs=1, progress=False)


def step(*, backward: bool) -> None:
    model, loss = net(), CrossEntropyLoss()
    optimizer = Adam(model.parameters())
    loss(model(X), Y)
    gradient = loss.backward()
    if backward:
        model.backward(gradient)
    optimizer.step()


class ReturnsNothing(Layer):
    def forward(self, x: Any) -> Any:
        self.remember(2 * x)

    def backward(self, dy: Any) -> Any:
        self.recall(dy)
        return 2 * dy


class PassesNothingBack(Layer):
    def forward(self, x: Any) -> Any:
        return self.remember(2 * x)

    def backward(self, dy: Any) -> Any:
        self.recall(dy)


class PlainWeight(Layer):
    def __init__(self, **arrays: np.ndarray) -> None:
        super().__init__()
        vars(self).update(arrays)

    def forward(self, x: Any) -> Any:
        return self.remember(2 * x)

    def backward(self, dy: Any) -> Any:
        self.recall(dy)
        return 2 * dy


class WithoutSuper(Layer):
    def __init__(self) -> None:
        self.weight = Parameter(np.ones(3))

    def forward(self, x: Any) -> Any:
        self.check(x)
        return x


class WithProperty(Layer):
    @property
    def scale(self) -> Any:
        return self.missing


def loss(logits: Any, targets: Any) -> Any:
    return CrossEntropyLoss()(logits, targets)


ONES = np.ones((8, 3), np.float32)
Mistake = tuple[Callable[[], Any], type[Exception], str]

ERRORS: dict[str, Mistake] = {
    "no channel axis": (
        lambda: net()(X[:, 0]),
        ValueError,
        "channel axis is missing: x[:, None], of shape (8, 1, 8, 8)",
    ),
    "no channel axis, through fit": (
        lambda: train(net(), X[:, 0]),
        ValueError,
        "got one of shape (4, 8, 8); the channel axis is missing: x[:, None]",
    ),
    "one image (C, H, W)": (lambda: net()(X[0]), ValueError, "batch axis is missing: x[None]"),
    "one image (H, W)": (
        lambda: net()(X[0, 0]),
        ValueError,
        "x[None, None], of shape (1, 1, 8, 8)",
    ),
    "one row of features": (lambda: Dense(3, 2)(ONES[0]), ValueError, "x[None], of shape (1, 3)"),
    "images into a dense layer": (lambda: Dense(3, 2)(X), ValueError, "put Flatten() before"),
    "channels last": (
        lambda: net()(X.transpose(0, 2, 3, 1)),
        ValueError,
        "x.transpose(0, 3, 1, 2)",
    ),
    "a summary without batch axis": (
        lambda: net().summary((1, 8, 8)),
        ValueError,
        "batch axis is missing: x[None], of shape (1, 1, 8, 8)",
    ),
    "another number of features": (
        lambda: net()(np.ones((1, 1, 9, 9), np.float32)),
        ValueError,
        "takes 72 channels or features on axis 1, got an input of shape (1, 98); if this input is "
        "right, make the layer with 98",
    ),
    "28x28 into LeNet5": (
        lambda: LeNet5()(np.ones((8, 1, 28, 28), np.float32)),
        ValueError,
        "takes images of 32x32, got an input of shape (8, 1, 28, 28); pad 28x28 images with "
        "nplenet.data.pad_images, or use nplenet.models.LeNet5For28x28",
    ),
    "28x28 into LeNet5, through fit": (
        lambda: train(LeNet5(num_classes=3), np.ones((8, 1, 28, 28), np.uint8)),
        ValueError,
        "LeNet5For28x28",
    ),
    "float16": (lambda: net()(X.astype("float16")), TypeError, "x.astype('float32')"),
    "float16, through fit": (
        lambda: train(net(), X.astype("float16")),
        TypeError,
        "x.astype('float32')",
    ),
    "bytes": (lambda: net()(X.astype("uint8")), TypeError, "nplenet.augment.ToFloat"),
    "objects": (lambda: net()(np.array([None])), TypeError, "make it an array of numbers"),
    "a list": (lambda: net()(X.tolist()), TypeError, "got list; make it an array: numpy.asarray"),
    "labels as a list": (
        lambda: loss(ONES, Y.tolist()),
        TypeError,
        "targets are list; pass get_backend('numpy').asarray(targets)",
    ),
    "one-hot labels": (lambda: loss(ONES, np.eye(3)[Y]), ValueError, "targets.argmax(axis=1)"),
    "labels in a column": (lambda: loss(ONES, Y[:, None]), ValueError, "pass targets[:, 0]"),
    "labels of floats": (lambda: loss(ONES, Y.astype(float)), TypeError, "targets.astype('int64')"),
    "swapped arguments of the loss": (
        lambda: loss(Y, ONES),
        TypeError,
        "pass loss(logits, targets)",
    ),
    "model.parameters without a call": (
        lambda: SGD(net().parameters),  # type: ignore[arg-type]
        TypeError,
        "params is the method parameters itself; call it: model.parameters()",
    ),
    "one number in place of parameters": (
        lambda: SGD(0.1),  # type: ignore[arg-type]
        TypeError,
        "such as model.parameters(), got float",
    ),
    "a Parameter of a list": (
        lambda: Parameter([1.0]),
        TypeError,
        "numpy.asarray(data, 'float32')",
    ),
    "integers in place of bytes": (
        lambda: net()(np.zeros((4, 1, 8, 8), np.int64)),
        TypeError,
        "and divide pixels of 0 to 255 by 255",
    ),
    "integers in place of bytes, through fit": (
        lambda: train(net(), np.zeros((8, 1, 8, 8), np.int64)),
        TypeError,
        "and divide pixels of 0 to 255 by 255",
    ),
    "a forward without return": (
        lambda: Sequential(ReturnsNothing(), ReLU())(X),
        TypeError,
        "0 (ReturnsNothing()): its forward returned None; end it with `return self.remember(y",
    ),
    "a forward without return, through fit": (
        lambda: train(net(ReturnsNothing())),
        TypeError,
        "3 (ReturnsNothing()): its forward returned None",
    ),
    "a backward without return": (
        lambda: Sequential(ReLU(), m := PassesNothingBack()).backward(m(ReLU()(X))),
        TypeError,
        "1 (PassesNothingBack()): its backward returned None; end it with `return dx`",
    ),
    "a backward without return, through fit": (
        lambda: train(net(PassesNothingBack())),
        TypeError,
        "3 (PassesNothingBack()): its backward returned None",
    ),
    "a constructor without super": (
        lambda: WithoutSuper()(X),
        AttributeError,
        "its __init__ must call super().__init__() first",
    ),
    "a list of layers": (
        lambda: Sequential([ReLU(), ReLU()]),  # type: ignore[arg-type]
        TypeError,
        "pass its layers one by one: Sequential(*layers)",
    ),
    "a class in place of a layer": (
        lambda: Sequential(ReLU),  # type: ignore[arg-type]
        TypeError,
        "the class ReLU; make a layer of it: ReLU(...)",
    ),
    "an argument of a model, set later": (
        lambda: setattr(LeNet5(), "dropout", 0.9),
        TypeError,
        "LeNet5: dropout is read once, when the model is made: LeNet5(dropout=0.9)",
    ),
    "to cuda": (lambda: net().to("cuda:0"), ValueError, "'cupy' is the GPU"),
    "to gpu": (lambda: get_backend("gpu"), ValueError, "'cupy' is the GPU"),
    "to cpu": (lambda: net().to("cpu"), ValueError, "'numpy' is the CPU"),
}

WARNINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "a softmax before the loss": (
        lambda: loss(softmax(net()(X)), Y),
        "the loss has a softmax of its own: pass the output of the last layer before its softmax",
    ),
    "a softmax at the end, through fit": (
        lambda: train(net(Softmax())),
        "the model ends with a Softmax.*train the model without this layer",
    ),
    "a forgotten model.backward": (
        lambda: step(backward=False),
        r"Adam: all gradients are zero in the first step; call model.backward\(loss.backward\(\)\)",
    ),
    "float64 images": (
        lambda: net()(X.astype(np.float64)),
        r"makes all that follows float64.*pass x.astype\('float32'\)",
    ),
    "a weight that is a plain array": (
        lambda: check_layer(PlainWeight(weight=np.ones(3)), np.ones((2, 3))),
        "weight of PlainWeight is a plain array, neither trained nor saved: make it a Parameter",
    ),
    "the same, through fit": (
        lambda: train(net(PlainWeight(weight=np.ones(3)))),
        "3.weight of PlainWeight is a plain array",
    ),
}


@pytest.mark.parametrize(("call", "kind", "words"), ERRORS.values(), ids=ERRORS)
def test_an_error_names_the_mistake_and_the_cure(
    call: Callable[[], Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        call()


@pytest.mark.parametrize(("call", "words"), WARNINGS.values(), ids=WARNINGS)
def test_a_mistake_that_computes_warns(call: Callable[[], Any], words: str) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        call()
    assert len([w for w in seen if re.search(words, str(w.message))]) == 1


def test_what_is_right_does_not_warn() -> None:
    step(backward=True)  # the suite makes errors of warnings
    train(net())
    still = Sequential(Flatten(), ReLU(), Dense(64, 2))  # dead, of balanced labels: no gradient
    loader = DataLoader(-X, np.arange(8) % 2, 8)
    fit(still, CrossEntropyLoss(), SGD(still.parameters()), loader, epochs=1, progress=False)
    loss(np.eye(3, dtype=np.float32)[Y] * 5, Y)
    net().astype("float64")(X.astype("float64"))
    check_layer(PlainWeight(_mask=np.ones(3)), np.ones((2, 3)))


# ------------------------------------------------------------------ names

IMPORTS = [
    ("nplenet.layers", "Linear", "nplenet.layers.Dense"),
    ("nplenet.layers", "AdaptiveAvgPool2d", "nplenet.layers.GlobalAvgPool2d"),
    ("nplenet.layers", "CrossEntropyLoss", "nplenet.losses.CrossEntropyLoss"),
    ("nplenet.optim", "clip_grad_norm_", "nplenet.optim.clip_gradients"),
    ("nplenet.optim", "CosineAnnealingLR", "nplenet.schedules.CosineLR"),
    ("nplenet.optim", "CosineLR", "nplenet.schedules.CosineLR"),
    ("nplenet.schedules", "ReduceLROnPlateau", "nplenet.schedules.PlateauLR"),
    ("nplenet.data", "MNIST", "nplenet.data.load_mnist"),
    ("nplenet", "Conv2d", "nplenet.layers.Conv2d"),
    ("nplenet", "nn", "nplenet.layers"),
    ("nplenet", "fit", "nplenet.train.fit"),
]


@pytest.mark.parametrize(("module", "name", "ours"), IMPORTS)
def test_a_name_of_pytorch_answers_with_ours(module: str, name: str, ours: str) -> None:
    words = re.escape(f"module {module!r} has no {name!r}; use {ours}") + "$"
    with pytest.raises(ImportError, match=words):
        exec(f"from {module} import {name}")
    with pytest.raises(AttributeError, match=words):
        getattr(importlib.import_module(module), name)
    assert not hasattr(importlib.import_module(module), name)


def test_an_unknown_name_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'nplenet.layers' has no attribute 'Foo'$"):
        _ = nplenet.layers.Foo  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'Foo'"):
        exec("from nplenet.layers import Foo")


@pytest.mark.parametrize("place", sorted(set(names.OURS.values())))
def test_each_name_that_is_given_exists(place: str) -> None:
    path, _, name = place.rpartition(".")
    try:
        importlib.import_module(place)
    except ImportError:
        assert hasattr(importlib.import_module(path), name)


@pytest.mark.parametrize("name", names.OF_A_LAYER)
def test_a_method_of_pytorch_answers_with_ours(name: str) -> None:
    words = re.escape(f"{name!r}; write {names.OF_A_LAYER[name]}")
    for layer in (Dense(1, 1), net()):
        with pytest.raises(AttributeError, match=words):
            getattr(layer, name)


def test_optimizers_and_schedules_answer_too() -> None:
    optimizer = Adam(net().parameters(), betas=(0.5, 0.9))
    with pytest.raises(AttributeError, match="add_param_group'; write the list of groups"):
        _ = optimizer.add_param_group
    with pytest.raises(AttributeError, match="get_last_lr'; write last_lr"):
        _ = CosineLR(optimizer, 3).get_last_lr  # type: ignore[attr-defined]


def test_the_error_within_a_property_is_its_own() -> None:
    with pytest.raises(AttributeError, match="WithProperty has no attribute 'missing'"):
        _ = WithProperty().scale


PUBLIC = [
    *("nplenet", "nplenet.augment", "nplenet.backend", "nplenet.checkpoint"),
    *("nplenet.data", "nplenet.gradcheck", "nplenet.group", "nplenet.interop", "nplenet.layers"),
    *("nplenet.losses", "nplenet.models", "nplenet.mpi", "nplenet.optim", "nplenet.parameter"),
    *("nplenet.recognize", "nplenet.schedules", "nplenet.seeds", "nplenet.train"),
]


@pytest.mark.parametrize("name", PUBLIC)
def test_completion_shows_the_public_names_of_a_module(name: str) -> None:
    module = importlib.import_module(name)
    shown = set(dir(module))
    assert shown >= set(module.__all__)
    assert not shown & {"Any", "np", "annotations", "answer_wrong_names", "Backend"} - set(
        module.__all__
    )
    for each in shown:
        assert getattr(module, each) is not None


def test_help_of_a_constructor_explains_its_parameters() -> None:
    assert Conv2d.__init__.__doc__ == Conv2d.__doc__
    assert "kernel_size, stride, padding" in str(Conv2d.__init__.__doc__)
    assert BatchNorm2d.__init__.__doc__


def test_a_call_returns_the_type_of_its_argument() -> None:
    """So that a type checker knows ``layer(x)``; and a list is none of its arrays."""
    for kind in (Layer, CrossEntropyLoss):
        hints = typing.get_type_hints(kind.__call__)
        assert hints["return"] is A
        assert A in hints.values()
