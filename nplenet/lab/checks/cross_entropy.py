"""Checks of the assignment `cross-entropy`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cases import CASES, Case
from ...losses import CrossEntropyLoss, log_softmax, softmax
from ..answer import Answer
from ..compare import Mistakes, WrongAnswer, as_floats, compare
from .layer import Floats, Part, untried

Targets = np.ndarray


def sample(case: str = "crossentropyloss/mean") -> tuple[Floats, Targets, Any]:
    """Return logits (4, 5), targets (4,), and the library's loss for them."""
    table: Case = CASES[case]
    return 2.0 * table.input(), table.targets(), table.build()


def softmax_values(answer: Answer) -> None:
    logits, _, _ = sample()
    function = answer.get("softmax")
    e = np.exp(logits)
    mistakes: Mistakes = [
        *(
            (wrong, sentence)
            for e in (np.exp(logits), np.exp(logits - logits.max(axis=1, keepdims=True)))
            for wrong, sentence in (
                (e, "is not divided by the sum of the row"),
                (e / e.sum(axis=0), "sums along the wrong axis: each row must sum to 1"),
                (e / e.sum(), "divides by the sum of all rows: each row must sum to 1"),
            )
        ),
        (np.exp(-logits) / np.exp(-logits).sum(1, keepdims=True), "the exponent has a wrong sign"),
        (logits / logits.sum(1, keepdims=True), "exp is missing"),
        (e / e.max(1, keepdims=True), "divides by the row's largest value, not by its sum"),
        (log_softmax(logits), "is log softmax, not softmax"),
    ]
    compare("softmax", answer.call("softmax", function, logits), softmax(logits), mistakes)


def softmax_large(answer: Answer) -> None:
    function = answer.get("softmax")
    for shift in (1000.0, -1000.0):
        logits = sample()[0] + shift
        found = as_floats("softmax", answer.call("softmax", function, logits))
        if not np.isfinite(found).all():
            raise WrongAnswer(
                f"softmax of logits near {shift:g}: exp overflows, or the sum is 0: found "
                f"{found[~np.isfinite(found)][0]}; subtract the maximum of each row first"
            )
        compare(f"softmax of logits near {shift:g}", found, softmax(logits))
    far = np.array([[0.0, -1.0], [2000.0, 1999.0]])
    found = as_floats("softmax", answer.call("softmax", function, far))
    cause = "subtract each row's own maximum, not the largest of all rows"
    compare("softmax of rows far apart", found, softmax(far), [(found, cause)])


def forward_with(answer: Answer, smoothing: float, logits: Floats, targets: Targets) -> Any:
    """Return the student's loss object after its forward, and the value."""
    kind = answer.get("CrossEntropyLoss")
    own = answer.call("making a CrossEntropyLoss", lambda: kind(smoothing) if smoothing else kind())
    return own, answer.call("forward", own.forward, logits, targets)


def loss_value(answer: Answer) -> None:
    logits, targets, library = sample()
    n, k = logits.shape
    log_p = log_softmax(logits)[np.arange(n), targets]
    mistakes: Mistakes = [
        (-log_p.sum(), f"is a sum over the batch: the factor 1/N, N = {n}, is missing"),
        (-log_p.sum() / (n * k), "is divided by N*K: the mean is over the N images"),
        (-log_p.sum() / k, "is divided by K, the number of classes, not by N"),
        (log_p.mean(), "has the wrong sign: the loss is -log of a probability"),
        (-np.exp(log_p).mean(), "log is missing"),
        (1 - np.exp(log_p).mean(), "log is missing: 1 - p is not the cross entropy"),
        (-log_p.mean() / np.log(2), "the logarithm is to base 2, not natural"),
        (-logits[np.arange(n), targets].mean(), "the softmax is missing"),
        (-log_p, "is a loss per image: take the mean over the batch"),
        (-log_softmax(logits).sum() / n, "sums over all classes: only the target's counts"),
    ]
    _, found = forward_with(answer, 0.0, logits, targets)
    compare("forward", found, library.forward(logits, targets), mistakes)


