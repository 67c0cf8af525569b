"""A convolution: tiles in registers, weights in shared memory; see ``kernels/fused/conv.cu``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ....layers import Conv2d
from ...operation import Value
from ...passes import Part
from .operation import FusedOperation, Writer, ceil_div, itemsize, saved

MAX_TILE = 32  # accumulators of a thread: with a row of inputs and weights below 64 registers
MAX_TAPS = 32  # taps that a thread of the gradient keeps per filter; larger windows go row by row
SUMS_BYTES = (49152, 16384, 0)
"""Shared memory for the parts of a gradient's sums, at most: the first of these that has room. With
0 a block adds to its row in global memory."""


class FusedConv(FusedOperation[Conv2d]):
    """``max_sums_bytes`` is one of ``SUMS_BYTES``."""

    convolves = True

    def __init__(self, layer: Conv2d, x: Value, training: bool, max_sums_bytes: int) -> None:
        super().__init__(layer, x, training)
        self.max_sums_bytes = max_sums_bytes
        self.x_saved = saved(x.shape, x.dtype, training)
        (c, h, w), (f, oh, ow), window = x.shape, self.y.shape, layer.window
        (kh, kw), (sh, sw), (ph, pw) = window.size, window.stride, window.padding
        ft, pt = tile(f, oh, ow, kw, sw, itemsize(x.dtype))
        self.gradient = gradient_tile(layer.weight.data.shape, oh, ow, sw, max_sums_bytes // itemsize(x.dtype))
        fh, fw = window.padded_size(h, w)
        for pixels in (pt, self.gradient["PT"]):
            fw = max(fw, (ceil_div(ow, pixels) * pixels - 1) * sw + kw)
        frame = {"FH": fh, "FW": fw, "C": c}
        self.frame_shape = frame | {"H": h, "W": w, "TOP": ph, "LEFT": pw, "SH": 1, "SW": 1}
        self.taps = {"KH": kh, "KW": kw, "F": f, "OH": oh, "OW": ow, "SH": sh, "SW": sw}
        self.shape = frame | self.taps | {"FT": ft, "PT": pt, "FP": ceil_div(f, ft) * ft}
        self.framed = (fh, fw) != (h, w)
        self.frame = Value((c * fh * fw,), x.dtype, scratch=True)
        ft, pt = tile(c, h, w, kw, 1, itemsize(x.dtype))
        fh, fw = h + kh - 1, ceil_div(w, pt) * pt - 1 + kw
        frame = {"FH": fh, "FW": fw, "C": f}
        self.back_frame_shape = frame | {"H": oh, "W": ow, "SH": sh, "SW": sw}
        self.back_frame_shape |= {"TOP": kh - 1 - ph, "LEFT": kw - 1 - pw}
        self.back_shape = frame | {"KH": kh, "KW": kw, "SH": 1, "SW": 1, "F": c, "OH": h, "OW": w}
        self.back_shape |= {"FT": ft, "PT": pt, "FP": ceil_div(c, ft) * ft}
        self.back_frame_size = f * fh * fw

    def take_gradient(self, dy: Value, wanted: bool) -> None:
        super().take_gradient(dy, wanted)
        self.x_frame = Value(self.frame.shape, dy.dtype, scratch=True)
        size = self.back_frame_size
        self.dy_frame = Value((size,), dy.dtype, scratch=True) if wanted else None

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.FORWARD:
            return [self.x, self.frame if self.framed else None, self.y]
        return [self.dy, self.x_frame, self.dy_frame, self.dx]

    def forward(self, w: Writer) -> None:
        w.use("conv")
        name = self.label
        image, shape = w.shape(f"{name}_Image", **self.frame_shape), w.shape(name, **self.shape)
        weight = w.array(f"{name}_weight", self.layer.weight)
        bias = self.layer.bias
        bias_name = "nullptr" if bias is None else w.array(f"{name}_bias", bias)
        weights = self._weights(w, "weights", self.shape)
        w.before.append(f"arrange_weights<THREADS, {shape}>({weight}, {weights});")
        x, y = w.at(self.x), w.at(self.y)
        if self.x_saved is not None:
            size = prod(self.x.shape)
            w.each.append(f"copy<THREADS>({x}, {w.at(self.x_saved)}, count * {size});")
        if self.framed:
            frame = w.at(self.frame)
            w.each.append(f"frame_image<THREADS, {image}>({x}, {frame}, count);")
            x = frame
        pointers = f"{x}, {weights}, {bias_name}, {y}"
        w.each.append(f"correlate<THREADS, {shape}>(threadIdx.x, {pointers}, count);")

    def backward(self, w: Writer) -> None:
        w.use("conv", "conv_gradient", "sums")
        name, layer = self.label, self.layer
        image = w.shape(f"{name}_Image", **self.frame_shape)
        assert self.x_saved is not None
        frame, dy = w.at(self.x_frame), w.at(self.dy)
        w.each.append(
            f"frame_image<THREADS, {image}>({w.at(self.x_saved)}, {frame}, count);{self._frame_dy(w)}"
        )
        gradient = self._gradient(w, frame, dy)
        if self.dx is None:
            w.each.append(f"{gradient.replace('HALF', 'THREADS')}")
        else:
            w.each.append(
                f"if (threadIdx.x < HALF) {gradient} else {self._back(w)}".replace("HALF", "THREADS / 2")
            )
        if layer.bias is not None:
            self._bias_gradient(w, dy)

    def _frame_dy(self, w: Writer) -> str:
        if self.dy_frame is None:
            return ""
        image = w.shape(f"{self.label}_BackImage", **self.back_frame_shape)
        return f" frame_image<THREADS, {image}>({w.at(self.dy)}, {w.at(self.dy_frame)}, count);"

    def _back(self, w: Writer) -> str:
        """Return the call of the other half of the threads, which compute dx."""
        assert self.dx is not None
        assert self.dy_frame is not None
        back = w.shape(f"{self.label}_Back", **self.back_shape)
        weight = w.array(f"{self.label}_weight", self.layer.weight)
        weights = self._weights(w, "turned", self.back_shape)
        w.before.append(f"arrange_turned_weights<THREADS, {back}>({weight}, {weights});")
        pointers = f"{w.at(self.dy_frame)}, {weights}, nullptr, {w.at(self.dx)}"
        return f"correlate<HALF, {back}>(threadIdx.x - HALF, {pointers}, count);"

    def _weights(self, w: Writer, suffix: str, shape: dict[str, int]) -> str:
        size = shape["C"] * shape["KH"] * shape["KW"] * shape["FP"]
        name = f"{self.label}_{suffix}"
        return w.lasting(name, "T", size, size * itemsize(self.x.dtype))

    def _gradient(self, w: Writer, frame: str, dy: str) -> str:
        """Return the call that adds to the weight's gradient; write what is before and after."""
        name, size = self.label, self.layer.weight.data.size
        nbytes, parts = size * itemsize(self.x.dtype), self.gradient["PARTS"]
        numbers = {k: self.frame_shape[k] for k in ("C", "FH", "FW")} | self.taps | self.gradient
        shape = w.shape(f"{name}_Gradient", **numbers)
        row = w.rows(f"{name}_rows", "T", size, nbytes)
        sums = row
        if parts * nbytes <= self.max_sums_bytes:
            sums = w.lasting(f"{name}_sums", "T", parts * size, parts * nbytes)
            w.after.append(f"write_parts<THREADS, {parts}>({sums}, {row}, {size});")
        w.before.append(f"fill_zero<THREADS>({sums}, {parts * size});")
        self._sum_job(w, f"{name}_rows", "weight", size)
        return f"conv_gradient<HALF, {shape}>(threadIdx.x, {frame}, {dy}, {sums}, count);"

    def _bias_gradient(self, w: Writer, dy: str) -> None:
        name, f = self.label, self.taps["F"]
        nbytes = f * itemsize(self.x.dtype)
        sums = w.lasting(f"{name}_bias_sums", "T", f, nbytes)
        row = w.rows(f"{name}_bias_rows", "T", f, nbytes)
        w.before.append(f"fill_zero<THREADS>({sums}, {f});")
        w.each.append(f"conv_bias_gradient<THREADS, {name}_Gradient>({dy}, {sums}, count);")
        w.after.append(f"write_parts<THREADS, 1>({sums}, {row}, {f});")
        self._sum_job(w, f"{name}_bias_rows", "bias", f)

    def _sum_job(self, w: Writer, rows: str, which: str, size: int) -> None:
        array, blocks = w.rows_before(rows)
        out = w.array(f"{self.label}_d{which}", getattr(self.layer, which), "grad")
        line = f"sum_rows<THREADS, {size}>(job, {array}, {blocks}, {out}, (T*)shared);"
        w.job(ceil_div(size, 64), line, 512 * itemsize(self.x.dtype))


