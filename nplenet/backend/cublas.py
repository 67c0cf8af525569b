"""Matrix products by cuBLAS, in the layouts in which the operands already lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .base import Array
from .launch import Launcher


def multiply(gpu: Launcher, a: Array, b: Array, out: Array, add: bool) -> None:
    """Do what ``multiply`` of product.py does, with one call of cuBLAS."""
    a, a_transposed = _operand(gpu, a, out.dtype)
    b, b_transposed = _operand(gpu, b, out.dtype)
    # cuBLAS counts by columns, where a row-major matrix is its transpose: out^T = b^T @ a^T.
    cublas, (rows, columns), depth = gpu.xp.cuda.cublas, out.shape[-2:], a.shape[-1]
    double = out.dtype == np.float64
    real = gpu.xp.cuda.runtime.CUDA_R_64F if double else gpu.xp.cuda.runtime.CUDA_R_32F
    one, beta = np.ones((), out.dtype), np.full((), add, out.dtype)
    cublas.gemmStridedBatchedEx(
        gpu.xp.cuda.device.get_cublas_handle(),
        int(b_transposed),
        int(a_transposed),
        *(columns, rows, depth),
        one.ctypes.data,
        *(b.data.ptr, real, depth if b_transposed else columns, _matrix_step(b)),
        *(a.data.ptr, real, rows if a_transposed else depth, _matrix_step(a)),
        beta.ctypes.data,
        *(out.data.ptr, real, columns, rows * columns),
        len(out) if out.ndim == 3 else 1,
        cublas.CUBLAS_COMPUTE_64F if double else cublas.CUBLAS_COMPUTE_32F,
        cublas.CUBLAS_GEMM_DEFAULT,
    )


def _operand(gpu: Launcher, matrix: Array, dtype: Any) -> tuple[Array, bool]:
    """Return ``matrix`` in a layout that cuBLAS reads, and whether it lies there transposed."""
    matrix = matrix.astype(dtype, copy=False)
    if matrix.flags.c_contiguous:
        return matrix, False
    if matrix.swapaxes(-1, -2).flags.c_contiguous:
        return matrix, True
    return gpu.xp.ascontiguousarray(matrix), False


def _matrix_step(array: Array) -> int:
    """Return how many numbers lie between the matrices of a stack; 0 repeats a single matrix."""
    return math.prod(array.shape[-2:]) if array.ndim == 3 else 0
