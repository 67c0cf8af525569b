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
        self.masks = np.empty((limits.images, *x.shape), x.dtype)
        self.generators = [np.random.Philox(0) for _ in range(limits.workers)]
        self.key = 0

    def begin(self, images: int) -> Calls:
        return [self.draw_key]

    def draw_key(self) -> None:
        self.key = int(self.layer.rng.integers(2**64, dtype=np.uint64))

    def draw(self, masks: Array, start: int, worker: int) -> None:
        """Fill the masks of a chunk, (n, ...), with 0 and the scale; it begins at image start."""
        layer = self.layer
        first = (layer.group.start + start) * prod(self.x.shape)
        threshold, philox = round(layer.p * 2**32), self.generators[worker]
        kept = keep_mask(self.key, masks.size, threshold, first, philox).reshape(masks.shape)
        scale = 1.0 / (1.0 - layer.p) if layer.p < 1.0 else 0.0
        np.multiply(kept, masks.dtype.type(scale), out=masks)

    def forward(self, chunk: Chunk) -> Calls:
        return [
            partial(self.draw, self.masks[chunk.images], chunk.start, chunk.worker),
            bind(np.multiply, chunk[self.x], self.mask(chunk), out=chunk[self.y]),
        ]

    def backward(self, chunk: Chunk) -> Calls:
        dy = chunk[self.dy]
        return [bind(np.multiply, dy, self.mask(chunk), out=dy)]

    def mask(self, chunk: Chunk) -> Array:
        """Return the masks of a chunk, (..., n)."""
        return np.moveaxis(self.masks[chunk.images], 0, -1)

    def make_gradient(self) -> Value:
        return self.dy
