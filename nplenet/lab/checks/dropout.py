"""Checks of the assignment `dropout`: masks are random, so what is dropped is counted."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..answer import Answer
from ..compare import Mistakes, WrongAnswer, as_floats, compare
from .layer import Floats, Part, untried

P = 0.3
SHAPE = (40, 16, 20)  # 12,800 values: five standard deviations of the share dropped are 0.02
MARGIN = 0.02


def layer(answer: Answer, p: float = P, seed: int = 0, training: bool = True) -> Any:
    kind = answer.get("Dropout")
    own = answer.call(f"making Dropout({p})", lambda: kind(p, rng=seed))
    own.training = training
    return own


def values(seed: int = 1) -> Floats:
    """Return an input without zeros."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2.0, SHAPE) * rng.choice([-1.0, 1.0], SHAPE)


def output(answer: Answer, own: Any, x: Floats) -> Floats:
    """Return the student's output, of the right shape and finite."""
    y = as_floats("forward", answer.call("forward", own.forward, x))
    if y.shape != x.shape:
        raise WrongAnswer(f"forward: expected an array of shape {x.shape}, found {y.shape}")
    if not np.isfinite(y).all():
        raise WrongAnswer(f"forward: {int((~np.isfinite(y)).sum())} values are NaN or infinite")
    return y


def share(answer: Answer) -> None:
    x = values()
    for p in (P, 0.8):
        y = output(answer, layer(answer, p), x)
        found, what = float((y == 0).mean()), f"forward with p={p}"
        cause = "the share of values that are dropped is wrong"
        if found == 0:
            cause = "nothing is dropped in training"
        elif abs(found - (1 - p)) < MARGIN:
            cause = "values are kept with probability p: they must be dropped with p"
        elif abs(found - 0.5) < MARGIN:
            cause = "half of the values are dropped whatever p is"
        if abs(found - p) > MARGIN:
            raise WrongAnswer(f"{what}: {cause}; expected {p} dropped, found {found:.3f}")
    y = output(answer, layer(answer, 0.0), x)
    compare("forward with p=0", y, x)


def scale(answer: Answer) -> None:
    x = values()
    y = output(answer, layer(answer), x)
    kept = y != 0
    right = x[kept] / (1 - P)
    mistakes: Mistakes = [
        (x[kept], "the kept values are not scaled: multiply them by 1 / (1 - p)"),
        (x[kept] / P, "the scale is 1 / p, not 1 / (1 - p)"),
        (x[kept] * (1 - P), "the kept values are multiplied by 1 - p: divide by it"),
        (x[kept] * P, "the kept values are multiplied by p, not divided by 1 - p"),
        (np.abs(right), "the sign of x is lost"),
        (np.ones_like(right), "is the mask alone: multiply it by x"),
        (np.full_like(right, 1 / (1 - P)), "is the mask alone: multiply it by x"),
    ]
    if not kept.any():
        raise WrongAnswer("forward: every value is dropped")
    compare("forward, kept values", y[kept], right, mistakes)


def independent(answer: Answer) -> None:
    x, own = values(), layer(answer)
    first, second = output(answer, own, x) != 0, output(answer, own, x) != 0
    forms = {
        "one mask for all images: each image needs its own": (first == first[:1]),
        "whole images are dropped: each value needs its own random number": first
        == first[:, :1, :1],
        "whole channels are dropped: each value needs its own random number": first
        == first[..., :1],
        "one number for all channels: each value needs its own": first == first[:, :1],
        "a second forward draws the same mask: each forward needs a new one": first == second,
    }
    if first.all():
        raise WrongAnswer("forward: nothing is dropped in training")
    for cause, same in forms.items():
        if same.all():
            raise WrongAnswer(f"forward: {cause}")
    rows = first.mean(axis=(1, 2))
    if np.ptp(rows) == 0:
        raise WrongAnswer(
            "forward: each image loses exactly as many values; each is dropped on its own"
        )


def generator(answer: Answer) -> None:
    x = values()
    one, two = (output(answer, layer(answer, seed=5), x) for _ in range(2))
    if not np.array_equal(one, two):
        raise WrongAnswer(
            "forward: two layers with the same seed draw different masks: draw from self.rng, "
            "not from a generator of another kind, such as np.random"
        )
    if np.array_equal(one, output(answer, layer(answer, seed=6), x)):
        raise WrongAnswer("forward: two seeds give one mask: draw from self.rng")


def backward(answer: Answer) -> None:
    x, dy, own = values(), values(2), layer(answer)
    with untried("backward"):
        y = output(answer, own, x)
        if (y != 0).all() or not y.any():
            raise WrongAnswer("forward: nothing is dropped, or everything")
    kept = y != 0
    dx = answer.call("backward", own.backward, dy)
    mistakes: Mistakes = [
        (dy, "the mask is missing: dx is 0 where forward dropped a value"),
        (dy / (1 - P), "the mask is missing: dx is 0 where forward dropped a value"),
        (dy * kept, "the scale is missing: dx is dy * mask, and the mask holds 1 / (1 - p)"),
        (dy * ~kept / (1 - P), "the mask is inverted"),
        (dy * y, "dy is multiplied by y, not by the mask"),
        (kept / (1 - P), "dy is missing: dx is dy * mask"),
    ]
    found = as_floats("backward", dx)
    factor = np.where(kept, y / x, 0.0)  # of forward, whatever its scale is
    if found.shape == dy.shape:
        zeros = float((found == 0).mean())
        other = ((found == 0) != ~kept).any() and abs(zeros - P) < MARGIN
        if other:
            mistakes = [*mistakes, (found, "a new mask is drawn: it must be the mask of forward")]
    compare("backward", found, dy * factor, mistakes)


def evaluation(answer: Answer) -> None:
    x, dy, own = values(), values(2), layer(answer, training=False)
    y = output(answer, own, x)
    if (y == 0).any():
        raise WrongAnswer(
            "forward in evaluation: values are dropped: look at self.training; expected 0 dropped, "
            f"found {int((y == 0).sum())}"
        )
    mistakes: Mistakes = [
        (x * (1 - P), "is multiplied by 1 - p: training has scaled already, so return x"),
        (x / (1 - P), "is divided by 1 - p: only training scales, so return x"),
        (x * P, "is multiplied by p: return x"),
    ]
    compare("forward in evaluation", y, x, mistakes)
    wrong: Mistakes = [
        (dy / (1 - P), "is divided by 1 - p: in evaluation dx is dy"),
        (dy * (1 - P), "is multiplied by 1 - p: in evaluation dx is dy"),
    ]
    compare("backward in evaluation", answer.call("backward", own.backward, dy), dy, wrong)


PARTS = (
    Part("share of values dropped", 2, share),
    Part("scale", 2, scale),
    Part("each value on its own", 2, independent),
    Part("random generator", 1, generator),
    Part("backward", 2, backward),
    Part("evaluation", 1, evaluation),
)
