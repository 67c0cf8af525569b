"""Both poolings, of any window; see ``kernels/fused/average_pool.cu`` and ``max_pool.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....layers import AvgPool2d, MaxPool2d
from ...operation import L, Value
from ...passes import Part
from .operation import FusedOperation, Writer, call


class FusedPool(FusedOperation[L]):
    """What both have in common: the constants of the window."""

    def constants(self, window: Any) -> dict[str, int]:
        (c, h, w), (_, oh, ow) = self.x.shape, self.y.shape
        numbers = {"C": c, "H": h, "W": w, "OH": oh, "OW": ow}
        for letter, name in (("K", "size"), ("S", "stride"), ("P", "padding"), ("D", "dilation")):
            numbers[f"{letter}H"], numbers[f"{letter}W"] = getattr(window, name)
        return numbers


class FusedAveragePool(FusedPool[AvgPool2d]):
    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.y] if part is Part.FORWARD else [self.dy, self.dx]

    def shape(self, w: Writer) -> tuple[str]:
        w.use("average_pool")
        numbers = self.constants(self.layer.window)
        return (w.shape(self.label, **numbers, COUNT_PADDING=int(self.layer.count_include_pad)),)

    def forward(self, w: Writer) -> None:
        pointers, template = (w.at(self.x), w.at(self.y)), self.shape(w)
        w.each.append(call("average_pool", *pointers, "count", template=template))

    def backward(self, w: Writer) -> None:
        if self.dx is not None:
            pointers, template = (w.at(self.dy), w.at(self.dx)), self.shape(w)
            w.each.append(call("average_pool_backward", *pointers, "count", template=template))


class FusedMaxPool(FusedPool[MaxPool2d]):
    """``winner`` holds the tap that each window took."""

    def __init__(self, layer: MaxPool2d, x: Value, training: bool) -> None:
        super().__init__(layer, x, training)
        self.winner = Value(self.y.shape, np.dtype(np.int32))

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.FORWARD:
            return [self.x, self.y, self.winner]
        return [self.dy, self.winner, self.dx]

    def shape(self, w: Writer) -> tuple[str]:
        w.use("max_pool")
        return (w.shape(self.label, **self.constants(self.layer.window)),)

    def forward(self, w: Writer) -> None:
        pointers = (w.at(self.x), w.at(self.y), w.at(self.winner))
        w.each.append(call("max_pool", *pointers, "count", template=self.shape(w)))

    def backward(self, w: Writer) -> None:
        if self.dx is not None:
            pointers = (w.at(self.dy), w.at(self.winner), w.at(self.dx))
            w.each.append(call("max_pool_backward", *pointers, "count", template=self.shape(w)))
