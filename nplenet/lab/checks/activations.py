"""Checks of the assignment `activations`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...cases import CASES
from ..answer import Answer
from ..compare import Mistakes, WrongAnswer, as_floats
from .layer import Floats, Part, Trial, check_dx, check_forward, trial


def kinked(library: Any, x: Floats) -> Floats:
    """Put the kink x = 0 into the input."""
    x[0, 0, :3] = 0.0
    return x


def relu(answer: Answer) -> Trial:
    return trial(answer, "ReLU", CASES["relu/plain"], "of ReLU", (), kinked)


def relu_forward(answer: Answer) -> None:
    test = relu(answer)
    x = test.x
    mistakes: Mistakes = [
        (x, "x is returned unchanged"),
        (np.abs(x), "is |x|: negative values become 0, not positive"),
        (np.minimum(x, 0), "is min(x, 0), not max(x, 0)"),
        ((x > 0), "is the mask x > 0: multiply it by x"),
    ]
    check_forward(test, mistakes)


def relu_backward(answer: Answer) -> None:
    test = relu(answer)
    x, dy = test.x, test.dy
    mistakes: Mistakes = [
        (dy, "the mask is missing: dx is dy only where x > 0"),
        (dy * (x < 0), "the mask is inverted: dx is dy where x > 0"),
        (dy * (x <= 0), "the mask is inverted: dx is dy where x > 0"),
        (dy * (x >= 0), "at the kink x = 0 dx must be 0"),
        (x > 0, "dy is missing: the derivative must be multiplied by dy"),
        (dy * np.maximum(x, 0), "dy is multiplied by y, not by the derivative, which is 0 or 1"),
        (dy * x, "dy is multiplied by x, not by the derivative, which is 0 or 1"),
        (np.maximum(dy, 0), "the mask asks dy > 0; it must ask x > 0"),
        (dy * (x > 0) * (dy > 0), "the mask asks dy > 0, too; it must ask x > 0 alone"),
    ]
    check_dx(test, mistakes)


def leaky(answer: Answer) -> list[Trial]:
    cases = {"of LeakyReLU(0.01)": "leakyrelu/default", "of LeakyReLU(0.3)": "leakyrelu/steep"}
    return [
        trial(answer, "LeakyReLU", CASES[case], label, ("negative_slope",), kinked)
        for label, case in cases.items()
    ]


def leaky_forward(answer: Answer) -> None:
    for test in leaky(answer):
        x, slope = test.x, test.library.negative_slope
        mistakes: Mistakes = [
            (np.maximum(x, 0), "negative values become 0, not negative_slope * x"),
            (np.where(x > 0, x, -slope * x), "the slope below 0 has the wrong sign"),
            (np.where(x > 0, x, slope), "below 0 it is the slope itself, not slope * x"),
            (np.where(x > 0, x, 0.01 * x), "the slope is always 0.01: use self.negative_slope"),
            (np.where(x > 0, slope * x, x), "the two sides of 0 are exchanged"),
        ]
        check_forward(test, mistakes)


def leaky_backward(answer: Answer) -> None:
    for test in leaky(answer):
        x, dy, slope = test.x, test.dy, test.library.negative_slope
        mistakes: Mistakes = [
            (dy * (x > 0), "below 0 the gradient is 0, not negative_slope * dy"),
            (np.where(x >= 0, dy, slope * dy), "at the kink x = 0 the slope is negative_slope"),
            (np.where(x > 0, dy, 0.01 * dy), "the slope is always 0.01: use self.negative_slope"),
            (np.where(x > 0, 1, slope), "dy is missing: multiply the derivative by dy"),
            (np.where(x > 0, dy, slope), "below 0 dy is missing: it is negative_slope * dy"),
            (np.where(x > 0, slope * dy, dy), "the two sides of 0 are exchanged"),
            (np.where(dy > 0, dy, slope * dy), "the sign of dy is asked; it must be that of x"),
        ]
        check_dx(test, mistakes)


def smooth(answer: Answer, name: str) -> Trial:
    return trial(answer, name, CASES[f"{name.lower()}/plain"], f"of {name}", ())


def sigmoid_forward(answer: Answer) -> None:
    test = smooth(answer, "Sigmoid")
    x = test.x
    mistakes: Mistakes = [
        (1 / (1 + np.exp(x)), "the exponent has the wrong sign: exp(-x)"),
        (1 / (1 - np.exp(-x)), "the denominator has the wrong sign: 1 + exp(-x)"),
        (np.exp(-x) / (1 + np.exp(x)), "numerator and denominator do not fit each other"),
        (np.tanh(x), "is tanh, another function"),
    ]
    check_forward(test, mistakes)


def sigmoid_stable(answer: Answer) -> None:
    test = smooth(answer, "Sigmoid")
    x = np.array([-1000.0, 1000.0, -1.0, 0.0])

    def without_overflow(x: Floats) -> Any:
        with np.errstate(over="raise"):
            try:
                return test.own.forward(x)
            except FloatingPointError:
                raise WrongAnswer(
                    "forward of Sigmoid: exp overflows at x = -1000 or x = 1000 (NumPy warns of "
                    "it): take exp of numbers below 0 only; np.where computes both of its sides"
                ) from None

    found = as_floats("forward of Sigmoid", answer.call("forward", without_overflow, x))
    if not np.isfinite(found).all():
        raise WrongAnswer(
            f"forward of Sigmoid: exp overflows: at x = {x[~np.isfinite(found)][0]:g} expected "
            f"{0 if x[~np.isfinite(found)][0] < 0 else 1}, found {found[~np.isfinite(found)][0]}"
        )
    with np.errstate(all="ignore"):
        expected = np.array([0.0, 1.0, 1 / (1 + np.e), 0.5])
    if not np.allclose(found, expected, rtol=0, atol=1e-6):
        raise WrongAnswer(
            f"forward of Sigmoid: at x = {x.tolist()} expected {expected.round(4).tolist()}, "
            f"found {found.round(4).tolist()}"
        )
    dy = np.ones(4)
    gradient = as_floats("backward of Sigmoid", answer.call("backward", test.own.backward, dy))
    if not np.isfinite(gradient).all():
        raise WrongAnswer("backward of Sigmoid: NaN or infinite at x = -1000 or x = 1000")


def derivative(name: str, mistakes: Callable[[Trial], Mistakes]) -> Callable[[Answer], None]:
    """Return the check of a smooth function's backward."""

    def check(answer: Answer) -> None:
        test = smooth(answer, name)
        check_dx(test, mistakes(test))

    return check


