"""Flatten in lanes: from the chunks of the images to the wider chunks of the features."""

from __future__ import annotations

from functools import partial

import numpy as np

from ...layers import Flatten
from .operation import Calls, Chunk, Operation, Value


class FlattenLanes(Operation[Flatten]):
    """Copy (C, H, W, n) to its n columns of the features (C*H*W, all lanes), and back."""

    def make_output(self, shape: tuple[int, ...]) -> Value:
        return self.x if self.x.wide else super().make_output(shape)

    def make_gradient(self) -> Value:
        return self.dy if self.x.wide else super().make_gradient()

    def forward(self, chunk: Chunk) -> Calls:
        if self.x.wide:
            return []
        y = chunk[self.y]
        return [partial(np.copyto, y, chunk[self.x].reshape(y.shape))]

    def backward(self, chunk: Chunk) -> Calls:
        if self.dx is None or self.x.wide:
            return []
        dy = chunk[self.dy]
        return [partial(np.copyto, chunk[self.dx].reshape(dy.shape), dy)]
