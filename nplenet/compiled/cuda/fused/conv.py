"""A convolution: tiles in registers, weights in shared memory; see ``kernels/fused/conv.cu``."""

from __future__ import annotations

from math import prod

from ....layers import Conv2d
from ...operation import Value
from ...passes import Part
from .operation import FusedOperation, Writer, ceil_div, itemsize, saved

MAX_TILE = 32  # accumulators of a thread: with a row of inputs and weights below 64 registers
MAX_TAPS = 32  # taps that a thread of the gradient keeps per filter; larger windows go row by row
MAX_SUMS_BYTES = 24576  # of shared memory for the parts of a gradient's sums: two blocks fit beside


class FusedConv(FusedOperation[Conv2d]):
    """``sums_in_shared`` is False where the gradient's sums had no room beside the images."""

    convolves = True

    def __init__(self, layer: Conv2d, x: Value, training: bool, sums_in_shared: bool) -> None:
        super().__init__(layer, x, training)
        self.sums_in_shared = sums_in_shared
        self.x_saved = saved(x.shape, x.dtype, training)
        (c, h, w), (f, oh, ow), window = x.shape, self.y.shape, layer.window
        (kh, kw), (sh, sw), (ph, pw) = window.size, window.stride, window.padding
        ft, pt = tile(f, oh, ow, kw, sw, itemsize(x.dtype))
        self.gradient_pixels = row_tile(ow)
        fh, fw = window.padded_size(h, w)
        for pixels in (pt, self.gradient_pixels):
            fw = max(fw, (ceil_div(ow, pixels) * pixels - 1) * sw + kw)
        frame = {"FH": fh, "FW": fw, "C": c}
        self.frame_shape = frame | {"H": h, "W": w, "TOP": ph, "LEFT": pw, "SH": 1, "SW": 1}
        self.taps = {"KH": kh, "KW": kw, "F": f, "OH": oh, "OW": ow, "SH": sh, "SW": sw}
        self.shape = frame | self.taps | {"FT": ft, "PT": pt, "FP": ceil_div(f, ft) * ft}
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
        size = max(self.frame.shape[0], self.back_frame_size if wanted else 0)
        self.back_frame = Value((size,), dy.dtype, scratch=True)

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.FORWARD:
            return [self.x, self.frame, self.y]
        return [self.dy, self.back_frame, self.dx]

    def forward(self, w: Writer) -> None:
        w.use("conv")
        name = self.label
        image, shape = w.shape(f"{name}_Image", **self.frame_shape), w.shape(name, **self.shape)
        weight = w.array(f"{name}_weight", self.layer.weight)
        bias = self.layer.bias
        bias_name = "nullptr" if bias is None else w.array(f"{name}_bias", bias)
        weights = self._weights(w, "weights", self.shape)
        w.before.append(f"arrange_weights<THREADS, {shape}>({weight}, {weights});")
        x, frame, y = w.at(self.x), w.at(self.frame), w.at(self.y)
        if self.x_saved is not None:
            size = prod(self.x.shape)
            w.each.append(f"copy<THREADS>({x}, {w.at(self.x_saved)}, count * {size});")
        w.each.append(f"frame_image<THREADS, {image}>({x}, {frame}, count);")
        w.each.append(
            f"correlate<THREADS, {shape}>({frame}, {weights}, {bias_name}, {y}, count);"
        )

    def backward(self, w: Writer) -> None:
        w.use("conv", "conv_gradient", "sums")
        name, layer = self.label, self.layer
        image = w.shape(f"{name}_Image", **self.frame_shape)
        assert self.x_saved is not None
        frame, dy = w.at(self.back_frame), w.at(self.dy)
        w.each.append(f"frame_image<THREADS, {image}>({w.at(self.x_saved)}, {frame}, count);")
        self._gradient(w, frame, dy)
        if layer.bias is not None:
            self._bias_gradient(w, dy)
        if self.dx is None:
            return
        back_image = w.shape(f"{name}_BackImage", **self.back_frame_shape)
        back = w.shape(f"{name}_Back", **self.back_shape)
        weight = w.array(f"{name}_weight", layer.weight)
        weights = self._weights(w, "turned", self.back_shape)
        w.before.append(f"arrange_turned_weights<THREADS, {back}>({weight}, {weights});")
        w.each.append(f"frame_image<THREADS, {back_image}>({dy}, {frame}, count);")
        w.each.append(
            f"correlate<THREADS, {back}>({frame}, {weights}, nullptr, {w.at(self.dx)}, count);"
        )

    def _weights(self, w: Writer, suffix: str, shape: dict[str, int]) -> str:
        size = shape["C"] * shape["KH"] * shape["KW"] * shape["FP"]
        name = f"{self.label}_{suffix}"
        return w.lasting(name, "T", size, size * itemsize(self.x.dtype))

    def _gradient(self, w: Writer, frame: str, dy: str) -> None:
        """Write the sums of the weight's gradient, and the job that adds up the blocks."""
        name, size = self.label, self.layer.weight.data.size
        kh, kw = self.taps["KH"], self.taps["KW"]
        rows_of_taps = kh if kh * kw <= MAX_TAPS else 1
        filters = 2 if self.taps["F"] > 1 else 1
        tasks = ceil_div(self.taps["F"], filters) * self.frame_shape["C"] * (kh // rows_of_taps)
        nbytes = size * itemsize(self.x.dtype)
        parts = min(self.taps["OH"], w.threads // tasks, MAX_SUMS_BYTES // nbytes)
        if not self.sums_in_shared:
            parts = 0
        numbers = {k: self.frame_shape[k] for k in ("C", "FH", "FW")} | self.taps
        numbers |= {"FT": filters, "PT": self.gradient_pixels, "KR": rows_of_taps}
        shape = w.shape(f"{name}_Gradient", **numbers, PARTS=max(parts, 1))
        row = w.rows(f"{name}_rows", "T", size, nbytes)
        sums = row
        if parts > 0:
            sums = w.lasting(f"{name}_sums", "T", parts * size, parts * nbytes)
            w.after.append(f"write_parts<THREADS, {parts}>({sums}, {row}, {size});")
        w.before.append(f"fill_zero<THREADS>({sums}, {max(parts, 1) * size});")
        w.each.append(f"conv_gradient<THREADS, {shape}>({frame}, {dy}, {sums}, count);")
        self._sum_job(w, f"{name}_rows", "weight", size)

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
    """Return how many channels and neighbouring pixels a thread takes.

    The least of an estimate, in cycles per row of taps for a block of 256 threads: of its loads
    (one per cycle), its instructions (four), or what one warp takes alone, with 30 to wait for a load.
    """

    def cost(ft: int, pt: int) -> float:
        tasks = ceil_div(f, ft) * oh * ceil_div(ow, pt)
        loads = (pt - 1) * sw + kw + kw * ceil_div(ft * size, 16)
        instructions = kw * ft * pt + loads
        warps = ceil_div(min(tasks, 256), 32)
        rounds = ceil_div(tasks, 256)
        return rounds * max(warps * loads, warps * instructions / 4, instructions + 30)

    sizes = [
        (ft, pt)
        for ft in (1, 2, 4, 6, 8)
        for pt in range(1, 9)
        if ft * pt <= MAX_TILE and pt <= ow and ft < 2 * f
    ]
    return min(sizes, key=lambda size: cost(*size))


def row_tile(ow: int) -> int:
    """Return how many pixels of a row the gradient takes at a time: a divisor if there is one."""
    return next((pt for pt in (7, 5, 6, 4, 3) if ow % pt == 0), min(ow, 4))