def sigmoid_mistakes(test: Trial) -> Mistakes:
    x, y, dy = test.x, test.y, test.dy
    return [
        (y * (1 - y), "dy is missing: multiply the derivative by dy"),
        (dy, "the derivative is missing: y * (1 - y)"),
        (dy * y, "the factor 1 - y is missing"),
        (dy * (1 - y), "the factor y is missing"),
        (dy * x * (1 - x), "x stands where y belongs: y * (1 - y)"),
        (dy * y * (1 + y), "a sign is wrong: y * (1 - y)"),
        (dy * (1 - y * y), "is the derivative of tanh"),
    ]


def tanh_forward(answer: Answer) -> None:
    test = smooth(answer, "Tanh")
    x = test.x
    mistakes: Mistakes = [
        (np.tan(x), "is tan, not tanh"),
        (1 / (1 + np.exp(-x)), "is the sigmoid, another function"),
        (1 / np.tanh(x), "is upside down"),
    ]
    check_forward(test, mistakes)


def tanh_mistakes(test: Trial) -> Mistakes:
    x, y, dy = test.x, test.y, test.dy
    return [
        (1 - y * y, "dy is missing: multiply the derivative by dy"),
        (dy * (1 - y), "the square is missing: 1 - y^2"),
        (dy * (1 - x * x), "x stands where y belongs: 1 - y^2"),
        (dy * (1 + y * y), "a sign is wrong: 1 - y^2"),
        (dy * y * (1 - y), "is the derivative of the sigmoid"),
        (dy, "the derivative is missing: 1 - y^2"),
    ]


PARTS = (
    Part("ReLU, forward", 1, relu_forward),
    Part("ReLU, backward", 2, relu_backward),
    Part("LeakyReLU, forward", 1, leaky_forward),
    Part("LeakyReLU, backward", 1, leaky_backward),
    Part("Sigmoid, forward", 1, sigmoid_forward),
    Part("Sigmoid, large inputs", 1, sigmoid_stable),
    Part("Sigmoid, backward", 1, derivative("Sigmoid", sigmoid_mistakes)),
    Part("Tanh, forward", 1, tanh_forward),
    Part("Tanh, backward", 1, derivative("Tanh", tanh_mistakes)),
)
