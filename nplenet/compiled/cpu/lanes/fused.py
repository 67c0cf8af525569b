"""Batch norm, ReLU and average pooling in one: fewer passes over the large arrays.

One after the other these three take four passes over arrays of the size of x forward and twelve
backward; here it is four, of which one is over bytes, and five, of which one reads bytes. It
pays where the windows tile the image, as in LeNet-5: a step of 256 images took 51 us per image
without it, 41 us with it.

Legend: KH KW size of the pooling window, S = KH*KW; C channels, OH OW pooled size, n lanes.
"""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np

from ....layers import AvgPool2d, BatchNorm2d
from ..chunks import Call, Calls, Chunk, count_images
from .batchnorm import MIN_WEIGHT_OVER_BIAS, BatchNormLanes, totals
from .lane import LaneValue, Limits, as_numpy, bind, integers, rows
from .sums import is_tiling, sum_of_equal, tap_sums

MAX_WINDOW_PIXELS = 127  # they are counted in signed bytes
MIN_WEIGHT_OVER_BIAS_TO_DIVIDE = 0.125  # below it the difference in sum_dy_xhat cancels


def can_be_fused(pool: AvgPool2d, height: int, width: int) -> bool:
    """Say whether a pooling can be done with the batch norm and ReLU before it.

    Then these take images that are stored by the taps of the pooling (see ``LaneValue.tile``), as a
    convolution before them writes its output.
    """
    return is_tiling(pool.window, height, width) and prod(pool.window.size) <= MAX_WINDOW_PIXELS


