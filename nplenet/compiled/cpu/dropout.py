"""Dropout in lanes: the masks of the textbook layer, bit for bit."""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np

from ...layers import Dropout
from ...layers.dropout import keep_mask
from .operation import Array, Calls, Chunk, Limits, Operation, Value, bind


class DropoutLanes(Operation[Dropout]):
    """y = x * mask, dx = dy * mask; one key for the mask of the whole batch, as in the textbook.

    Each chunk makes its part of it. The random words are the only array that a step makes: NumPy's
    generators can't fill a given one.
    """

    def __init__(self, layer: Dropout, x: Value, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.mask, self.kept = Value(x.shape, x.dtype), self.scratch(x.shape, bool)
        self.generators = [np.random.Philox(0) for _ in range(limits.workers)]
        self.key = 0

    def begin(self, images: int) -> Calls:
        return [self.draw_key]

    def draw_key(self) -> None:
        self.key = int(self.layer.rng.integers(2**64, dtype=np.uint64))

    def draw(self, mask: Array, turned: Array, start: int, worker: int) -> None:
        """Fill the mask of a chunk, (..., n), with 0 and the scale; it begins at image start.

        ``turned`` has room for as many bools: to turn bytes and then make floats of them takes half
        as long as both at once.
        """
        layer = self.layer
        first = (layer.group.start + start) * prod(self.x.shape)
        threshold, philox = round(layer.p * 2**32), self.generators[worker]
        kept = keep_mask(self.key, mask.size, threshold, first, philox)
        by_image = kept.reshape(mask.shape[-1], *mask.shape[:-1])
        scale = 1.0 / (1.0 - layer.p) if layer.p < 1.0 else 0.0
        np.copyto(turned, np.moveaxis(by_image, 0, -1))
        np.multiply(turned, mask.dtype.type(scale), out=mask)

    def forward(self, chunk: Chunk) -> Calls:
        return [
            partial(self.draw, chunk[self.mask], chunk[self.kept], chunk.start, chunk.worker),
            bind(np.multiply, chunk[self.x], chunk[self.mask], out=chunk[self.y]),
        ]

    def backward(self, chunk: Chunk) -> Calls:
        dy = chunk[self.dy]
        return [bind(np.multiply, dy, chunk[self.mask], out=dy)]

    def make_gradient(self) -> Value:
        return self.dy
