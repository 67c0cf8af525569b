"""For inference: a batch norm in the weights of the convolution or dense layer before it.

In ``eval`` batch norm is gain * x + offset for each channel, so behind a linear layer

    gain * (weight @ x + bias) + offset = (gain * weight) @ x + (gain * bias + offset)

and costs nothing. The weights are folded anew for each batch, so they are never out of date.
"""

from __future__ import annotations

import numpy as np

from ...layers import BatchNorm1d, BatchNorm2d, Conv2d, Dense
from .conv import Conv2dLanes
from .dense import DenseLanes
from .operation import Array, Calls, Limits, Value, bound

BatchNorm = BatchNorm1d | BatchNorm2d


class FoldedConv2dLanes(Conv2dLanes):
    """A convolution and the batch norm behind it."""

    def __init__(self, layer: Conv2d, norm: BatchNorm, x: Value, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.norm = norm
        self.bias = self.bias_column = np.empty((layer.out_channels, 1), x.dtype)

    def load(self) -> None:
        gain, bias = folded(self.layer, self.norm)
        weight = bound(self.layer.weight.data)
        self.kernel[...] = weight.transpose(0, 2, 3, 1) * gain[:, None, None, None]
        self.bias_column[:, 0] = bias


class FoldedDenseLanes(DenseLanes):
    """A dense layer and the batch norm behind it."""

    def __init__(self, layer: Dense, norm: BatchNorm, x: Value, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.norm = norm
        self.weight = np.empty_like(self.weight)
        self.bias = self.bias_column = np.empty((layer.out_features, 1), x.dtype)

    def begin(self, images: int) -> Calls:
        return [self.load]

    def load(self) -> None:
        gain, bias = folded(self.layer, self.norm)
        self.weight[...] = bound(self.layer.weight.data) * gain[:, None]
        self.bias_column[:, 0] = bias


def folded(layer: Conv2d | Dense, norm: BatchNorm) -> tuple[Array, Array]:
    """Return the gain of each channel and its new bias, float64 (C,)."""
    gain = bound(norm.weight.data) / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
    bias = 0.0 if layer.bias is None else bound(layer.bias.data)
    return gain, gain * (bias - norm.running_mean) + norm.bias.data
