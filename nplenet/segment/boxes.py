"""A drawn box that its digit touches or crosses: its four sides are taken away.

  ###                 ###
##########            ..##......
#......##.            .......##.
#.....##.#     ->     ......##..
#.....##.#            ......##..
##########            ..........
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .lines import Line, strongest, without
from .parts import Part
from .windows import Mask

MIN_SIDE = 24  # pixels
MAX_AREA = 0.5  # fraction of the box that is ink
BAND = 0.15  # of the box's side: where the lines are
MIN_COVERED = 0.6  # of a side has ink in its band
MIN_LINE = 0.3  # of a side is line; the digit may cover the rest
MIN_LINES = 2.8  # of the four sides together
MAX_THICK = 1 / 16  # of the box's longer side
MIN_DIGIT = 0.3  # of the box's longer side


def without_boxes(mask: Mask, parts_of: Callable[[Mask], list[Part]]) -> list[Part]:
    """Return the parts of a mask (H, W), without boxes if there is a digit in one of them.

    The 0 and the 8 of a display are boxes, too, with nothing inside, or a horizontal line.
    """
    parts = parts_of(mask)
    boxes = [(part, lines) for part in parts if (lines := _sides(part))]
    if not boxes:
        return parts
    left = mask.copy()
    for box, (across, down) in boxes:
        ink = box.mask()
        inner = without(without(ink, across).T, down).T
        left[box.top : box.bottom, box.left : box.right] &= inner | ~ink
    inside = parts_of(left)
    return inside if any(_in(part, box) for part in inside for box, _ in boxes) else parts


def _in(part: Part, box: Part) -> bool:
    """Return whether the middle of a part lies in a box, and the part may be a digit."""
    y, x = (part.top + part.bottom) / 2, (part.left + part.right) / 2
    middle = box.top < y < box.bottom and box.left < x < box.right
    return middle and part.longer >= MIN_DIGIT * box.longer and not part.flat


def _sides(part: Part) -> tuple[list[Line], list[Line]] | None:
    """Return the upper and lower, and the left and right side of a box; None if it has not all."""
    box = part.height * part.width
    if min(part.height, part.width) < max(MIN_SIDE, part.longer / 3) or part.area > MAX_AREA * box:
        return None
    ink = part.mask()
    pairs, covered = [], 0.0
    for rows in (ink, np.ascontiguousarray(ink.T)):
        height, width = rows.shape
        band = max(2, round(BAND * height))
        if min(rows[:band].any(axis=0).mean(), rows[-band:].any(axis=0).mean()) < MIN_COVERED:
            return None
        thick = MAX_THICK * part.longer
        sides = strongest(rows, 0, band, thick), strongest(rows, height - band, height, thick)
        if min(count for _, count in sides) < MIN_LINE * width:
            return None
        covered += sum(count for _, count in sides) / width
        pairs.append([line for line, _ in sides])
    return (pairs[0], pairs[1]) if covered >= MIN_LINES else None
