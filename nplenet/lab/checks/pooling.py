"""Checks of the assignment `pooling`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ...cases import CASES, Case
from ...layers import AvgPool2d
from ...window import Window
from ..answer import Answer
from ..compare import Mistakes
from .conv import geometry
from .layer import Floats, Part, Trial, check_dx, check_forward, trial

# Larger than those of the table, and no two sizes alike.
LARGE = Case(
    "avgpool2d/lab", lambda rng: AvgPool2d((2, 3), stride=(3, 2), padding=(1, 1)), (3, 2, 10, 13)
)
TWO = (CASES["avgpool2d/2x2"],)
OTHERS = (CASES["avgpool2d/overlap"], CASES["avgpool2d/gaps"])
PADDED = (CASES["avgpool2d/padding"], LARGE)
ARGUMENTS = ("kernel_size", "stride", "padding")


def trials(answer: Answer, cases: Sequence[Case]) -> list[Trial]:
    found = []
    for case in cases:
        library: Any = case.build()
        label = geometry(library.window, case.input_shape)
        found.append(trial(answer, "AvgPool2d", case, label, ARGUMENTS))
    return found


def taps(window: Window, x: Floats) -> Floats:
    """Return what each place of a window reads, (KH*KW, N, C, OH, OW)."""
    return np.array(list(window.taps(window.pad(np, x), window.output_size(*x.shape[2:]))))


def on_image(window: Window, shape: tuple[int, ...]) -> Floats:
    """Return how many pixels of each window lie on the image, (OH, OW)."""
    rows, columns = window.coverage(shape[2], 0, False), window.coverage(shape[3], 1, False)
    found: Floats = np.outer(rows, columns).astype(np.float64)
    return found


def forward(answer: Answer, cases: Sequence[Case]) -> None:
    for test in trials(answer, cases):
        window, y = test.library.window, test.y
        values, area = taps(window, test.x), window.size[0] * window.size[1]
        mistakes: Mistakes = [
            (values.sum(axis=0), f"is the sum of each window: the divisor {area} is missing"),
            (values.max(axis=0), "is the maximum of each window, not the average"),
            (values[0], "takes the first pixel of each window: average all of them"),
            (values[-1], "takes the last pixel of each window: average all of them"),
            (values[-1] / area, "only the last pixel of each window counts: add with +="),
            (values[0] / area, "only the first pixel of each window counts: add them all"),
            (partial(edged, window, test.x), "the padding is not zero"),
            (np.median(values, axis=0), "is the median, not the average"),
            (values.sum(axis=0) / window.size[0], "is divided by KH only, not by KH*KW"),
            (
                y * area / on_image(window, test.x.shape),
                "the divisor leaves the padding out: KH*KW",
            ),
            (
                values[:-1].sum(axis=0) / area,
                "the last pixel of each window is missing",
            ),
            (y.swapaxes(2, 3), "rows and columns are exchanged"),
        ]
        check_forward(test, mistakes)


def edged(window: Window, x: Floats) -> Floats:
    """Return the averages of an image whose border is repeated instead of zeros."""
    ph, pw = window.padding
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), "edge")
    views = window.taps(padded, window.output_size(*x.shape[2:]))
    return np.asarray(np.mean(list(views), axis=0))


def spread(test: Trial, *, adds: bool = True, only: int | None = None) -> Floats:
    """Return dx with a mistake: shares that overwrite, or one pixel that gets everything."""
    window, (n, c, h, w), dy = test.library.window, test.x.shape, test.dy
    dpadded = np.zeros((n, c, *window.padded_size(h, w)))
    views = list(window.taps(dpadded, dy.shape[2:]))
    share = dy if only is not None else dy / len(views)
    for view in views if only is None else [views[only]]:
        if adds:
            view += share
        else:
            view[...] = share
    return np.asarray(window.unpad(dpadded, h, w))


def backward(answer: Answer, cases: Sequence[Case]) -> None:
    for test in trials(answer, cases):
        window, dx = test.library.window, test.dx
        area = window.size[0] * window.size[1]
        mistakes: Mistakes = [
            (dx * area, f"each pixel gets all of dy: the divisor {area} is missing"),
            (dx / area, f"is divided by {area} twice"),
            (dx * window.size[0], "is divided by KW only, not by KH*KW"),
            (spread(test, adds=False), "where windows overlap the last overwrites: add with +="),
            (spread(test, only=0), "only the first pixel of each window gets dy: spread it"),
            (partial(winners, test), "is the backward of max pooling"),
            (partial(uncut, test), "the padding must be cut off"),
            (
                partial(uncut, test, corner=True),
                "the padding is cut off at the wrong side: dx begins at row and column `padding`",
            ),
        ]
        check_dx(test, mistakes)


def uncut(test: Trial, *, corner: bool = False) -> Floats:
    """Return dx with its padding, or with the padding cut off at the wrong side."""
    window, (n, c, h, w), dy = test.library.window, test.x.shape, test.dy
    dpadded = np.zeros((n, c, *window.padded_size(h, w)))
    for view in window.taps(dpadded, dy.shape[2:]):
        view += dy / (window.size[0] * window.size[1])
    return dpadded[:, :, :h, :w] if corner else dpadded


def winners(test: Trial) -> Floats:
    """Return the dx of max pooling."""
    window, (n, c, h, w) = test.library.window, test.x.shape
    largest = taps(window, test.x).argmax(axis=0)
    dpadded = np.zeros((n, c, *window.padded_size(h, w)))
    for place, view in enumerate(window.taps(dpadded, test.dy.shape[2:])):
        view += test.dy * (largest == place)
    return np.asarray(window.unpad(dpadded, h, w))


PARTS = (
    Part("forward, 2x2", 2, lambda answer: forward(answer, TWO)),
    Part("forward, windows that overlap or leave gaps", 2, lambda answer: forward(answer, OTHERS)),
    Part("forward, padding", 1, lambda answer: forward(answer, PADDED)),
    Part("backward, 2x2", 2, lambda answer: backward(answer, TWO)),
    Part(
        "backward, windows that overlap or leave gaps", 2, lambda answer: backward(answer, OTHERS)
    ),
    Part("backward, padding", 1, lambda answer: backward(answer, PADDED)),
)