def loss_large(answer: Answer) -> None:
    for shift in (-1000.0, 1000.0):
        logits, targets, library = sample()
        logits[:, 0] += shift
        targets[:] = [0, 0, 1, 2]
        _, found = forward_with(answer, 0.0, logits, targets)
        value = as_floats("forward", found)
        right = library.forward(logits, targets)
        if not np.isfinite(value).all():
            why = "log(0)" if shift < 0 else "exp overflows"
            raise WrongAnswer(
                f"forward with a logit near {shift:g}: {why}: expected {right:.6g}, found {value}; "
                "compute log softmax as z - max - log(sum of exp(z - max))"
            )
        cut = (
            "a small probability is cut off, or a number is added to it, before the log: compute "
            "log softmax as z - max - log(sum of exp(z - max))"
        )
        n, k = logits.shape
        mistakes: list[tuple[Any, str]] = [
            (-right, "has the wrong sign: the loss is -log of a probability"),
            (right * n, f"is a sum over the batch: the factor 1/N, N = {n}, is missing"),
            (right / k, "is divided by N*K: the mean is over the N images"),
        ]
        if value.size == 1 and value < right:
            mistakes.append((value, cut))
        compare(f"forward with a logit near {shift:g}", value, right, mistakes)


def gradient(answer: Answer, smoothing: float) -> tuple[Floats, Targets, Floats, Any]:
    """Return logits, targets, the right gradient and the student's."""
    logits, targets, _ = sample()
    library = CrossEntropyLoss(label_smoothing=smoothing)
    library.forward(logits, targets)
    with untried("backward"):
        own, _ = forward_with(answer, smoothing, logits, targets)
    return logits, targets, library.backward(), answer.call("backward", own.backward)


def backward(answer: Answer) -> None:
    logits, targets, right, found = gradient(answer, 0.0)
    n, k = logits.shape
    p, t = softmax(logits), np.eye(k)[targets]
    mistakes: Mistakes = [
        (p - t, f"the factor 1/N, N = {n}, is missing: the loss is a mean"),
        ((p - t) / (n * k), "is divided by N*K: the mean is over the N images"),
        ((p - t) / k, "is divided by K, the number of classes, not by N"),
        ((t - p) / n, "has the wrong sign: softmax - one-hot"),
        (p / n, "the target is missing: softmax - one-hot"),
        (p, "the target is missing: softmax - one-hot; and the factor 1/N"),
        (-t / n, "the softmax is missing: softmax - one-hot"),
        ((logits - t) / n, "the softmax is missing: softmax - one-hot"),
        (-t / p / n, "is the gradient with respect to the probabilities, not the logits"),
        ((p - t) * p / n, "is multiplied by softmax once too often"),
    ]
    compare("backward", found, right, mistakes)


def smoothed(answer: Answer) -> None:
    s = 0.1
    logits, targets, _ = sample()
    n, k = logits.shape
    log_p, one = log_softmax(logits), np.eye(k)[targets]
    plain = -(one * log_p).sum() / n

    def loss(t: Floats) -> float:
        return float(-(t * log_p).sum() / n)

    others = (1 - one) * s / (k - 1)
    mistakes: Mistakes = [
        (plain, "label_smoothing is not used"),
        (loss((1 - s) * one + s), "s is not divided by K"),
        (loss((1 - s) * one + others), "s is spread over K - 1 classes: the target has s / K, too"),
        (loss((1 - s) * one), "the term s / K is missing"),
        (loss((1 - s) * one + (1 - one) * s / k), "the target, too, gets s / K besides its 1 - s"),
        (loss(one + s / k), "the one-hot target is not multiplied by 1 - s"),
    ]
    _, found = forward_with(answer, s, logits, targets)
    right = CrossEntropyLoss(label_smoothing=s).forward(logits, targets)
    factors = {"N, the number of images": n, "K, the number of classes": k}
    compare("forward with label_smoothing=0.1", found, right, mistakes, factors)
    _, _, right, found = gradient(answer, s)
    p = softmax(logits)
    backwards: Mistakes = [
        ((p - one) / n, "label_smoothing is not used in backward"),
        ((p - (1 - s) * one) / n, "the term s / K is missing"),
        (p - (1 - s) * one - s / k, f"the factor 1/N, N = {n}, is missing"),
    ]
    compare("backward with label_smoothing=0.1", found, right, backwards)


PARTS = (
    Part("softmax", 2, softmax_values),
    Part("softmax, large logits", 1, softmax_large),
    Part("loss", 2, loss_value),
    Part("loss, large logits", 1, loss_large),
    Part("backward", 3, backward),
    Part("label smoothing", 1, smoothed),
)
