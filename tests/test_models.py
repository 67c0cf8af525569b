"""LeNet5 and LeNet5For28x28: names, sizes and seeds."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.compiled import compile
from nplenet.layers import Dense, Dropout, Flatten, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5, LeNet5For28x28
from nplenet.optim import SGD

# Of the same module in PyTorch: list(torch_model.state_dict()).
PYTORCH_KEYS = [
    "features.0.weight",
    "features.1.weight",
    "features.1.bias",
    "features.1.running_mean",
    "features.1.running_var",
    "features.1.num_batches_tracked",
    "features.4.weight",
    "features.5.weight",
    "features.5.bias",
    "features.5.running_mean",
    "features.5.running_var",
    "features.5.num_batches_tracked",
    "classifier.1.weight",
    "classifier.1.bias",
    "classifier.4.weight",
    "classifier.4.bias",
    "classifier.7.weight",
    "classifier.7.bias",
]

# Likewise of the nn.Sequential.
KEYS_FOR_28X28 = [
    f"{layer}.{name}"
    for layer, names in [
        (0, ["weight", "bias"]),
        (3, ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]),
        (4, ["weight", "bias"]),
        (7, ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]),
        (9, ["weight", "bias"]),
        (11, ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]),
        (13, ["weight", "bias"]),
        (15, ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]),
        (17, ["weight", "bias"]),
    ]
    for name in names
]


def images(n: int = 2, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, channels, 32, 32)).astype(np.float32)


def test_the_names_of_its_state_are_those_of_the_pytorch_module() -> None:
    assert list(LeNet5().state_dict()) == PYTORCH_KEYS


def test_convolutions_get_a_bias_when_asked() -> None:
    added = LeNet5(conv_bias=True).state_dict().keys() - set(PYTORCH_KEYS)
    assert added == {"features.0.bias", "features.4.bias"}


def test_the_shapes_of_its_parameters() -> None:
    assert {p.name: p.data.shape for p in LeNet5().parameters()} == {
        "features.0.weight": (6, 1, 5, 5),
        "features.1.weight": (6,),
        "features.1.bias": (6,),
        "features.4.weight": (16, 6, 5, 5),
        "features.5.weight": (16,),
        "features.5.bias": (16,),
        "classifier.1.weight": (120, 400),
        "classifier.1.bias": (120,),
        "classifier.4.weight": (84, 120),
        "classifier.4.bias": (84,),
        "classifier.7.weight": (10, 84),
        "classifier.7.bias": (10,),
    }


def test_its_summary_counts_61_728_parameters_and_416_520_multiply_adds() -> None:
    total = LeNet5().summary((1, 1, 32, 32)).splitlines()[-1]
    assert total.split() == ["total", "(1,", "10)", "61,728", "416,520"]


@pytest.mark.parametrize(("classes", "channels"), [(10, 1), (7, 3)])
def test_it_gives_one_logit_a_class(classes: int, channels: int, backend: Backend) -> None:
    model = LeNet5(num_classes=classes, in_channels=channels, seed=0).to(backend)
    y = backend.to_numpy(model(backend.asarray(images(3, channels))))
    assert y.shape == (3, classes)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()


def test_the_same_seed_gives_the_same_weights_and_masks() -> None:
    a, b = LeNet5(seed=3), LeNet5(seed=3)
    assert all(np.array_equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    for _ in range(2):
        np.testing.assert_array_equal(a(images()), b(images()), strict=True)


@pytest.mark.parametrize("seed", [4, None])
def test_another_seed_gives_other_weights(seed: int | None) -> None:
    a, b = LeNet5(seed=3).state_dict(), LeNet5(seed=seed).state_dict()
    assert not np.array_equal(a["features.0.weight"], b["features.0.weight"])


def test_the_weights_do_not_depend_on_dropout() -> None:
    a, b = LeNet5(seed=3, dropout=0.0).state_dict(), LeNet5(seed=3, dropout=0.5).state_dict()
    assert all(np.array_equal(v, b[k]) for k, v in a.items())


def test_an_image_that_is_not_32_by_32_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Dense\(400, 120.* takes 400 .* of shape \(1, 576\)"):
        LeNet5()(np.zeros((1, 1, 36, 36), np.float32))


def test_an_image_of_28_by_28_is_refused_unless_a_head_of_ones_own_takes_it() -> None:
    model, x = LeNet5(), np.zeros((1, 1, 28, 28), np.float32)
    with pytest.raises(ValueError, match=r"takes images of 32x32.*pad_images.*LeNet5For28x28"):
        model(x)
    model.classifier = Sequential(Flatten(), Dense(256, 10))
    assert model(x).shape == (1, 10)


def test_float64_is_float64_throughout() -> None:
    model = LeNet5(dtype=np.float64, seed=0)
    y = model(images().astype(np.float64))
    dx = model.backward(np.ones_like(y))
    assert {a.dtype for a in (y, dx, *(p.grad for p in model.parameters()))} == {
        np.dtype(np.float64)
    }


# ------------------------------------------------------------------ LeNet5For28x28


def test_the_state_for_28_by_28_has_the_names_of_the_pytorch_module() -> None:
    assert list(LeNet5For28x28().state_dict()) == KEYS_FOR_28X28


def test_the_summary_for_28_by_28_counts_62_158_parameters() -> None:
    total = LeNet5For28x28().summary((1, 1, 28, 28)).splitlines()[-1]
    assert total.split() == ["total", "(1,", "10)", "62,158", "416,520"]


def test_it_gives_a_logit_per_class_for_images_of_28_by_28(backend: Backend) -> None:
    model = LeNet5For28x28(seed=0).to(backend)
    y = backend.to_numpy(model(backend.asarray(images(3)[:, :, 2:-2, 2:-2])))
    assert y.shape == (3, 10)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()


def test_its_dropout_probability_is_one_half() -> None:
    assert [layer.p for layer in LeNet5For28x28() if isinstance(layer, Dropout)] == [0.5, 0.5]


def test_the_same_seed_gives_it_the_same_weights_and_masks() -> None:
    a, b = LeNet5For28x28(seed=3), LeNet5For28x28(seed=3)
    assert all(np.array_equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    x = images()[:, :, 2:-2, 2:-2]
    np.testing.assert_array_equal(a(x), b(x), strict=True)
    other = LeNet5For28x28(seed=4).state_dict()["0.weight"]
    assert not np.array_equal(a.state_dict()["0.weight"], other)


def test_the_old_name_of_the_variant_for_28_by_28_still_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match=r"use nplenet\.models\.LeNet5For28x28"):
        old = LeNet5.notebook(seed=3)
    assert np.array_equal(old[0].weight.data, LeNet5For28x28(seed=3)[0].weight.data)


def repickled(model: LeNet5, protocol: int) -> Any:
    return pickle.loads(pickle.dumps(model, protocol))


@pytest.mark.parametrize(
    "twin_of",
    [copy.copy, copy.deepcopy, *(partial(repickled, protocol=p) for p in (2, 5))],
    ids=["copy", "deepcopy", "pickle 2", "pickle 5"],
)
def test_a_copy_of_a_model_computes_on_the_same_backend(backend: Backend, twin_of: Any) -> None:
    model = LeNet5(seed=3).to(backend)
    twin = twin_of(model)
    assert {id(layer.backend) for _, layer in twin.modules()} == {id(backend)}
    step = compile(twin, CrossEntropyLoss(), SGD(twin.parameters()), 2, tunables={})
    assert step.compiled
    x = backend.asarray(images())
    np.testing.assert_array_equal(
        backend.to_numpy(twin.eval()(x)), backend.to_numpy(model.eval()(x)), strict=True
    )
