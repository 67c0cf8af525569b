"""Dropout in lanes: the masks of the textbook layer, bit for bit."""

from __future__ import annotations

from functools import partial

import numpy as np

from ....layers import Dropout
from ....layers.dropout import random_words
from ..chunks import Calls, Chunk
from .lane import Lane, LaneValue, Limits, bind


class DropoutLanes(Lane[Dropout]):
    """y = x * mask, dx = dy * mask; one key for the mask of the whole batch, as in the textbook.

    Each chunk makes its part of the mask. NumPy's generators cannot fill an array that exists, so a
    step makes an array of random words per chunk, and their mask.
    """

    def __init__(self, layer: Dropout, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.mask, self.kept = LaneValue(x.shape, x.dtype), self.scratch(x.shape, bool)
        self.generators = [np.random.Philox(0) for _ in range(limits.workers)]
        self.key = limits.memory.zeros((), np.uint64)
        self.scale = x.dtype.type(layer.scale)
        self.threshold = np.uint32(min(layer.threshold, 2**32 - 1))  # 2^32 has the scale 0

    def begin(self) -> Calls:
        return [self.draw_key]

    def draw_key(self) -> None:
        self.key[...] = self.layer.draw_key()

    def draw(
        self, mask: np.ndarray, kept: np.ndarray, start: int, philox: np.random.Philox
    ) -> None:
        """Fill the mask (L, n) of the chunk that begins at image ``start`` with 0 and the scale.

        ``kept`` is scratch for bools of the same shape: to transpose and then to convert to floats
        takes half the time of both at once.
        """
        numbers = mask.shape[0]
        first = (self.layer.group.start + start) * numbers
        words = random_words(int(self.key), mask.size, first, philox)
        np.greater_equal(words.reshape(-1, numbers).T, self.threshold, out=kept)
        np.multiply(kept, self.scale, out=mask)

    def forward(self, chunk: Chunk) -> Calls:
        mask, kept = (chunk[v].reshape(-1, chunk.lanes) for v in (self.mask, self.kept))
        return [
            partial(self.draw, mask, kept, chunk.start, self.generators[chunk.worker]),
            bind(np.multiply, chunk[self.x], chunk[self.mask], out=chunk[self.y]),
        ]

    def backward(self, chunk: Chunk) -> Calls:
        dy = chunk[self.dy]
        return [bind(np.multiply, dy, chunk[self.mask], out=dy)]

    def make_gradient(self) -> LaneValue:
        return self.dy
