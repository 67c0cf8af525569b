"""The memory of a compiled step: one block, in which every array has its place.

| shared by the chunks  | shared by the chunks  |  kept: one per chunk                |
| of worker 0           | of worker 1           |  x | x | x | x | y | y | dy | ...   |
0                       ^ plan.placement.shared ^ twice that                          size
"""

from __future__ import annotations

import numpy as np

from ..operation import Buffer, Value
from ..placement import Placement
from .chunks import Chunk, Cutting
from .lanes.lane import LaneValue
from .memory import ALIGNMENT, Memory


class Arena:
    """The arrays of each chunk.

    Parameters
    ----------
    placement : Placement
    cutting : Cutting
    memory : Memory

    Attributes
    ----------
    size : int
        Bytes in all.
    """

    def __init__(self, placement: Placement, cutting: Cutting, memory: Memory) -> None:
        self.placement, self.cutting = placement, cutting
        self.size = cutting.capacity.workers * placement.shared
        self._kept: dict[Buffer, int] = {}
        for buffer in placement.kept:
            self._kept[buffer] = self.size
            self.size += placement.sizes[buffer] * cutting.copies(buffer)
        block = memory.empty((self.size + ALIGNMENT,), np.uint8)
        self._block = block[-block.ctypes.data % ALIGNMENT :][: self.size]

    def array(self, value: Value, chunk: Chunk) -> np.ndarray:
        """Return the array of a value for a chunk.

        For a chunk of images and a value in the wider chunks of features, its own columns.
        """
        assert isinstance(value, LaneValue)
        whole = self.cutting.division(chunk.batch).lanes_of(value.features)
        index = chunk.start // whole
        lanes = min(whole, chunk.batch - index * whole)
        start = self._start(value.buffer, index, chunk.worker)
        memory = self._block[start : start + value.nbytes(lanes)].view(value.dtype)
        if not value.per_image:
            return memory.reshape(value.shape)
        first = chunk.start - index * whole
        return memory.reshape(*value.stored, lanes)[..., first : first + chunk.lanes]

    def _start(self, buffer: Buffer, index: int, worker: int) -> int:
        if buffer in self._kept:
            return self._kept[buffer] + index * self.placement.sizes[buffer]
        return worker * self.placement.shared + self.placement.offsets[buffer]
