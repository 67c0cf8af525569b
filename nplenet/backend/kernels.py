"""The kernels of layers, each bound to the full name of the function that it replaces on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..rounding import ceil_div
from ..window import Window
from .base import Array
from .binding import by_value_or_pointer, replaces
from .launch import THREADS, Launcher
from .product import multiply

# ------------------------------------------------------------------ convolution


@replaces("nplenet.layers.conv.im2col")
def im2col(gpu: Launcher, x: Array, window: Window) -> Array:
    out = window.output_size(*x.shape[2:])
    k = x.shape[1] * window.size[0] * window.size[1]
    cols = gpu.xp.empty((x.shape[0], k, out[0] * out[1]), dtype=x.dtype)
    x = gpu.xp.ascontiguousarray(x)
    gpu.launch_each("im2col", "im2col", cols.size, x, cols, *_numbers(x.shape, window))
    return cols


@replaces("nplenet.layers.conv.col2im")
def col2im(gpu: Launcher, cols: Array, x: Array, window: Window) -> None:
    cols = gpu.xp.ascontiguousarray(cols)
    gpu.launch_each("col2im", "col2im", x.size, cols, x, *_numbers(x.shape, window))


@replaces("nplenet.layers.conv.add_weight_gradient")
def add_weight_gradient(gpu: Launcher, dweight: Array, cols: Array, dy: Array) -> None:
    parts = gpu.xp.empty((dy.shape[0], dy.shape[1], cols.shape[1]), dtype=dweight.dtype)
    multiply(gpu, dy, cols.transpose(0, 2, 1), parts)  # (N, F, K), one product per image
    _add_sums(gpu, dweight, parts.reshape(len(parts), dweight.size))


# ------------------------------------------------------------------ products and sums


@replaces("nplenet.layers.products.product")
def product(gpu: Launcher, a: Array, b: Array, out: Array | None = None) -> Array:
    if out is None:
        out = gpu.xp.empty((b.shape[0], a.shape[0], b.shape[2]), dtype=b.dtype)
    multiply(gpu, a, b, out)
    return out


@replaces("nplenet.layers.products.matrix_product")
def matrix_product(gpu: Launcher, a: Array, b: Array) -> Array:
    out = gpu.xp.empty((a.shape[0], b.shape[1]), np.result_type(a.dtype, b.dtype))
    multiply(gpu, a, b, out)
    return out


@replaces("nplenet.layers.products.add_product")
def add_product(gpu: Launcher, total: Array, a: Array, b: Array) -> None:
    multiply(gpu, a, b, total, add=True)


@replaces("nplenet.layers.products.add_sums")
def add_sums(gpu: Launcher, total: Array, a: Array) -> None:
    _add_sums(gpu, total, gpu.xp.ascontiguousarray(a, dtype=total.dtype))


def _add_sums(gpu: Launcher, total: Array, a: Array) -> None:
    """Add the sums of ``a`` (N, C) or (N, C, L) over all axes but axis 1 to ``total``."""
    n, c, *length = a.shape
    pixels = math.prod(length)
    width, block = (32, THREADS) if pixels == 1 else (1, 1024)
    numbers = (c, pixels, n * pixels, width)
    gpu.launch("sums", "add_sums", ceil_div(c, width), a, total, *numbers, block=block)


# ------------------------------------------------------------------ batch norm


@replaces("nplenet.layers.batchnorm.batch_norm_sums")
def batch_norm_sums(gpu: Launcher, x: Array, num_batches_tracked: Array) -> Array:
    x = gpu.xp.ascontiguousarray(x)
    sums = gpu.xp.empty((_channel_parts(x), x.shape[1]), np.float64)
    _launch_batch_norm(gpu, "batch_norm_sums", x, len(sums), x, sums, num_batches_tracked)
    return sums


@replaces("nplenet.layers.batchnorm.batch_norm_center")
def batch_norm_center(gpu: Launcher, x: Array, sums: Array, m: int) -> tuple[Array, Array]:
    x = gpu.xp.ascontiguousarray(x)
    centered, squares = gpu.xp.empty_like(x), gpu.xp.empty_like(sums)
    arrays = (x, sums, centered, squares)
    _launch_batch_norm(gpu, "batch_norm_center", x, len(sums), *arrays, m)
    return centered, squares


@replaces("nplenet.layers.batchnorm.batch_norm_training")
def batch_norm_training(
    gpu: Launcher,
    centered: Array,
    sums: Array,
    squares: Array,
    m: int,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    num_batches_tracked: Array,
    momentum: float | None,
    eps: float,
) -> tuple[Array, Array]:
    y, inverse_std = gpu.xp.empty_like(centered), gpu.xp.empty(len(weight), np.float64)
    state = (weight, bias, running_mean, running_var, num_batches_tracked)
    arrays = (centered, sums, squares, *state, y, inverse_std)
    momenta = (0.0 if momentum is None else momentum, int(momentum is None))
    numbers = (m, *momenta, eps)
    _launch_batch_norm(gpu, "batch_norm_training", centered, len(sums), *arrays, *numbers)
    return y, inverse_std


@replaces("nplenet.layers.batchnorm.batch_norm_inference")
def batch_norm_inference(
    gpu: Launcher,
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    eps: float,
) -> tuple[Array, Array, Array]:
    x = gpu.xp.ascontiguousarray(x)
    y, centered = gpu.xp.empty_like(x), gpu.xp.empty_like(x)
    inverse_std = gpu.xp.empty(x.shape[1], np.float64)
    arrays = (x, weight, bias, running_mean, running_var, y, centered, inverse_std)
    _launch_batch_norm(gpu, "batch_norm_inference", x, _channel_parts(x), *arrays, eps)
    return y, centered, inverse_std


@replaces("nplenet.layers.batchnorm.batch_norm_gradient_sums")
def batch_norm_gradient_sums(
    gpu: Launcher, dy: Array, centered: Array, inverse_std: Array
) -> Array:
    dy = gpu.xp.ascontiguousarray(dy)
    sums = gpu.xp.empty((_channel_parts(dy), 2, dy.shape[1]), np.float64)
    arrays = (dy, centered, inverse_std, sums)
    _launch_batch_norm(gpu, "batch_norm_gradient_sums", dy, len(sums), *arrays)
    return sums


@replaces("nplenet.layers.batchnorm.batch_norm_backward")
def batch_norm_backward(
    gpu: Launcher,
    dy: Array,
    centered: Array,
    inverse_std: Array,
    weight: Array,
    sums: Array,
    total: Array | None,
    m: int,
    dweight: Array,
    dbias: Array,
) -> Array:
    dy = gpu.xp.ascontiguousarray(dy)
    dx = gpu.xp.empty_like(dy)
    arrays = (dy, centered, inverse_std, weight, sums, total, dweight, dbias, dx)
    _launch_batch_norm(gpu, "batch_norm_backward", dy, len(sums), *arrays, m)
    return dx


def _launch_batch_norm(gpu: Launcher, kernel: str, like: Array, parts: int, *args: Any) -> None:
    """Launch a kernel with one block per part of a channel of ``like`` (N, C, L)."""
    n, c, length = like.shape
    gpu.launch("batch_norm", kernel, parts * c, *args, c, length, n * length, parts)


def _channel_parts(x: Array) -> int:
    """Return the number of parts of a channel of ``x`` (N, C, L) in the batch norm kernels.

    Enough blocks to fill a large device, but few parts to add up, and none nearly empty. The number
    depends on C and L alone, so that it is the same on all ranks, however many images each has: 49
    and 7 for the batch norms of LeNet-5, 1 for features.
    """
    return min(64, ceil_div(512, x.shape[1]), ceil_div(x.shape[2], 16))


# ------------------------------------------------------------------ pooling


@replaces("nplenet.layers.pooling.average_pool")
def average_pool(gpu: Launcher, x: Array, window: Window, count_include_pad: bool) -> Array:
    x = gpu.xp.ascontiguousarray(x)
    numbers = (int(count_include_pad), *_numbers(x.shape, window))
    y = gpu.xp.empty((*x.shape[:2], *window.output_size(*x.shape[2:])), dtype=x.dtype)
    gpu.launch_each("average_pool", "average_pool", y.size, x, y, *numbers)
    return y


@replaces("nplenet.layers.pooling.average_pool_backward")
def average_pool_backward(
    gpu: Launcher, dy: Array, x_shape: Sequence[int], window: Window, count_include_pad: bool
) -> Array:
    dy = gpu.xp.ascontiguousarray(dy)
    numbers = (int(count_include_pad), *_numbers(x_shape, window))
    dx = gpu.xp.empty(x_shape, dtype=dy.dtype)
    gpu.launch_each("average_pool", "average_pool_backward", dx.size, dy, dx, *numbers)
    return dx


@replaces("nplenet.layers.pooling.max_pool")
def max_pool(gpu: Launcher, x: Array, window: Window) -> tuple[Array, Array]:
    x = gpu.xp.ascontiguousarray(x)
    y = gpu.xp.empty((*x.shape[:2], *window.output_size(*x.shape[2:])), dtype=x.dtype)
    winner = gpu.xp.empty(y.shape, np.int32)
    numbers = _numbers(x.shape, window)
    gpu.launch_each("max_pool", "max_pool", y.size, x, y, winner, *numbers)
    return y, winner


@replaces("nplenet.layers.pooling.max_pool_backward")
def max_pool_backward(
    gpu: Launcher, dy: Array, winner: Array, x_shape: Sequence[int], window: Window
) -> Array:
    dy = gpu.xp.ascontiguousarray(dy)
    dx = gpu.xp.empty(x_shape, dtype=dy.dtype)
    numbers = _numbers(x_shape, window)
    gpu.launch_each("max_pool", "max_pool_backward", dx.size, dy, winner, dx, *numbers)
    return dx


# ------------------------------------------------------------------ activations


@replaces("nplenet.layers.activation.relu_backward")
def relu_backward(gpu: Launcher, dy: Array, y: Array) -> Array:
    return _elementwise(gpu, "relu_backward", dy, y)


@replaces("nplenet.layers.activation.leaky_relu")
def leaky_relu(gpu: Launcher, x: Array, slope: float) -> Array:
    return _elementwise(gpu, "leaky_relu", x, slope)


@replaces("nplenet.layers.activation.leaky_relu_backward")
def leaky_relu_backward(gpu: Launcher, dy: Array, x: Array, slope: float) -> Array:
    return _elementwise(gpu, "leaky_relu_backward", dy, x, slope)


@replaces("nplenet.layers.activation.sigmoid")
def sigmoid(gpu: Launcher, x: Array) -> Array:
    return _elementwise(gpu, "sigmoid", x)


@replaces("nplenet.layers.activation.sigmoid_backward")
def sigmoid_backward(gpu: Launcher, dy: Array, y: Array) -> Array:
    return _elementwise(gpu, "sigmoid_backward", dy, y)


@replaces("nplenet.layers.activation.tanh_backward")
def tanh_backward(gpu: Launcher, dy: Array, y: Array) -> Array:
    return _elementwise(gpu, "tanh_backward", dy, y)


def _elementwise(gpu: Launcher, kernel: str, *arguments: Any) -> Array:
    """Return the output of a kernel of activation.cu for arrays of one shape, and numbers."""
    inputs = [gpu.xp.ascontiguousarray(a) if gpu.owns(a) else a for a in arguments]
    out = gpu.xp.empty_like(inputs[0])
    gpu.launch_each("activation", kernel, out.size, *inputs, out, out.size)
    return out


# ------------------------------------------------------------------ dropout


@replaces("nplenet.layers.dropout.dropout")
def dropout(
    gpu: Launcher, x: Array, key: int | Array, threshold: int, scale: float, first: int = 0
) -> tuple[Array, Array]:
    x = gpu.xp.ascontiguousarray(x)
    y, mask = gpu.xp.empty_like(x), gpu.xp.empty_like(x)
    (key,), pointer = by_value_or_pointer(gpu, key, 1)
    numbers = (x.size, first, key, threshold, scale, pointer)
    counters = ceil_div(first % 8 + x.size, 8)
    gpu.launch_each("dropout", "dropout", counters, x, y, mask, *numbers)
    return y, mask


def _numbers(x_shape: Sequence[int], window: Window) -> tuple[int, ...]:
    """Return N C H W, KH KW, OH OW, stride, padding, dilation: last arguments of window kernels."""
    out = window.output_size(x_shape[2], x_shape[3])
    return (*x_shape, *window.size, *out, *window.stride, *window.padding, *window.dilation)
