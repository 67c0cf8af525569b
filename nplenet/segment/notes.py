"""Papers that are hardly larger than their digit, so that its strokes cut them into pieces.

..##......    - is paper, # a stroke, . a table as dark as ink: each piece of the paper looks
.-##----..    like light ink on the table, with an edge all around, and the digit has no edge
.--##---..    where it leaves the paper. But pieces and strokes together have four corners,
.---##--..    which a light digit and the spaces between its strokes seldom have.
....##....
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .form import stroke_width
from .parts import WHOLE, Part, labelled
from .shapes import reduced, widest
from .windows import Floats, Mask, dilated, eroded

MIN_SIDE = 1 / 20  # of the image's longer side
MIN_PAPER = 0.3  # fraction of the whole that is paper
MIN_FILLED = 0.82  # fraction of the hull that pieces and strokes fill
MIN_BORDER = 0.4  # fraction of the hull's border that is paper: strokes cross the rest
INK = (0.04, 0.65)  # fraction of the hull that is ink
MIN_REACH = 0.55  # of the hull's side: a smaller digit has paper all around
MIN_FAT = 1.2  # width of the widest piece over the mean width of the strokes
FOUR_SIDED = 0.9  # fraction of the hull in four of its points: 0.77 to 0.9 of printed digits
RECTANGLE = 0.78  # and of the least rectangle around it: 0.6 of a 7
MAX_LONG = 3  # times as long as wide
MIN_ON_NOTE = 0.7  # fraction of a part that lies on its note
RIM = 3  # pixels inside the outline: a stroke that ends there ends with the paper
MIN_SHOWN = 0.6  # fraction of the ink on a note that one digit holds
PIECE = 0.1  # factor for the score of a piece of paper
TURNS = np.radians(np.arange(0, 180, 3))


class Note(NamedTuple):
    """A paper with its digit.

    Attributes
    ----------
    light
        Whether the digit is light.
    where, inner
        bool (H, W), True within the paper's outline; and away from it.
    ink
        bool (H, W), the digit as far as it is on the paper.
    """

    light: bool
    where: Mask
    inner: Mask
    ink: Mask

    def factors(self, parts: list[Part]) -> list[float]:
        """Return the factors for the scores of parts: 1 for what is elsewhere.

        A piece of paper loses. For a digit it counts how much of the ink on the paper it holds, but
        not where its outline has no edge because the paper ends there. If no digit holds most of
        the ink, this is not a note: it may be paper between shadows, or a sheet full of digits.
        """
        factors = [1.0] * len(parts)
        explained = False
        for k, part in enumerate(parts):
            box = slice(part.top, part.bottom), slice(part.left, part.right)
            mask = part.mask()
            if self.where[box][mask].mean() <= MIN_ON_NOTE:
                continue
            if part.light != self.light:
                factors[k] = PIECE
                continue
            shown = float(self.ink[box][mask].sum() / self.ink.sum())
            explained |= shown >= MIN_SHOWN and not part.edges
            outline = mask & ~eroded(np.pad(mask, 1), 3)[1:-1, 1:-1]
            ends = 1 - float(self.inner[box][outline].mean())
            factors[k] = shown**2 * (min(1, part.whole + ends) / part.whole) ** WHOLE
        return factors if explained else [1.0] * len(parts)


def notes_of(paper: Mask, ink: Mask, *, light: bool) -> list[Note]:
    """Return the notes whose pieces are in one mask (H, W), their strokes in the other."""
    solid = dilated(eroded(paper | ink, 5), 5)
    numbers, count = labelled(solid)
    if not count:
        return []
    where = np.full(solid.shape, -1, np.int32)
    where[solid] = numbers
    side = max(solid.shape)
    found = []
    pieces = np.bincount(numbers, paper[solid], count)
    areas = np.bincount(numbers, minlength=count)
    for k in np.flatnonzero((areas > (MIN_SIDE * side) ** 2) & (pieces > MIN_PAPER * areas)):
        rows, columns = (np.flatnonzero((where == k).any(axis=axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        hull = _hull_of_note(paper[box] & (where[box] == k), ink[box])
        if hull is not None:
            whole = np.zeros(solid.shape, bool)
            whole[box] = hull
            found.append(Note(light, whole, eroded(whole, 2 * RIM + 1), whole & ink))
    return found


def _hull_of_note(pieces: Mask, strokes: Mask) -> Mask | None:
    """Return the convex hull (H, W) of a note's pieces, or None if they are not a note's."""
    paper, step = reduced(pieces)
    ink, _ = reduced(strokes)
    if not paper.any():
        return None
    hull, four_sided = _hull(paper)
    if not four_sided:
        return None
    ink &= hull
    border = hull & ~eroded(hull, 5)
    reach = max(_extent(ink, axis) / _extent(hull, axis) for axis in (0, 1))
    fits = (hull & (paper | ink)).sum() >= MIN_FILLED * hull.sum()
    fits &= paper[border].mean() >= MIN_BORDER
    fits &= INK[0] <= ink.sum() / hull.sum() <= INK[1]
    if not (fits and reach >= MIN_REACH and widest(paper) >= MIN_FAT * stroke_width(ink)):
        return None
    height, width = pieces.shape
    return np.kron(hull[1:-1, 1:-1], np.ones((step, step), bool))[:height, :width]


def _hull(mask: Mask) -> tuple[Mask, bool]:
    """Return the convex hull of a mask (H, W), and whether it has four corners.

    It is compared with the quadrilateral of the two points farthest apart, and of the points
    farthest from the line through them, on both sides; and with the least rectangle around it.
    """
    y, x = np.nonzero(mask)
    across, down = np.cos(TURNS), np.sin(TURNS)
    place = np.outer(across, x) + np.outer(down, y)
    low, high = place.min(axis=1), place.max(axis=1)
    rows, columns = np.indices(mask.shape)
    grid = across[:, None, None] * columns + down[:, None, None] * rows - low[:, None, None]
    sides = high - low
    hull: Mask = ((grid >= -0.5) & (grid <= sides[:, None, None] + 0.5)).all(axis=0)
    one, other = np.split(sides + 1, 2)  # of the rectangles: a quarter turn lies between them
    least = int((one * other).argmin())
    long = max(one[least], other[least]) / min(one[least], other[least])
    ends = np.concatenate([place.argmax(axis=1), place.argmin(axis=1)])  # in their order around it
    points = np.stack([x[ends], y[ends]], axis=1).astype(float)
    area = abs(_cross(points, np.roll(points, -1, axis=0)).sum()) / 2
    apart = np.hypot(*(points[:, None] - points).transpose(2, 0, 1))
    start, end = divmod(int(apart.argmax()), len(points))
    heights = _cross(points - points[start], points[end] - points[start])
    four_sided = np.ptp(heights) / 2 >= FOUR_SIDED * area  # the area of two triangles
    rectangle = hull.sum() >= RECTANGLE * one[least] * other[least]
    return hull, bool(four_sided and rectangle and long <= MAX_LONG)


def _cross(a: Floats, b: Floats) -> Floats:
    product: Floats = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def _extent(mask: Mask, axis: int) -> int:
    """Return the number of rows or columns from the first to the last pixel."""
    there = np.flatnonzero(mask.any(axis=axis))
    return int(there[-1] - there[0]) + 1 if len(there) else 0