class BatchNormReLUAvgPoolLanes(BatchNormLanes):
    """y = the mean over each window of max(weight * xhat + bias, 0).

    Forward. With gain = weight / std and the threshold t at which weight * xhat + bias = 0,

        max(weight * xhat + bias, 0) = gain * (clip(x) - t)

    where clip takes x to at least t for a positive gain, to at most t for a negative one. So only
    clip and the sums over the windows touch arrays of full size; gain and t act on the pooled one.

    Backward. dz = dy / S where clip(x) is not t, and its sums need no array of full size, with
    ``count`` the number of such x in the window:

        sum(dz) = sum(dy * count) / S        sum(dz * (weight * xhat + bias)) = sum(dy * y)

    A channel whose weight is zero has no t: it is bias throughout. Where a weight is small against
    its bias, the second sum would cancel, and sum(dz * xhat) is summed from x.
    """

    def __init__(self, layer: BatchNorm2d, pool: AvgPool2d, x: LaneValue, limits: Limits) -> None:
        self.pool = pool
        super().__init__(layer, x, limits)
        c = x.shape[0]
        self.size = prod(pool.window.size)
        self.image_scratch = self.scratch(x.shape, tile=x.tile)
        self.active = LaneValue(x.shape, np.int8, tile=x.tile)
        self.count = LaneValue(self.y.shape, np.int8)
        self.pooled_scratch = self.scratch(self.y.shape)
        self.low, self.high = limits.memory.empty((2, c, 1), x.dtype)

    @property
    def name(self) -> str:
        return f"{super().name} + ReLU + AvgPool2d"

    def make_output(self, shape: tuple[int, ...]) -> LaneValue:
        return LaneValue(self.pool.output_shape((1, *shape))[1:], self.x.dtype)

    # ------------------------------------------------------------------ forward

    def make_columns(self) -> None:
        weight, bias = as_numpy(self.layer.weight.data), as_numpy(self.layer.bias.data)
        gain = weight * self.inverse_std
        columns = zip(gain.tolist(), weight.tolist(), bias.tolist(), strict=True)
        flat = [g == 0.0 or abs(w) <= MIN_WEIGHT_OVER_BIAS * abs(b) for g, w, b in columns]
        t = self.mean - bias / (np.where(flat, 1.0, gain) if any(flat) else gain)
        rising = gain > 0.0
        self.center[:, 0], self.rounded_mean[:, 0] = t, self.mean
        self.low[:, 0], self.high[:, 0] = np.where(rising, t, -np.inf), np.where(rising, np.inf, t)
        gain /= self.size
        self.gain[:, 0] = gain
        if self.distant:
            self.shift.fill(0)
        else:
            # y is exactly 0 where no x is active. If it were 1e-9, so were gradients of weights
            # behind it, which Adam would make a whole step of.
            np.multiply(self.gain, -sum_of_equal(self.center, self.size), out=self.shift)
        if any(flat):
            self.center[flat], self.gain[flat] = 0, 0
            self.shift[flat, 0] = np.maximum(bias[flat], 0)
            self.low[flat, 0] = self.high[flat, 0] = bias[flat] > 0  # off the center 0: active

    def clipped(self, chunk: Chunk) -> Calls:
        x, full = rows(chunk[self.x]), rows(chunk[self.image_scratch])
        return [partial(x.clip, self.low, self.high, out=full)]

    def pooled(self, chunk: Chunk) -> Calls:
        y = rows(chunk[self.y])
        return [
            partial(self.subtract_center, rows(chunk[self.image_scratch])),
            *tap_sums(chunk, self.image_scratch, self.y),
            bind(np.multiply, y, self.gain, out=y),
            bind(np.add, y, self.shift, out=y),
        ]

    def subtract_center(self, clipped: np.ndarray) -> None:
        """Subtract t before the sums if it is so large that x - t would be lost in rounding."""
        if self.distant:
            clipped -= self.center

    def forward(self, chunk: Chunk) -> Calls:
        full, active = rows(chunk[self.image_scratch]), rows(chunk[self.active])
        return [
            *self.clipped(chunk),
            bind(np.not_equal, full, self.center, out=active.view(bool)),
            *self.pooled(chunk),
            *tap_sums(chunk, self.active, self.count),
        ]

    # ------------------------------------------------------------------ backward

    def sums_of_gradient(self, chunk: Chunk) -> Calls:
        dy, y, quarter = (rows(chunk[v]) for v in (self.dy, self.y, self.pooled_scratch))
        return [
            partial(np.copyto, quarter, rows(chunk[self.count])),
            bind(np.vecdot, dy, quarter, out=self.sums[chunk.index]),
            bind(np.vecdot, dy, y, out=self.products[chunk.index]),
        ]

    def after_sums(self, chunks: list[Chunk]) -> Calls:
        exact = [call for chunk in chunks for call in self.exact_sum(chunk)]
        return [partial(self.combine, exact, len(chunks), count_images(chunks))]

    def exact_sum(self, chunk: Chunk) -> Calls:
        """Return the calls that sum dy times the pooled x - mean, without a division by weight."""
        x, full, quarter = (
            rows(chunk[v]) for v in (self.x, self.image_scratch, self.pooled_scratch)
        )
        return [
            bind(np.subtract, x, self.rounded_mean, out=full),
            bind(np.multiply, full, rows(chunk[self.active]), out=full),
            *tap_sums(chunk, self.image_scratch, self.pooled_scratch),
            bind(np.vecdot, rows(chunk[self.dy]), quarter, out=self.products[chunk.index]),
        ]

    def combine(self, exact: list[Call], chunks: int, images: int) -> None:
        """Write the parameters' gradients and make the columns of backward."""
        weight, bias = as_numpy(self.layer.weight.data), as_numpy(self.layer.bias.data)
        sum_dy, sum_dy_y = totals(self.parts, chunks)
        sum_dy /= self.size
        both = zip(weight.tolist(), bias.tolist(), strict=True)
        if not any(abs(w) <= MIN_WEIGHT_OVER_BIAS_TO_DIVIDE * abs(b) for w, b in both):
            sum_dy_xhat = (sum_dy_y - bias * sum_dy) / weight
        else:
            for call in exact:
                call()
            _, sum_dy_centered = totals(self.parts, chunks)
            sum_dy_xhat = self.inverse_std * sum_dy_centered / self.size
        self.set_gradients(sum_dy, sum_dy_xhat, images)
        if not self.distant:
            self.dx_shift -= self.x_gain * self.rounded_mean
        self.dy_gain /= self.size

    def backward(self, chunk: Chunk) -> Calls:
        """dx = dy_gain * dz + x_gain * x + dx_shift.

        The bits of dz are the bits of dy, as an integer, times 0 or 1. So dz is 0 also where dy is
        infinite, and no array of floats is made of the bytes. Where the mean is distant, the second
        term is x_gain * (x - mean).
        """
        if self.dx is None:
            return []
        x, dx, dy, full = (rows(chunk[v]) for v in (self.x, self.dx, self.dy, self.image_scratch))
        by_tap = integers(full).reshape(len(dy), self.size, -1)
        return [
            bind(np.multiply, dy, self.dy_gain, out=dy),
            partial(np.copyto, integers(full), rows(chunk[self.active])),
            bind(np.multiply, by_tap, integers(dy)[:, None], out=by_tap),
            partial(self.scale_x, x, dx),
            bind(np.add, dx, full, out=dx),
            bind(np.add, dx, self.dx_shift, out=dx),
        ]

    def scale_x(self, x: np.ndarray, out: np.ndarray) -> None:
        if self.distant:
            x = np.subtract(x, self.rounded_mean, out=out)
        np.multiply(x, self.x_gain, out=out)
