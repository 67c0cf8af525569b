"""A part of a run in the place of another, or of another run: named before the first step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nplenet
from nplenet.augment import Compose, ToFloat
from nplenet.checkpoint import LATEST, CheckpointError, CheckpointFolder, load
from nplenet.data import DataLoader, load_dataset
from nplenet.layers import Dense, Flatten, Layer, ReLU, Sequential, Tanh
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD, clip_gradient_values, clip_gradients
from nplenet.schedules import CosineLR
from nplenet.train import evaluate, fit

X = np.random.default_rng(0).random((8, 1, 4, 4), dtype=np.float32)
Y = np.arange(8) % 3


def net() -> Sequential:
    return Sequential(Flatten(), Dense(16, 3, rng=0))


def run(**changed: Any) -> Any:
    model = net()
    optimizer = SGD(model.parameters(), 0.1)
    parts: dict[str, Any] = {
        "model": model,
        "loss": CrossEntropyLoss(),
        "optimizer": optimizer,
        "loader": DataLoader(X, Y, 4),
        "epochs": 1,
        "progress": False,
    }
    return fit(**(parts | changed))


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a list of batches": (lambda: run(loader=[(X, Y)]), "fit: loader must be a DataLoader, got"),
    "a generator": (lambda: run(loader=((X, Y) for _ in range(1))), "loader must be a DataLoader"),
    "a class of losses": (lambda: run(loss=CrossEntropyLoss), "got the class CrossEntropyLoss"),
    "a class of optimizers": (lambda: run(optimizer=SGD), "fit: optimizer must be .* class SGD"),
    "a class of schedules": (lambda: run(schedule=CosineLR), "fit: schedule must be .* CosineLR"),
    "layers in a list": (lambda: run(model=[Flatten()]), "fit: model must be a Layer, such as"),
    "a folder's name": (lambda: run(checkpoints="run"), r"CheckpointFolder\(folder\), got 'run'"),
    "a file's name": (lambda: run(resume="x"), r"nplenet.checkpoint.load\(path\) returns, got 'x'"),
    "a number as transform": (lambda: DataLoader(X, Y, 4, transform=5), "transform must be a func"),  # type: ignore[arg-type]
    "loss and optimizer exchanged": (
        lambda: nplenet.compile(net(), SGD(net().parameters()), CrossEntropyLoss(), 8),  # type: ignore[arg-type]
        "compile: loss must be a loss, such as",
    ),
    "a step evaluated": (
        lambda: evaluate(nplenet.compile(net()), X, Y),  # type: ignore[arg-type]
        r"evaluate_with\(step.predict, ...\)",
    ),
    "a model's gradients": (
        lambda: clip_gradients(net(), 1.0),  # type: ignore[arg-type]
        r"clip_gradients: params must be .* model.parameters\(\)",
    ),
    "a model's gradient values": (
        lambda: clip_gradient_values([net()], 1.0),  # type: ignore[list-item]
        r"clip_gradient_values: params must be .* model.parameters\(\)",
    ),
    "a class of transforms": (
        lambda: Compose([ToFloat]),  # type: ignore[list-item]
        "Compose: transforms: expected transform",
    ),
    "a transform alone": (
        lambda: Compose(ToFloat()),  # type: ignore[arg-type]
        "Compose: transforms must be a list of transforms",
    ),
    "a word for a truth value": (
        lambda: net().requires_grad_("False"),  # type: ignore[arg-type]
        "Sequential.requires_grad_ must be True or False, got 'False'",
    ),
    "a word for a mode": (
        lambda: net().train("no"),  # type: ignore[arg-type]
        "Sequential.train must be True or False",
    ),
    "nothing saved": (
        lambda: nplenet.save_model(None, "x.safetensors"),  # type: ignore[arg-type]
        "save_model: model must be a Layer",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_another_thing_in_the_place_of_a_part_is_named(mistake: str) -> None:
    call, words = WRONG[mistake]
    with pytest.raises(TypeError, match=words):
        call()


def test_a_schedule_of_another_optimizer_is_refused() -> None:
    other = SGD(net().parameters(), 0.1)
    with pytest.raises(ValueError, match="the schedule sets the rate of another optimizer"):
        run(schedule=CosineLR(other, 10))  # it would change a rate that no step reads


@pytest.mark.parametrize(
    ("other", "error"),
    [(Tanh, "it has ReLU at 2, where this model has Tanh"), (None, "this model has no layer")],
    ids=["another", "none"],
)
def test_a_run_of_a_model_of_other_layers_is_refused(
    other: type[Layer] | None, error: str, tmp_path: Path
) -> None:
    """Their arrays have the same shapes."""

    def model(kind: type[Layer] | None) -> Sequential:
        end = [] if kind is None else [kind()]
        return Sequential(Flatten(), Dense(16, 3, rng=0), *end)

    first, second = model(ReLU), model(other)
    run(model=first, optimizer=SGD(first.parameters(), 0.1), checkpoints=CheckpointFolder(tmp_path))
    resume, before = load(tmp_path / LATEST), second[1].weight.data.copy()
    with pytest.raises(CheckpointError, match=f"is of another run: .*{error}"):
        run(model=second, optimizer=SGD(second.parameters(), 0.1), resume=resume, epochs=2)
    np.testing.assert_array_equal(second[1].weight.data, before)


def test_a_step_of_an_optimizer_of_another_model_is_refused() -> None:
    optimizer = SGD(net().parameters(), 0.1)
    with pytest.raises(ValueError, match="compile: the optimizer has no parameter of this model"):
        nplenet.compile(net(), CrossEntropyLoss(), optimizer, 8)


def test_a_layer_replaced_after_the_optimizer_was_made_is_noticed() -> None:
    model = Sequential(Flatten(), Dense(16, 8, rng=0), ReLU(), Dense(8, 3, rng=0))
    optimizer = SGD(model.parameters(), 0.1)
    model[3] = Dense(8, 3, rng=1)  # nothing would train it
    with pytest.warns(UserWarning, match=r"does not train Parameter\(3\.weight.*layer replaced"):
        run(model=model, optimizer=optimizer)
    run(model=model, optimizer=SGD(model[3].parameters(), 0.1))  # the rest stays as it is
    run(model=model, optimizer=SGD([*model.parameters(), *net().parameters()], 0.1))


def test_one_number_is_the_size_of_a_data_set() -> None:
    assert load_dataset("digits", size=36).train_images.shape[2:] == (36, 36)
    with pytest.raises(TypeError, match="load_dataset: size must be an int"):
        load_dataset("digits", size="36")  # type: ignore[arg-type]
