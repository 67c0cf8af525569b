"""Matrix products on a GPU: by cuBLAS, or by our own kernel, which a CUDA graph can capture."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from ..rounding import ceil_div
from . import cublas
from .base import Array
from .launch import Launcher

BLOCKS_AT_ONCE = 256  # about two per multiprocessor of a large device
MIN_DEPTH = 64  # of a slice: with fewer numbers, adding up the slices costs more than it gains


class Tile(NamedTuple):
    """The part of a product that a block makes, and its relative time for each number of depth."""

    rows: int
    columns: int
    time: int


TILES = (Tile(64, 64, 4), Tile(16, 64, 3), Tile(16, 16, 2))  # time: instructions for a k, as issued


def multiply(gpu: Launcher, a: Array, b: Array, out: Array, add: bool = False) -> None:
    """Write a @ b to ``out`` or add it there.

    cuBLAS computes it, or within ``gpu.capturable()`` kernels/product.cu. Unlike ``cupy.matmul``
    neither copies a transposed or repeated operand.

    Parameters
    ----------
    a, b : array (M, K), (K, P)
        Matrices, or stacks of them; one matrix goes with each matrix of the other's stack.
    out : C-contiguous array (M, P) or (S, M, P)

    Raises
    ------
    TypeError
        When ``out`` is not C-contiguous.
    """
    if not out.flags.c_contiguous:
        raise TypeError(
            f"a product is written to C-contiguous arrays only, got {out.dtype} of shape "
            f"{out.shape} with strides {out.strides}; pass it through ascontiguousarray first"
        )
    if out.size == 0:
        return
    if a.shape[-1] == 0:
        if not add:
            out.fill(0)
        return
    (_by_kernel if gpu.own_products else cublas.multiply)(gpu, a, b, out, add)


def _by_kernel(gpu: Launcher, a: Array, b: Array, out: Array, add: bool) -> None:
    """Do what ``multiply`` does with kernels/product.cu."""
    a, b = a.astype(out.dtype, copy=False), b.astype(out.dtype, copy=False)
    count, depth = len(out) if out.ndim == 3 else 1, a.shape[-1]
    rows, columns = out.shape[-2:]
    tile, slices, blocks = cut(count, rows, columns, depth)
    made = out if slices == 1 else gpu.xp.empty((count, slices, rows, columns), out.dtype)
    gpu.launch(
        "product",
        f"product_{tile.rows}x{tile.columns}",
        min(blocks, 2**31 - 1),
        *(_first(a), _first(b), made, count, rows, columns, depth),
        *(slices, ceil_div(depth, slices), *_steps(a), *_steps(b)),
        int(add and slices == 1),
    )
    if slices > 1:
        numbers = (count, slices, rows * columns, int(add))
        gpu.launch_each("product", "sum_slices", out.size, made, out, *numbers)


@cache
def cut(count: int, rows: int, columns: int, depth: int) -> tuple[Tile, int, int]:
    """Return the tile, the slices of the depth and the blocks that fit a product best.

    The shape alone decides, so that one program gives the same bits on each device.
    """

    def choice(tile: Tile) -> tuple[int, Tile, int, int]:
        blocks = count * ceil_div(rows, tile.rows) * ceil_div(columns, tile.columns)
        slices = max(1, min(BLOCKS_AT_ONCE // blocks, depth // MIN_DEPTH))
        slices = ceil_div(depth, ceil_div(depth, slices))  # none empty
        rounds = ceil_div(blocks * slices, BLOCKS_AT_ONCE)
        return rounds * ceil_div(depth, slices) * tile.time, tile, slices, blocks * slices

    return min((choice(tile) for tile in TILES), key=lambda found: found[0])[1:]


def _first(matrix: Array) -> Array:
    """Return the array's first number, which is contiguous whatever the strides."""
    return matrix[(slice(1),) * matrix.ndim]


def _steps(matrix: Array) -> tuple[int, ...]:
    """Return how many numbers lie between matrices, rows and columns."""
    row, column = (stride // matrix.itemsize for stride in matrix.strides[-2:])
    repeated = matrix.ndim == 2 or len(matrix) == 1
    return 0 if repeated else matrix.strides[0] // matrix.itemsize, row, column
