"""Both poolings, of any window; see ``kernels/fused/average_pool.cu`` and ``max_pool.cu``."""

from __future__ import annotations

import numpy as np

from ....layers import AvgPool2d, MaxPool2d
from ...operation import L, Value
from ...passes import Part
from .operation import FusedOperation, Writer


class FusedPool(FusedOperation[L]):
    """What both have in common: the constants of the window."""

    def constants(self, window: object) -> dict[str, int]:
        (c, h, w), (_, oh, ow) = self.x.shape, self.y.shape
        numbers = {"C": c, "H": h, "W": w, "OH": oh, "OW": ow}
        for letter, name in (("K", "size"), ("S", "stride"), ("P", "padding"), ("D", "dilation")):
            numbers[f"{letter}H"], numbers[f"{letter}W"] = getattr(window, name)
        return numbers


class FusedAveragePool(FusedPool[AvgPool2d]):
    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.y] if part is Part.FORWARD else [self.dy, self.dx]

    def shape(self, w: Writer) -> str:
        w.use("average_pool")
        numbers = self.constants(self.layer.window)
        return w.shape(self.label, **numbers, COUNT_PADDING=int(self.layer.count_include_pad))

    def forward(self, w: Writer) -> None:
        x, y = w.at(self.x), w.at(self.y)
        w.each.append(f"average_pool<THREADS, {self.shape(w)}>({x}, {y}, count);")

    def backward(self, w: Writer) -> None:
        if self.dx is None:
            return
        dy, dx = w.at(self.dy), w.at(self.dx)
        w.each.append(f"average_pool_backward<THREADS, {self.shape(w)}>({dy}, {dx}, count);")


class FusedMaxPool(FusedPool[MaxPool2d]):
    def __init__(self, layer: MaxPool2d, x: Value, training: bool) -> None:
        super().__init__(layer, x, training)
        self.winner = Value(self.y.shape, np.dtype(np.int32))

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.FORWARD:
            return [self.x, self.y, self.winner]
        return [self.dy, self.winner, self.dx]

    def shape(self, w: Writer) -> str:
        w.use("max_pool")
        return w.shape(self.label, **self.constants(self.layer.window))

    def forward(self, w: Writer) -> None:
        pointers = f"{w.at(self.x)}, {w.at(self.y)}, {w.at(self.winner)}"
        w.each.append(f"max_pool<THREADS, {self.shape(w)}>({pointers}, count);")

    def backward(self, w: Writer) -> None:
        if self.dx is None:
            return
        pointers = f"{w.at(self.dy)}, {w.at(self.winner)}, {w.at(self.dx)}"
        w.each.append(f"max_pool_backward<THREADS, {self.shape(w)}>({pointers}, count);")
