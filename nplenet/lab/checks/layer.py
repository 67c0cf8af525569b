"""What the checks of layers share: a student's layer beside the library's, on a case of the table.

The library's layer is the reference: its own gradient check holds it to finite differences. Both
get the same parameters, in float64; the geometries are those of ``nplenet.cases``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cases import Case
from ..answer import Answer
from ..compare import Mistakes, WrongAnswer, compare

Floats = npt.NDArray[np.float64]
START = 0.5  # of the gradients before backward, which adds to them


@dataclass(frozen=True)
class Part:
    """A part of an assignment: its name, its points, and a check that raises ``WrongAnswer``."""

    name: str
    points: int
    check: Callable[[Answer], None]


@dataclass
class Trial:
    """A case of the table, the library's layer for it and the student's.

    Attributes
    ----------
    label : str
        The geometry, for sentences.
    library : Layer
    own : the student's object
    x, y, dy, dx : array
        Input and upstream gradient, and the library's results.
    gradients : dict of str to array
        Of the library's parameters.
    """

    answer: Answer
    label: str
    library: Any
    own: Any
    x: Floats
    y: Floats
    dy: Floats
    dx: Floats
    gradients: dict[str, Floats]

    def forward(self) -> Any:
        """Return the output of the student's layer."""
        y = self.answer.call(f"forward{self.label}", self.own.forward, self.x)
        self._check_parameters("forward")
        return y

    def backward(self) -> tuple[Any, dict[str, Any]]:
        """Return dx and the parameters' gradients of the student's layer, after one forward."""
        with self._untried():
            self.forward()
        for name in self.gradients:
            getattr(self.own, name).grad[...] = START
        dx = self.answer.call(f"backward{self.label}", self.own.backward, self.dy)
        self._check_parameters("backward")
        found = {name: getattr(getattr(self.own, name), "grad", None) for name in self.gradients}
        return dx, found

    def _check_parameters(self, what: str) -> None:
        for name in self.gradients:
            right = getattr(self.library, name).data
            if not np.array_equal(getattr(self.own, name).data, right):
                raise WrongAnswer(f"{what}{self.label}: changes {name}, which only a step may do")

    def _untried(self) -> Any:
        return untried(f"backward{self.label}")


class untried:  # noqa: N801  reads as a statement
    """Turns a wrong answer within it into a sentence: ``what`` can't be tried, because ..."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, WrongAnswer):
            why = "forward is blank" if ": is blank" in str(error) else error
            raise WrongAnswer(f"{self.what}: can't be tried, because {why}") from None


def trial(
    answer: Answer,
    name: str,
    case: Case,
    label: str,
    arguments: Sequence[str],
    change: Callable[[Any, Floats], Floats] = lambda library, x: x,
) -> Trial:
    """Return a trial of the student's class ``name`` on a case.

    ``arguments`` are those of its constructor; ``change`` may change the library's layer before the
    student's gets its values, and returns the input.
    """
    library: Any = case.build()
    x = change(library, case.input())
    own = student_layer(answer, name, library, arguments)
    y = library.forward(x)
    dy = np.random.default_rng(3).standard_normal(y.shape)
    dx = np.array(library.backward(dy))
    gradients = {p.name: p.grad.copy() for p in library.parameters()}
    return Trial(
        answer, f" {label}" if label else "", library, own, x, np.array(y), dy, dx, gradients
    )


def student_layer(answer: Answer, name: str, library: Any, arguments: Sequence[str]) -> Any:
    """Return the student's layer with the library's arguments, parameters and statistics."""
    kind, all_arguments = answer.get(name), library.arguments()
    what = f"making a {name}"
    own = answer.call(what, lambda: kind(**{key: all_arguments[key] for key in arguments}))
    own.training = library.training
    for parameter in library.parameters():
        twin: Any = getattr(own, parameter.name, None)
        if not hasattr(twin, "grad"):
            raise WrongAnswer(f"{what}: {parameter.name} must stay the Parameter of the skeleton")
        twin.data, twin.grad = parameter.data.copy(), np.zeros_like(parameter.data)
    for buffer in library.buffers:
        if hasattr(own, buffer):
            setattr(own, buffer, np.array(getattr(library, buffer)))
    return own


def check_forward(test: Trial, mistakes: Mistakes, *, coupled: bool = False) -> None:
    """Compare the output of forward; then for the first image alone, unless images are coupled."""
    compare(f"forward{test.label}", test.forward(), test.y, mistakes)
    if not coupled:
        what = f"forward{test.label}, called again with the first image alone"
        compare(what, test.answer.call(what, test.own.forward, test.x[:1]), test.y[:1])


def check_dx(test: Trial, mistakes: Mistakes, factors: dict[str, float] | None = None) -> None:
    """Compare dx, what backward returns."""
    dx, _ = test.backward()
    if isinstance(dx, (tuple, list)):
        raise WrongAnswer(
            f"backward{test.label}: returns a {type(dx).__name__}; return dx alone, and add the "
            "gradients of parameters to their .grad"
        )
    compare(f"backward{test.label}, dx", dx, test.dx, mistakes, factors)


def check_gradient(
    test: Trial, name: str, mistakes: Mistakes, factors: dict[str, float] | None = None
) -> None:
    """Compare the gradient of a parameter, to which backward must have added."""
    _, gradients = test.backward()
    right, what = test.gradients[name], f"backward{test.label}, d{name}"
    found = gradients[name]
    if isinstance(found, np.ndarray) and found.shape == right.shape:
        if np.array_equal(found, np.full(found.shape, START)):
            raise WrongAnswer(f"{what}: nothing is added to {name}.grad: this gradient is missing")
        compare(what, found - START, right, [(right - START, ASSIGNED), *mistakes], factors)
        return
    compare(what, found, right, mistakes, factors)


ASSIGNED = "the gradient is assigned; gradients accumulate, so add it with +="
