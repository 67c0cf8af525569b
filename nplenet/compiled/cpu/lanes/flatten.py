"""Flatten in lanes: from the chunks of the images to the wider chunks of the features."""

from __future__ import annotations

from functools import partial

import numpy as np

from ....layers import Flatten
from ..chunks import Calls, Chunk
from .lane import Lane, LaneValue


class FlattenLanes(Lane[Flatten]):
    """Copy (C, H, W, n) to its n columns of the features (C*H*W, all lanes), and back."""

    def make_output(self, shape: tuple[int, ...]) -> LaneValue:
        return self.x if self.x.features else super().make_output(shape)

    def make_gradient(self) -> LaneValue:
        return self.dy if self.x.features else super().make_gradient()

    def forward(self, chunk: Chunk) -> Calls:
        if self.x.features:
            return []
        y = chunk[self.y]
        return [partial(np.copyto, y, chunk[self.x].reshape(y.shape))]

    def backward(self, chunk: Chunk) -> Calls:
        if self.dx is None or self.x.features:
            return []
        dy = chunk[self.dy]
        return [partial(np.copyto, chunk[self.dx].reshape(dy.shape), dy)]
