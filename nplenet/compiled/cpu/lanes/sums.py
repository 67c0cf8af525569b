"""Sums over windows, which pooling and what is fused with it share."""

from __future__ import annotations

from functools import partial, reduce

import numpy as np

from ....window import Window
from ..chunks import Calls, Chunk
from .lane import LaneValue, bind, rows


def is_tiling(window: Window, height: int, width: int) -> bool:
    """Say whether the windows tile an image: no gaps, no overlap, no padding, nothing left over."""
    out = window.output_size(height, width)
    covered = tuple(o * k for o, k in zip(out, window.size, strict=True))
    plain = window.stride == window.size and window.dilation == (1, 1)
    return plain and window.padding == (0, 0) and covered == (height, width)


def tap_sums(chunk: Chunk, image: LaneValue, pooled: LaneValue) -> Calls:
    """Return the calls that sum over the windows of an image stored by their taps.

    ``image`` is (C, H, W) with the windows as its ``tile``, ``pooled`` (C, OH, OW).
    """
    total = rows(chunk[pooled])
    by_tap = chunk[image].reshape(len(total), -1, total.shape[1])
    return sum_calls([by_tap[:, i] for i in range(by_tap.shape[1])], total)


def sum_of_equal(numbers: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of ``count`` equal numbers, as ``tap_sums`` rounds them."""
    return reduce(np.add, [numbers] * count)


def sum_calls(parts: list[np.ndarray], out: np.ndarray) -> Calls:
    """Return the calls that write the sum of arrays to ``out``."""
    if len(parts) == 1:
        return [partial(np.copyto, out, parts[0])]
    first, second, *others = parts
    return [
        bind(np.add, first, second, out=out),
        *(bind(np.add, out, part, out=out) for part in others),
    ]
