"""Layers that share a parameter still share it in a model that comes from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import assert_same_weights

from nplenet import architecture, register
from nplenet.checkpoint import (
    LATEST,
    CheckpointError,
    CheckpointFolder,
    load,
    load_model,
    save_model,
)
from nplenet.checkpoint.file import read_file, write_file
from nplenet.data import DataLoader
from nplenet.layers import Dense, Layer, Parameter, ReLU, Residual, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD
from nplenet.train import fit

X = np.random.default_rng(0).standard_normal((12, 5), dtype=np.float32)
Y = np.arange(12) % 3


def chain() -> Sequential:
    """Return a network whose parameters are shared across chains, a residual block among them."""
    inner = Sequential(Dense(5, 5, rng=1), ReLU())
    model = Sequential(Dense(5, 5, rng=0), ReLU(), Residual(inner), head=Dense(5, 3, rng=2))
    inner[0].weight, inner[0].bias = model[0].weight, model[0].bias
    return model


def train(model: Layer, **more: Any) -> Layer:
    loader = DataLoader(X, Y, 4)
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    fit(model.train(), CrossEntropyLoss(), optimizer, loader, epochs=2, progress=False, **more)
    return model


def test_a_model_that_shares_parameters_trains_on_from_its_file_as_without(tmp_path: Path) -> None:
    model = chain()
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert [p.name for p in again.parameters()] == [p.name for p in model.parameters()]
    assert [p.name for p in again.parameters()] == [
        "0.weight",
        "0.bias",
        "head.weight",
        "head.bias",
    ]
    assert again[2].body[0].weight is again[0].weight  # type: ignore[index]
    assert_same_weights(train(model), train(again))
    assert np.array_equal(again[2].body[0].weight.data, again[0].weight.data)  # type: ignore[index]


def test_the_checkpoint_of_a_run_knows_what_its_layers_share(tmp_path: Path) -> None:
    model = train(chain(), checkpoints=CheckpointFolder(tmp_path))
    again = load_model(tmp_path / LATEST)
    assert_same_weights(model, again)
    assert len(again.parameters()) == len(model.parameters()) == 4
    resumed = train(chain(), resume=load(tmp_path / LATEST))
    assert_same_weights(model, resumed)


def test_a_file_without_the_field_is_read_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    save_model(chain(), path)
    file = read_file(path)
    del file.record["tied"]
    write_file(path, file.tensors, file.record)
    model = load_model(path)
    assert len(model.parameters()) == 6
    assert_same_weights(model, chain())


@pytest.mark.parametrize(
    ("tied", "words"),
    [
        ({"2.body.0.weight": "head.weight"}, "2.body.0.weight and head.weight are one parameter"),
        ({"2.body.0.weight": "head.bias"}, "but their weights differ"),
        ({"2.body.0.weight": "7.weight"}, "the model has no such shared parameter"),
        ({"7.weight": "0.weight"}, "the model has no such shared parameter"),
        ({"0.weight": "2.body.0.weight", "2.body.0.weight": "0.weight"}, "no such shared"),
        ({"0.weight": "0.weight"}, "the model has no such shared parameter"),
        ({"0.weight": 1}, "tied.0.weight must be a text"),
        (["0.weight"], "tied must be an object"),
    ],
)
def test_a_forged_field_is_refused(tmp_path: Path, tied: Any, words: str) -> None:
    path = tmp_path / "m.safetensors"
    save_model(chain(), path)
    file = read_file(path)
    file.record["tied"] = tied
    write_file(path, file.tensors, file.record)
    with pytest.raises(CheckpointError, match=words):
        load_model(path)


def test_a_state_with_two_values_for_a_shared_parameter_changes_nothing() -> None:
    model, before = chain(), chain()
    state = model.state_dict()
    state["head.bias"] += 1.0
    state["2.body.0.bias"] += 1.0
    with pytest.raises(
        ValueError, match=r"0\.bias and 2\.body\.0\.bias are one parameter, got two"
    ):
        model.load_state_dict(state)
    assert_same_weights(model, before)
    state["0.bias"] += 1.0
    model.load_state_dict(state)
    assert np.array_equal(model[0].bias.data, before[0].bias.data + 1.0)


def test_a_layer_of_ones_own_may_share_in_its_constructor_but_not_through_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architecture, "TYPES", dict(architecture.TYPES))

    @register
    class Twice(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.weights = [Parameter(np.ones(5, np.float32))]
            self.weight = self.again = Parameter(np.ones(5, np.float32))

        def forward(self, x: Any) -> Any:
            return self.remember(x * self.weight.data * self.again.data * self.weights[0].data)

    save_model(Twice(), tmp_path / "m.safetensors")
    again: Any = load_model(tmp_path / "m.safetensors")
    assert again.weight is again.again
    other = Twice()
    other.weights[0] = other.weight
    outer = Sequential(Twice(), other)
    outer[1].weights[0] = outer[0].weight
    with pytest.raises(ValueError, match=r"1\.weights\.0 is shared, so it must be an attribute"):
        save_model(outer, tmp_path / "m.safetensors")
