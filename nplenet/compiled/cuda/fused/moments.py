"""Mean and covariance of the pixels of a window, over each batch; see ``window_moments.cu``.

They depend on the images alone, so two launches make them for all steps of a graph:

    moments, join_moments | pass1, pass2, pass3, finish | pass1, pass2, pass3, finish | ...
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Protocol

from ....layers import Conv2d
from ....rounding import ceil_div, round_up
from ...operation import DType
from ..feed import FIRST, FORWARD, MAX_STEPS
from .code import KernelText, kernel_text
from .operation import call
from .parts import Parts

THREADS = 256  # of a block
IMAGES = 16  # of a block, or more if there are many
MAX_BLOCKS = 32  # for a step: each leaves a row of sums
MAX_PIXELS = 64  # of a window: their sums lie in shared memory, 33 kB
MAX_WINDOWS = 2**32 // 255**2  # of an image: products of their pixels are added up in 32 bits


class Names(Protocol):
    """What has structs and arrays: a ``Writer``, or ``Parts``."""

    def use(self, *files: str) -> None: ...

    def shape(self, name: str, **numbers: int) -> str: ...

    def kept(self, name: str, shape: Sequence[int], dtype: DType) -> str: ...


class Moments:
    """Of the windows that a convolution takes from images of bytes.

    Parameters
    ----------
    layer : Conv2d
        For which they ``exist``.
    image_shape : (C, H, W)
    """

    def __init__(self, layer: Conv2d, image_shape: Sequence[int]) -> None:
        (c, h, w), window = image_shape, layer.window
        (kh, kw), (ph, pw) = window.size, window.padding
        f, oh, ow = layer.output_shape((1, *image_shape))[1:]
        self.pixels = c * kh * kw
        self.size = self.pixels + self.pixels**2  # numbers of a step
        self.image_bytes = prod(image_shape)
        self.shape = {"C": c, "H": h, "W": w, "TOP": ph, "LEFT": pw, "FH": h + 2 * ph}
        self.shape |= {"ROW": round_up(w + 2 * pw, 4) + 4}
        self.shape |= {"KH": kh, "KW": kw, "OH": oh, "OW": ow, "F": f}

    @staticmethod
    def exist(layer: Conv2d, image_shape: Sequence[int]) -> bool:
        """Say whether there are kernels for the windows of a convolution."""
        if len(image_shape) != 3 or not layer.is_plain or layer.window.stride != (1, 1):
            return False
        windows = prod(layer.output_shape((1, *image_shape))[2:])
        return prod(layer.weight.data.shape[1:]) <= MAX_PIXELS and windows <= MAX_WINDOWS

    def struct(self, names: Names) -> str:
        """Define the constants of the windows; return the name of their struct."""
        return names.shape("Windows", **self.shape)

    def of_step(self, names: Names, row: str) -> str:
        """Return a pointer to the moments of a step; ``row`` is its row of the feed's table."""
        array = names.kept("moments", (MAX_STEPS, self.size), "f8")
        return f"(double*){array} + {row}[{FORWARD}] % {MAX_STEPS} * {self.size}"

    def kernels(self, parts: Parts, batch_size: int) -> list[KernelText]:
        """Return the two kernels, whose blocks are those of one step."""
        parts.use("window_moments")
        blocks = min(MAX_BLOCKS, ceil_div(batch_size, IMAGES))
        nbytes = MAX_STEPS * blocks * self.size * 8
        rows = parts.rows_array("moment_rows", "unsigned long long", nbytes)
        parts.argument("blocks_moments", "int")
        return [self._sums(parts, rows, blocks), self._join(parts, rows, batch_size)]

    def _sums(self, parts: Parts, rows: str, blocks: int) -> KernelText:
        frame = round_up((self.shape["C"] * self.shape["FH"] + 1) * self.shape["ROW"], 16)
        arguments = (
            "s.images, s.order, s.coefficients, s.inverted, s.gray, s.fill",
            f"(long long)row[{FIRST}], s.count, block, s.blocks_moments",
            f"shared, (unsigned long long*)(shared + {frame})",
            f"{rows} + ((long long)step * s.blocks_moments + block) * {self.size}",
        )
        step = "step = blockIdx.x / s.blocks_moments, block = blockIdx.x % s.blocks_moments"
        line = call("window_moments", *arguments, template=(self.struct(parts),))
        shared = frame + self.size * 8
        return kernel("moments", step, line, shared, IMAGES, blocks, self.image_bytes)

    def _join(self, parts: Parts, rows: str, batch_size: int) -> KernelText:
        arguments = (
            f"{rows} + (long long)step * s.blocks_moments * {self.size}",
            "s.blocks_moments, s.count, s.normal, (double*)shared",
            self.of_step(parts, "row"),
        )
        line = call("join_window_moments", *arguments, template=(self.struct(parts),))
        traffic = ceil_div(self.size * 8, IMAGES)
        shared = self.pixels * 8
        return kernel("join_moments", "step = blockIdx.x", line, shared, batch_size, 1, traffic)


def kernel(
    name: str, step: str, line: str, shared: int, images: int, blocks: int, traffic: int
) -> KernelText:
    """Return a kernel that does a line for some steps; ``step`` says which step a block has."""
    body = [
        f"constexpr int THREADS = {THREADS};",
        "extern __shared__ __align__(16) unsigned char shared[];",
        f"const int {step};",
        "const unsigned long long* const row = s.table + (*s.step + step) * s.words;",
        line,
    ]
    text = kernel_text(name, THREADS, body)
    flop = 0  # of floats
    return KernelText(name, text, images, THREADS, blocks, 0, shared, flop, traffic)
