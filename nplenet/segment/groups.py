"""Parts that are one digit: the bar of a 5, the two strokes of a 4, what a dry pen left.

     ##              the parts of a 4: side by side, the smaller one less than 0.6 as long,
#    ##              the gap a fifth of the height or less
####.##
     ##   ____       a bar that lies below is a rule that someone drew
"""

from __future__ import annotations

import math
from dataclasses import replace

from .parts import Part

MIN_WHOLE = 0.5  # below it a part is a shadow or a piece of something wide
MIN_SIDE = 0.08  # of the larger part: what is smaller is a speck
MAX_CONTRASTS = 3.0  # one part has at most three times the other's contrast
MAX_STROKES = 4.0  # and four times the width of its strokes
MAX_ASPECT = 1.25  # width / height of a digit
MAX_DOT_GAP = 0.3  # between a dot and a stroke, as a fraction of the stroke's height
FRAMED = 0.3  # fraction of a frame's side that what it frames has at least


def groups(parts: list[Part]) -> list[Part]:
    """Return parts joined to digits; frames around others, shadows and specks stay out."""
    left = [part for part in parts if part.whole >= MIN_WHOLE]
    framing = [a for a in left if any(frames(a, b) for b in left if b is not a)]
    left = [part for part in left if not any(part is frame for frame in framing)]
    while (pair := _pair(left)) is not None:
        larger, smaller = pair
        left = [part for part in left if part is not larger and part is not smaller]
        left.append(_merged(larger, smaller))
        left.sort(key=lambda part: -part.longer)
    return left


def frames(a: Part, b: Part) -> bool:
    """Return whether the box of a holds b, which is not much smaller; one side may touch."""
    slack = 0.04 * a.longer
    inner = (a.top - b.top, a.left - b.left, b.bottom - a.bottom, b.right - a.right)
    within = all(distance < slack for distance in inner)
    return within and sum(distance < 0 for distance in inner) >= 3 and b.longer >= FRAMED * a.longer


def _pair(parts: list[Part]) -> tuple[Part, Part] | None:
    """Return the first two parts that belong together, of parts with the longest first."""
    for i, a in enumerate(parts):
        for b in parts[i + 1 :]:
            if b.longer < MIN_SIDE * a.longer:
                break
            if not a.edges and not b.edges and _together(a, b):
                return a, b
    return None


def _together(a: Part, b: Part) -> bool:
    """Return whether two parts are one digit; a is the longer one."""
    across = max(a.left, b.left) - min(a.right, b.right)  # gaps, below 0 where they overlap
    down = max(a.top, b.top) - min(a.bottom, b.bottom)
    height = max(a.bottom, b.bottom) - min(a.top, b.top)
    width = max(a.right, b.right) - min(a.left, b.left)
    if _dotted(a, b):
        return True
    if max(across, down) > 0.7 * b.longer or width > MAX_ASPECT * height:
        return False
    if _under(a, b) or _under(b, a):
        return False
    if max(a.contrast, b.contrast) > MAX_CONTRASTS * min(a.contrast, b.contrast):
        return False
    if max(a.stroke, b.stroke) > MAX_STROKES * min(a.stroke, b.stroke):
        return False
    ratio = b.longer / a.longer
    near = 0.05 if ratio >= 0.6 else 0.2 if ratio >= 0.25 else 0.1
    if across <= 0 and down <= 0:
        return True
    if across <= 0:  # one above the other
        return -across >= 0.3 * min(a.width, b.width) and down <= max(0.1, near) * height
    if down <= 0:  # side by side
        compact = ratio >= 0.6 or width <= 1.1 * height
        return -down >= 0.4 * min(a.height, b.height) and across <= near * height and compact
    return math.hypot(across, down) <= 0.06 * height


def _dotted(a: Part, b: Part) -> bool:
    """Return whether b is the dot above a stroke: the two are an i or a j, and a is not a 1."""
    gap, middle = a.top - b.bottom, (b.left + b.right) / 2
    beside = max(a.left - middle, middle - a.right)
    near = 0 < gap <= MAX_DOT_GAP * a.height and beside <= b.width
    compact = b.longer <= 1.5 * min(b.width, b.height)
    alike = 0.8 <= b.longer / a.stroke <= 2.5 and 2 / 3 <= a.contrast / b.contrast <= 1.5
    return near and compact and alike and a.width <= 0.6 * a.height


def _under(a: Part, b: Part) -> bool:
    """Return whether b is a straight line under a."""
    return b.flat and b.bar and b.long >= 5 * b.thin and b.top >= a.bottom - 0.1 * a.height


def _merged(a: Part, b: Part) -> Part:
    share = a.area / (a.area + b.area)
    return replace(
        a,
        labels=a.labels + b.labels,
        top=min(a.top, b.top),
        left=min(a.left, b.left),
        bottom=max(a.bottom, b.bottom),
        right=max(a.right, b.right),
        area=a.area + b.area,
        outline=a.outline + b.outline,
        edges=max(a.edges, b.edges),
        contrast=share * a.contrast + (1 - share) * b.contrast,
        whole=share * a.whole + (1 - share) * b.whole,
        ground=share * a.ground + (1 - share) * b.ground,
        full=share * a.full + (1 - share) * b.full,
    )
