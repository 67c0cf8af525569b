"""Checks of the assignment `optimizers`: some steps on two parameters, beside the library's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import optim
from ...layers import Parameter
from ..answer import Answer
from ..compare import Mistakes, WrongAnswer, compare
from .layer import Floats, Part

LR = 0.1
Rule = Callable[[Floats, list[Floats]], Floats]
"""A wrong rule: the start and the gradients of all steps; the parameter after the last."""


def data() -> tuple[list[Floats], list[list[Floats]]]:
    """Return two parameters' first values, and five gradients for each."""
    rng = np.random.default_rng(4)
    starts = [rng.standard_normal((3, 2)), rng.standard_normal(4)]
    return starts, [[rng.standard_normal(p.shape) for p in starts] for _ in range(5)]


def run(optimizer: Any, params: list[Parameter], steps: int, step: Callable[[], Any]) -> None:
    """Do some steps with the gradients of ``data``."""
    for gradients in data()[1][:steps]:
        for p, g in zip(params, gradients, strict=True):
            p.grad[...] = g
        step()


def check(
    answer: Answer, name: str, steps: int, mistakes: dict[str, Rule], **arguments: float
) -> None:
    """Compare the student's class with the library's class of the same name."""
    starts, gradients = data()
    words = ", ".join(f"{key}={value}" for key, value in arguments.items())
    what = f"{name}({words}) after {steps} step{'s' * (steps > 1)}"
    right, own = ([Parameter(p.copy()) for p in starts] for _ in range(2))
    library = getattr(optim, name)(right, **arguments)
    run(library, right, steps, library.step)
    kind = answer.get(name)
    optimizer = answer.call(f"making {name}({words})", lambda: kind(own, **arguments))
    before = [p.data for p in own]
    run(optimizer, own, steps, lambda: answer.call(f"{name}.step", optimizer.step))
    for i, (p, array) in enumerate(zip(own, before, strict=True)):
        if not np.array_equal(p.grad, gradients[steps - 1][i]):
            raise WrongAnswer(
                f"{what}: changes the gradient p.grad, which step must leave as it is"
            )
        if p.data is not array:
            raise WrongAnswer(
                f"{what}: p.data is a new array; change it in place, because the layer holds it"
            )
        wrong: Mistakes = [
            (starts[i], "the parameter has not changed"),
            *(
                (rule(starts[i], [g[i] for g in gradients[:steps]]), s)
                for s, rule in mistakes.items()
            ),
        ]
        compare(f"{what}, parameter {i}", p.data, right[i].data, wrong)


# ------------------------------------------------------------------ gradient descent


def sgd_rule(
    rate: float = LR,
    momentum: float = 0.0,
    gain: float = 1.0,
    decay: float = 0.0,
    *,
    nesterov: bool = False,
    forgets: bool = False,
) -> Rule:
    """Return the rule of SGD with its numbers, right or wrong."""

    def rule(p: Floats, gradients: list[Floats]) -> Floats:
        m = np.zeros_like(p)
        for g in gradients:
            g = g + decay * p
            m = (0 * m if forgets else momentum * m) + gain * g
            p = p - rate * (g + momentum * m if nesterov else m)
        return p

    return rule


def sgd(answer: Answer) -> None:
    mistakes = {
        "has the wrong sign: it goes uphill": sgd_rule(-LR),
        "the learning rate is missing": sgd_rule(1.0),
        "the learning rate is squared": sgd_rule(LR * LR),
        "the gradient becomes the parameter": lambda p, g: -LR * g[-1],
    }
    check(answer, "SGD", 1, mistakes, lr=LR)
    check(answer, "SGD", 3, mistakes, lr=LR)


def momentum(answer: Answer) -> None:
    mistakes = {
        "momentum is not used": sgd_rule(),
        "the gradient is multiplied by 1 - momentum, which this rule does not do": sgd_rule(
            momentum=0.9, gain=1 - 0.9
        ),
        "is Nesterov's rule, not plain momentum": sgd_rule(momentum=0.9, nesterov=True),
        "momentum has the wrong sign": sgd_rule(momentum=-0.9),
        "momentum is 1: m only grows": sgd_rule(momentum=1.0),
        "has the wrong sign: it goes uphill": sgd_rule(-LR, momentum=0.9),
    }
    check(answer, "SGD", 1, mistakes, lr=LR, momentum=0.9)
    check(answer, "SGD", 5, mistakes, lr=LR, momentum=0.9)


def decay(answer: Answer) -> None:
    mistakes = {
        "weight_decay is not used": sgd_rule(),
        "weight_decay has the wrong sign: weights must shrink": sgd_rule(decay=-0.5),
        "weight_decay is not multiplied by lr": lambda p, g: p - LR * g[0] - 0.5 * p,
    }
    check(answer, "SGD", 1, mistakes, lr=LR, weight_decay=0.5)
    mistakes = {"weight_decay is not used": sgd_rule(momentum=0.9)}
    check(answer, "SGD", 5, mistakes, lr=LR, momentum=0.9, weight_decay=0.5)


