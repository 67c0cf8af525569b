"""Nonlinearities, dropout and Flatten: a number of the output from one number of the input."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ....layers import Dropout, Flatten, Layer, LeakyReLU, ReLU, Sigmoid, Tanh
from ...operation import Value
from ...passes import Part
from .operation import FusedOperation, Writer

ACTIVATIONS: tuple[type[Layer], ...] = (ReLU, LeakyReLU, Sigmoid, Tanh)


def activation_code(layer: Layer | None) -> str:
    """Return the object of ``kernels/fused/activation.cu`` that computes a layer."""
    if layer is None:
        return "Identity{}"
    if isinstance(layer, LeakyReLU):
        return f"LeakyReLU{{T({float(layer.negative_slope)!r})}}"
    return f"{type(layer).__name__}{{}}"


class Elementwise(FusedOperation[Any]):
    """Its gradient overwrites dy, which nothing else reads again."""

    def make_gradient(self) -> Value:
        return Value(self.x.shape, self.x.dtype, buffer=self.dy.buffer)

    @property
    def size(self) -> str:
        """The numbers of a block's images."""
        return f"count * {prod(self.x.shape)}"


class FusedActivation(Elementwise):
    """See ``kernels/fused/activation.cu``. LeakyReLU keeps its x: y may have lost its sign."""

    def make_output(self, shape: tuple[int, ...]) -> Value:
        in_place = self.x.disposable and not isinstance(self.layer, LeakyReLU)
        return Value(shape, self.x.dtype, buffer=self.x.buffer if in_place else None)

    def uses(self, part: Part) -> list[Value | None]:
        values: list[Value | None] = [self.x, self.y]
        if part is Part.BACKWARD:
            values = [self.x if isinstance(self.layer, LeakyReLU) else None, self.y]
            values += [self.dy, self.dx]
        return values

    def forward(self, w: Writer) -> None:
        w.use("activation")
        act = activation_code(self.layer)
        w.each.append(f"activate<THREADS>({act}, {w.at(self.x)}, {w.at(self.y)}, {self.size});")

    def backward(self, w: Writer) -> None:
        w.use("activation")
        if self.dx is None:
            return
        x = w.at(self.x if isinstance(self.layer, LeakyReLU) else self.y)
        pointers = f"{x}, {w.at(self.y)}, {w.at(self.dy)}, {w.at(self.dx)}"
        act = activation_code(self.layer)
        w.each.append(f"activate_backward<THREADS>({act}, {pointers}, {self.size});")


class FusedDropout(Elementwise):
    """See ``kernels/fused/dropout.cu``. ``number`` is its place among the dropout layers."""

    def __init__(self, layer: Dropout, x: Value, training: bool, number: int) -> None:
        super().__init__(layer, x, training)
        self.number = number
        self.kept = Value(x.shape, np.dtype(np.uint8))

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.FORWARD:
            return [self.x, self.kept, self.y]
        return [self.dy, self.kept, self.dx]

    def forward(self, w: Writer) -> None:
        w.use("dropout")
        size, layer = prod(self.x.shape), self.layer
        pointers = f"{w.at(self.x)}, {w.at(self.y)}, {w.at(self.kept)}"
        w.each.append(
            f"dropout<THREADS>({pointers}, {w.feed_row()}[{2 + self.number}], (long long)n0 * {size}, "
            f"{layer.threshold}ull, T({layer.scale!r}), {self.size});"
        )

    def backward(self, w: Writer) -> None:
        if self.dx is None:
            return
        pointers = f"{w.at(self.dy)}, {w.at(self.kept)}, {w.at(self.dx)}"
        w.each.append(
            f"dropout_backward<THREADS>({pointers}, T({self.layer.scale!r}), {self.size});"
        )


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
