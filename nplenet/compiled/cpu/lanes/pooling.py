"""Pooling in lanes: a loop over the taps of the window, each a strided view of whole rows.

Where the windows tile the image (the stride is the kernel's size, no padding, nothing left over),
each pixel belongs to one window: backward writes each once and needs no zeros to add to.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, reduce
from math import prod
from typing import TypeVar

import numpy as np

from ....checks import Pair
from ....layers import AvgPool2d, MaxPool2d
from ....window import Window
from ..chunks import Array, Calls, Chunk
from .lane import Lane, LaneValue, Limits, bind, rows

Pool = TypeVar("Pool", bound=AvgPool2d | MaxPool2d)


class _PoolLanes(Lane[Pool]):
    """What both poolings share: the frame of padding, and the way from it to the taps."""

    def __init__(self, layer: Pool, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        _, self.height, self.width = x.shape
        self.window = window = layer.window
        frame = window.padded_size(self.height, self.width)
        self.framed = frame != (self.height, self.width)
        self.frame = self.scratch((x.shape[0], *frame))
        self.dframe = self.scratch((x.shape[0], *frame))
        self.tiled = tiles(window, self.height, self.width)

    def taps(self, frame: Array) -> Iterator[Array]:
        """Yield for each tap, row by row, the view (C, OH, OW, n) of what it reads."""
        _, oh, ow = self.y.shape
        for tap in self.window.taps(frame[None], (oh, ow)):
            yield tap[0]

    def inside(self, frame: Array) -> Array:
        """Return the view of a frame that holds the image itself."""
        return self.window.unpad(frame[None], self.height, self.width)[0]

    def padded(self, chunk: Chunk, value: float) -> tuple[Calls, Array]:
        """Return the calls that put x into its frame, and the frame."""
        x = chunk[self.x]
        if not self.framed:
            return [], x
        frame = chunk[self.frame]
        return [partial(frame.fill, value), partial(np.copyto, self.inside(frame), x)], frame

    def gradient(self, chunk: Chunk) -> tuple[Calls, Array, Calls]:
        """Return the calls that make a frame of zeros, the frame, and those that unpack it."""
        assert self.dx is not None
        dx = chunk[self.dx]
        if self.tiled:
            return [], dx, []
        if not self.framed:
            return [partial(dx.fill, 0)], dx, []
        frame = chunk[self.dframe]
        return [partial(frame.fill, 0)], frame, [partial(np.copyto, dx, self.inside(frame))]


class AvgPool2dLanes(_PoolLanes[AvgPool2d]):
    """The sum of the taps, divided; backward gives each tap its share."""

    def __init__(self, layer: AvgPool2d, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.half = self.scratch((x.shape[0], self.y.shape[1], self.width))

    def divisor(self, dtype: np.dtype) -> Array | np.generic:
        """Return how many pixels a window averages: a number where all agree, else (OH, OW, 1)."""
        counts = self.layer.count_include_pad
        row_counts = self.window.coverage(self.height, 0, counts)
        column_counts = self.window.coverage(self.width, 1, counts)
        sizes = np.outer(row_counts, column_counts).astype(dtype)
        return sizes[0, 0] if np.ptp(sizes) == 0 else sizes[:, :, None]

    def forward(self, chunk: Chunk) -> Calls:
        y = chunk[self.y]
        divide = bind(np.divide, y, self.divisor(y.dtype), out=y)
        if self.tiled:
            return [*tile_sums(chunk, self.x, self.half, self.y), divide]
        calls, frame = self.padded(chunk, 0.0)
        return [*calls, *added(list(self.taps(frame)), y), divide]

    def backward(self, chunk: Chunk) -> Calls:
        dy = chunk[self.dy]
        calls, frame, after = self.gradient(chunk)
        calls.append(bind(np.divide, dy, self.divisor(dy.dtype), out=dy))
        for tap in self.taps(frame):
            one = partial(np.copyto, tap, dy) if self.tiled else bind(np.add, tap, dy, out=tap)
            calls.append(one)
        return calls + after


def tiles(window: Window, height: int, width: int) -> bool:
    """Say whether the windows tile an image: no gaps, no overlap, no padding, nothing left over."""
    out = window.output_size(height, width)
    covered = tuple(o * k for o, k in zip(out, window.size, strict=True))
    plain = window.stride == window.size and window.dilation == (1, 1)
    return plain and window.padding == (0, 0) and covered == (height, width)


def tile_sums(chunk: Chunk, image: LaneValue, half: LaneValue | None, pooled: LaneValue) -> Calls:
    """Return the calls that sum over windows that tile the image: first whole rows, then columns.

    The rows are long, so this takes 1.5 us for the 4704 numbers of an image in windows of 2x2, less
    than adding the taps. Where each tap lies in one piece (see ``LaneValue.tile``) adding the taps
    takes 0.6 us.

    Parameters
    ----------
    image, pooled : LaneValue (C, H, W) and (C, OH, OW)
    half : LaneValue (C, OH, W)
        Scratch; None where taps lie in one piece.
    """
    full, out = chunk[image], chunk[pooled]
    c, oh, ow, n = out.shape
    if half is None:
        by_tap, total = full.reshape(c, -1, oh * ow * n), rows(out)
        if total.shape[1] == 1:  # np.add.reduce would add the taps in another order
            return added([by_tap[:, i] for i in range(by_tap.shape[1])], total)
        return [partial(np.add.reduce, by_tap, axis=1, dtype=out.dtype, out=total)]
    by_row = full.reshape(c, oh, -1, full.shape[2] * n)
    by_column = chunk[half].reshape(c, oh, ow, -1, n)
    row_sums = chunk[half].reshape(c, oh, -1)
    return [
        *added([by_row[:, :, i] for i in range(by_row.shape[2])], row_sums),
        *added([by_column[:, :, :, i] for i in range(by_column.shape[3])], out),
    ]


def sum_of_equal(numbers: Array, window: Window, tile: Pair) -> Array:
    """Return the sums of windows whose pixels are all the same, as ``tile_sums`` rounds them.

    ``tile`` is that of the images; see ``LaneValue``.
    """
    kh, kw = window.size if tile == (1, 1) else (1, prod(tile))
    return reduce(np.add, [reduce(np.add, [numbers] * kh)] * kw)


def added(parts: list[Array], out: Array) -> Calls:
    """Return the calls that write the sum of arrays to ``out``."""
    if len(parts) == 1:
        return [partial(np.copyto, out, parts[0])]
    first, second, *others = parts
    return [
        bind(np.add, first, second, out=out),
        *(bind(np.add, out, part, out=out) for part in others),
    ]


class MaxPool2dLanes(_PoolLanes[MaxPool2d]):
    """The maximum of the taps; backward gives dy to the first tap that equals it.

    A window that holds a NaN is NaN, and its gradient goes nowhere.
    """

    def __init__(self, layer: MaxPool2d, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.wins = self.scratch(self.y.shape, bool)
        self.open = self.scratch(self.y.shape, bool)
        self.masked = self.scratch(self.y.shape)

    def make_output(self, shape: tuple[int, ...]) -> LaneValue:
        return LaneValue(shape, self.x.dtype)  # backward reads it

    def forward(self, chunk: Chunk) -> Calls:
        y = chunk[self.y]
        calls, frame = self.padded(chunk, -np.inf)
        first, *others = self.taps(frame)
        calls.append(partial(np.copyto, y, first))
        return calls + [partial(np.maximum, y, tap, out=y) for tap in others]

    def backward(self, chunk: Chunk) -> Calls:
        y, dy, masked = chunk[self.y], chunk[self.dy], chunk[self.masked]
        wins, still_open = chunk[self.wins], chunk[self.open]
        calls, dframe, after = self.gradient(chunk)
        again, frame = self.padded(chunk, -np.inf)
        calls += [*again, partial(still_open.fill, True)]
        for tap, dtap in zip(self.taps(frame), self.taps(dframe), strict=True):
            calls += [
                bind(np.equal, tap, y, out=wins),
                bind(np.logical_and, wins, still_open, out=wins),
                bind(np.logical_xor, still_open, wins, out=still_open),
            ]
            if self.tiled:
                calls.append(bind(np.multiply, dy, wins, out=dtap))
            else:
                calls.append(bind(np.multiply, dy, wins, out=masked))
                calls.append(bind(np.add, dtap, masked, out=dtap))
        return calls + after
