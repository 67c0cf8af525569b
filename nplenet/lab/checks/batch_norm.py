"""Checks of the assignment `batch-norm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cases import CASES, Case
from ...layers import BatchNorm2d
from ..answer import Answer
from ..compare import Mistakes, WrongAnswer, as_floats, compare
from .layer import Floats, Part, Trial, check_dx, check_forward, check_gradient, trial, untried

ARGUMENTS = ("num_features", "eps", "momentum")
AXES = (0, 2, 3)
# A large eps shows where it stands; the momentum is not symmetric about one half.
TRAIN = Case("batchnorm2d/lab", lambda rng: BatchNorm2d(2, eps=0.3, momentum=0.2), (3, 2, 4, 3))


def column(values: Any) -> Any:
    return np.reshape(values, (1, -1, 1, 1))


def training(answer: Answer, plain: bool = False) -> Trial:
    """Return a trial in training; with ``plain``, weight 1 and bias 0."""

    def change(library: Any, x: Floats) -> Floats:
        if plain:
            library.weight.data[...], library.bias.data[...] = 1, 0
        return 2 * x + 1

    return trial(answer, "BatchNorm2d", TRAIN, "in training", ARGUMENTS, change)


def evaluation(answer: Answer) -> Trial:
    return trial(answer, "BatchNorm2d", CASES["batchnorm2d/eval"], "in evaluation", ARGUMENTS)


def normalised(x: Floats, axes: tuple[int, ...], eps: float, ddof: int = 0) -> Floats:
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True, ddof=ddof)
    return np.asarray((x - mean) / np.sqrt(var + eps))


def normalise(answer: Answer) -> None:
    test = training(answer, plain=True)
    x, eps = test.x, test.library.eps
    centered, var = x - x.mean(AXES, keepdims=True), x.var(AXES, keepdims=True)
    own = test.own
    running_mean, running_var = column(own.running_mean), column(own.running_var)
    mistakes: Mistakes = [
        (normalised(x, AXES, 0), "eps is missing under the root"),
        (centered / (np.sqrt(var) + eps), "eps is added to the root, not under it"),
        (normalised(x, AXES, eps, 1), "var is divided by M - 1; normalise with the one by M"),
        (normalised(x, (2, 3), eps), "the statistics are of each image: take them over the batch"),
        (normalised(x, (0,), eps), "the statistics are of each pixel: take them over H and W, too"),
        (normalised(x, (1, 2, 3), eps), "the statistics mix the channels: one mean per channel"),
        (normalised(x, (0, 1, 2, 3), eps), "the statistics mix the channels: one mean per channel"),
        (centered / (var + eps), "the square root is missing"),
        (centered * np.sqrt(var + eps), "is multiplied by the deviation, not divided"),
        (centered, "is not divided by sqrt(var + eps)"),
        (x / np.sqrt(var + eps), "the mean is not subtracted"),
        (
            (x - running_mean) / np.sqrt(running_var + eps),
            "the running statistics are used; in training take those of the batch",
        ),
    ]
    check_forward(test, mistakes, coupled=True)


def scale_and_shift(answer: Answer) -> None:
    test = training(answer)
    weight, bias = (column(p.data) for p in (test.library.weight, test.library.bias))
    xhat = normalised(test.x, AXES, test.library.eps)
    mistakes: Mistakes = [
        (xhat, "weight and bias are not used"),
        (xhat + bias, "weight is not used"),
        (xhat * weight, "the bias is missing"),
        (xhat * weight - bias, "the bias is subtracted"),
        ((xhat + bias) * weight, "the bias is multiplied by weight: y = weight * xhat + bias"),
        (xhat * bias + weight, "weight and bias are exchanged"),
    ]
    check_forward(test, mistakes, coupled=True)


def running(answer: Answer) -> None:
    test = training(answer)
    before = [np.array(a) for a in (test.own.running_mean, test.own.running_var)]
    test.forward()
    mean, var = test.x.mean(AXES), test.x.var(AXES, ddof=1)
    old_mean, old_var, f = *before, test.library.momentum
    forward = "forward in training"
    means: Mistakes = [
        (old_mean, "is not updated"),
        (mean, "is the batch's mean alone: average it with momentum"),
        (f * old_mean + (1 - f) * mean, "momentum is the weight of the new value, not the old"),
        (old_mean + f * mean, "the old value is not multiplied by 1 - momentum"),
        (f * mean, "the old value is lost"),
    ]
    biased, n = test.x.var(AXES), len(test.x)
    variances: Mistakes = [
        ((1 - f) * old_var + f * biased, "new is the variance by M - 1, not by M"),
        ((1 - f) * old_var + f * biased * n / (n - 1), "M is N*H*W, the values per channel, not N"),
        (old_var, "is not updated"),
        (var, "is the batch's variance alone: average it with momentum"),
        (f * old_var + (1 - f) * var, "momentum is the weight of the new value, not the old"),
        ((1 - f) * old_var + f * np.sqrt(var), "is a mean of standard deviations, not variances"),
    ]
    right_mean, right_var = (1 - f) * old_mean + f * mean, (1 - f) * old_var + f * var
    compare(f"{forward}, running_mean", test.own.running_mean, right_mean, means)
    compare(f"{forward}, running_var", test.own.running_var, right_var, variances)


def eval_forward(answer: Answer) -> None:
    test = evaluation(answer)
    library, x = test.library, test.x
    weight, bias = column(library.weight.data), column(library.bias.data)
    mean, var = column(library.running_mean), column(library.running_var)
    mistakes: Mistakes = [
        (
            normalised(x, AXES, library.eps) * weight + bias,
            "the statistics of the batch are used; in evaluation take the running ones",
        ),
        ((x - mean) / (var + library.eps) * weight + bias, "the square root is missing"),
        ((x - mean) / np.sqrt(var + library.eps), "weight and bias are not used"),
        ((x - mean) / np.sqrt(var + library.eps) * weight, "the bias is missing"),
    ]
    before = np.array(test.own.running_mean), np.array(test.own.running_var)
    check_forward(test, mistakes, coupled=True)
    for name, old in zip(("running_mean", "running_var"), before, strict=True):
        if not np.array_equal(getattr(test.own, name), old):
            raise WrongAnswer(f"forward in evaluation: changes {name}, which only training may do")


def parameters(answer: Answer) -> None:
    for test in (training(answer), evaluation(answer)):
        library, dy = test.library, test.dy
        mean, var = test.x.mean(AXES), test.x.var(AXES)
        if not library.training:
            mean, var = library.running_mean, library.running_var
        centered = test.x - column(mean)
        std = np.sqrt(var + library.eps)
        right, m = test.gradients["weight"], dy.size // dy.shape[1]
        weights: Mistakes = [
            ((dy * test.x).sum(AXES), "uses x, not xhat: dweight = sum(dy * xhat)"),
            ((dy * centered).sum(AXES), "uses x - mean, not xhat: divide by sqrt(var + eps)"),
            ((dy * test.y).sum(AXES), "uses y, not xhat: dweight = sum(dy * xhat)"),
            (right / m, f"is divided by M = {m}: a sum, not a mean"),
            (right * library.weight.data, "is multiplied by weight"),
            (right / std, "is divided by sqrt(var + eps) once too often"),
            (test.gradients["bias"], "is the gradient of the bias: dweight = sum(dy * xhat)"),
        ]
        check_gradient(test, "weight", weights)
        right = test.gradients["bias"]
        biases: Mistakes = [
            (right / m, f"is divided by M = {m}: a sum, not a mean"),
            (right * library.weight.data, "is multiplied by weight: dbias = sum(dy)"),
            (dy.sum(axis=(0, 2, 3))[::-1], "the channels are in the wrong order"),
        ]
        check_gradient(test, "bias", biases)


def dx(answer: Answer) -> None:
    test = training(answer)
    library, dy, x = test.library, test.dy, test.x
    inverse = 1 / np.sqrt(x.var(AXES, keepdims=True) + library.eps)
    xhat, g = normalised(x, AXES, library.eps), dy * column(library.weight.data)
    mean, along = g.mean(AXES, keepdims=True), (g * xhat).mean(AXES, keepdims=True)
    total, sums = g.sum(AXES, keepdims=True), (g * xhat).sum(AXES, keepdims=True)
    plain = dy - dy.mean(AXES, keepdims=True) - xhat * (dy * xhat).mean(AXES, keepdims=True)
    mistakes: Mistakes = [
        (g * inverse, "mean and var are taken as constants: two terms are missing"),
        ((g - xhat * along) * inverse, "the term mean(g) is missing: the mean depends on x"),
        ((g - mean) * inverse, "the term xhat * mean(g * xhat) is missing: var depends on x"),
        ((g + mean + xhat * along) * inverse, "both terms have the wrong sign"),
        ((g - mean + xhat * along) * inverse, "the term xhat * mean(g * xhat) has the wrong sign"),
        ((g + mean - xhat * along) * inverse, "the term mean(g) has the wrong sign"),
        ((g - total - xhat * sums) * inverse, "the factor 1/M is missing in both terms"),
        ((g - mean - xhat * sums) * inverse, "the factor 1/M is missing in the last term"),
        ((g - total - xhat * along) * inverse, "the factor 1/M is missing in mean(g)"),
        ((g - mean - along) * inverse, "the factor xhat is missing in the last term"),
        (
            (g - g.mean() - xhat * (g * xhat).mean()) * inverse,
            "the means mix the channels: take them per channel, over N, H and W",
        ),
        (plain * inverse, "weight is missing: g = dy * weight"),
        (g - mean - xhat * along, "the factor 1 / sqrt(var + eps) is missing"),
        ((g - mean - xhat * along) / inverse, "is multiplied by sqrt(var + eps), not divided"),
    ]
    check_dx(test, mistakes)


def eval_dx(answer: Answer) -> None:
    test = evaluation(answer)
    library, dy = test.library, test.dy
    inverse = 1 / np.sqrt(column(library.running_var) + library.eps)
    xhat, g = (test.x - column(library.running_mean)) * inverse, dy * column(library.weight.data)
    three = g - g.mean(AXES, keepdims=True) - xhat * (g * xhat).mean(AXES, keepdims=True)
    mistakes: Mistakes = [
        (three * inverse, "has the terms of training; in evaluation mean and var are constants"),
        (dy * inverse, "weight is missing: g = dy * weight"),
        (g, "the factor 1 / sqrt(var + eps) is missing"),
    ]
    check_dx(test, mistakes)


def constant_channel(answer: Answer) -> None:
    def change(library: Any, x: Floats) -> Floats:
        x[:, 0] = 3.0
        library.weight.data[...], library.bias.data[...] = 1, 0
        return x

    case = CASES["batchnorm2d/train"]
    test = trial(answer, "BatchNorm2d", case, "of a constant channel", ARGUMENTS, change)
    with untried("a constant channel"):
        y = as_floats("forward", test.forward())
    if not np.isfinite(y).all():
        raise WrongAnswer("forward of a constant channel: divides by 0: eps is missing")
    check_forward(test, (), coupled=True)


def normalise_all(answer: Answer) -> None:
    normalise(answer)
    constant_channel(answer)


PARTS = (
    Part("forward, normalise", 2, normalise_all),
    Part("forward, weight and bias", 1, scale_and_shift),
    Part("running statistics", 1, running),
    Part("forward in evaluation", 1, eval_forward),
    Part("backward, dweight and dbias", 2, parameters),
    Part("backward, dx", 2, dx),
    Part("backward in evaluation, dx", 1, eval_dx),
)
