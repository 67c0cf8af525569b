"""One check for each kind of argument, with one wording.

``name`` begins with the owner of the argument, as the message then does: ``StepLR: step_size``.
NumPy scalars and 0-dimensional arrays are accepted wherever Python numbers are; a bool is not a
number. A wrong type is a TypeError, a value out of range a ValueError.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Pair = tuple[int, int]
A = TypeVar("A")

Checks = Mapping[str, Callable[[Any, str], Any]]
"""The check of each argument by its name: it takes a value and ``name``, as those below do."""


def count(value: Any, name: str, minimum: int = 1, maximum: int | None = None) -> int:
    """Return an integer of ``minimum`` to ``maximum`` as an int."""
    plain = _plain(value)
    if isinstance(plain, (bool, np.ndarray)) or not hasattr(plain, "__index__"):
        raise TypeError(f"{name} must be an int, got {value!r}")
    number = operator.index(plain)
    if maximum is None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    if maximum is not None and not minimum <= number <= maximum:
        raise ValueError(f"{name} must be an int from {minimum} to {maximum}, got {value!r}")
    return number


def pair(value: int | Pair, name: str, minimum: int) -> Pair:
    """Return ``value`` as (height, width); an integer stands for both."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise TypeError(f"{name} must be an int or a pair (height, width) of ints, got {value!r}")
    return count(both[0], name, minimum), count(both[1], name, minimum)


def sizes(value: Any, name: str) -> tuple[int, ...]:
    """Return the shape of an array: a sequence of integers of at least 1, as a tuple."""
    if np.ndim(value) != 1:
        raise TypeError(f"{name} must be a tuple of ints, got {value!r}")
    return tuple(count(size, f"{name}[{i}]") for i, size in enumerate(value))


def number(value: Any, name: str, interval: str = "(-inf, inf)") -> float:
    """Return a number inside ``interval`` as a float; a round bracket excludes its end."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    low, high = map(float, interval[1:-1].split(","))
    try:
        found = float(plain)
    except OverflowError:  # of an integer that no float can hold
        found = math.nan
    inside = low < found < high  # never with NaN
    inside |= interval[0] == "[" and found == low
    inside |= interval[-1] == "]" and found == high
    if not inside:
        raise ValueError(f"{name} must be a number in {interval}, got {value!r}")
    return found


def not_negative(value: Any, name: str) -> float:
    """Return a finite number of at least 0 as a float."""
    return number(value, name, "[0, inf)")


def positive(value: Any, name: str) -> float:
    """Return a finite number above 0 as a float."""
    return number(value, name, "(0, inf)")


def fraction(value: Any, name: str) -> float:
    """Return a number from 0 to 1 as a float."""
    return number(value, name, "[0, 1]")


def byte(value: Any, name: str) -> int:
    """Return an integer from 0 to 255 as an int."""
    return count(value, name, 0, 255)


def float_dtype(value: Any, name: str) -> np.dtype[Any]:
    """Return a floating-point dtype."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind != "f":
        raise TypeError(f"{name} must be a floating-point type, got {dtype or repr(value)}")
    return dtype


def one_or_more(check: Callable[[Any, str], float]) -> Callable[[Any, str], tuple[float, ...]]:
    """Return a check of a number, or a sequence of numbers, that makes a tuple of floats."""

    def checked(values: Any, name: str) -> tuple[float, ...]:
        if np.ndim(values) > 1 or np.size(values) == 0:
            raise TypeError(f"{name} must be a number or a sequence of numbers, got {values!r}")
        each = [values] if np.ndim(values) == 0 else values
        return tuple(check(value, name) for value in each)

    return checked


