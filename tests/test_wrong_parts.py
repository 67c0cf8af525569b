"""A part of a run in the place of another, or of another run: named before the first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nplenet
from nplenet.data import DataLoader
from nplenet.layers import Dense, Flatten, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD
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


def test_a_step_of_an_optimizer_of_another_model_is_refused() -> None:
    optimizer = SGD(net().parameters(), 0.1)
    with pytest.raises(ValueError, match="compile: the optimizer has no parameter of this model"):
        nplenet.compile(net(), CrossEntropyLoss(), optimizer, 8)
