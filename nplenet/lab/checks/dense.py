"""Checks of the assignment `dense`."""

from __future__ import annotations

from functools import partial

import numpy as np

from ...cases import CASES, Case
from ...layers import Dense
from ..answer import Answer
from .layer import Floats, Part, Trial, check_dx, check_forward, check_gradient, trial

ARGUMENTS = ("in_features", "out_features", "bias")
# A case with as many inputs as outputs, in which a transposition changes no shape.
SQUARE = Case("dense/square", lambda rng: Dense(5, 5, rng=rng), (5, 5))


def trials(answer: Answer) -> list[Trial]:
    """Return a trial per case."""
    cases = {
        "with 5 inputs and 5 outputs": SQUARE,
        "with bias": CASES["dense/bias"],
        "without bias": CASES["dense/no-bias"],
        "with one output": CASES["dense/one-output"],
    }
    return [trial(answer, "Dense", case, label, ARGUMENTS) for label, case in cases.items()]


def product(a: Floats, b: Floats, bias: Floats | float = 0) -> Floats:
    """Return a @ b + bias; a ValueError if the shapes do not fit."""
    return np.asarray(a @ b + bias)


def forward(answer: Answer) -> None:
    for test in trials(answer):
        x, weight, bias = test.x, test.library.weight.data, test.library.bias
        b = 0 if bias is None else bias.data
        mistakes = [
            (partial(product, x, weight, b), "weight is not transposed: y = x @ weight^T"),
            (
                partial(product, weight, x, b),
                "the factors are exchanged: an image is a row, so y = x @ weight^T",
            ),
            (x @ weight.T, "the bias is missing"),
            (x @ weight.T - b, "the bias is subtracted"),
            (x @ weight.T + 2 * b, "the bias is added twice"),
            (np.maximum(test.y, 0), "a ReLU is applied, which is a layer of its own"),
            (test.y.T, "the result is transposed: y is (N, O)"),
        ]
        check_forward(test, mistakes)


def backward_dx(answer: Answer) -> None:
    for test in trials(answer):
        mistakes = [
            (test.dx.T, "the result is transposed: dx is (N, I)"),
            (
                partial(product, test.dy, test.library.weight.data.T),
                "weight is transposed as in forward: dx = dy @ weight",
            ),
            (
                partial(product, test.library.weight.data, test.dy),
                "the factors are exchanged: an image is a row, so dx = dy @ weight",
            ),
            (test.dx + test.x, "x is added; dx is dy @ weight alone"),
        ]
        check_dx(test, mistakes, {"N, the number of images": len(test.x)})


def backward_weight(answer: Answer) -> None:
    for test in trials(answer):
        right, n = test.gradients["weight"], len(test.x)
        mistakes = [
            (right.T, "is transposed: weight is (O, I), so its gradient is dy^T @ x"),
            (
                right / n,
                f"is divided by N = {n}: sum over the images; the loss has its 1/N already",
            ),
            (test.dy[:1].T @ test.x[:1], "only the first image counts: sum over the images"),
            (test.dy[-1:].T @ test.x[-1:], "only the last image counts: sum over the images"),
        ]
        check_gradient(test, "weight", mistakes, {"N, the number of images": n})


def backward_bias(answer: Answer) -> None:
    for test in trials(answer):
        if "bias" in test.gradients:
            right, n = test.gradients["bias"], len(test.x)
            mistakes = [
                (right / n, f"is divided by N = {n}: a sum over the images, not a mean"),
                (test.dy[0], "only the first image counts: sum over the images"),
                (test.dy[-1], "only the last image counts: sum over the images"),
                (np.full(right.shape, test.dy.sum()), "sums over the outputs, too"),
                (np.full(right.shape, n), "does not use dy"),
                (test.dy.sum(axis=1), "sums over the outputs, axis 1, not over the images, axis 0"),
            ]
            check_gradient(test, "bias", mistakes)
        else:
            test.backward()


PARTS = (
    Part("forward", 3, forward),
    Part("backward, dx", 2, backward_dx),
    Part("backward, dweight", 3, backward_weight),
    Part("backward, dbias", 2, backward_bias),
)
