"""For inference: a batch norm in the weights of the convolution or dense layer before it.

In ``eval`` batch norm is gain * x + offset for each channel, so after a linear layer it needs no
work of its own:

    gain * (weight @ x + bias) + offset = (gain * weight) @ x + (gain * bias + offset)

The weights are folded before each ``predict``, so they are never out of date; for a convolution,
only if one of the arrays has changed.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np

from ....checks import Pair
from ....layers import AvgPool2d, BatchNorm1d, BatchNorm2d, Conv2d, Dense
from ..chunks import Calls, Chunk
from .batchnorm import MAX_MEAN_SQUARE_OVER_VARIANCE
from .conv import Conv2dLanes
from .dense import DenseLanes
from .lane import LaneValue, Limits, Watch, as_numpy, bind, rows
from .sums import sum_of_equal, tap_sums

BatchNorm = BatchNorm1d | BatchNorm2d


class FoldedConv2dLanes(Conv2dLanes):
    """A convolution and the batch norm behind it."""

    scale = 1.0  # factor of kernel and bias

    def __init__(
        self,
        layer: Conv2d,
        norm: BatchNorm,
        x: LaneValue,
        limits: Limits,
        tile: Pair = (1, 1),
        enlarged: bool = False,
    ) -> None:
        super().__init__(layer, x, limits, tile, enlarged)
        self.norm = norm
        self.watch = Watch(*self.state())
        self.bias = self.bias_column = limits.memory.empty((layer.out_channels, 1), x.dtype)

    @property
    def name(self) -> str:
        return f"{super().name} + {type(self.norm).__name__}"

    def state(self) -> list[Any]:
        """Return the arrays that decide what it computes."""
        layer, norm = self.layer, self.norm
        own = [layer.weight.data] if layer.bias is None else [layer.weight.data, layer.bias.data]
        return [*own, norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var]

    def begin(self) -> Calls:
        return [self.load]

    def load(self) -> None:
        if self.watch.changed(*self.state()):
            self.fold()

    def fold(self) -> None:
        """Make the kernel and the bias."""
        gain, bias = folded(self.layer, self.norm)
        weight = as_numpy(self.layer.weight.data) * (self.scale * gain)[:, None, None, None]
        for part in self.weights_in(self.kernel.transpose(0, 3, 1, 2)):
            part[...] = weight
        self.bias_column[:, 0] = self.scale * bias


class FoldedConvReLUAvgPoolLanes(FoldedConv2dLanes):
    """Convolution, batch norm, ReLU and average pooling.

    With z = conv(x) / S, S pixels in a window, and b the bias folded from the batch norm, / S too,

        y = sum of max(z + b, 0) = sum of max(z, -b) + S * b

    so the bias needs no pass over an array of full size, and the mean no division.
    """

    def __init__(
        self,
        layer: Conv2d,
        norm: BatchNorm,
        pool: AvgPool2d,
        x: LaneValue,
        limits: Limits,
        enlarged: bool,
    ) -> None:
        super().__init__(layer, norm, x, limits, pool.window.size, enlarged)
        self.pool, self.scale = pool, 1.0 / prod(pool.window.size)
        self.bias = None
        z = self.out
        self.y = LaneValue(pool.output_shape((1, *z.shape))[1:], x.dtype)
        f = z.shape[0]
        self.low, self.shift = limits.memory.empty((2, f, 1), x.dtype)
        self.high = np.full((f, 1), np.inf, x.dtype)
        self.distant = limits.memory.zeros((), bool)

    @property
    def name(self) -> str:
        return f"{super().name} + ReLU + AvgPool2d"

    def fold(self) -> None:
        super().fold()
        np.negative(self.bias_column, out=self.low)
        spread = np.abs(self.scale * as_numpy(self.norm.weight.data)) * np.sqrt(
            MAX_MEAN_SQUARE_OVER_VARIANCE
        )
        self.distant[...] = (np.abs(self.bias_column[:, 0]) > spread).any()
        if self.distant:
            self.shift.fill(0)
        else:
            np.negative(sum_of_equal(self.low, prod(self.tile)), out=self.shift)

    def forward(self, chunk: Chunk) -> Calls:
        z, y = rows(chunk[self.out]), rows(chunk[self.y])
        return [
            *super().forward(chunk),
            partial(z.clip, self.low, self.high, out=z),
            partial(self.subtract_low, z),
            *tap_sums(chunk, self.out, self.y),
            bind(np.add, y, self.shift, out=y),
        ]

    def subtract_low(self, clipped: np.ndarray) -> None:
        """Subtract -b before the sums if it is so large that z would be lost in rounding."""
        if self.distant:
            clipped -= self.low


class FoldedDenseLanes(DenseLanes):
    """A dense layer and the batch norm behind it."""

    def __init__(self, layer: Dense, norm: BatchNorm, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.norm = norm
        self.weight = limits.memory.empty(self.weight.shape, x.dtype)
        self.bias = self.bias_column = limits.memory.empty((layer.out_features, 1), x.dtype)

    @property
    def name(self) -> str:
        return f"{super().name} + {type(self.norm).__name__}"

    def begin(self) -> Calls:
        return [self.load]

    def load(self) -> None:
        gain, bias = folded(self.layer, self.norm)
        self.weight[...] = as_numpy(self.layer.weight.data) * gain[:, None]
        self.bias_column[:, 0] = bias


def folded(layer: Conv2d | Dense, norm: BatchNorm) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain of each channel and its new bias, float64 (C,)."""
    gain = as_numpy(norm.weight.data) / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
    bias = 0.0 if layer.bias is None else as_numpy(layer.bias.data)
    return gain, gain * (bias - norm.running_mean) + norm.bias.data
