"""Batch norm with the nonlinearity and the average pool behind it; see ``kernels/fused/norm.cu``."""

from __future__ import annotations

from math import prod

from ....layers import AvgPool2d, BatchNorm1d, BatchNorm2d, Layer
from ...operation import Value
from ...passes import Part
from .elementwise import activation_code
from .operation import FusedOperation, Writer, saved

AnyNorm = BatchNorm1d | BatchNorm2d
MAX_ROWS = 16  # threads per channel that join the rows of the blocks


class Normalise(FusedOperation[AnyNorm]):
    """What batch norm of the batch and of the running statistics have in common."""

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
        super().__init__(layer, x, training)

    def make_output(self, shape: tuple[int, ...]) -> Value:
        if self.pool != (1, 1):
            c, h, w = shape
            shape = (c, h // self.pool[0], w // self.pool[1])
        return Value(shape, self.x.dtype, disposable=True)

    def constants(self, w: Writer) -> str:
        """Define the constants of the layer in this pass; return the name of their struct."""
        w.use("norm", "activation")
        c, pixels = self.x.shape[0], prod(self.x.shape[1:])
        h, width = self.x.shape[1:] if len(self.x.shape) == 3 else (1, pixels)
        lanes = 1
        while lanes < min(32, w.images * pixels):
            lanes *= 2
        numbers = {"C": c, "H": h, "W": width, "L": pixels, "PH": self.pool[0], "PW": self.pool[1]}
        numbers |= {"OH": h // self.pool[0], "OW": width // self.pool[1]}
        teams = max(1, w.threads // lanes // c)
        parts = max(1, min(teams, w.images * pixels // (4 * lanes)))
        rows = max(1, min(MAX_ROWS, w.threads // c))
        return w.shape(
            f"{self.label}_{w.images}_{w.threads}", **numbers, WIDTH=lanes, PARTS=parts, ROWS=rows
        )

    def teams(self, w: Writer) -> int:
        """Return the number of sums of a block: PARTS * C."""
        c, pixels = self.x.shape[0], prod(self.x.shape[1:])
        lanes = 1
        while lanes < min(32, w.images * pixels):
            lanes *= 2
        return c * max(
            1, min(max(1, w.threads // lanes // c), w.images * pixels // (4 * lanes))
        )

    def parameters(self, w: Writer) -> str:
        weight = w.array(f"{self.label}_weight", self.layer.weight)
        return f"{weight}, {w.array(f'{self.label}_bias', self.layer.bias)}"

    def values(self, w: Writer) -> str:
        """Return the place of center, scale and bias of each channel."""
        c = self.x.shape[0]
        return w.lasting(f"{self.label}_values", "NormValues", c, c * 32)

    def gradients(self, w: Writer) -> str:
        dweight = w.array(f"{self.label}_dweight", self.layer.weight, "grad")
        dbias = w.array(f"{self.label}_dbias", self.layer.bias, "grad")
        return f"{dweight}, {dbias}"

    def write_sums(self, w: Writer, x: str, dy: str) -> None:
        """Write the sums of the gradient, and the row that they leave."""
        shape, teams, c = self.constants(w), self.teams(w), self.x.shape[0]
        sums = w.lasting(f"{self.label}_gradient_sums", "Two", teams, 16 * teams)
        row = w.rows(f"{self.label}_gradient_rows", "Two", c, 16 * c)
        w.before.append(f"fill_zero<THREADS>((double*){sums}, {2 * teams});")
        w.each.append(
            f"norm_gradient_sums<THREADS, {shape}>({self.act}, {x}, {dy}, {self.values(w)}, {sums}, "
            "count);"
        )
        w.after.append(f"write_gradient_sums<THREADS, {shape}>({sums}, {row});")

    def joined(self, w: Writer) -> str:
        return w.scratch("Two", 16 * self.x.shape[0] * MAX_ROWS)


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
        self.x_saved = saved(x.shape, x.dtype, training=True)
        self.dy_saved = saved(self.y.shape, x.dtype, training=True)
        self.done: set[int] = set()

    def uses(self, part: Part) -> list[Value | None]:
        return {
            Part.STATISTICS: [self.x],
            Part.FORWARD: [self.y],
            Part.GRADIENT_SUMS: [self.__dict__.get("dy")],
            Part.BACKWARD: [self.dx],
        }[part]

    def statistics(self, w: Writer) -> None:
        shape, teams, c = self.constants(w), self.teams(w), self.x.shape[0]
        name = self.label
        assert self.x_saved is not None
        origins = w.lasting(f"{name}_origins", "T", teams, self.x.dtype.itemsize * teams)
        sums = w.lasting(f"{name}_sums", "Two", teams, 16 * teams)
        row = w.rows(f"{name}_rows", "Two", c, 16 * c)
        w.before.append(f"fill_zero<THREADS>((double*){sums}, {2 * teams});")
        w.each.append(
            f"norm_statistics<THREADS, {shape}>({w.at(self.x)}, n0 == blockIdx.x * I, {origins}, "
            f"{sums}, {w.at(self.x_saved)}, count);"
        )
        w.after.append(
            f"write_statistics<THREADS, {shape}>({origins}, {sums}, own_images, {row});"
        )

    def forward(self, w: Writer) -> None:
        shape, layer, name = self.constants(w), self.layer, self.label
        rows, blocks = w.rows_before(f"{name}_rows")
        images = w.images_before(f"{name}_rows")
        joined, statistics = self.joined(w), self._statistics(w)
        arrays = [
            w.array(f"{name}_{which}", layer, which)
            for which in ("running_mean", "running_var", "num_batches_tracked")
        ]
        average, momentum = str(layer.momentum is None).lower(), float(layer.momentum or 0.0)
        w.before += [
            f"join_statistics<THREADS, {images}, {shape}>({rows}, {blocks}, s.count, {joined});",
            f"if (blockIdx.x == 0) track_statistics<THREADS, {shape}>({joined}, s.count, {average}, "
            f"{momentum!r}, {statistics}, {', '.join(arrays)});",
            f"norm_values<THREADS, {self.x.shape[0]}>({joined}, {self.parameters(w)}, "
            f"{float(layer.eps)!r}, {self.values(w)});",
        ]
        assert self.x_saved is not None
        w.each.append(
            f"norm_forward<THREADS, {shape}>({self.act}, {w.at(self.x_saved)}, {self.values(w)}, "
            f"{w.at(self.y)}, count);"
        )

    def gradient_sums(self, w: Writer) -> None:
        assert self.x_saved is not None
        assert self.dy_saved is not None
        self._read_values(w)
        dy, size = w.at(self.dy), prod(self.y.shape)
        w.each.append(f"copy<THREADS>({dy}, {w.at(self.dy_saved)}, count * {size});")
        self.write_sums(w, w.at(self.x_saved), dy)

    def backward(self, w: Writer) -> None:
        assert self.x_saved is not None
        assert self.dy_saved is not None
        shape, c = self.constants(w), self.x.shape[0]
        rows, blocks = w.rows_before(f"{self.label}_gradient_rows")
        joined = self.joined(w)
        w.before += [
            f"join_gradients<THREADS, {shape}>({rows}, {blocks}, {joined});",
            f"if (blockIdx.x == 0) write_norm_gradients<THREADS, {c}>({joined}, "
            f"{self.gradients(w)});",
        ]
        if self.dx is None:
            return
        self._read_values(w)
        weight = w.array(f"{self.label}_weight", self.layer.weight)
        slopes = w.lasting(f"{self.label}_slopes", "NormSlopes", c, 2 * self.x.dtype.itemsize * c)
        w.before.append(
            f"norm_slopes<THREADS, {shape}>({joined}, s.count, {weight}, {self.values(w)}, {slopes});"
        )
        x, dy = w.at(self.x_saved), w.at(self.dy_saved)
        w.each.append(
            f"norm_backward<THREADS, {shape}>({self.act}, {x}, {dy}, {self.values(w)}, {slopes}, "
            f"{w.at(self.dx)}, count);"
        )

    def _statistics(self, w: Writer) -> str:
        return f"(Two*){w.kept(f'{self.label}_statistics', (2 * self.x.shape[0],), 'f8')}"

    def _read_values(self, w: Writer) -> None:
        """Have center, scale and bias in a pass after the one that joined the statistics."""
        line = (
            f"norm_values<THREADS, {self.x.shape[0]}>({self._statistics(w)}, {self.parameters(w)}, "
            f"{float(self.layer.eps)!r}, {self.values(w)});"
        )
        if not any(each.startswith("norm_values<") and self.values(w) in each for each in w.before):
            w.before.append(line)


class FusedFrozenNorm(Normalise):
    """By the running statistics: in ``eval``, also within training."""

    def uses(self, part: Part) -> list[Value | None]:
        return [self.x, self.y] if part is Part.FORWARD else [self.x, self.dy, self.dx]

    def forward(self, w: Writer) -> None:
        shape = self.constants(w)
        self._read_values(w)
        w.each.append(
            f"norm_forward<THREADS, {shape}>({self.act}, {w.at(self.x)}, {self.values(w)}, "
            f"{w.at(self.y)}, count);"
        )

    def backward(self, w: Writer) -> None:
        shape, c = self.constants(w), self.x.shape[0]
        self._read_values(w)
        x, dy = w.at(self.x), w.at(self.dy)
        self.write_sums(w, x, dy)
        if self.dx is not None:
            w.each.append(
                f"norm_backward<THREADS, {shape}>({self.act}, {x}, {dy}, {self.values(w)}, nullptr, "
                f"{w.at(self.dx)}, count);"
            )
        rows, blocks = w.rows_before(f"{self.label}_gradient_rows")
        w.job(
            1,
            f"join_gradients<THREADS, {shape}>({rows}, {blocks}, (Two*)shared); "
            f"write_norm_gradients<THREADS, {c}>((Two*)shared, {self.gradients(w)});",
            16 * c * MAX_ROWS,
        )

    def _read_values(self, w: Writer) -> None:
        mean = w.array(f"{self.label}_running_mean", self.layer, "running_mean")
        var = w.array(f"{self.label}_running_var", self.layer, "running_var")
        line = (
            f"running_values<THREADS, {self.x.shape[0]}>({mean}, {var}, {self.parameters(w)}, "
            f"{float(self.layer.eps)!r}, {self.values(w)});"
        )
        if line not in w.before:
            w.before.append(line)
