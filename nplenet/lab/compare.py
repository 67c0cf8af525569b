"""Compare what an answer gave with what is right, and name the mistake in the field's words.

A check passes the likely wrong answers along: if an array equals one of them, the sentence says
which mistake makes it. A sign, a factor, a transposition and the like are found for any array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

TOLERANCE = 1e-5  # of the largest value: an answer may compute in float32 inside

MAX_PLACES = 3  # on an axis, that a sentence lists

Mistakes = Sequence[tuple[Any, str]]
"""Pairs of a wrong result, or a function that returns it, and the sentence that names its cause."""


class WrongAnswer(Exception):
    """An answer is wrong, or can't be tried; the message says how."""


def compare(
    what: str,
    found: object,
    expected: npt.ArrayLike,
    mistakes: Mistakes = (),
    factors: Mapping[str, float] | None = None,
) -> None:
    """Raise a ``WrongAnswer`` unless ``found`` equals ``expected``.

    Parameters
    ----------
    what : str
        What was computed, with its geometry; the sentence begins with it.
    found : object
        Whatever the answer returned.
    expected : array
    mistakes : sequence of (array or function, sentence)
    factors : mapping of str to float, optional
        What a factor may be, such as ``{"N, the number of images": 4}``.
    """
    right = np.asarray(expected, np.float64)
    array = as_floats(what, found)
    if array.shape == right.shape and close(array, right):
        return
    cause = next(named(array, right, mistakes), "")
    if array.shape != right.shape:
        shapes = f"expected an array of shape {right.shape}, found {array.shape}"
        raise WrongAnswer(f"{what}: {cause + '; ' if cause else ''}{shapes}")
    cause = cause or next(usual(array, right, factors or {}), "") or how_many(array, right)
    raise WrongAnswer(f"{what}: {cause}; {worst(array, right)}")


def as_floats(what: str, found: object) -> npt.NDArray[np.float64]:
    """Return ``found`` as an array of floats; what is not one is a ``WrongAnswer``."""
    if found is None:
        raise WrongAnswer(f"{what}: returns None; end the function with `return`")
    if not isinstance(found, (np.ndarray, np.generic, int, float)):
        raise WrongAnswer(f"{what}: expected an array, found a {type(found).__name__}")
    try:
        return np.array(found, np.float64)
    except (TypeError, ValueError):
        raise WrongAnswer(
            f"{what}: expected an array of numbers, found one of {np.asarray(found).dtype}"
        ) from None


def close(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> bool:
    """Whether all elements agree to ``TOLERANCE`` of the largest; NaN equals NaN."""
    if a.shape != b.shape:
        return False
    finite = np.abs(b[np.isfinite(b)])
    scale = TOLERANCE * float(finite.max(initial=1e-30))
    with np.errstate(invalid="ignore"):
        return bool(np.allclose(a, b, rtol=0, atol=scale, equal_nan=True))


def named(
    found: npt.NDArray[np.float64], right: npt.NDArray[np.float64], mistakes: Mistakes
) -> Iterator[str]:
    """Yield the sentences of the mistakes whose result was found."""
    for mistake, sentence in mistakes:
        with np.errstate(all="ignore"):
            try:
                wrong = np.array(mistake() if callable(mistake) else mistake, np.float64)
            except ValueError:  # this mistake is not possible with these shapes
                continue
        if close(found, wrong) and not close(wrong, right):
            yield sentence


def usual(
    found: npt.NDArray[np.float64], right: npt.NDArray[np.float64], factors: Mapping[str, float]
) -> Iterator[str]:
    """Yield what is wrong where any array may be wrong: not finite, sign, factor, order, offset."""
    if not np.isfinite(found).all():
        yield f"{int((~np.isfinite(found)).sum())} of {found.size} values are NaN or infinite"
        return
    if not found.any():
        yield "is zero everywhere"
    if close(found, -right):
        yield "has the wrong sign"
    for name, value in factors.items():
        for sign, words in ((1, ""), (-1, " and has the wrong sign")):
            if close(found, sign * value * right):
                yield f"is {value:g} times too large{words}; {value:g} is {name}"
            if close(found * value, sign * right):
                yield f"is {value:g} times too small{words}; {value:g} is {name}"
    square = float((right * right).sum())
    factor = float((found * right).sum()) / square if square else 0.0
    if factor and right.size > 1 and close(found, factor * right):
        yield f"is {factor:.4g} times the right values"
    if right.ndim > 1 and close(found, right.swapaxes(-1, -2)):
        yield "is transposed: its last two axes are exchanged"
    for axes, words in (((-1,), "the last axis"), ((-2, -1), "the last two axes")):
        if right.ndim >= len(axes) and close(found, np.flip(right, axes)):
            yield f"is flipped along {words}"
    if right.size > 1 and close(found - right, np.full(right.shape, (found - right).mean())):
        yield "differs by the same number everywhere"


def how_many(found: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> str:
    """Say how many values are wrong, and where, if they share an index that right ones have not."""
    scale = TOLERANCE * float(np.abs(right).max(initial=1e-30))
    wrong = ~(np.abs(found - right) <= scale)
    if right.size == 1:
        return "is wrong"
    text = f"{int(wrong.sum())} of {right.size} values are wrong"
    for axis, size in enumerate(right.shape):
        places = sorted({int(i) for i in np.nonzero(wrong)[axis]})
        if len(places) < size and len(places) <= MAX_PLACES:
            text += f", all at {' or '.join(map(str, places))} of {size} on axis {axis}"
    return text


def worst(found: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> str:
    """Name the value that is most wrong: where, expected, found."""
    error = np.abs(found - right)
    index = np.unravel_index(int(np.where(np.isnan(error), np.inf, error).argmax()), right.shape)
    where = f"at {[int(i) for i in index]} " if right.ndim else ""
    return f"{where}expected {right[index]:.6g}, found {found[index]:.6g}"
