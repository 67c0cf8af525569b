"""Which groups of parts are digits: a score for each, and a contest between ink and ground.

The score is a product. Each factor is 1 for any digit of MNIST written with any pen, and falls with
what makes a group unlike that: an outline without an edge in the image, a shape as wide as it is
long, a bar that lies, contact with the border of the image.
"""

from __future__ import annotations

import math

import numpy as np

from .groups import frames
from .notes import Note
from .parts import Part, labelled
from .shapes import reduced, widest

MIN_SCORE = 0.012  # of a digit; noise on blank paper reached 0.002
CANDIDATES = 60  # the best ones enter the contest
RECTANGLE = 0.88  # filled fraction; an ellipse fills pi / 4 = 0.79
MAX_FAT = 0.36  # width of a digit's widest stroke over its longer side
MAX_ASPECT = 1.3  # width / height
GOOD_CONTRAST = 0.5  # fraction of the paper's brightness; half as much costs 40 %
MIN_STROKE = 0.015  # mean width of the strokes over the longer side
LONG_BAR = 0.45  # of the image's side: a longer bar is rather a pen than a 1
SIMILAR = 0.4  # score and size of further digits, as fractions of the best one's
MAX_LARGER = 1.7  # times as long as the best one
SMALL_HOLE = 0.3  # longest side over that of the strokes around it


def ranked(groups: list[Part], notes: list[Note], side: int, at_edge: float) -> list[Part]:
    """Return the best groups, the best first, of an image whose longer side is ``side``.

    ``at_edge`` is the factor for what touches the border.
    """
    for group in groups:
        group.score = _score(group, side) * (at_edge if group.edges else 1)
        for note in notes:
            if note.holds(group):
                group.score *= (
                    note.shown(group) ** 2 / group.whole**6 if group.light == note.light else 0.1
                )
    best = _different(sorted(groups, key=lambda group: -group.score))
    for group in best:
        group.fat = _fat(group)
        if not group.bar:
            group.score *= _falling(group.fat / group.longer, MAX_FAT, 0.25)
    _contest(best)
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
    score *= group.whole**6
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


def _rectangle(group: Part) -> tuple[float, float]:
    """Return the area with holes filled, and of the least rectangle around it, in any direction.

    The second is infinite where the rectangle is over three times as long as it is wide.
    """
    mask, step = reduced(group.mask())
    numbers, _ = labelled(~mask)
    outside = np.zeros(mask.shape, bool)
    outside[~mask] = numbers == numbers[0]
    y, x = np.nonzero(~outside)
    if not len(y):
        return 0.0, math.inf
    turn = np.radians(np.arange(0, 90, 3))
    along = np.outer(np.cos(turn), x) + np.outer(np.sin(turn), y)
    across = np.outer(np.cos(turn), y) - np.outer(np.sin(turn), x)
    sides = np.ptp(along, axis=1) + 1, np.ptp(across, axis=1) + 1
    least = int((sides[0] * sides[1]).argmin())
    one, other = sorted((float(sides[0][least]), float(sides[1][least])))
    return len(y) * step**2, one * other * step**2 if other <= 3 * one else math.inf


def _contest(best: list[Part]) -> None:
    """Lower the scores of frames, of ground that looks like ink, and of what carries a digit."""
    scores = [group.score for group in best]
    filled, around = zip(*map(_rectangle, best), strict=True) if best else ((), ())
    rectangle = [area > RECTANGLE * box for area, box in zip(filled, around, strict=True)]
    lost, carrier = set(), set()
    for i, a in enumerate(best):
        for j, b in enumerate(best):
            split = a.light != b.light and a.area + b.area > RECTANGLE * around[i]
            if (rectangle[i] or split) and not rectangle[j] and _within(a, b):
                carrier.add(i)  # a sheet, a card, a box: with something in it, or across it
            if a.light == b.light:
                sound = b.full >= 0.7 and b.whole >= 0.8 and scores[j] > 0.02 * scores[i]
                if i != j and sound and frames(a, b) and _covered(a, b) < 0.1:
                    lost.add(i)
                continue
            if not _holds(a, b):
                continue
            thin = a.fat <= 0.3 * a.longer and len(a.labels) == 1 and not a.edges
            if thin and b.longer <= SMALL_HOLE * a.longer and scores[i] >= 0.2 * scores[j]:
                lost.add(j)  # the hole of an 8, also where the edge of the strokes is ragged
            if a.whole < 0.8 or b.whole < 0.7:
                continue
            ratio = a.fat / b.stroke
            single = len(a.labels) == 1 and not a.edges
            if ratio <= 2.5 and single and a.whole >= 0.93 and a.full >= 0.8 and a.ground >= 0.3:
                lost.add(j)  # the hole of a 0, the space between strokes
            compact = b.bar or b.fat > 0.3 * b.longer
            if ratio >= (6 if compact else 3) and scores[j] >= 0.1 * scores[i] and _carries(a, b):
                carrier.add(i)  # paper or a card around a digit
    for i, group in enumerate(best):
        group.score *= (0.1 if i in lost else 1) * (0.1 if i in carrier else 1)


def _within(a: Part, b: Part) -> bool:
    """Return whether b, which is whole and not small, lies in the box of a."""
    sound = b.full >= 0.7 and b.whole >= 0.7 and b.longer >= 0.2 * a.longer
    return sound and _holds(a, b) and _covered(a, b) < 0.1


def _holds(a: Part, b: Part) -> bool:
    """Return whether the box of a holds the box of b, but for two pixels, and is not the same."""
    inner = (a.top - b.top, a.left - b.left, b.bottom - a.bottom, b.right - a.right)
    return max(inner) <= 2 and (a.longer, a.width + a.height) > (b.longer, b.width + b.height)


def _carries(a: Part, b: Part) -> bool:
    """Return whether b is not small in a, and a is all around it: in 0.8 of a ring at 4 pixels."""
    if b.longer < 0.25 * a.longer:
        return False
    height, width = a.where.shape
    top, left = max(0, b.top - 4), max(0, b.left - 4)
    bottom, right = min(height, b.bottom + 4), min(width, b.right + 4)
    around = np.isin(a.where[top:bottom, left:right], a.labels)
    ring = np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]])
    return bool(ring.mean() > 0.8)


def _covered(a: Part, b: Part) -> float:
    """Return the fraction of b's pixels that are in a's largest part, too."""
    box = slice(b.top, b.bottom), slice(b.left, b.right)
    return float((a.where[box] == a.labels[0])[b.mask()].mean())


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
