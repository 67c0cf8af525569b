"""Nonlinearities, dropout and Flatten: each number of the output from one number of the input."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ....layers import Dropout, Flatten, Layer, LeakyReLU, ReLU, Sigmoid, Tanh
from ...operation import Value
from ...passes import Part
from ..feed import KEYS
from .operation import FusedOperation, Lasting, Writer, call

ACTIVATIONS: tuple[type[Layer], ...] = (ReLU, LeakyReLU, Sigmoid, Tanh)


def activation_code(layer: Layer | None) -> str:
    """Return the object of ``kernels/fused/activation.cu`` that computes a layer."""
    if layer is None:
        return "Identity{}"
    if isinstance(layer, LeakyReLU):
        return f"LeakyReLU{{T({float(layer.negative_slope)!r})}}"
    return f"{type(layer).__name__}{{}}"


class Elementwise(FusedOperation[Any]):
    """Its gradient overwrites dy, which nothing reads again."""

    def make_gradient(self) -> Value:
        return Value(self.x.shape, self.x.dtype, buffer=self.dy.buffer)

    @property
    def size(self) -> str:
        """The numbers of the block's images."""
        return f"count * {prod(self.x.shape)}"


class FusedActivation(Elementwise):
    """See ``kernels/fused/activation.cu``. LeakyReLU keeps its x: y may have lost its sign."""

    def make_output(self, shape: tuple[int, ...]) -> Value:
        self.needs_x = isinstance(self.layer, LeakyReLU)
        in_place = self.x.disposable and not self.needs_x
        return Value(shape, self.x.dtype, buffer=self.x.buffer if in_place else None)

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.FORWARD:
            return [self.x, self.y]
        return [self.x if self.needs_x else None, self.y, self.dy, self.dx]

    def forward(self, w: Writer) -> None:
        w.use("activation")
        act = activation_code(self.layer)
        line = call("activate", act, w.at(self.x), w.at(self.y), self.size)
        w.elementwise(line, in_place=self.x.buffer is self.y.buffer)

    def backward(self, w: Writer) -> None:
        if self.dx is None:
            return
        w.use("activation")
        x, y = w.at(self.x if self.needs_x else self.y), w.at(self.y)
        arguments = (activation_code(self.layer), x, y, w.at(self.dy), w.at(self.dx), self.size)
        w.elementwise(call("activate_backward", *arguments), in_place=True)


class FusedDropout(Elementwise):
    """See ``kernels/fused/dropout.cu``. ``number`` is its place among the dropout layers."""

    def __init__(self, layer: Dropout, x: Value, training: bool, number: int) -> None:
        super().__init__(layer, x, training)
        self.number = number
        self.kept = Lasting(x.shape, np.dtype(np.uint8))

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.FORWARD:
            return [self.x, self.kept, self.y]
        return [self.dy, self.kept, self.dx]

    def forward(self, w: Writer) -> None:
        w.use("dropout")
        key = f"{w.feed_row()}[{KEYS + self.number}]"
        first = f"(long long)n0 * {prod(self.x.shape)}"
        numbers = (key, first, f"{self.layer.threshold}ull", self.size)
        w.first.append(call("dropout_mask", w.at(self.kept), *numbers))
        self._multiply(w, self.x, self.y)

    def backward(self, w: Writer) -> None:
        if self.dx is None:
            return
        self._multiply(w, self.dy, self.dx)

    def _multiply(self, w: Writer, x: Value, y: Value) -> None:
        scale = f"T({float(self.layer.scale)!r})"
        line = call("dropout", w.at(x), w.at(self.kept), w.at(y), scale, self.size)
        w.elementwise(line, in_place=x.buffer is y.buffer)


class FusedFlatten(FusedOperation[Flatten]):
    """Nothing to do: the same numbers under another shape."""

    def make_output(self, shape: tuple[int, ...]) -> Value:
        x = self.x
        return Value(shape, x.dtype, disposable=x.disposable, buffer=x.buffer)

    def make_gradient(self) -> Value:
        return Value(self.x.shape, self.x.dtype, buffer=self.dy.buffer)

    def uses(self, part: Part) -> list[Value | None]:
        return []

    def forward(self, w: Writer) -> None:
        pass

    def backward(self, w: Writer) -> None:
        pass
