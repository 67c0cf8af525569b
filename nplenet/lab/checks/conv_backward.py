"""Checks of the assignment `conv-backward`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ...cases import Case
from ..answer import Answer
from ..compare import Mistakes
from .conv import LARGE, PLAIN, WIDE, trials
from .layer import Part, Trial, check_dx, check_gradient


def dx_mistakes(test: Trial) -> Mistakes:
    layer, dy = test.library, test.dy
    n, weight = len(test.x), layer.weight.data
    return [
        (partial(scattered, test, weight[:, :, ::-1, ::-1]), "the kernel is flipped"),
        (partial(scattered, test, weight, adds=False), OVERWRITES),
        (partial(scattered, test, weight, crop=False), UNCUT),
        (partial(scattered, test, weight, corner=True), CORNER),
        (partial(scattered, test, weight[:1], dy[:, :1]), "only the first filter counts"),
        (partial(scattered, test, np.ones_like(weight)), "weight is not used"),
        (test.dx / n, f"is divided by N = {n}: images do not share a dx"),
    ]


OVERWRITES = "where windows overlap the last one overwrites: add with +="
UNCUT = "the padding must be cut off"
CORNER = "the padding is cut off at the wrong side: dx begins at row and column `padding`"


def scattered(
    test: Trial,
    weight: np.ndarray,
    dy: np.ndarray | None = None,
    *,
    adds: bool = True,
    crop: bool = True,
    corner: bool = False,
) -> np.ndarray:
    """Return dx with a mistake: each tap's product, written to the pixels that it read."""
    window, (n, c, h, w) = test.library.window, test.x.shape
    dy = test.dy if dy is None else dy
    (ph, pw), (oh, ow) = window.padding, dy.shape[2:]
    dpadded = np.zeros((n, c, h + 2 * ph, w + 2 * pw))
    for kh, rows in enumerate(window.slices(0, oh)):
        for kw, columns in enumerate(window.slices(1, ow)):
            product = np.einsum("fc,nfhw->nchw", weight[:, :, kh, kw], dy)
            if adds:
                dpadded[:, :, rows, columns] += product
            else:
                dpadded[:, :, rows, columns] = product
    if not crop:
        return dpadded
    top, left = (0, 0) if corner else (ph, pw)
    return dpadded[:, :, top : top + h, left : left + w]


def dx(answer: Answer, cases: Sequence[Case]) -> None:
    for test in trials(answer, cases):
        check_dx(test, dx_mistakes(test), {"F, the number of filters": test.dy.shape[1]})


def dweight(answer: Answer, cases: Sequence[Case]) -> None:
    for test in trials(answer, cases):
        right, n = test.gradients["weight"], len(test.x)
        positions = test.dy.shape[2] * test.dy.shape[3]
        mistakes: Mistakes = [
            (
                right / n,
                f"is divided by N = {n}: sum over the images; the loss has its 1/N already",
            ),
            (right / positions, "is divided by OH*OW: sum over all places of the window"),
            (partial(weight_gradient, test, 0), "only the first image counts: sum over the images"),
            (partial(weight_gradient, test, -1), "only the last image counts: sum over the images"),
            (right[:, :, ::-1, ::-1], "is flipped: forward correlates, and so does this"),
            (right[:, ::-1], "the channels are in the wrong order"),
            (partial(weight_gradient, test, None, shift=True), UNPADDED),
        ]
        check_gradient(test, "weight", mistakes)


UNPADDED = "x must be padded as in forward"


def weight_gradient(test: Trial, image: int | None, shift: bool = False) -> np.ndarray:
    """Return dweight of one image alone, or of an image that is padded at its end only."""
    window, x, dy = test.library.window, test.x, test.dy
    padded = window.pad(np, x)
    if shift:
        padded = np.zeros_like(padded)
        padded[:, :, : x.shape[2], : x.shape[3]] = x
    part = slice(None) if image is None else [image]
    grad = np.zeros_like(test.library.weight.data)
    for kh, rows in enumerate(window.slices(0, dy.shape[2])):
        for kw, columns in enumerate(window.slices(1, dy.shape[3])):
            pixels = padded[:, :, rows, columns]
            grad[:, :, kh, kw] = np.einsum("nfhw,nchw->fc", dy[part], pixels[part])
    return grad


def dbias(answer: Answer) -> None:
    for test in trials(answer, (*PLAIN, LARGE)):
        if "bias" not in test.gradients:
            test.backward()  # must not fail without a bias
            continue
        dy, right, n = test.dy, test.gradients["bias"], len(test.x)
        mistakes: Mistakes = [
            (
                right / n,
                f"is divided by N = {n}: sum over the images; the loss has its 1/N already",
            ),
            (dy.mean(axis=(0, 2, 3)), "is a mean: sum over N, OH and OW"),
            (dy.sum(axis=0).mean(axis=(1, 2)), "is a mean over OH and OW: sum over them"),
            (dy[0].sum(axis=(1, 2)), "only the first image counts: sum over the images"),
            (dy[:, :, 0, 0].sum(axis=0), "only the first pixel counts: sum over OH and OW"),
            (np.full(right.shape, dy.sum()), "sums over the filters, too"),
        ]
        check_gradient(test, "bias", mistakes)


PARTS = (
    Part("dbias", 2, dbias),
    Part("dweight", 2, lambda answer: dweight(answer, PLAIN)),
    Part("dweight, stride and padding", 2, lambda answer: dweight(answer, WIDE)),
    Part("dx", 2, lambda answer: dx(answer, PLAIN)),
    Part("dx, stride and padding", 2, lambda answer: dx(answer, WIDE)),
)
