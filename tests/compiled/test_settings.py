"""A compiled step sees every change of layers, loss and optimizer, as the textbook does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from nplenet import compile
from nplenet.backend import Backend
from nplenet.compiled import TextbookStep
from nplenet.layers import (
    GELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GroupNorm,
    LayerNorm,
    LeakyReLU,
    MaxPool2d,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD, Adam, AdamW, Optimizer
from nplenet.window import Window

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 2, 9, 9)), np.arange(8) % 3
OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "SGD": lambda p: SGD(p, 0.1, momentum=0.9),
    "Adam": lambda p: Adam(p, 0.01),
    "AdamW": lambda p: AdamW(p, 0.01),
}


def images() -> Sequential:
    """The layers of images, each before one that a compiled step fuses with it, or does not."""
    g = np.random.default_rng(1)
    return Sequential(
        Conv2d(2, 3, 3, padding=1, bias=False, rng=g),
        BatchNorm2d(3),
        ReLU(),
        AvgPool2d(3, 2, 1),
        Conv2d(3, 4, 2, rng=g),
        LeakyReLU(0.1),
        MaxPool2d(2, 2),
        Flatten(),
        Dense(16, 3, rng=g),
    )


def features() -> Sequential:
    """The layers of features."""
    g = np.random.default_rng(1)
    return Sequential(
        Flatten(),
        Dense(162, 7, bias=False, rng=g),
        BatchNorm1d(7),
        Sigmoid(),
        Dropout(0.0, rng=g),
        Dense(7, 5, rng=g),
        Tanh(),
        Dropout(0.3, rng=g),
        Dense(5, 3, rng=g),
    )


NETWORKS = {"images": images, "features": features}


def network(name: str = "images") -> Sequential:
    model, g = NETWORKS[name]().astype("f8"), np.random.default_rng(2)
    for layer in model:
        if isinstance(layer, (BatchNorm1d, BatchNorm2d)):
            layer.weight.data[...] = g.uniform(0.5, 1.5, layer.weight.data.shape)
    return model


def layer_changes() -> dict[str, dict[str, Callable[[Sequential], None]]]:
    """Return for each network a change of each setting of each layer, by its name.

    ``test_every_setting_is_changed`` shows that none is missing.
    """
    changes: dict[str, dict[str, tuple[str, Any]]] = {
        "images": {
            "0.window": ("window", Window((3, 3), (1, 1), (2, 1))),
            "1.eps": ("eps", 0.5),
            "1.momentum": ("momentum", 0.4),
            "1.momentum of all": ("momentum", None),
            "1.training": ("training", False),
            "3.window": ("window", Window((2, 2), (2, 2), (1, 1))),
            "3.count_include_pad": ("count_include_pad", False),
            "5.negative_slope": ("negative_slope", 0.9),
            "5.negative_slope above 1": ("negative_slope", 1.5),
            "6.window": ("window", Window((1, 1), (2, 2), (0, 0))),
        },
        "features": {
            "2.eps": ("eps", 0.5),
            "2.momentum": ("momentum", 0.4),
            "2.training": ("training", False),
            "4.p": ("p", 0.5),
            "7.p": ("p", 0.0),
            "7.p to another": ("p", 0.6),
            "7.training": ("training", False),
        },
    }

    def change(path: str, name: str, value: Any) -> Callable[[Sequential], None]:
        return lambda model: setattr(model[int(path)], name, value)

    def freeze(*paths: int) -> Callable[[Sequential], None]:
        return lambda model: [model[i].requires_grad_(False) for i in paths] and None

    found = {
        network: {key: change(key.partition(".")[0], *pair) for key, pair in own.items()}
        for network, own in changes.items()
    }
    frozen = {"images": (0, 1, 4, 8), "features": (1, 2, 5, 8)}
    for network, paths in frozen.items():
        found[network] |= {f"{i}.requires_grad": freeze(i) for i in paths}
    found["images"]["7.features frozen"] = freeze(*range(7))
    return found


LAYER_CHANGES = layer_changes()
LOSS_CHANGES: dict[str, dict[str, Any]] = {
    "reduction": {"reduction": "sum"},
    "label_smoothing": {"label_smoothing": 0.3},
    "weight": {"weight": np.array([1.0, 2.0, 0.5])},
    "ignore_index": {"ignore_index": 1},
}
OPTIMIZER_CHANGES = {
    "SGD": {"lr": 0.3, "momentum": 0.5, "dampening": 0.2, "weight_decay": 0.1, "nesterov": True},
    "Adam": {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.1, "weight_decay": 0.1},
    "AdamW": {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.1, "weight_decay": 0.2},
}


def run(
    backend: Backend, name: str, fast: bool, change: Callable[[Any], None], optimizer: str
) -> list[Any]:
    """Two steps and a prediction, a change, then the same again."""
    model, loss = network(name).to(backend), CrossEntropyLoss()
    own = OPTIMIZERS[optimizer](model.parameters())
    step: Any = (
        compile(model, loss, own, 8, tunables={}) if fast else TextbookStep(model, loss, own, 8, "")
    )
    assert step.compiled == fast
    x, y = backend.asarray(X), backend.asarray(Y)
    found: list[Any] = []
    for turn in range(2):
        if turn:
            change(step)
        for _ in range(2):
            found.append(float(step(x, y)))
        found.append(backend.to_numpy(step.predict(x)).copy())
    found += model.state_dict().values()
    return found


@cache
def unchanged_run(backend: Backend, name: str, optimizer: str) -> list[Any]:
    return run(backend, name, True, lambda step: None, optimizer)


def compare(
    backend: Backend, change: Callable[[Any], None], optimizer: str = "SGD", name: str = "features"
) -> None:
    """The step after a change is the textbook's, to the rounding of float64; and it is another."""
    expected, found = (run(backend, name, fast, change, optimizer) for fast in (False, True))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)
    unchanged = unchanged_run(backend, name, optimizer)
    assert any(
        not np.allclose(a, b, rtol=1e-5, atol=0) for a, b in zip(found, unchanged, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "change"), [(name, key) for name, own in LAYER_CHANGES.items() for key in own]
)
def test_a_change_of_a_layer_between_two_steps_counts(
    backend: Backend, name: str, change: str
) -> None:
    compare(backend, lambda step: LAYER_CHANGES[name][change](step.model), name=name)


