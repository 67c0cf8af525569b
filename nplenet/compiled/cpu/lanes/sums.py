"""Sums over windows, which pooling and what is fused with it share."""

from __future__ import annotations

from functools import partial, reduce
from math import prod

import numpy as np

from ....checks import Pair
from ....window import Window
from ..chunks import Calls, Chunk
from .lane import LaneValue, bind, rows


def is_tiling(window: Window, height: int, width: int) -> bool:
    """Say whether the windows tile an image: no gaps, no overlap, no padding, nothing left over."""
    out = window.output_size(height, width)
    covered = tuple(o * k for o, k in zip(out, window.size, strict=True))
    plain = window.stride == window.size and window.dilation == (1, 1)
    return plain and window.padding == (0, 0) and covered == (height, width)


def tile_sums(
    chunk: Chunk, image: LaneValue, row_scratch: LaneValue | None, pooled: LaneValue
) -> Calls:
    """Return the calls that sum over windows that tile the image: first whole rows, then columns.

    The rows are long, so this takes 1.5 us for the 4704 numbers of an image in windows of 2x2, less
    than adding the taps. Where each tap lies in one piece (see ``LaneValue.tile``) adding the taps
    takes 0.6 us.

    Parameters
    ----------
    image, pooled : LaneValue (C, H, W) and (C, OH, OW)
    row_scratch : LaneValue (C, OH, W)
        None where taps lie in one piece.
    """
    full, out = chunk[image], chunk[pooled]
    c, oh, ow, n = out.shape
    if row_scratch is None:
        by_tap, total = full.reshape(c, -1, oh * ow * n), rows(out)
        if total.shape[1] == 1:  # np.add.reduce would add the taps in another order
            return sum_calls([by_tap[:, i] for i in range(by_tap.shape[1])], total)
        return [partial(np.add.reduce, by_tap, axis=1, dtype=out.dtype, out=total)]
    by_row = full.reshape(c, oh, -1, full.shape[2] * n)
    by_column = chunk[row_scratch].reshape(c, oh, ow, -1, n)
    row_sums = chunk[row_scratch].reshape(c, oh, -1)
    return [
        *sum_calls([by_row[:, :, i] for i in range(by_row.shape[2])], row_sums),
        *sum_calls([by_column[:, :, :, i] for i in range(by_column.shape[3])], out),
    ]


def sum_of_equal(numbers: np.ndarray, window: Window, tile: Pair) -> np.ndarray:
    """Return the sums of windows whose pixels are all equal, as ``tile_sums`` rounds them.

    ``tile`` is the tile of the images; see ``LaneValue``.
    """
    kh, kw = window.size if tile == (1, 1) else (1, prod(tile))
    return reduce(np.add, [reduce(np.add, [numbers] * kh)] * kw)


def sum_calls(parts: list[np.ndarray], out: np.ndarray) -> Calls:
    """Return the calls that write the sum of arrays to ``out``."""
    if len(parts) == 1:
        return [partial(np.copyto, out, parts[0])]
    first, second, *others = parts
    return [
        bind(np.add, first, second, out=out),
        *(bind(np.add, out, part, out=out) for part in others),
    ]
