"""Batch norm, with the nonlinearity and the average pool behind it; see ``kernels/fused/norm.cu``.

x and dy are saved, so each of the four parts reads them in the pass where it is done.
"""

from __future__ import annotations

from math import ceil, log2, prod

from ....layers import AvgPool2d, BatchNorm1d, BatchNorm2d, Layer
from ....rounding import ceil_div
from ...operation import Value
from ...passes import Part
from .elementwise import activation_code
from .operation import FusedOperation, Writer, call, itemsize, vector

AnyNorm = BatchNorm1d | BatchNorm2d
TWO = 16  # bytes of two doubles


class Normalise(FusedOperation[AnyNorm]):
    """What batch norm by the batch and by the running statistics have in common."""

    def __init__(
        self,
        layer: AnyNorm,
        x: Value,
        training: bool,
        activation: Layer | None = None,
        pool: AvgPool2d | None = None,
    ) -> None:
        self.pool = (1, 1) if pool is None else pool.window.size
        self.act = activation_code(activation)
        self.channels, self.pixels = x.shape[0], prod(x.shape[1:])
        super().__init__(layer, x, training)

    def make_output(self, shape: tuple[int, ...]) -> Value:
        if self.pool != (1, 1):
            c, h, w = shape
            shape = (c, h // self.pool[0], w // self.pool[1])
        return Value(shape, self.x.dtype, disposable=True)

    def teams(self, w: Writer) -> tuple[int, int]:
        """Return the lanes of a team that sums a channel, and the teams per channel."""
        (ph, pw), (h, width) = self.pool, self.plane
        cells = w.images * ceil_div(h, ph) * ceil_div(width, pw)

        def parts(lanes: int) -> int:
            most = min(cells // lanes, w.images * self.pixels // (4 * lanes))
            return max(1, min(w.threads // lanes // self.channels, most))

        wide = [lanes for lanes in (32, 16, 8) if lanes <= cells]
        lanes = max(wide, key=lambda n: min(w.threads, n * parts(n) * self.channels), default=0)
        lanes = lanes or 2 ** ceil(log2(cells))
        return lanes, parts(lanes)

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width of a channel."""
        return self.x.shape[1:] if len(self.x.shape) == 3 else (1, self.pixels)

    def constants(self, w: Writer) -> str:
        """Define the constants of the layer in this pass; return the name of their struct."""
        w.use("activation", "cells", "norm")
        if w.training:
            w.use("join_rows", "norm_statistics", "norm_gradient")
        c, (ph, pw), (h, width) = self.channels, self.pool, self.plane
        numbers = {"C": c, "H": h, "W": width, "L": self.pixels, "PH": ph, "PW": pw}
        numbers |= {"OH": h // ph, "OW": width // pw}
        numbers |= {"CH": ceil_div(h, ph), "CW": ceil_div(width, pw)}
        numbers |= dict(zip(("WIDTH", "PARTS"), self.teams(w), strict=True))
        numbers["AHEAD"] = ceil_div(8 if w.crowded else 24, ph * pw)  # registers: a number each
        numbers["VECTOR"] = vector(self.pixels, itemsize(self.x.dtype))
        numbers["LANES"] = min(32, 2 ** (max(1, w.threads // c).bit_length() - 1))
        return w.shape(f"{self.label}_{w.name}", **numbers)

    def array(self, w: Writer, which: str) -> str:
        """Return a pointer to a parameter or a buffer."""
        name = f"{self.label}_{which}"
        if which in ("weight", "bias"):
            return w.array(name, getattr(self.layer, which))
        return w.array(name, self.layer, which)

    def coefficients(self, w: Writer) -> str:
        """Return the place of center, scale and bias of each channel in this pass."""
        size = 4 * itemsize(self.x.dtype) + 8  # with a double at a multiple of 8
        return w.lasting(f"{self.label}_values", "NormValues", self.channels, size)

    def set_coefficients(self, w: Writer, function: str, *arguments: str) -> None:
        """Have the coefficients of this pass, unless it has them."""
        arrays = (self.array(w, "weight"), self.array(w, "bias"))
        values = self.coefficients(w)
        if not any(f" {values});" in line for line in w.before):
            numbers = (f"{float(self.layer.eps)!r}", values)
            template = (self.channels,)
            w.before.append(call(function, *arguments, *arrays, *numbers, template=template))

    def write_sums(self, w: Writer, x: str, dy: str) -> None:
        """Write the sums of the gradient, and the row of them that the block leaves."""
        shape, c, size = self.constants(w), self.channels, self.teams(w)[1] * self.channels
        sums = w.lasting(f"{self.label}_gradient_sums", "Two", size, TWO)
        row = w.rows(f"{self.label}_gradient_rows", "Two", c, TWO)
        w.before.append(call("fill_zero", f"(double*){sums}", 2 * size))
        arguments = (self.act, x, dy, self.coefficients(w), sums, "count")
        w.each.append(call("norm_gradient_sums", *arguments, template=(shape,)))
        w.after.append(call("write_gradient_sums", sums, row, template=(shape,)))

    def join_gradients(self, w: Writer, joined: str, update: bool) -> tuple[str, str]:
        """Return the lines that join the rows, and write the gradients of the parameters."""
        rows, blocks = w.rows_before(f"{self.label}_gradient_rows")
        out = [w.gradient(self.label, self.layer, which)[update] for which in ("weight", "bias")]
        return (
            call("join_gradients", rows, blocks, joined, template=(self.constants(w),)),
            call("write_norm_gradients", joined, *out, template=(self.channels,)),
        )

    def update_job(self, w: Writer) -> None:
        """Update the parameters beside the next launch: in this one all blocks read them."""
        lines = []
        for which in ("weight", "bias"):
            kept, out = w.gradient(self.label, self.layer, which)
            if out != kept:
                gradient = w.array(f"{self.label}_d{which}", getattr(self.layer, which), "grad")
                lines.append(call("update", out, gradient, self.channels))
        if lines:
            w.job(1, " ".join(lines), 0, (), 0)

    @property
    def joined_bytes(self) -> int:
        """Shared memory in which rows are joined."""
        return TWO * self.channels

    def use_statistics(self, w: Writer, joined: str) -> None:
        """Track the statistics of the batch, and set the coefficients of this pass by them."""
        average, momentum = str(self.layer.momentum is None).lower(), self.layer.momentum or 0.0
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        tracked = (self.statistics_of_batch(w), *(self.array(w, which) for which in buffers))
        numbers, template = ("s.count", average, f"{float(momentum)!r}"), (self.constants(w),)
        line = call("track_statistics", joined, *numbers, *tracked, template=template)
        w.before.append(f"if (block == 0) {line}")
        self.set_coefficients(w, "norm_values", joined)

    def statistics_of_batch(self, w: Writer) -> str:
        """Return a pointer to mean and variance, which block 0 of the forward leaves."""
        return f"(Two*){w.kept(f'{self.label}_statistics', (2 * self.channels,), 'f8')}"


class FusedNorm(Normalise):
    """By the statistics of the batch: a barrier."""

    barrier = True

    def __init__(
        self,
        layer: AnyNorm,
        x: Value,
        training: bool,
        activation: Layer | None = None,
        pool: AvgPool2d | None = None,
    ) -> None:
        super().__init__(layer, x, training, activation, pool)
        self.x_saved, self.dy_saved = self.saved(x), self.saved(self.y)

    def uses(self, part: Part) -> list[Value | None]:
        if part is Part.STATISTICS:
            return [self.x]
        if part is Part.FORWARD:
            return [self.y]
        return [self.dy] if part is Part.GRADIENT_SUMS else [self.dx]

    def statistics(self, w: Writer) -> None:
        shape, c, size = self.constants(w), self.channels, self.teams(w)[1] * self.channels
        assert self.x_saved is not None
        origins = w.lasting(f"{self.label}_origins", "T", size, itemsize(self.x.dtype))
        sums = w.lasting(f"{self.label}_sums", "Two", size, TWO)
        row = w.rows(f"{self.label}_rows", "Two", c, TWO)
        w.before.append(call("fill_zero", f"(double*){sums}", 2 * size))
        first, x = "n0 == block * I", (w.at(self.x), w.at(self.x_saved))
        arguments = (x[0], first, origins, sums, x[1], "count")
        w.each.append(call("norm_statistics", *arguments, template=(shape,)))
        w.after.append(
            call("write_statistics", origins, sums, "own_images", row, template=(shape,))
        )

    def forward(self, w: Writer) -> None:
        assert self.x_saved is not None
        shape, joined = self.constants(w), w.scratch("Two", self.joined_bytes)
        rows, blocks = w.rows_before(f"{self.label}_rows")
        images = w.images_before(f"{self.label}_rows")
        arguments = (rows, blocks, "s.count", joined)
        w.before.append(call("join_statistics", *arguments, template=(images, shape)))
        self.use_statistics(w, joined)
        pointers = (w.at(self.x_saved), self.coefficients(w), w.at(self.y))
        w.each.append(call("norm_forward", self.act, *pointers, "count", template=("I", shape)))

    def gradient_sums(self, w: Writer) -> None:
        assert self.x_saved is not None
        self.set_coefficients(w, "norm_values", self.statistics_of_batch(w))
        self.save(w, self.dy, self.dy_saved)
        self.write_sums(w, w.at(self.x_saved), w.at(self.dy))

    def backward(self, w: Writer) -> None:
        assert self.x_saved is not None
        assert self.dy_saved is not None
        joined, shape = w.scratch("Two", self.joined_bytes), self.constants(w)
        join, write = self.join_gradients(w, joined, update=False)
        w.before += [join, f"if (block == 0) {write}"]
        self.update_job(w)
        if self.dx is None:
            return
        self.set_coefficients(w, "norm_values", self.statistics_of_batch(w))
        values, weight = self.coefficients(w), self.array(w, "weight")
        size = 2 * itemsize(self.x.dtype)
        slopes = w.lasting(f"{self.label}_slopes", "NormSlopes", self.channels, size)
        arguments = (joined, "s.count", weight, values, slopes)
        w.before.append(call("norm_slopes", *arguments, template=(shape,)))
        pointers = (w.at(self.x_saved), w.at(self.dy_saved), values, slopes, w.at(self.dx))
        w.each.append(call("norm_backward", self.act, *pointers, "count", template=("I", shape)))


class FusedFrozenNorm(Normalise):
    """By the running statistics: in ``eval``, also within training."""

    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.y] if part is Part.FORWARD else [self.x, self.dy, self.dx]

    def forward(self, w: Writer) -> None:
        shape = self.constants(w)
        self.read_running(w)
        pointers = (w.at(self.x), self.coefficients(w), w.at(self.y))
        w.each.append(call("norm_forward", self.act, *pointers, "count", template=("I", shape)))

    def backward(self, w: Writer) -> None:
        shape = self.constants(w)
        self.read_running(w)
        x, dy = w.at(self.x), w.at(self.dy)
        self.write_sums(w, x, dy)
        if self.dx is not None:
            pointers = (x, dy, self.coefficients(w), "nullptr", w.at(self.dx))
            w.each.append(
                call("norm_backward", self.act, *pointers, "count", template=("I", shape))
            )
        w.job(
            1,
            " ".join(self.join_gradients(w, "(Two*)shared", update=True)),
            self.joined_bytes,
            (),
            0,
        )

    def read_running(self, w: Writer) -> None:
        arrays = (self.array(w, "running_mean"), self.array(w, "running_var"))
        self.set_coefficients(w, "running_values", *arrays)
