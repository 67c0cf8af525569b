"""A dense layer: I images at a time; its gradient in jobs beside the next pass."""

from __future__ import annotations

from ....layers import Dense
from ...operation import Value
from ...passes import Part
from .operation import FusedOperation, Writer, ceil_div, itemsize, saved

THREADS = 512  # of a block in a pass with a dense layer
ROWS = 4  # outputs per job of the gradient
MAX_COLUMNS = 512  # inputs per job: 128 threads and four images at a time


class FusedDense(FusedOperation[Dense]):
    """See ``kernels/fused/dense.cu`` and ``kernels/fused/dense_gradient.cu``."""

    multiplies_matrix = True

    def __init__(self, layer: Dense, x: Value, training: bool) -> None:
        super().__init__(layer, x, training)
        (inputs,), (outputs,) = x.shape, self.y.shape
        self.x_saved = saved(x.shape, x.dtype, training)
        parts = max(1, min(THREADS // inputs, outputs // 4))
        self.shape = {"IN": inputs, "OUT": outputs, "PARTS": parts}

    def take_gradient(self, dy: Value, wanted: bool) -> None:
        super().take_gradient(dy, wanted)
        self.dy_saved = saved(dy.shape, dy.dtype, self.training)
        parts = self.shape["PARTS"]
        self.parts = Value((parts * self.x.shape[0],), dy.dtype, scratch=True) if wanted else None

    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.y] if part is Part.FORWARD else [self.dy, self.parts, self.dx]

    def forward(self, w: Writer) -> None:
        w.use("dense")
        shape = w.shape(self.label, **self.shape)
        weight = w.array(f"{self.label}_weight", self.layer.weight)
        bias = self.layer.bias
        bias_name = "nullptr" if bias is None else w.array(f"{self.label}_bias", bias)
        if self.x_saved is not None:
            self._save(w, self.x, self.x_saved)
        x, y = w.at(self.x), w.at(self.y)
        w.each.append(
            f"dense_forward<THREADS, I, {shape}>({x}, {weight}, {bias_name}, {y}, count);"
        )

    def backward(self, w: Writer) -> None:
        w.use("dense", "dense_gradient")
        assert self.dy_saved is not None
        self._save(w, self.dy, self.dy_saved)
        if self.dx is not None:
            assert self.parts is not None
            shape = w.shape(self.label, **self.shape)
            weight = w.array(f"{self.label}_weight", self.layer.weight)
            values = f"{w.at(self.dy)}, {weight}, {w.at(self.dx)}, {w.at(self.parts)}"
            w.each.append(f"dense_backward<THREADS, I, {shape}>({values}, count);")
        self._gradient_job(w)

    def _save(self, w: Writer, value: Value, copy: Value) -> None:
        size = value.shape[0]
        w.each.append(f"copy<THREADS>({w.at(value)}, {w.at(copy)}, count * {size});")

    def _gradient_job(self, w: Writer) -> None:
        assert self.x_saved is not None
        assert self.dy_saved is not None
        inputs, outputs = self.shape["IN"], self.shape["OUT"]
        columns = min(inputs, MAX_COLUMNS)
        quarter = ceil_div(columns, 4)
        numbers = {"IN": inputs, "OUT": outputs, "ROWS": min(ROWS, outputs), "COLUMNS": columns}
        shape = w.shape(f"{self.label}_Gradient", **numbers, QUARTER=quarter)
        layer, label = self.layer, self.label
        dweight = w.array(f"{label}_dweight", layer.weight, "grad")
        dbias = "nullptr" if layer.bias is None else w.array(f"{label}_dbias", layer.bias, "grad")
        blocks = ceil_div(outputs, numbers["ROWS"]) * ceil_div(inputs, columns)
        x, dy = w.whole(self.x_saved), w.whole(self.dy_saved)
        line = (
            f"dense_gradient<THREADS, {shape}>(job, {x}, {dy}, s.count, {dweight}, {dbias}, "
            "(T*)shared);"
        )
        w.job(blocks, line, 4 * THREADS * itemsize(self.x.dtype))
