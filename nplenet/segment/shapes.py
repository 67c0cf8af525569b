"""The shape of a mask: reduced to few pixels, and the width of its widest stroke."""

from __future__ import annotations

import numpy as np

from ..rounding import ceil_div, round_up
from .windows import Mask

GRID = 64


def reduced(mask: Mask) -> tuple[Mask, int]:
    """Return a mask in at most 64x64 pixels with a rim of False around it, and the scale."""
    step = ceil_div(max(mask.shape), GRID)
    height, width = (round_up(side, step) for side in mask.shape)
    padded = np.zeros((height, width), np.float32)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    small = padded.reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    return np.pad(small >= 0.5, 1), step


def widest(mask: Mask) -> int:
    """Return the width of the widest stroke of a mask with a rim of False.

    The mask is eroded until nothing is left.
    """
    left, times = mask.copy(), 0
    while left.any():
        times += 1
        inner = left[:-2, 1:-1] & left[2:, 1:-1] & left[1:-1, :-2] & left[1:-1, 2:]
        left[1:-1, 1:-1] &= inner
    return 2 * times - 1
