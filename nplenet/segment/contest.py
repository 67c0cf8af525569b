"""A contest of groups: a digit and what is around it or inside it cannot both be ink.

a frame      loses to what it frames                  of one polarity
a piece      loses to the whole that it was cut from
a hole       loses to the strokes around it           of different polarities
a carrier    loses to what it carries: a sheet, a card
"""

from __future__ import annotations

import numpy as np

from .groups import frames
from .parts import Part, labelled
from .shapes import reduced

LOST = 0.1  # factor for the score of what loses
RECTANGLE = 0.88  # filled fraction; an ellipse fills pi / 4 = 0.79
PIECE = 0.5  # least score of a whole, of its piece's
CUT = 0.85  # contrast of a piece that a narrow window cut out, of the whole's
SMALL_HOLE = 0.3  # longest side of a hole / longest side of the strokes around it
CARD = 0.2  # width of the widest place of a card over its longer side


def contest(best: list[Part]) -> None:
    """Lower the scores of groups that lose: once as ink, and once more as what carries ink."""
    scores = [group.score for group in best]
    rectangle = [_is_rectangle(group) for group in best]
    lost, carrier = set(), set()
    for i, a in enumerate(best):
        for j, b in enumerate(best):
            if i == j:
                continue
            ratio = scores[j] / scores[i]
            if rectangle[i] and not rectangle[j] and _within(a, b):
                carrier.add(i)  # a sheet, a card, a box: with something in it, or across it
            if a.light == b.light:
                if ratio > 0.02 and _frames(a, b):
                    lost.add(i)
                if ratio <= 1 / PIECE and _piece(a, b):
                    lost.add(j)
            elif _holds(a, b):
                if _hole(a, b, ratio):
                    lost.add(j)
                if ratio >= 0.1 and _carries(a, b):
                    carrier.add(i)
    for i, group in enumerate(best):
        group.score *= (LOST if i in lost else 1) * (LOST if i in carrier else 1)


def _is_rectangle(group: Part) -> bool:
    """Return whether a group with its holes fills a rectangle, in any direction.

    One that is over three times as long as wide may be a 1.
    """
    mask, _ = reduced(group.mask())
    numbers, _ = labelled(~mask)
    outside = np.zeros(mask.shape, bool)
    outside[~mask] = numbers == numbers[0]
    y, x = np.nonzero(~outside)
    if not len(y):
        return False
    turn = np.radians(np.arange(0, 90, 3))
    along = np.outer(np.cos(turn), x) + np.outer(np.sin(turn), y)
    across = np.outer(np.cos(turn), y) - np.outer(np.sin(turn), x)
    sides = np.ptp(along, axis=1) + 1, np.ptp(across, axis=1) + 1
    least = int((sides[0] * sides[1]).argmin())
    short, long = sorted((float(sides[0][least]), float(sides[1][least])))
    return long <= 3 * short and len(y) > RECTANGLE * short * long


def _within(a: Part, b: Part) -> bool:
    """Return whether b, which is whole and not small, lies in the box of a, a card or a frame."""
    sound = b.full >= 0.7 and b.whole >= 0.7 and b.longer >= 0.2 * a.longer
    fits = a.light == b.light or a.fat >= CARD * a.longer
    return sound and fits and _holds(a, b) and _covered(a, b, a.labels[:1]) < 0.1


def _frames(a: Part, b: Part) -> bool:
    """Return whether a is around b, and b is whole."""
    sound = b.full >= 0.7 and b.whole >= 0.8
    return sound and frames(a, b) and _covered(a, b, a.labels[:1]) < 0.1


def _piece(a: Part, b: Part) -> bool:
    """Return whether b is a piece of a, which a narrower window cut out."""
    cut = b.window < a.window and b.full < CUT * a.full and a.edges <= b.edges
    return cut and _holds(a, b) and _covered(a, b, a.labels) > 0.9


def _hole(a: Part, b: Part, ratio: float) -> bool:
    """Return whether b, in the box of a, is a space between its strokes; ``ratio`` is of scores."""
    single = len(a.labels) == 1 and not a.edges
    small = b.longer <= SMALL_HOLE * a.longer and ratio <= 5
    if single and small and a.fat <= 0.3 * a.longer:
        return True  # the hole of an 8, also where the edge of the strokes is ragged
    sound = a.whole >= 0.93 and a.full >= 0.8 and a.ground >= 0.3 and b.whole >= 0.7
    return single and sound and a.fat <= 2.5 * b.stroke  # the hole of a 0


def _carries(a: Part, b: Part) -> bool:
    """Return whether a, in whose box b lies, is paper or a card around a digit.

    It is much wider than the strokes of b, which is not small in it, and all around b: in 0.8 of a
    ring at 4 pixels.
    """
    compact = b.bar or b.fat > 0.3 * b.longer
    if a.whole < 0.8 or b.whole < 0.7 or a.fat < (6 if compact else 3) * b.stroke:
        return False
    if b.longer < 0.25 * a.longer or a.fat < CARD * a.longer:
        return False
    height, width = a.where.shape
    top, left = max(0, b.top - 4), max(0, b.left - 4)
    bottom, right = min(height, b.bottom + 4), min(width, b.right + 4)
    around = np.isin(a.where[top:bottom, left:right], a.labels)
    ring = np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]])
    return bool(ring.mean() > 0.8)


def _holds(a: Part, b: Part) -> bool:
    """Return whether the box of a holds the box of b, but for two pixels, and is not the same."""
    inner = (a.top - b.top, a.left - b.left, b.bottom - a.bottom, b.right - a.right)
    return max(inner) <= 2 and (a.longer, a.width + a.height) > (b.longer, b.width + b.height)


def _covered(a: Part, b: Part, labels: list[int]) -> float:
    """Return the fraction of b's pixels that are in those parts of a, too."""
    box = slice(b.top, b.bottom), slice(b.left, b.right)
    return float(np.isin(a.where[box][b.mask()], labels).mean())
