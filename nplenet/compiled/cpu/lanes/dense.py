"""The fully connected layer in lanes: columns are images, so y = weight @ x."""

from __future__ import annotations

from functools import partial

import numpy as np

from ....layers import Dense
from ..chunks import Calls, Chunk
from .lane import Lane, LaneValue, Limits, Total, as_numpy, bind


class DenseLanes(Lane[Dense]):
    """y (O, n) = weight (O, I) @ x (I, n) + bias; dweight = dy @ x^T; dx = weight^T @ dy."""

    def __init__(self, layer: Dense, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.weight = as_numpy(layer.weight.data)
        self.bias = None if layer.bias is None else as_numpy(layer.bias.data)[:, None]
        self.copied = limits.memory.shared  # the model's own arrays are not
        if self.copied:
            self.weight = limits.memory.empty(self.weight.shape, x.dtype)
            if self.bias is not None:
                self.bias = limits.memory.empty(self.bias.shape, x.dtype)
        self.dweight = Total(as_numpy(layer.weight.grad), limits)
        self.dbias = None if layer.bias is None else Total(as_numpy(layer.bias.grad), limits)
        self.part = self.scratch(layer.weight.data.shape, per_image=False)
        self.bias_part = self.scratch((layer.out_features,), per_image=False)

    def begin(self) -> Calls:
        return [self.load] if self.copied else []

    def load(self) -> None:
        """Copy weight and bias to where all workers see them."""
        self.weight[...] = self.layer.weight.data
        if self.bias is not None and self.layer.bias is not None:
            self.bias[:, 0] = self.layer.bias.data

    def forward(self, chunk: Chunk) -> Calls:
        y = chunk[self.y]
        calls: Calls = [bind(np.matmul, self.weight, chunk[self.x], out=y)]
        if self.bias is not None:
            calls.append(bind(np.add, y, self.bias, out=y))
        return calls

    def backward(self, chunk: Chunk) -> Calls:
        x, dy = chunk[self.x], chunk[self.dy]
        calls: Calls = []
        if self.trained:
            calls += self.dweight.add(chunk, chunk[self.part], partial(np.matmul, dy, x.T))
        if self.dbias is not None and self.trained:
            total = partial(np.matmul, dy, np.ones(chunk.lanes, dy.dtype))
            calls += self.dbias.add(chunk, chunk[self.bias_part], total)
        if self.dx is not None:
            calls.append(bind(np.matmul, self.weight.T, dy, out=chunk[self.dx]))
        return calls
