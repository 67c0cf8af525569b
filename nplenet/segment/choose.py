"""Which groups of parts are digits: a score for each, lower for what loses a ``contest``.

The score is a product. Each factor is 1 for any digit of MNIST written with any pen, and falls with
what makes a group unlike that: an outline without an edge in the image, a shape as wide as it is
long, a bar that lies, contact with the border of the image.
"""

from __future__ import annotations

import math

from .contest import contest
from .notes import Note
from .parts import WHOLE, Part
from .shapes import reduced, widest

MIN_SCORE = 0.012  # of a digit; noise on blank paper reached 0.002
CANDIDATES = 60  # the best ones enter the contest
MAX_FAT = 0.36  # width of a digit's widest stroke over its longer side
MAX_ASPECT = 1.3  # width / height
GOOD_CONTRAST = 0.5  # fraction of the paper's brightness; half as much costs 40 %
MIN_STROKE = 0.015  # mean width of the strokes over the longer side
LONG_BAR = 0.45  # of the image's side: a longer bar is rather a pen than a 1
SIMILAR = 0.4  # score and size of further digits, as fractions of the best one's
MAX_LARGER = 1.7  # times as long as the best one


def ranked(groups: list[Part], notes: list[Note], side: int, at_edge: float) -> list[Part]:
    """Return the best groups, the best first, of an image whose longer side is ``side``.

    ``at_edge`` is the factor for what touches the border.
    """
    for group in groups:
        group.score = _score(group, side) * (at_edge if group.edges else 1)
    for note in notes:
        for group, factor in zip(groups, note.factors(groups), strict=True):
            group.score *= factor
    best = _different(sorted(groups, key=lambda group: -group.score))
    for group in best:
        group.fat = _fat(group)
        if not group.bar:
            group.score *= _falling(group.fat / group.longer, MAX_FAT, 0.25)
    contest(best)
    return sorted(
        (group for group in best if group.score > MIN_SCORE), key=lambda group: -group.score
    )


def _different(groups: list[Part]) -> list[Part]:
    """Return the first groups, without those that another window showed before."""
    kept: list[Part] = []
    for group in groups:
        if group.score <= MIN_SCORE or len(kept) == CANDIDATES:
            break
        if not any(group.light == other.light and _same_box(group, other) for other in kept):
            kept.append(group)
    return kept


def digits(best: list[Part]) -> list[Part]:
    """Return the digits among ranked groups, in reading order: the best, and others like it."""
    kept: list[Part] = []
    for group in best:
        first = kept[0] if kept else group
        alike = group.light == first.light and group.edges <= first.edges
        alike &= group.score >= SIMILAR * first.score
        alike &= SIMILAR <= group.longer / first.longer <= MAX_LARGER
        alike &= 1 / 3 <= group.contrast / first.contrast <= 3
        if alike and not any(_overlap(group, other) > 0.25 for other in kept):
            kept.append(group)
    return in_reading_order(kept)


def in_reading_order(parts: list[Part]) -> list[Part]:
    """Return parts line by line, each from left to right."""
    lines: list[list[Part]] = []
    for part in sorted(parts, key=lambda part: part.top + part.bottom):
        for line in lines:
            last = line[-1]
            shared = min(part.bottom, last.bottom) - max(part.top, last.top)
            if shared > 0.4 * min(part.height, last.height):
                line.append(part)
                break
        else:
            lines.append([part])
    return [part for line in lines for part in sorted(line, key=lambda part: part.left)]


def _falling(value: float, limit: float, over: float) -> float:
    """Return 1 up to a limit, then less; nearly 0 from ``over`` above the limit on."""
    return max(0.02, 1 - max(0.0, value - limit) / over)


def _score(group: Part, side: int) -> float:
    score = math.sqrt(group.longer / side)
    score *= group.whole**WHOLE
    score *= min(1, group.ground / 0.5) ** 2  # at most half the outline runs through small holes
    score *= min(1, group.full / 0.85) ** 2
    score *= _falling(group.width / group.height, MAX_ASPECT, 1)
    score *= min(1, group.contrast / GOOD_CONTRAST) ** 0.75
    score *= min(1, group.stroke / group.longer / MIN_STROKE)
    score *= 0.98**group.window * 0.97 ** (len(group.labels) - 1)
    if group.bar:
        score *= 0.7 if group.longer < LONG_BAR * side else 0.35
    if group.flat:
        score *= 0.05
    return score


def _fat(group: Part) -> float:
    """Return the width of the widest stroke."""
    mask, step = reduced(group.mask())
    return max(0.8 * group.stroke, 0.85 * step * widest(mask))


def _same_box(a: Part, b: Part) -> bool:
    """Return whether two boxes share over 0.8 of the larger box."""
    larger = max(a.height * a.width, b.height * b.width)
    return _shared(a, b) > 0.8 * larger


def _overlap(a: Part, b: Part) -> float:
    """Return the area that two boxes share as a fraction of the smaller box."""
    return _shared(a, b) / min(a.height * a.width, b.height * b.width)


def _shared(a: Part, b: Part) -> int:
    """Return the area that two boxes share."""
    down = min(a.bottom, b.bottom) - max(a.top, b.top)
    across = min(a.right, b.right) - max(a.left, b.left)
    return max(0, down) * max(0, across)