def tile(f: int, oh: int, ow: int, kw: int, sw: int, size: int) -> tuple[int, int]:
    """Return how many channels and neighbouring pixels a thread takes: the least of ``cycles``."""

    def cost(ft: int, pt: int) -> float:
        loads = (pt - 1) * sw + kw + kw * ceil_div(ft * size, 16)
        return cycles(ceil_div(f, ft) * oh * ceil_div(ow, pt), loads, kw * ft * pt)

    sizes = [
        (ft, pt)
        for ft in (1, 2, 4, 6, 8)
        for pt in range(1, 9)
        if ft * pt <= MAX_TILE and pt <= ow and ft < 2 * f
    ]
    return min(sizes, key=lambda size: cost(*size))


def gradient_tile(
    weight: Sequence[int], oh: int, ow: int, sw: int, max_sums: int
) -> dict[str, int]:
    """Return how many filters, pixels and rows of taps a thread of the gradient takes at a time, and
    over how many parts the rows of an image are shared out: the least of ``cycles``."""
    f, c, kh, kw = weight

    def cost(ft: int, pt: int, kr: int, parts: int) -> float:
        steps = ceil_div(oh, parts) * ceil_div(ow, pt)
        loads = ft * pt + kr * ((pt - 1) * sw + kw)
        tasks = parts * ceil_div(f, ft) * c * (kh // kr)
        return cycles(tasks, steps * loads, steps * ft * pt * kr * kw)

    sizes = [
        (ft, pt, kr, parts)
        for ft in (1, 2)
        for pt in sorted({min(ow, 4), *(pt for pt in range(3, 8) if ow % pt == 0)})
        for kr in {1, kh if kh * kw <= MAX_TAPS else 1}
        for parts in range(1, max(1, min(oh, max_sums // (f * c * kh * kw))) + 1)
        if ft <= f
    ]
    best = min(sizes, key=lambda size: (cost(*size), size))
    return dict(zip(("FT", "PT", "KR", "PARTS"), best, strict=True))


def cycles(tasks: int, loads: int, multiply_adds: int) -> float:
    """Return an estimate of the cycles of 256 threads for tasks of so many loads and multiply-adds.

    A multiprocessor does a warp's load in a cycle and four other instructions; a warp alone does one
    instruction per cycle, and waits 30 for a load.
    """
    warps, rounds = ceil_div(min(tasks, 256), 32), ceil_div(tasks, 256)
    instructions = loads + multiply_adds
    return rounds * max(warps * loads, warps * instructions / 4, instructions + 30)
