"""Arrays of a plan: in memory of this process alone, or in memory that its helpers share.

Processes that are forked later see the same pages, so a number that one writes all others read.
The system frees the pages when the last process that has them has ended, however it ends: they have
no name and no file.

    private    np.empty: a forked process has a copy, made when either of the two writes
    shared     | block: array | array | array | free       | block: one large array |
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from math import prod

import numpy as np
import numpy.typing as npt

from ...rounding import round_up

ALIGNMENT = 64  # bytes: a cache line, and a whole AVX-512 vector
BLOCK_BYTES = 1 << 16  # smaller arrays lie side by side: a page each would fall into one cache set


class Memory:
    """Makes the arrays of a plan.

    Parameters
    ----------
    shared : bool
        Whether processes that are forked later are to see what is written.
    """

    def __init__(self, shared: bool) -> None:
        self.shared = shared
        self._free = np.empty(0, np.uint8)

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> np.ndarray:
        """Return an array whose contents are arbitrary."""
        if not self.shared:
            return np.empty(shape, dtype)
        nbytes = prod(shape) * np.dtype(dtype).itemsize
        room = aligned(nbytes)
        if room > self._free.size:
            block = mmap.mmap(-1, max(room, BLOCK_BYTES))
            if hasattr(mmap, "MADV_HUGEPAGE"):  # as NumPy does; 4 % of a step of 256 images
                with suppress(OSError):  # a kernel without them
                    block.madvise(mmap.MADV_HUGEPAGE)
            self._free = np.frombuffer(block, np.uint8)
        taken, self._free = self._free[:nbytes], self._free[room:]
        return taken.view(dtype).reshape(shape)

    def zeros(self, shape: Sequence[int], dtype: npt.DTypeLike) -> np.ndarray:
        """Return an array of zeros."""
        array = self.empty(shape, dtype)
        array.fill(0)
        return array


def aligned(nbytes: int) -> int:
    """Return a number of bytes rounded up to a multiple of ``ALIGNMENT``."""
    return round_up(nbytes, ALIGNMENT)
