"""Connected parts of a mask, and what distinguishes a stroke of ink.

A run is a piece of a row. Runs of neighbouring rows that overlap, or touch at a corner, belong to
one part:

    row 0   .##..##.     two runs, which run 2 joins
    row 1   ..####..     so all three are one part
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .ink import WIDER, Ink, Papers
from .windows import Floats, Mask

Integers = npt.NDArray[np.integer[Any]]

MAX_PARTS = 120  # the longest ones
EDGE = 0.5  # fraction of a part's contrast that is an edge in the image
WHOLE = 6  # exponent of ``whole`` in a score
BEYOND = 2  # pixels from the outline to the ground
SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass
class Part:
    """Ink that is connected, or a group of such parts.

    Attributes
    ----------
    labels, where
        Its numbers in ``where`` (H, W), an array of all parts, -1 outside the ink.
    top, left, bottom, right
        Its box in pixels, bottom and right exclusive.
    area, outline
        Pixels, and sides of pixels between ink and paper.
    contrast
        Mean fraction of the paper's brightness that is missing.
    whole
        Fraction of the outline where the image has an edge, too. A part that a window cuts out of
        something wider, or a soft shadow, has an outline without an edge.
    ground
        Fraction of the outline beyond which there is ground, not the opposite kind of ink: the
        space between two strokes is bright "ink" whose surroundings are strokes.
    full
        Contrast as a fraction of what a window four times as wide shows.
    thin, long
        Sides of the rectangle with the same second moments.
    lying
        Whether its longer axis is within 35 degrees of horizontal.
    edges
        How many borders of the image it touches.
    light, window
        Whether it is light ink; the number of its window.
    """

    labels: list[int]
    where: Integers
    top: int
    left: int
    bottom: int
    right: int
    area: float
    outline: float
    contrast: float
    whole: float
    ground: float
    full: float
    thin: float
    long: float
    lying: bool
    edges: int
    light: bool = False
    window: int = 0
    fat: float = 0.0
    score: float = 0.0

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def longer(self) -> int:
        return max(self.height, self.width)

    @property
    def stroke(self) -> float:
        """Mean width of the strokes: twice the area over the outline, pixels' sides corrected."""
        return 2 * self.area / max(self.outline * math.pi / 4, 1)

    @property
    def bar(self) -> bool:
        """Whether it is a straight bar: hardly wider than its stroke."""
        return (
            len(self.labels) == 1 and self.thin <= 1.5 * self.stroke and self.long > 3 * self.thin
        )

    @property
    def flat(self) -> bool:
        """Whether it is long and lies, which no digit does."""
        return len(self.labels) == 1 and self.lying and self.long >= 2.5 * self.thin

    def mask(self) -> Mask:
        """Return its pixels within its box."""
        return np.isin(self.where[self.top : self.bottom, self.left : self.right], self.labels)


def labelled(mask: Mask) -> tuple[Integers, int]:
    """Return for each True pixel, in row-major order, the number of its part; and their count.

    Pixels connect by sides and by corners.
    """
    height, width = mask.shape
    stride = width + 2
    padded = np.zeros((height, stride), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded.ravel())
    starts, ends = np.flatnonzero(change == 1) + 1, np.flatnonzero(change == -1) + 1
    first = np.searchsorted(ends, starts + stride, "left")  # of the runs below that touch
    many = np.maximum(np.searchsorted(starts, ends + stride, "right") - first, 0)
    upper = np.repeat(np.arange(len(starts)), many)
    lower = np.arange(len(upper)) - (np.cumsum(many) - many)[upper] + first[upper]
    names, numbers = np.unique(_joined(len(starts), upper, lower), return_inverse=True)
    return np.repeat(numbers, ends - starts), len(names)


def _joined(count: int, one: Integers, other: Integers) -> Integers:
    """Return for each of ``count`` nodes the least node that it is connected with."""
    least = np.arange(count)
    while True:
        smaller = np.minimum(least[one], least[other])
        found = least.copy()
        for node in (least[one], least[other], one, other):  # roots learn it as well as leaves
            np.minimum.at(found, node, smaller)
        while not ((shorter := found[found]) == found).all():
            found = shorter
        if (found == least).all():
            return least
        least = found


