"""Batch normalisation in lanes: the one layer for which all chunks must wait for each other.

Legend: C channels, M numbers per channel in the batch, G chunks; (C, 1) columns broadcast along
the rows of ``rows(x)``, (C, L*n).
"""

from __future__ import annotations

from functools import partial
from math import inf, prod

import numpy as np

from ....layers import BatchNorm1d, BatchNorm2d
from ..chunks import Calls, Chunk, count_images
from .lane import Lane, LaneValue, Limits, as_numpy, bind, rows

MIN_WEIGHT_OVER_BIAS = 1e-12  # below it a weight has no center: std * bias / weight is too far
MAX_MEAN_SQUARE_OVER_VARIANCE = 64.0  # up to it E[x^2] - E[x]^2 is accurate


class BatchNormLanes(Lane[BatchNorm1d | BatchNorm2d]):
    """Normalise with the statistics of the batch.

    Each chunk gives the sums of its numbers and of their squares, both by BLAS: a product with ones
    and a dot product, which take a third of the time of NumPy's own sums (0.27 and 0.34 us for the
    4704 numbers of an image, against 0.85). The sums are joined in float64 between the passes, over
    all chunks and all ranks (see ``group``):

        chunk 0   sum x, sum x^2  --.
        chunk 1   sum x, sum x^2  --+-- barrier --> mean, variance --> gain, center --> all chunks
        chunk 2   sum x, sum x^2  --'

    Sums of the rows of the images, rather than of whole channels, cost the same and round a float32
    mean as finely as the textbook does: otherwise a ReLU cuts differently now and then, and a
    gradient is off by 1e-3. Where a mean is far from zero, E[x^2] - E[x]^2 would cancel, and the
    variance is summed again from x - mean.

    weight * xhat + bias is computed as gain * (x - center): two passes, not three.
    """

    barrier = True

    def __init__(self, layer: BatchNorm1d | BatchNorm2d, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        channels = x.shape[0]
        image_rows = prod(x.stored[1:-1] or x.shape[1:])
        empty = limits.memory.empty
        self.moments = empty((2, limits.chunks, channels, image_rows), x.dtype)
        self.parts = empty((2, limits.chunks, channels), x.dtype)
        self.sums, self.products = self.parts  # in backward: the sums of dy and of dy * (x - mean)
        self.numbers = prod(x.shape[1:])  # of a channel in an image
        self.centered = self.scratch(x.shape)
        self.mean, self.inverse_std = np.empty((2, channels))
        self.gradient_sums = np.empty((2, channels))  # of dy and of dy * xhat, over all ranks
        self.center, self.gain, self.shift = empty((3, channels, 1), x.dtype)
        self.rounded_mean, self.dy_gain, self.x_gain, self.dx_shift = empty(
            (4, channels, 1), x.dtype
        )
        self.shifted, self.distant = (limits.memory.zeros((), bool) for _ in range(2))

    # ------------------------------------------------------------------ forward

    def statistics(self, chunk: Chunk) -> Calls:
        sums, squares = self.moments[:, chunk.index].reshape(2, -1)
        x = chunk[self.x].reshape(len(sums), -1)
        ones = np.ones(x.shape[1], x.dtype)
        return [
            bind(np.matmul, x, ones, out=sums),
            bind(np.vecdot, x, x, out=squares),
        ]

    def after_statistics(self, chunks: list[Chunk]) -> Calls:
        pairs = [(rows(chunk[self.x]), rows(chunk[self.centered])) for chunk in chunks]
        return [partial(self.track, pairs, count_images(chunks))]

    def track(self, pairs: list[tuple[np.ndarray, np.ndarray]], images: int) -> None:
        """Join the sums, track the running statistics and make the columns of forward.

        ``pairs`` are x of each chunk and room for x - mean.
        """
        group = self.layer.group
        m = group.total(images) * self.numbers
        if m < 2:
            raise ValueError(
                f"{self.layer} needs more than one value per channel to train, "
                f"got {(images, *self.x.shape)}"
            )
        moments = self.moments[:, : len(pairs)]
        mean, mean_square = group.sum(np.add.reduce(moments, axis=(1, 3), dtype=np.float64)) / m
        square = mean * mean
        var = mean_square - square
        # In plain Python: on so few numbers each call of NumPy takes longer than all of it.
        pairs_of = zip(square.tolist(), var.tolist(), strict=True)
        self.distant[...] = any(
            not s <= MAX_MEAN_SQUARE_OVER_VARIANCE * v < inf for s, v in pairs_of
        )
        if self.distant:
            mean, var = self.exact_statistics(pairs, mean, m)
        layer = self.layer
        layer.num_batches_tracked[...] = int(layer.num_batches_tracked) + 1
        weight = 1.0 / layer.num_batches_tracked if layer.momentum is None else layer.momentum
        layer.running_mean += weight * (mean - layer.running_mean)
        layer.running_var += weight * (var * (m / (m - 1)) - layer.running_var)
        self.mean, self.inverse_std = mean, 1.0 / np.sqrt(var + layer.eps)
        self.make_columns()

    def exact_statistics(
        self, pairs: list[tuple[np.ndarray, np.ndarray]], mean: np.ndarray, m: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance from sums of x - mean, which are small.

        Of numbers like 1e18 the sum of a chunk's squares overflows float32; it is taken in float64.
        """
        near = mean.astype(self.x.dtype)[:, None]
        parts = np.empty((2, len(pairs), len(mean)))
        for i, (x, centered) in enumerate(pairs):
            np.subtract(x, near, out=centered)
            parts[0, i] = np.add.reduce(centered, axis=1)
            parts[1, i] = np.vecdot(centered, centered)
            if not np.isfinite(parts[1, i]).all():
                parts[1, i] = np.vecdot(centered, centered, dtype=np.float64)
        rest, mean_square = self.layer.group.sum(totals(parts, len(pairs))) / m
        return near[:, 0] + rest, mean_square - rest * rest

    def make_columns(self) -> None:
        """Set gain and center such that weight * xhat + bias = gain * (x - center) + shift.

        The shift is zero except where the weight is zero: there no center gives the bias.
        """
        weight, bias = as_numpy(self.layer.weight.data), as_numpy(self.layer.bias.data)
        gain = weight * self.inverse_std
        usable = ~(np.abs(weight) <= MIN_WEIGHT_OVER_BIAS * np.abs(bias))  # NaN is, and shows
        usable &= gain != 0.0
        center = self.mean - np.divide(bias, gain, out=np.zeros_like(gain), where=usable)
        self.gain[:, 0], self.center[:, 0] = gain, center
        self.shift[:, 0] = np.where(usable, 0.0, bias)
        self.rounded_mean[:, 0] = self.mean
        self.shifted[...] = not usable.all()

    def forward(self, chunk: Chunk) -> Calls:
        x, y = rows(chunk[self.x]), rows(chunk[self.y])
        return [
            bind(np.subtract, x, self.center, out=y),
            bind(np.multiply, y, self.gain, out=y),
            partial(self.add_shift, y),
        ]

    def add_shift(self, y: np.ndarray) -> None:
        if self.shifted:
            y += self.shift

    # ------------------------------------------------------------------ backward

    def make_gradient(self) -> LaneValue:
        """Put dx in the place of x if that may be: an array less for the cache to hold."""
        buffer = self.x.buffer if self.x.disposable else None
        return LaneValue(self.x.shape, self.x.dtype, tile=self.x.tile, buffer=buffer)

    def sums_of_gradient(self, chunk: Chunk) -> Calls:
        x, dy, centered = (rows(chunk[v]) for v in (self.x, self.dy, self.centered))
        ones = np.ones(x.shape[1], x.dtype)
        return [
            bind(np.subtract, x, self.rounded_mean, out=centered),
            bind(np.vecdot, dy, centered, out=self.products[chunk.index]),
            bind(np.matmul, dy, ones, out=self.sums[chunk.index]),
        ]

    def after_sums(self, chunks: list[Chunk]) -> Calls:
        return [partial(self.combine_gradients, len(chunks), count_images(chunks))]

    def combine_gradients(self, chunks: int, images: int) -> None:
        """Write the parameters' gradients and make the columns of backward."""
        sum_dy, sum_dy_centered = totals(self.parts, chunks)
        self.set_gradients(sum_dy, self.inverse_std * sum_dy_centered, images)

    def set_gradients(self, sum_dy: np.ndarray, sum_dy_xhat: np.ndarray, images: int) -> None:
        """Write the parameters' gradients, of this rank, and make the columns, of all ranks."""
        layer = self.layer
        layer.weight.grad[...], layer.bias.grad[...] = sum_dy_xhat, sum_dy
        self.gradient_sums[0], self.gradient_sums[1] = sum_dy, sum_dy_xhat
        m = layer.group.total(images) * self.numbers
        mean_dy, mean_dy_xhat = layer.group.sum(self.gradient_sums) / m
        scale = as_numpy(layer.weight.data) * self.inverse_std
        self.dy_gain[:, 0] = scale
        np.negative(scale, out=scale)
        np.multiply(scale, mean_dy, out=self.dx_shift[:, 0], casting="same_kind")
        scale *= self.inverse_std
        np.multiply(scale, mean_dy_xhat, out=self.x_gain[:, 0], casting="same_kind")

    def backward(self, chunk: Chunk) -> Calls:
        """dx = dy_gain * dy + x_gain * (x - mean) + dx_shift: the textbook's three terms."""
        if self.dx is None:
            return []
        x, dy, dx = (rows(chunk[v]) for v in (self.x, self.dy, self.dx))
        return [
            bind(np.subtract, x, self.rounded_mean, out=dx),
            bind(np.multiply, dx, self.x_gain, out=dx),
            bind(np.multiply, dy, self.dy_gain, out=dy),
            bind(np.add, dx, dy, out=dx),
            bind(np.add, dx, self.dx_shift, out=dx),
        ]


class FrozenBatchNormLanes(Lane[BatchNorm1d | BatchNorm2d]):
    """Normalise with the running statistics, in ``eval``: constants, so without a barrier."""

    def __init__(self, layer: BatchNorm1d | BatchNorm2d, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        channels = x.shape[0]
        self.centered = self.scratch(x.shape)
        self.mean, self.gain, self.bias = limits.memory.empty((3, channels, 1), x.dtype)
        self.inverse_std = np.empty(channels)
        self.parts = limits.memory.empty((2, limits.chunks, channels), x.dtype)
        self.sums, self.products = self.parts

    def begin(self) -> Calls:
        return [self.make_columns]

    def make_columns(self) -> None:
        layer = self.layer
        self.inverse_std = 1.0 / np.sqrt(layer.running_var.astype(np.float64) + layer.eps)
        self.mean[:, 0], self.bias[:, 0] = layer.running_mean, layer.bias.data
        self.gain[:, 0] = layer.weight.data * self.inverse_std

    def forward(self, chunk: Chunk) -> Calls:
        x, y = rows(chunk[self.x]), rows(chunk[self.y])
        return [
            bind(np.subtract, x, self.mean, out=y),
            bind(np.multiply, y, self.gain, out=y),
            bind(np.add, y, self.bias, out=y),
        ]

    def backward(self, chunk: Chunk) -> Calls:
        x, dy, centered = (rows(chunk[v]) for v in (self.x, self.dy, self.centered))
        ones = np.ones(x.shape[1], x.dtype)
        calls: Calls = [
            bind(np.subtract, x, self.mean, out=centered),
            bind(np.vecdot, dy, centered, out=self.products[chunk.index]),
            bind(np.matmul, dy, ones, out=self.sums[chunk.index]),
        ]
        if self.dx is not None:
            calls.append(bind(np.multiply, dy, self.gain, out=rows(chunk[self.dx])))
        return calls

    def end(self, chunks: list[Chunk]) -> Calls:
        return [partial(self.set_gradients, len(chunks))]

    def set_gradients(self, chunks: int) -> None:
        layer = self.layer
        sum_dy, sum_dy_centered = totals(self.parts, chunks)
        layer.weight.grad[...] = self.inverse_std * sum_dy_centered
        layer.bias.grad[...] = sum_dy


def totals(parts: np.ndarray, chunks: int) -> np.ndarray:
    """Return the float64 sums (2, C) over the first chunks of two kinds of parts, (2, G, C)."""
    return np.add.reduce(parts[:, :chunks], axis=1, dtype=np.float64)
