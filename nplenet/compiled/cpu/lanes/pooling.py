"""Pooling in lanes: a loop over the taps of the window, each a strided view of whole rows.

Where the windows tile the image (the stride is the kernel's size, no padding, nothing left over),
each pixel belongs to one window: backward writes each once and needs no zeros to add to.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TypeVar

import numpy as np

from ....layers import AvgPool2d, MaxPool2d
from ..chunks import Calls, Chunk
from .lane import Lane, LaneValue, Limits, bind
from .sums import is_tiling, sum_calls

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
        self.tiled = is_tiling(window, self.height, self.width)

    def taps(self, frame: np.ndarray) -> Iterator[np.ndarray]:
        """Yield for each tap, row by row, the view (C, OH, OW, n) of what it reads."""
        _, oh, ow = self.y.shape
        for tap in self.window.taps(frame[None], (oh, ow)):
            yield tap[0]

    def inside(self, frame: np.ndarray) -> np.ndarray:
        """Return the view of a frame that holds the image itself."""
        return self.window.unpad(frame[None], self.height, self.width)[0]

    def padded(self, chunk: Chunk, value: float) -> tuple[Calls, np.ndarray]:
        """Return the calls that put x into its frame, and the frame."""
        x = chunk[self.x]
        if not self.framed:
            return [], x
        frame = chunk[self.frame]
        return [partial(frame.fill, value), partial(np.copyto, self.inside(frame), x)], frame

    def gradient(self, chunk: Chunk) -> tuple[Calls, np.ndarray, Calls]:
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
        self.row_scratch = self.scratch((x.shape[0], self.y.shape[1], self.width))

    def divisor(self, dtype: np.dtype) -> np.ndarray | np.generic:
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
            return [*self.tile_sums(chunk), divide]
        calls, frame = self.padded(chunk, 0.0)
        return [*calls, *sum_calls(list(self.taps(frame)), y), divide]

    def tile_sums(self, chunk: Chunk) -> Calls:
        """Return the calls that sum over windows that tile the image: rows first, then columns.

        The rows are long, so this takes 1.5 us for the 4704 numbers of an image in windows of 2x2,
        less than adding the taps.
        """
        y, row_sums = chunk[self.y], chunk[self.row_scratch]
        c, oh, ow, n = y.shape
        by_row = chunk[self.x].reshape(c, oh, -1, self.width * n)
        by_column = row_sums.reshape(c, oh, ow, -1, n)
        return [
            *sum_calls(list(np.moveaxis(by_row, 2, 0)), row_sums.reshape(c, oh, -1)),
            *sum_calls(list(np.moveaxis(by_column, 3, 0)), y),
        ]

    def backward(self, chunk: Chunk) -> Calls:
        dy = chunk[self.dy]
        calls, frame, after = self.gradient(chunk)
        calls.append(bind(np.divide, dy, self.divisor(dy.dtype), out=dy))
        for tap in self.taps(frame):
            one = partial(np.copyto, tap, dy) if self.tiled else bind(np.add, tap, dy, out=tap)
            calls.append(one)
        return calls + after


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