def as_given(check: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Return a check that gives back the value itself, for a ``repr`` as it was written."""

    def checked(value: Any, name: str) -> Any:
        check(value, name)
        return value

    return checked


def flag(value: Any, name: str) -> bool:
    """Return True or False, NumPy's as well."""
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return plain


def generator(value: Any, name: str) -> np.random.Generator:
    """Return a random generator of NumPy: ``value`` itself, or a new one where that is a seed."""
    if isinstance(value, np.random.Generator):
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return np.random.default_rng(count(value, name, 0))
    raise TypeError(
        f"{name} must be a numpy.random.Generator, or an int, the seed of one, got {value!r}; make "
        "one with numpy.random.default_rng(seed)"
    )


def generator_or_new(value: Any, name: str) -> np.random.Generator:
    """Do what ``generator`` does; for None return a new one with fresh entropy."""
    return np.random.default_rng() if value is None else generator(value, name)


def for_json(value: Any) -> Any:
    """Return a number or array of NumPy as plain Python values, for ``json.dumps(default=...)``."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} can't be saved: {value!r}")


def images(value: Any, name: str) -> npt.NDArray[Any]:
    """Return ``value``, an array (N, ...) of NumPy; whether a list holds bytes cannot be told."""
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        kind = type(value).__name__
        raise TypeError(f"{name} must be an array, got {kind}; use numpy.stack on a list of images")
    return unmasked(value, name)


def labels(value: npt.ArrayLike, name: str) -> npt.NDArray[np.integer[Any]]:
    """Return integer labels (N,), N >= 1, as an array."""
    array = np.asarray(unmasked(value, name))
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have shape (N,) with N >= 1, got {array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    return array


def state(
    given: Mapping[str, Any], arrays: Mapping[str, Any], others: Iterable[str], name: str
) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a state_dict whose keys are exactly those of ``arrays`` and ``others``.

    Each must have the shape of the entry of ``arrays`` under its key, and a dtype that converts to
    the dtype of this entry.
    """
    expected = {*arrays, *others}
    missing, unknown = sorted(expected - given.keys()), sorted(given.keys() - expected)
    if missing or unknown:
        raise ValueError(f"{name}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}")
    found = {key: np.asarray(unmasked(given[key], f"{name}: {key}")) for key in arrays}
    wrong = [
        f"{key} is {found[key].dtype} {found[key].shape}, expected {own.dtype} {own.shape}"
        for key, own in arrays.items()
        if found[key].shape != own.shape
        or not np.can_cast(found[key].dtype, own.dtype, "same_kind")
    ]
    if wrong:
        raise ValueError(f"{name}: {'; '.join(wrong)}")
    return found


ALLOW = "to load them all the same: allow_non_finite=True, in commands --allow-non-finite"


def finite(state: Mapping[str, npt.NDArray[Any]], name: str, cure: str = ALLOW) -> None:
    """Refuse weights of which some are NaN or infinite, which no training gets rid of."""
    bad = {key: array for key, array in state.items() if array.dtype.kind == "f"}
    bad = {key: array for key, array in bad.items() if not np.isfinite(array).all()}
    if bad:
        key, array = next(iter(bad.items()))
        wrong = array[~np.isfinite(array)]
        count = sum(int((~np.isfinite(a)).sum()) for a in bad.values())
        total = sum(a.size for a in state.values())
        raise ValueError(
            f"{name}: {count:,} of {total:,} weights are not finite, such as {wrong[0]} in {key}: "
            f"training diverged, or the file is damaged; {cure}"
        )


PARTS = {
    "model": ("modules", "a Layer, such as a Sequential"),
    "loss": ("reduction", "a loss, such as CrossEntropyLoss()"),
    "optimizer": ("flats", "an optimizer of nplenet.optim, such as Adam(model.parameters())"),
    "loader": ("images", "a DataLoader"),
    "schedule": ("end_epoch", "a schedule of nplenet.schedules"),
    "checkpoints": ("keep", "a CheckpointFolder(folder)"),
    "resume": ("record", "a Checkpoint, such as nplenet.checkpoint.load(path) returns"),
}
"""The parts of a run: an attribute that each has, whatever its class, and what it is."""


def parts(owner: str, **given: Any) -> None:
    """Raise a TypeError for a part of a run that is another thing, or a class."""
    for name, value in given.items():
        member, kind = PARTS[name]
        if isinstance(value, type):
            raise TypeError(f"{owner}: {name} must be {kind}, got the class {value.__name__}")
        if not hasattr(value, member):
            raise TypeError(f"{owner}: {name} must be {kind}, got {value!r:.60}")


def is_masked(value: object) -> bool:
    """Say whether a value is an array of ``numpy.ma``, which this does not load."""
    return isinstance(value, np.ndarray) and hasattr(value, "mask")


def unmasked(value: A, name: str) -> A:
    """Refuse an array of ``numpy.ma``: what is masked would count like the rest."""
    if is_masked(value):
        raise TypeError(f"{name} must not be masked; give it values: array.filled(0)")
    return value


def _plain(value: Any) -> Any:
    """Return the Python value of a NumPy scalar or 0-dimensional array; other values as is."""
    if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0:
        return value.item()
    return value
