"""The checks of arguments: what each accepts, what it refuses, and how it says so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nplenet import checks
from nplenet.augment import RandomInvert, RandomRotation
from nplenet.layers import Conv2d, Parameter
from nplenet.optim import SGD
from nplenet.schedules import StepLR

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
