"""A convolution: tiles in registers, weights in shared memory; see ``kernels/fused/conv.cu``."""

from __future__ import annotations

from math import gcd, prod

from ....layers import Conv2d
from ....rounding import ceil_div, round_up
from ...operation import Value
from ...passes import Part
from .operation import FusedOperation, Lasting, Writer, call, itemsize, vector
from .tiles import gradient_tile, tile

SUMS_BYTES = (49152, 16384, 0)
"""Shared memory for the parts of a gradient's sums, at most: the first of these with which as many
blocks as are to share a multiprocessor have room, or else one. With 0 a block adds to its row in
global memory."""


class FusedConv(FusedOperation[Conv2d]):
    """``max_sums_bytes`` is one of ``SUMS_BYTES``; ``threads`` are those of a block.

    With ``frames_last`` the frame of dy has memory of its own, so that its zeros stay from image to
    image. Without, they are written for each image, and other layers have the memory in turn.

    The dicts hold the constants of the structs in the kernels, by their names there, which
    ``conv.cu`` and ``conv_gradient.cu`` explain.
    """

    convolves = True
    sums_dy = False
    """Whether backward sums dy of each filter even without a bias."""

    def __init__(
        self,
        layer: Conv2d,
        x: Value,
        training: bool,
        max_sums_bytes: int,
        threads: int,
        frames_last: bool = True,
    ) -> None:
        super().__init__(layer, x, training)
        self.max_sums_bytes, self.threads, self.frames_last = max_sums_bytes, threads, frames_last
        self.x_saved, self.forward_pass = self.saved(x), ""
        (c, h, w), (f, oh, ow), window = x.shape, self.y.shape, layer.window
        (kh, kw), (sh, sw), (ph, pw) = window.size, window.stride, window.padding
        size, padded = itemsize(x.dtype), window.padded_size(h, w)
        numbers = tile((f, c, kh, kw), (oh, ow), (sh, sw), padded, size, threads)
        fh, fw = padded
        fw = max(fw, (round_up(ow, numbers["PT"]) - 1) * sw + kw)
        self.frame: Value | None = None
        if (fh, fw) != (h, w) or w % numbers["VECTOR"]:  # otherwise the image is its own frame
            fw = round_up(fw, numbers["VECTOR"])
            self.frame = Lasting((c * fh * fw,), x.dtype)
        image = {"H": h, "W": w, "TOP": ph, "LEFT": pw, "SH": 1, "SW": 1}
        frame = {"C": c, "FH": fh, "FW": fw}
        self.taps = {"KH": kh, "KW": kw, "SH": sh, "SW": sw, "F": f, "OH": oh, "OW": ow}
        self.image_shape = frame | image
        self.shape = frame | self.taps | numbers | {"TOP": 0, "SECOND": 0}
        self._image, self._frame_size = image, (fh, fw)

    def take_gradient(self, dy: Value, wanted: bool) -> None:
        super().take_gradient(dy, wanted)
        (_, oh, ow), window = dy.shape, self.layer.window
        kw, sw = window.size[1], window.stride[1]
        most = self.max_sums_bytes // itemsize(dy.dtype)
        weight = self.layer.weight.data.shape
        self.gradient = gradient_tile(weight, oh, ow, sw, most, self.threads)
        fh, fw = self._frame_size
        fw = max(fw, (round_up(ow, self.gradient["PT"]) - 1) * sw + kw)
        # An odd width: threads that read in different rows do not meet in a bank.
        self.gradient_frame = {"C": self.x.shape[0], "FH": fh, "FW": fw | 1}
        self.gradient_image_shape = self.gradient_frame | self._image
        self.x_frame = Lasting((prod(self.gradient_frame.values()),), dy.dtype)
        self.dy_frame: Value | None = None
        if wanted:
            self._plan_back(dy)

    def _plan_back(self, dy: Value) -> None:
        """Plan the correlation that gives dx: f and c are exchanged, the stride is 1."""
        (c, h, w), (f, oh, ow), window = self.x.shape, dy.shape, self.layer.window
        (kh, kw), (sh, sw), (ph, pw) = window.size, window.stride, window.padding
        top = kh - 1 - ph
        # A thread takes row r of dx and row r + oh, whose taps on dy are KH together: see conv.cu.
        second = oh if sh == 1 and top > 0 and oh < h <= 2 * oh else 0
        turned, size, padded = (c, f, kh, kw), itemsize(dy.dtype), (h + kh - 1, w + kw - 1)
        numbers = tile(turned, (second or h, w), (1, 1), padded, size, self.threads)
        fh, fw = h + kh - 1, round_up(w, numbers["PT"]) - 1 + kw
        fw = round_up(fw, numbers["VECTOR"])
        frame = {"C": f, "FH": fh, "FW": fw}
        edges = {"TOP": top, "LEFT": kw - 1 - pw}
        self.back_image_shape = frame | {"H": oh, "W": ow, "SH": sh, "SW": sw} | edges
        self.back_shape = frame | {"KH": kh, "KW": kw, "SH": 1, "SW": 1, "F": c, "OH": h, "OW": w}
        self.back_shape |= numbers | {"TOP": top, "SECOND": second}
        kind = Lasting if self.frames_last else Value
        self.dy_frame = kind((f * fh * fw,), dy.dtype)

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.FORWARD:
            return [self.x, self.y]
        return [self.dy, self.dx, None if self.frames_last else self.dy_frame]

    def frame_bytes(self, part: Part) -> int:
        frames = [self.frame] if part is Part.FORWARD else [self.x_frame, self.dy_frame]
        return sum(frame.nbytes(1) for frame in frames if isinstance(frame, Lasting))

    def forward(self, w: Writer) -> None:
        w.use("conv")
        shape, bias = w.shape(self.label, **self.shape), self.layer.bias
        bias_pointer = "nullptr" if bias is None else w.array(f"{self.label}_bias", bias)
        weights = self._weights(w, "arrange_weights", shape, self.shape)
        self.save(w, self.x, self.x_saved)
        self.forward_pass = w.name
        x = w.at(self.x)
        if self.frame is not None:
            x = w.at(self.frame)
            w.each.append(self._framed(w, "Image", self.image_shape, w.at(self.x), x))
        arguments = (x, weights, bias_pointer, w.at(self.y), "count")
        w.each.append(call("correlate", *arguments, template=(shape,)))

    def backward(self, w: Writer) -> None:
        w.use("conv", "conv_gradient", "sums")
        assert self.x_saved is not None
        x, dy = w.at(self.x_frame), w.at(self.dy)
        shape = self.gradient_image_shape
        line = self._framed(w, "GradientImage", shape, w.at(self.x_saved), x)
        lines = w.each if w.name == self.forward_pass else w.first
        lines.append(line)
        back = "" if self.dy_frame is None else "\n" + self._back(w, dy)
        # One line: they only read what they share, so a warp goes from one to the other at once.
        w.each.append(self._gradient(w, x, dy) + back)
        if self.sums_dy or self.layer.bias is not None:
            self._sum_of_dy(w, dy)
        self.complete(w)

    def _framed(self, w: Writer, name: str, shape: dict[str, int], x: str, frame: str) -> str:
        """Return the call that copies images into frames; their borders are zero from the start."""
        (h, width), (fh, fw) = (shape["H"], shape["W"]), (shape["FH"], shape["FW"])
        bottom = shape["TOP"] + (h - 1) * shape["SH"]
        right = shape["LEFT"] + (width - 1) * shape["SW"]
        inside = min(shape["TOP"], shape["LEFT"]) >= 0 and bottom < fh and right < fw
        together = gcd(width, shape["LEFT"], fw) if inside and shape["SW"] == 1 else 1
        n = vector(together, itemsize(self.x.dtype))
        struct = w.shape(f"{self.label}_{name}", **shape, VECTOR=n, INSIDE=int(inside))
        if not inside or (h, width) != (fh, fw):
            lasts = self.frames_last or name != "BackImage"
            lines = w.before if lasts else w.each
            lines.append(call("fill_zero", frame, f"I * {shape['C'] * fh * fw}"))
        return call("frame_image", x, frame, "count", template=(struct,))

    def _weights(self, w: Writer, function: str, shape: str, numbers: dict[str, int]) -> str:
        """Arrange the weights in shared memory, once per block."""
        size = numbers["C"] * numbers["KH"] * numbers["KW"] * numbers["FP"]
        weights = w.lasting(f"{shape}_weights", "T", size, itemsize(self.x.dtype))
        weight = w.array(f"{self.label}_weight", self.layer.weight)
        w.before.append(call(function, weight, weights, template=(shape,)))
        return weights

    def _back(self, w: Writer, dy: str) -> str:
        """Frame dy, and return the call that computes dx."""
        assert self.dx is not None
        assert self.dy_frame is not None
        frame, shape = w.at(self.dy_frame), w.shape(f"{self.label}_Back", **self.back_shape)
        w.each.append(self._framed(w, "BackImage", self.back_image_shape, dy, frame))
        weights = self._weights(w, "arrange_turned_weights", shape, self.back_shape)
        arguments = (frame, weights, "nullptr", w.at(self.dx), "count")
        return call("correlate", *arguments, template=(shape,))

    def _gradient(self, w: Writer, frame: str, dy: str) -> str:
        """Return the call that adds to the weight's gradient; write what is before and after."""
        name, size = self.label, self.layer.weight.data.size
        each, parts = itemsize(self.x.dtype), self.gradient["PARTS"]
        numbers = self.gradient_frame | self.taps | self.gradient
        shape = w.shape(f"{name}_Gradient", **numbers)
        sums = row = w.rows(f"{name}_rows", "T", size, each)
        if parts * size * each <= self.max_sums_bytes:
            sums = w.lasting(f"{name}_sums", "T", parts * size, each)
            w.after.append(call("write_parts", sums, row, size, template=(parts,)))
        w.before.append(call("fill_zero", sums, parts * size))
        arguments = (frame, dy, sums, "count")
        return call("conv_gradient", *arguments, template=(shape,))

    def _sum_of_dy(self, w: Writer, dy: str) -> None:
        """Add to the sums of dy, beside the line before, which only reads what is read here."""
        name, f, each = self.label, self.taps["F"], itemsize(self.x.dtype)
        sums = w.lasting(f"{name}_bias_sums", "T", f, each)
        row = w.rows(f"{name}_bias_rows", "T", f, each)
        w.before.append(call("fill_zero", sums, f))
        template = (f"{name}_Gradient",)
        w.each[-1] += "\n" + call("conv_bias_gradient", dy, sums, "count", template=template)
        w.after.append(call("write_parts", sums, row, f, template=(1,)))

    def complete(self, w: Writer) -> None:
        """Have the rows that the blocks leave added up beside the next launch."""
        self._sum_job(w, f"{self.label}_rows", "weight", self.layer.weight.data.size)
        if self.layer.bias is not None:
            self._sum_job(w, f"{self.label}_bias_rows", "bias", self.taps["F"])

    def _sum_job(self, w: Writer, rows: str, which: str, size: int) -> None:
        array, blocks = w.rows_before(rows)
        _, out = w.gradient(self.label, self.layer, which)
        line = call("sum_rows", "job", array, blocks, out, "(T*)shared", template=(size,))
        w.job(ceil_div(size, 64), line, 512 * itemsize(self.x.dtype), (), 0)
