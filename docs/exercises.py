"""What the checks of the exercises are made of: they run an answer and say what is wrong with it.

A check is a function whose parameters are the names that the reader was asked to define:

    @exercises.check
    def exercise_1(average):
        x = exercises.numbers(2, 3, 6, 8)
        exercises.same(average(x), AvgPool2d(2)(x), "average(x)")

It runs at once. What it makes of its own, such as ``x``, is local, so no name of the reader's is
overwritten, and it needs no other check before it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nplenet.gradcheck import check_layer
from nplenet.layers import Layer

IN_BROWSER = sys.platform == "emscripten"


class NotYet(AssertionError):
    """Says in words what is wrong with an answer; a notebook shows the words alone."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def check(function: Callable[..., str | None]) -> None:
    """Run a check with the answers that its parameters name, and print what it returns."""
    try:
        said = _call(function)
    except NotYet as not_yet:
        if not IN_BROWSER:
            raise
        # JupyterLite ends "Run All Cells" at any error, also in a cell tagged raises-exception.
        print(*not_yet._render_traceback_())
    else:
        print(f"Right. {said}" if said else "Right.")


def _call(function: Callable[..., str | None]) -> str | None:
    """Return what a check returns for the reader's answers."""
    answers = []
    for name in inspect.signature(function).parameters:
        if name not in function.__globals__:
            raise NotYet(f"define {name} first, in the cell above")
        answers.append(function.__globals__[name])
    return function(*answers)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Return normal random numbers of a shape, in float64: the same ones in each call."""
    return np.random.default_rng(seed).normal(size=shape)


def true(holds: object, otherwise: str) -> None:
    """Raise NotYet with the words of ``otherwise`` unless something holds."""
    if not holds:
        raise NotYet(otherwise)


def same(
    found: Any,
    expected: Any,
    what: str,
    tolerance: float = 1e-8,
    mistakes: Mapping[str, Any] | None = None,
) -> None:
    """Raise NotYet unless an answer has the expected shape and numbers.

    ``tolerance`` is what may be off, relative to the largest expected number. ``mistakes`` are
    sentences, each with the numbers of the wrong answer that it explains.
    """
    true(found is not None, f"{what} is None: is a return missing?")
    try:
        a, b = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    except (TypeError, ValueError):
        raise NotYet(f"{what} is {found!r}, expected numbers") from None
    if a.shape != b.shape:
        raise NotYet(f"{what} has shape {a.shape}, expected {b.shape}")
    allowed = tolerance * max(1.0, float(abs(b).max(initial=0)))
    if np.allclose(a, b, rtol=0, atol=allowed):
        return
    if not np.isfinite(a).all():
        raise NotYet(f"{what} holds {a[~np.isfinite(a)][0]}, which is not a finite number")
    for sentence, wrong in (mistakes or {}).items():
        if np.shape(wrong) == a.shape and np.allclose(a, wrong, rtol=0, atol=allowed):
            raise NotYet(f"{what} is wrong: {sentence}. {_place(a, b)}")
    raise NotYet(f"{what} is wrong. {_place(a, b)}{_pattern(a, b, allowed)}")


def several(found: Any, count: int, what: str) -> tuple[Any, ...]:
    """Return the parts of an answer that must be a tuple or list of ``count``."""
    true(isinstance(found, (tuple, list)) and len(found) == count, f"expected a tuple: {what}")
    return tuple(found)


def gradients(layer: Layer, x: np.ndarray) -> None:
    """Raise NotYet unless the layer's backward is the derivative of its forward, in each tensor."""
    for row in check_layer(layer, x).checks:
        of = "the input, dx," if row.tensor == "x" else row.tensor
        error = row.fault or f"relative error {row.max_relative_error:.0e}"
        error += "; is its sign wrong?" if abs(row.max_relative_error - 2) < 1e-3 else ""
        true(row.ok, f"backward is not the derivative of forward: the gradient of {of} has {error}")


def _place(a: np.ndarray, b: np.ndarray) -> str:
    """Return a sentence about the number that is off most."""
    if a.ndim == 0:
        return f"Expected {b:.6g}, found {a:.6g}."
    place = np.unravel_index(abs(a - b).argmax(), a.shape)
    index = ", ".join(map(str, place))
    return f"At [{index}]: expected {b[place]:.6g}, found {a[place]:.6g}."


def _pattern(a: np.ndarray, b: np.ndarray, allowed: float) -> str:
    """Return a sentence about what all the numbers have in common, or nothing."""
    it = "All of it" if a.size > 1 else "It"
    if not a.any():
        return f" {it} is zero."
    factor = float((a * b).sum() / (b * b).sum()) if b.any() else 0.0
    if factor and abs(factor - 1) > 1e-3 and np.allclose(a, factor * b, rtol=0, atol=allowed):
        return f" {it} is {factor:.4g} times what it should be."
    if np.ptp(a - b) <= allowed and a.size > 1:
        return f" All of it is off by {float((a - b).flat[0]):.4g}."
    if a.ndim == 2 and a.shape[0] == a.shape[1] and np.allclose(a.T, b, rtol=0, atol=allowed):
        return " It is the transpose of what it should be."
    return ""