def parts_of(
    mask: Mask, ink: Ink, papers: Papers, step: int, opposite: Papers, min_side: int
) -> list[Part]:
    """Return the parts of a mask (H, W), the longest first, without those below ``min_side``.

    ``ink`` is what window number ``step`` of the papers shows, ``opposite`` the negative's papers.
    """
    numbers, count = labelled(mask)
    if not count:
        return []
    pixels = np.flatnonzero(mask)
    where = np.full(mask.shape, -1, np.int32)
    where.ravel()[pixels] = numbers
    rows, columns = np.divmod(pixels, mask.shape[1])
    area = np.bincount(numbers, minlength=count).astype(float)
    box = _boxes(rows, columns, numbers, count)
    contrast = np.bincount(numbers, ink.contrast.ravel()[pixels], count) / area
    outline, whole, ground = _outlines(where, ink, area, contrast, opposite)
    wider = papers.levels[min(step + WIDER, len(papers.levels) - 1)]
    level = papers.grey.ravel()[pixels]
    missing = [
        np.bincount(numbers, paper.ravel()[pixels].astype(float) - level, count)
        for paper in (papers.levels[step], wider)
    ]
    full = np.clip(missing[0] / np.maximum(missing[1], 1), 0, 1)
    thin, long, lying = _axes(rows, columns, numbers, area)
    longer = np.maximum(box[2] - box[0], box[3] - box[1])
    order = np.argsort(-longer, kind="stable")[:MAX_PARTS]
    touching = (box[:2] == 0).sum(axis=0) + (mask.shape == box[2:].T).sum(axis=1)
    found = []
    for k in order[longer[order] >= min_side]:
        top, left, bottom, right = (int(side) for side in box[:, k])
        shape = float(thin[k]), float(long[k])
        sizes = float(area[k]), float(outline[k])
        signs = float(contrast[k]), float(whole[k]), float(ground[k]), float(full[k])
        found.append(
            Part(
                [int(k)],
                where,
                top,
                left,
                bottom,
                right,
                *sizes,
                *signs,
                *shape,
                bool(lying[k]),
                int(touching[k]),
            )
        )
    return found


def _boxes(rows: Integers, columns: Integers, numbers: Integers, count: int) -> Integers:
    """Return top, left, bottom and right of each part: (4, count)."""
    box = np.zeros((4, count), np.intp)
    box[:2] = 1 << 30
    np.minimum.at(box[0], numbers, rows)
    np.minimum.at(box[1], numbers, columns)
    np.maximum.at(box[2], numbers, rows + 1)
    np.maximum.at(box[3], numbers, columns + 1)
    return box


def _axes(rows: Integers, columns: Integers, numbers: Integers, area: Floats) -> Any:
    """Return the shorter and longer side of the rectangle with a part's moments, and if it lies."""
    count = len(area)
    dy = rows - (np.bincount(numbers, rows, count) / area)[numbers]
    dx = columns - (np.bincount(numbers, columns, count) / area)[numbers]
    xx, yy, xy = (
        np.bincount(numbers, product, count) / area for product in (dx * dx, dy * dy, dx * dy)
    )
    half, radius = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the longer axis, 0 is horizontal
    thin = np.sqrt(12 * np.maximum(half - radius, 0) + 1)  # a pixel's own variance is 1 / 12
    return thin, np.sqrt(12 * (half + radius) + 1), np.abs(angle) < math.radians(35)


def _outlines(
    where: Integers, ink: Ink, area: Floats, contrast: Floats, opposite: Papers
) -> tuple[Floats, Floats, Floats]:
    """Return each part's outline, and the fractions of it that are ``whole`` and ``ground``."""
    count, (height, width) = len(area), where.shape
    inside = where >= 0
    around = np.pad(inside, 1, mode="edge")
    sides = []
    for dy, dx in SIDES:
        beside = around[1 + dy : height + 1 + dy, 1 + dx : width + 1 + dx]
        pixels = np.flatnonzero(inside & ~beside)
        sides.append((pixels, where.ravel()[pixels], dy, dx))
    outline = np.sum([np.bincount(part, minlength=count) for _, part, *_ in sides], 0).astype(float)
    stroke = 2 * area / np.maximum(outline * np.pi / 4, 1)
    shortest = max(3, round(0.75 * opposite.scale))
    farthest = 2 * shortest
    reach = np.clip(0.25 * stroke, shortest, farthest)
    window = np.minimum(np.searchsorted(opposite.windows, stroke), len(opposite.windows) - 1)
    grey, stride = np.pad(ink.grey, farthest, mode="edge").ravel(), width + 2 * farthest
    whole, ground = np.zeros(count), np.zeros(count)
    for pixels, part, dy, dx in sides:
        y, x = np.divmod(pixels, width)
        place, move = (y + farthest) * stride + x + farthest, dy * stride + dx
        needed = EDGE * contrast[part] * ink.paper.ravel()[pixels]
        brightest, darkest, reaches = grey[place + move], grey[place], reach[part]
        for step in range(1, farthest + 1):
            reached = step <= reaches if step > shortest else slice(None)  # else all are
            levels = grey[place[reached] + step * move]
            brightest[reached] = np.maximum(brightest[reached], levels)
            reached = step < reaches if step >= shortest else slice(None)
            levels = grey[place[reached] - step * move]
            darkest[reached] = np.minimum(darkest[reached], levels)
        whole += np.bincount(part, brightest - darkest >= needed, count)
        y, x = np.clip(y + BEYOND * dy, 0, height - 1), np.clip(x + BEYOND * dx, 0, width - 1)
        missing = opposite.levels[window[part], y, x].astype(int) - opposite.clean[y, x]
        ground += np.bincount(part, missing < needed, count)
    total = np.maximum(outline, 1)
    return outline, whole / total, ground / total