@pytest.mark.parametrize("name", LOSS_CHANGES)
def test_a_change_of_the_loss_between_two_steps_counts(backend: Backend, name: str) -> None:
    compare(backend, lambda step: vars(step.loss).update(LOSS_CHANGES[name]))


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, own in OPTIMIZER_CHANGES.items() for name in own]
)
def test_a_change_of_the_optimizer_between_two_steps_counts(
    backend: Backend, kind: str, name: str
) -> None:
    value = OPTIMIZER_CHANGES[kind][name]
    compare(backend, lambda step: setattr(step.optimizer, name, value), kind)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: GroupNorm(2, 4), "eps", 0.5),
        (lambda: GroupNorm(2, 4), "num_groups", 4),
        (lambda: LayerNorm((8, 8)), "eps", 0.5),
        (lambda: GELU(), "approximate", "tanh"),
        (lambda: Softmax(1), "dim", 2),
        (lambda: Residual(Sequential(LeakyReLU(0.1))), "body", Sequential(LeakyReLU(0.7))),
        (
            lambda: Conv2d(4, 4, 3, padding=2, dilation=2, rng=0),
            "window",
            Window((3, 3), (1, 1), (1, 1), (1, 1)),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_of_a_layer_without_lanes_counts(make: Any, name: str, value: Any) -> None:
    """Such a layer runs as it is, so a step sees what it is at that step."""
    found = []
    for compiled in (True, False):
        model = Sequential(
            Conv2d(2, 4, 2, rng=0), make(), ReLU(), Flatten(), Dense(256, 3, rng=1)
        ).astype("f8")
        loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), 0.1)
        step: Any = TextbookStep(model, loss, optimizer, 8, "")
        if compiled:
            step = compile(model, loss, optimizer, 8, tunables={})
        assert step.compiled == compiled
        losses = [float(step(X, Y))]
        setattr(model[1], name, value)
        if name == "body" and compiled:
            with pytest.raises(ValueError, match="compile it again"):
                step(X, Y)
            return
        found.append([*losses, float(step(X, Y)), *step.predict(X).ravel()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


def test_every_setting_is_changed_by_one_of_these_tests() -> None:
    not_settings = {"backend", "_saved", "rng", "key_there"}  # where and what, not how
    not_settings |= {"channels", "in_channels", "out_channels", "in_features", "out_features"}
    not_settings |= {"num_features", "inputs", "weight", "bias", "input_gradient", "groups"}
    covered: set[tuple[type, str]] = set()
    for network_name, changes in LAYER_CHANGES.items():
        model = network(network_name)
        for path, _, setting in (key.split()[0].partition(".") for key in changes):
            covered.add((type(model[int(path)]), setting))
    for layer in (layer for name in NETWORKS for layer in network(name)):
        arrays = {name for name, value in vars(layer).items() if hasattr(value, "dtype")}
        for name in vars(layer).keys() - not_settings - arrays:
            assert (type(layer), name) in covered, f"{type(layer).__name__}.{name}"
    loss = {name for name in vars(CrossEntropyLoss()) if not name.startswith("_")}
    assert loss - {"correct", "total"} == set(LOSS_CHANGES)
    for kind, own in OPTIMIZER_CHANGES.items():
        assert set(OPTIMIZERS[kind](network().parameters()).hyper_parameters) == set(own)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model[8], "weight", Parameter(np.ones((3, 16)))),
        lambda model: setattr(model[8], "bias", None),
        lambda model: model.layers.update({"2": Tanh()}),
    ],
    ids=["parameter", "no bias", "layer"],
)
def test_a_part_of_the_model_that_was_replaced_is_named(backend: Backend, change: Any) -> None:
    model = network()
    step = compile(model.to(backend), CrossEntropyLoss(), SGD(model.parameters()), 8, tunables={})
    x, y = backend.asarray(X), backend.asarray(Y)
    step(x, y)
    change(model)
    if isinstance(model[8].weight.data, np.ndarray):
        model.to(backend)
    with pytest.raises(ValueError, match="compile it again"):
        step(x, y)