# ------------------------------------------------------------------ Adam


def adam_rule(
    *,
    rate: float = LR,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    correct_m: bool = True,
    correct_v: bool = True,
    inside: bool = False,
    root: bool = True,
    square: Callable[[Floats], Floats] = np.square,
    first: int = 1,
    counts: bool = True,
    decay: float = 0.0,
    coupled: bool = False,
    late: bool = False,
    stores: bool = False,
) -> Rule:
    """Return the rule of Adam; each argument is a mistake that is made."""

    def rule(p: Floats, gradients: list[Floats]) -> Floats:
        m, v = np.zeros_like(p), np.zeros_like(p)
        for step, g in enumerate(gradients):
            k = step + first if counts else 1
            if decay and coupled:
                g = g + decay * p
            elif not late:
                p = p * (1 - rate * decay)
            m = betas[0] * m + (1 - betas[0]) * g
            v = betas[1] * v + (1 - betas[1]) * square(g)
            a = m / (1 - betas[0] ** k) if correct_m else m
            b = v / (1 - betas[1] ** k) if correct_v else v
            scale = np.sqrt(b + eps) if inside else (np.sqrt(b) if root else b) + eps
            p = p - rate * a / scale
            if late:
                p = p * (1 - rate * decay)
            if stores:
                m, v = a, b
        return p

    return rule


ADAM = {
    "the bias correction is missing": adam_rule(correct_m=False, correct_v=False),
    "the bias correction of m is missing": adam_rule(correct_m=False),
    "the bias correction of v is missing": adam_rule(correct_v=False),
    "the square root of v is missing": adam_rule(root=False),
    "v is a mean of |g|, not of g^2": adam_rule(square=np.abs),
    "v is a mean of g, not of g^2: a root of negative numbers": adam_rule(square=np.positive),
    "the step k begins with 0; it counts from 1": adam_rule(first=0),
    "the step k is 2 in the first step: count it once per step, not once per parameter": adam_rule(
        first=2
    ),
    "the step k does not grow": adam_rule(counts=False),
    "the corrected means are stored in m and v: correct copies of them": adam_rule(stores=True),
    "beta1 and beta2 are exchanged": adam_rule(betas=(0.999, 0.9)),
    "has the wrong sign: it goes uphill": adam_rule(rate=-LR),
    "eps is too large, or stands under the root": adam_rule(inside=True),
}


def adam_first(answer: Answer) -> None:
    check(answer, "Adam", 1, ADAM, lr=LR)


def adam_later(answer: Answer) -> None:
    check(answer, "Adam", 5, ADAM, lr=LR)


def adam_eps(answer: Answer) -> None:
    mistakes = {
        "eps is missing": adam_rule(eps=0.0),
        "eps stands under the root": adam_rule(eps=0.5, inside=True),
        "eps is a fixed number: use self.eps": adam_rule(),
        "eps is added before the bias correction": lambda p, g: eps_first(p, g, 0.5),
    }
    check(answer, "Adam", 1, mistakes, lr=LR, eps=0.5)
    check(answer, "Adam", 5, mistakes, lr=LR, eps=0.5)


def eps_first(p: Floats, gradients: list[Floats], eps: float) -> Floats:
    """Return Adam's result with eps added to sqrt(v), before v's correction."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for k, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - LR * (m / (1 - 0.9**k)) * np.sqrt(1 - 0.999**k) / (np.sqrt(v) + eps)
    return p


def adamw(answer: Answer) -> None:
    mistakes = {
        "weight_decay is not used": adam_rule(),
        "weight_decay is added to the gradient (L2, as in Adam); AdamW decouples it": adam_rule(
            decay=0.5, coupled=True
        ),
        "weight_decay is not multiplied by lr": lambda p, g: decayed(p, g, 0.5),
        "weight_decay has the wrong sign: weights must shrink": adam_rule(decay=-0.5),
        "the weights shrink after Adam's step; shrink them before it": adam_rule(
            decay=0.5, late=True
        ),
    }
    check(answer, "AdamW", 1, mistakes, lr=LR, weight_decay=0.5)
    check(answer, "AdamW", 5, mistakes, lr=LR, weight_decay=0.5)


def decayed(p: Floats, gradients: list[Floats], decay: float) -> Floats:
    """Return AdamW's result with a decay that the learning rate does not scale."""
    step = adam_rule(decay=decay / LR)
    return step(p, gradients)


PARTS = (
    Part("SGD", 2, sgd),
    Part("SGD, momentum", 2, momentum),
    Part("SGD, weight decay", 1, decay),
    Part("Adam, first step", 2, adam_first),
    Part("Adam, five steps", 1, adam_later),
    Part("Adam, eps", 1, adam_eps),
    Part("AdamW", 1, adamw),
)
