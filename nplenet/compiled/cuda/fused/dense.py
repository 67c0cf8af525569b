"""A dense layer: I images at a time; its gradient in jobs beside the next pass."""

from __future__ import annotations

from math import gcd

from ....layers import Dense
from ....rounding import ceil_div, round_up
from ...operation import Value
from ...passes import Part
from .operation import (
    THREADS_PER_PROCESSOR,
    FusedOperation,
    Writer,
    call,
    itemsize,
    vector,
)

THREADS = THREADS_PER_PROCESSOR  # of a block in a pass with a dense layer
ROWS = 4  # outputs per job of the gradient
MAX_COLUMNS = 128  # inputs per job: 32 threads with loads of four, so that many images go at a time


class FusedDense(FusedOperation[Dense]):
    """See ``kernels/fused/dense.cu`` and ``kernels/fused/dense_gradient.cu``."""

    multiplies_matrix = True

    def __init__(self, layer: Dense, x: Value, training: bool) -> None:
        super().__init__(layer, x, training)
        (inputs,), (outputs,) = x.shape, self.y.shape
        self.x_saved = self.saved(x)
        n = vector(inputs, itemsize(x.dtype))
        most = min(32, outputs, THREADS * n // inputs)  # so that all columns go at once
        parts = 2 ** (max(1, most).bit_length() - 1)
        self.shape = {"IN": inputs, "OUT": outputs, "VECTOR": n, "PARTS": parts}

    def take_gradient(self, dy: Value, wanted: bool) -> None:
        super().take_gradient(dy, wanted)
        self.dy_saved = self.saved(dy)

    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.y] if part is Part.FORWARD else [self.dy, self.dx]

    def forward(self, w: Writer) -> None:
        w.use("dense")
        shape, bias = w.shape(self.label, **self.shape), self.layer.bias
        bias_pointer = "nullptr" if bias is None else w.array(f"{self.label}_bias", bias)
        weight = w.array(f"{self.label}_weight", self.layer.weight)
        self.save(w, self.x, self.x_saved)
        arguments = (w.at(self.x), weight, bias_pointer, w.at(self.y), "count")
        w.each.append(call("dense_forward", *arguments, template=("I", shape)))

    def backward(self, w: Writer) -> None:
        w.use("dense", "dense_gradient")
        self.save(w, self.dy, self.dy_saved)
        if self.dx is not None:
            shape = w.shape(self.label, **self.shape)
            weight = w.array(f"{self.label}_weight", self.layer.weight)
            arguments = (w.at(self.dy), weight, w.at(self.dx), "count")
            w.each.append(call("dense_backward", *arguments, template=("I", shape)))
        self._gradient_job(w)

    def _gradient_job(self, w: Writer) -> None:
        assert self.x_saved is not None
        assert self.dy_saved is not None
        layer, inputs, outputs = self.layer, self.shape["IN"], self.shape["OUT"]
        rows, stripes = min(ROWS, outputs), ceil_div(inputs, MAX_COLUMNS)
        columns = round_up(ceil_div(inputs, stripes), 4) if stripes > 1 else inputs
        size, has_bias = itemsize(self.x.dtype), layer.bias is not None
        numbers = {"IN": inputs, "OUT": outputs, "ROWS": rows, "COLUMNS": columns}
        numbers |= {"VECTOR": vector(gcd(inputs, columns), size)}
        numbers |= {"ROW_VECTOR": vector(gcd(outputs, rows), size)}
        shape = w.shape(f"{self.label}_Gradient", **numbers, BIAS=int(has_bias))
        _, dweight = w.gradient(self.label, layer, "weight")
        dbias = w.gradient(self.label, layer, "bias")[1] if has_bias else "Kept{nullptr}"
        pointers = (w.whole(self.x_saved), w.whole(self.dy_saved), "s.count", dweight, dbias)
        line = call("dense_gradient", "job", *pointers, "(T*)shared", template=(shape,))
        blocks = ceil_div(outputs, rows) * ceil_div(inputs, columns)
        reads = (self.x_saved, self.dy_saved)
        nbytes = THREADS * numbers["VECTOR"] * size
        w.job(blocks, line, nbytes, reads, 2 * inputs * outputs)
