"""Element-wise nonlinearities in lanes."""

from __future__ import annotations

from functools import partial

import numpy as np

from ....layers import LeakyReLU, ReLU, Sigmoid, Tanh
from ..chunks import Calls, Chunk
from .lane import L, Lane, LaneValue, Limits, bind, integers, rows


class _InPlace(Lane[L]):
    """An activation whose backward reads its output, not its input.

    The gradient lies where ``dy`` did; the output where the input did, if that is disposable.
    """

    def __init__(self, layer: L, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.factor = self.scratch(x.shape)

    def make_output(self, shape: tuple[int, ...]) -> LaneValue:
        buffer = self.x.buffer if self.x.disposable else None
        return LaneValue(shape, self.x.dtype, buffer=buffer)

    def make_gradient(self) -> LaneValue:
        return self.dy


class ReLULanes(_InPlace[ReLU]):
    """y = max(x, 0), and dx = dy where y > 0.

    The zeros are a row, not a number: NumPy's maximum of an array and a number takes twice as long
    (0.89 against 0.45 us for the 4704 numbers of an image). NaN stays NaN.
    """

    def forward(self, chunk: Chunk) -> Calls:
        x, y = long_rows(chunk[self.x]), long_rows(chunk[self.y])
        return [partial(np.maximum, x, np.zeros(x.shape[1], x.dtype), out=y)]

    def backward(self, chunk: Chunk) -> Calls:
        """Mask with sign bits: the bits of -y are negative where y > 0; the shift fills with them.

        y is at least 0, so without its sign bit it is an integer of 0 where y is 0, and positive
        otherwise, also where y is NaN, which passes dy back. Integers take whole registers, where
        dy * (y > 0), a product of floats and bools, needs an array of its own.
        """
        y, mask = integers(long_rows(chunk[self.y])), integers(long_rows(chunk[self.factor]))
        dy = integers(long_rows(chunk[self.dy]))
        sign = 8 * y.dtype.itemsize - 1
        return [
            bind(np.bitwise_and, y, y.dtype.type(2**sign - 1), out=mask),
            bind(np.negative, mask, out=mask),
            bind(np.right_shift, mask, sign, out=mask),
            bind(np.bitwise_and, dy, mask, out=dy),
        ]


class LeakyReLULanes(Lane[LeakyReLU]):
    """y = x or slope * x, the larger one; the smaller one for slopes above 1."""

    def __init__(self, layer: LeakyReLU, x: LaneValue, limits: Limits) -> None:
        super().__init__(layer, x, limits)
        self.positive = self.scratch(x.shape, bool)

    def forward(self, chunk: Chunk) -> Calls:
        x, y = chunk[self.x], chunk[self.y]
        slope = x.dtype.type(self.layer.negative_slope)
        choose = np.maximum if slope <= 1 else np.minimum
        return [bind(np.multiply, x, slope, out=y), partial(choose, x, y, out=y)]

    def backward(self, chunk: Chunk) -> Calls:
        assert self.dx is not None
        x, dy, dx, positive = (chunk[v] for v in (self.x, self.dy, self.dx, self.positive))
        return [
            bind(np.greater, x, 0, out=positive),
            bind(np.multiply, dy, dy.dtype.type(self.layer.negative_slope), out=dx),
            partial(np.copyto, dx, dy, where=positive),
        ]


class SigmoidLanes(_InPlace[Sigmoid]):
    """y = exp(min(x, 0)) / (1 + exp(-|x|)), and dx = dy * y * (1 - y)."""

    def forward(self, chunk: Chunk) -> Calls:
        x, y, total = chunk[self.x], chunk[self.y], chunk[self.factor]
        zero, one = x.dtype.type(0), x.dtype.type(1)
        return [
            bind(np.abs, x, out=total),
            bind(np.negative, total, out=total),
            bind(np.exp, total, out=total),
            bind(np.add, total, one, out=total),
            partial(np.minimum, x, zero, out=y),
            bind(np.exp, y, out=y),
            bind(np.divide, y, total, out=y),
        ]

    def backward(self, chunk: Chunk) -> Calls:
        y, dy, rest = chunk[self.y], chunk[self.dy], chunk[self.factor]
        return [
            bind(np.subtract, y.dtype.type(1), y, out=rest),
            bind(np.multiply, dy, y, out=dy),
            bind(np.multiply, dy, rest, out=dy),
        ]


class TanhLanes(_InPlace[Tanh]):
    """y = tanh(x), and dx = dy * (1 - y * y)."""

    def forward(self, chunk: Chunk) -> Calls:
        return [bind(np.tanh, chunk[self.x], out=chunk[self.y])]

    def backward(self, chunk: Chunk) -> Calls:
        y, dy, slope = chunk[self.y], chunk[self.dy], chunk[self.factor]
        return [
            bind(np.multiply, y, y, out=slope),
            bind(np.subtract, y.dtype.type(1), slope, out=slope),
            bind(np.multiply, dy, slope, out=dy),
        ]


def long_rows(array: np.ndarray) -> np.ndarray:
    """Return (C, L*n) for images; a single row for features, which are few and have short rows."""
    return rows(array) if array.ndim > 2 else array.reshape(1, -1)
