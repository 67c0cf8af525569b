"""Long straight lines, such as the rules of paper, and a mask without them.

A rule is found as in Hough's transform (1962): a line with a slope t that meets the left side at
row c holds the points with y - t x = c, so for each slope the rows c are counted. The points are
the middles of the short vertical runs of ink:

    ..............
    ######.#######   a rule: a run of one pixel in each column
    ....##........   a stroke across it: a longer run, which stays when the rule is removed
    ...##.........
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]

SLOPES = np.linspace(-0.36, 0.36, 145)
MAX_THICK = 1 / 40  # of the image's longer side
MIN_LONG = 0.35  # of the image's longer side
MIN_COVERED = 0.6  # of the columns between a line's ends
MAX_LINES = 80
APART = 10  # pixels between parallel lines, at least
PARALLEL = 3  # three lines in parallel need not reach the edge of the image


class Line(NamedTuple):
    """y = row + slope x for left <= x < right, with runs of ``thick`` pixels in most columns."""

    row: float
    slope: float
    left: int
    right: int
    thick: float


def rules_of(mask: Mask) -> list[Line]:
    """Return the long, thin, nearly horizontal lines of a mask (H, W)."""
    side = max(mask.shape)
    x, y, thick = _middles(mask)
    use = thick <= max(2, MAX_THICK * side)
    x, y, thick = x[use], y[use], thick[use]
    least = MIN_LONG * MIN_COVERED * side
    found: list[Line] = []
    if len(x) < least:
        return found
    offset, rows = _offsets(mask)
    counts = _counts(x, y, offset, rows)
    while len(found) < MAX_LINES:
        count, slope, row = _most(counts, offset)
        if count < least:
            break
        on = np.abs(y - slope * x - row) <= 2
        line = _spanned(x[on], y[on], thick[on], side)
        if line is not None:
            found.append(line)
        counts -= _counts(x[on], y[on], offset, rows)
        x, y, thick = x[~on], y[~on], thick[~on]
    return _trusted(found, mask.shape[1])


def strongest(mask: Mask, top: int, bottom: int, max_thick: float) -> tuple[Line, int]:
    """Return the line with most points between two rows of a mask (H, W), and their number."""
    x, y, thick = _middles(mask)
    use = (y >= top) & (y < bottom) & (thick <= max(2, max_thick))
    x, y, thick = x[use], y[use], thick[use]
    offset, rows = _offsets(mask)
    _, slope, row = _most(_counts(x, y, offset, rows), offset)
    on = np.abs(y - slope * x - row) <= 2
    width = float(np.median(thick[on])) if on.any() else 0.0
    return Line(row, slope, 0, mask.shape[1], width), len(np.unique(x[on]))


def without(mask: Mask, lines: list[Line]) -> Mask:
    """Return the mask without lines, but with the strokes that cross them."""
    first, last = _runs(mask)
    height, width = mask.shape
    change = np.zeros((height + 1, width), np.int32)
    for line in lines:
        x = np.arange(line.left, line.right)
        y = np.rint(line.row + line.slope * x).astype(int)
        rows, columns = [], []
        for step in (0, -1, 1, -2, 2):
            inside = (y + step >= 0) & (y + step < height)
            at, where = y[inside] + step, x[inside]
            hit = mask[at, where]
            rows.append(at[hit])
            columns.append(where[hit])
        r, c = np.concatenate(rows), np.concatenate(columns)
        top, bottom = first[r, c], last[r, c]
        short = bottom - top + 1 <= 1.7 * line.thick + 1
        np.add.at(change, (top[short], c[short]), 1)
        np.add.at(change, (bottom[short] + 1, c[short]), -1)
    return mask & (np.cumsum(change, axis=0)[:-1] == 0)


def _runs(mask: Mask) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Return the first and the last row of each pixel's vertical run, in whole arrays (H, W)."""
    height = len(mask)
    rows = np.arange(height, dtype=np.int16)[:, None]
    starts, ends = _ends(mask)
    first = np.maximum.accumulate(np.where(starts, rows, np.int16(0)))
    last = np.minimum.accumulate(np.where(ends, rows, np.int16(height))[::-1])[::-1]
    return first, last


def _ends(mask: Mask) -> tuple[Mask, Mask]:
    """Return where vertical runs start and where they end."""
    starts, ends = mask.copy(), mask.copy()
    starts[1:] &= ~mask[:-1]
    ends[:-1] &= ~mask[1:]
    return starts, ends


def _middles(mask: Mask) -> tuple[Any, Any, Any]:
    """Return of each vertical run its column, the row of its middle, and its length."""
    starts, ends = (np.flatnonzero(one.T) for one in _ends(mask))  # column by column
    x, top = np.divmod(starts, len(mask))
    return x, (2 * top + ends - starts) / 2, ends - starts + 1


def _offsets(mask: Mask) -> tuple[int, int]:
    """Return the place of row 0 among the rows at which a line may meet the left side; and all."""
    offset = int(SLOPES[-1] * mask.shape[1]) + 2
    return offset, len(mask) + 2 * offset


def _most(counts: Any, offset: int) -> tuple[int, float, float]:
    """Return how many points the best line holds, of three rows each; its slope and its row."""
    near = counts.copy()
    near[:, 1:] += counts[:, :-1]
    near[:, :-1] += counts[:, 1:]
    k, c = divmod(int(near.argmax()), counts.shape[1])
    return int(near[k, c]), float(SLOPES[k]), float(c - offset)


def _counts(x: Any, y: Any, offset: int, rows: int) -> Any:
    """Return how many points each line holds: int (slopes, rows)."""
    place = np.rint(y - SLOPES[:, None] * x).astype(np.intp)
    place += offset + rows * np.arange(len(SLOPES))[:, None]
    return np.bincount(place.ravel(), minlength=len(SLOPES) * rows).reshape(-1, rows)


def _spanned(x: Any, y: Any, thick: Any, side: int) -> Line | None:
    """Return the line through points, or None if they are too few or too sparse."""
    columns = np.unique(x)
    gaps = np.flatnonzero(np.diff(columns) > 0.3 * side)
    pieces = np.split(columns, gaps + 1)
    piece = max(pieces, key=len)
    few = len(piece) // 30  # points of noise may lie beyond the ends
    dense = 3 * few
    left = int(piece[0] if piece[few] - piece[0] <= dense else piece[few])
    right = int(piece[-1] if piece[-1] - piece[-1 - few] <= dense else piece[-1 - few]) + 1
    if right - left < MIN_LONG * side or len(piece) < MIN_COVERED * (right - left):
        return None
    use = (x >= left) & (x < right)
    slope, row = np.polyfit(x[use], y[use], 1)
    return Line(float(row), float(slope), left, right, float(np.median(thick[use])))


def _trusted(lines: list[Line], width: int) -> list[Line]:
    """Leave out lines that may be strokes of a digit: they end within the image, and are few."""
    kept = []
    for line in lines:
        apart = {
            round((line.row - other.row) / APART)
            for other in lines
            if abs(line.slope - other.slope) < 0.03
        }
        parallel = len(apart)
        reaches = line.left <= 0.06 * width or line.right >= 0.94 * width
        if reaches or parallel >= PARALLEL:
            kept.append(line)
    return kept
