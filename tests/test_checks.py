"""The checks of arguments: what each accepts, what it refuses, and how it says so."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet import checks
from nplenet.augment import Compose, RandomGrayscale, RandomInvert, RandomRotation
from nplenet.checkpoint import CheckpointFolder, load
from nplenet.data import DataLoader, train_validation_split
from nplenet.layers import Conv2d, Dense, Dropout, Parameter, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD, Adam
from nplenet.schedules import CosineLR, StepLR
from nplenet.train import fit

THREES = [3, np.int64(3), np.uint8(3), np.array(3)]
HALVES = [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5)]


@pytest.mark.parametrize("value", THREES)
def test_every_kind_of_integer_is_a_count(value: Any) -> None:
    found = checks.count(value, "Owner: size")
    assert type(found) is int
    assert found == 3


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float64(3), "3", None, [3], np.ones(1)])
def test_what_is_not_an_integer_is_not_a_count(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^Owner: size must be an int, got "):
        checks.count(value, "Owner: size")


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (0, (1,), "^Owner: size must be at least 1, got 0$"),
        (-1, (0, 255), "^Owner: size must be an int from 0 to 255, got -1$"),
        (256, (0, 255), "^Owner: size must be an int from 0 to 255, got 256$"),
    ],
)
def test_a_count_out_of_range_is_refused(value: int, limits: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checks.count(value, "Owner: size", *limits)


@pytest.mark.parametrize("value", [*THREES, *HALVES])
def test_every_kind_of_number_becomes_a_float(value: Any) -> None:
    found = checks.number(value, "Owner: lr")
    assert type(found) is float
    assert found == value


@pytest.mark.parametrize("value", [True, np.False_, "0.5", None, 1j, (0.5,), np.ones(1)])
def test_what_is_not_a_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^Owner: lr must be a number, got "):
        checks.number(value, "Owner: lr")


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1]", [0, 0.5, 1], [-0.1, 1.1, math.nan, math.inf]),
        ("[0, 1)", [0, 0.5], [-0.1, 1, math.nan]),
        ("(0, inf)", [1e-300, 1e300], [0, -1, math.inf, math.nan]),
        ("[0, inf]", [0, math.inf], [-1e-300, -math.inf, math.nan]),
        ("(-inf, inf)", [-1e300, 0], [math.inf, -math.inf, math.nan]),
    ],
)
def test_a_bracket_says_whether_an_end_belongs_to_the_interval(
    interval: str, inside: list[float], outside: list[float]
) -> None:
    assert [checks.number(value, "Owner: p", interval) for value in inside] == inside
    for value in outside:
        with pytest.raises(ValueError, match=r"^Owner: p must be a number in ") as refusal:
            checks.number(value, "Owner: p", interval)
        assert f"{interval}, got {value!r}" in str(refusal.value)


def test_labels_are_integers_on_one_axis() -> None:
    assert checks.labels([1, 2], "Owner: labels").tolist() == [1, 2]
    for wrong in (np.ones((2, 2), int), np.ones(0, int)):
        with pytest.raises(ValueError, match=r"^Owner: labels must have shape \(N,\)"):
            checks.labels(wrong, "Owner: labels")
    for wrong in (np.ones(2), np.ones(2, bool)):
        with pytest.raises(TypeError, match=r"^Owner: labels must be integers"):
            checks.labels(wrong, "Owner: labels")


def test_a_state_names_all_that_does_not_fit() -> None:
    own = {"a": np.ones(2), "b": np.ones(3)}
    with pytest.raises(ValueError, match=r"^Owner: missing \['b', 'lr'\], unknown \['c'\]$"):
        checks.state({"a": 1, "c": 1}, own, ["lr"], "Owner")
    wrong = {"a": np.ones(3), "b": np.ones(3, complex), "lr": 1}
    with pytest.raises(ValueError, match=r"^Owner: a is float64 \(3,\), .*; b is complex128"):
        checks.state(wrong, own, ["lr"], "Owner")
    assert checks.state({"a": [1, 2], "b": [1, 2, 3], "lr": 1}, own, ["lr"], "Owner").keys() == {
        "a",
        "b",
    }


def test_numpy_numbers_are_accepted_where_python_ones_are() -> None:
    Conv2d(np.int64(1), 2, 3)
    optimizer = SGD([Parameter(np.ones(2))], lr=np.float32(0.5))
    assert StepLR(optimizer, np.int64(3), np.float64(0.5)).rate(3) == 0.25
    assert repr(RandomRotation(np.float32(15), np.uint8(9)))
    assert RandomInvert(np.float64(0.5)).p == 0.5


# ------------------------------------------------------------------ seeds and NumPy's numbers


@pytest.mark.parametrize("seed", [0, 1, np.int64(0), np.uint8(7)])
def test_an_int_is_a_seed_wherever_a_generator_is_taken(seed: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    labels = np.arange(6) % 2
    makers: dict[str, Callable[[Any], np.ndarray]] = {
        "Conv2d": lambda rng: Conv2d(1, 2, 3, rng=rng, init="pytorch").bias.data,  # type: ignore[union-attr]
        "Dense": lambda rng: Dense(4, 2, rng=rng).weight.data,
        "Dropout": lambda rng: Dropout(0.5, rng=rng)(np.ones((4, 9))),
        "loader": lambda rng: np.concatenate(
            [x for x, _ in DataLoader(images, labels, 2, shuffle=True, rng=rng)]
        ),
        "transform": lambda rng: next(
            iter(DataLoader(images, labels, 6, transform=RandomInvert(), transform_rng=rng))
        )[0],
        "call": lambda rng: Compose([RandomInvert(), RandomGrayscale()])(images, rng),
        "split": lambda rng: train_validation_split(labels, 2, rng)[1],
    }
    for name, make in makers.items():
        expected = make(np.random.default_rng(int(seed)))
        np.testing.assert_array_equal(make(seed), expected, err_msg=name)
        np.testing.assert_array_equal(make(seed), expected, err_msg=name)


@pytest.mark.parametrize(
    ("rng", "error"), [(np.random.RandomState(0), TypeError), (True, TypeError), (-1, ValueError)]
)
def test_what_is_no_generator_is_refused_where_it_is_given(rng: Any, error: type) -> None:
    makers: list[tuple[str, Callable[[], object]]] = [
        ("Conv2d: rng", lambda: Conv2d(1, 2, 3, rng=rng)),
        ("Dense: rng", lambda: Dense(4, 2, rng=rng)),
        ("Dropout: rng", lambda: Dropout(0.5, rng=rng)),
        ("DataLoader: rng", lambda: DataLoader(np.ones((2, 2)), np.arange(2), 1, rng=rng)),
    ]
    for name, make in makers:
        with pytest.raises(error, match=f"{name} must be"):
            make()


def test_numpy_numbers_train_and_are_saved_as_numbers(tmp_path: Path) -> None:
    model = Sequential(Dense(4, 3, rng=0))
    optimizer = Adam(model.parameters(), np.float64(0.1), (np.float32(0.9), np.float64(0.99)))
    schedule = CosineLR(optimizer, np.int64(8), np.float32(0.01))
    loader = DataLoader(np.ones((8, 4), np.float32), np.arange(8) % 3, np.int32(4))
    arguments = {
        "rate": np.float32(0.5),
        "sizes": [np.int64(3)],
        "flag": np.True_,
        "all": np.ones(2),
    }
    folder = CheckpointFolder(tmp_path, arguments=arguments)

    def change(epoch: Any) -> None:
        optimizer.weight_decay = np.float32(0.25)

    fit(
        model,
        CrossEntropyLoss(label_smoothing=np.float32(0.125)),
        optimizer,
        loader,
        epochs=np.int64(2),  # type: ignore[arg-type]
        schedule=schedule,
        checkpoints=folder,
        progress=False,
        on_epoch=change,
    )
    record = load(tmp_path / "checkpoint.safetensors").record
    assert record["arguments"] == {"rate": 0.5, "sizes": [3], "flag": True, "all": [1.0, 1.0]}
    assert record["optimizer"]["weight_decay"] in (0.0, 0.25)
    assert type(optimizer.weight_decay) is type(optimizer.lr) is float
    assert record["schedule"]["T_max"] == 8
