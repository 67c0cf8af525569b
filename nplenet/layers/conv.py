"""Convolution as one matrix product: im2col lays the windows side by side, a GEMM does the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import Array
from ..checks import Pair, count, flag, generator_or_new, pair
from ..parameter import Parameter
from ..window import Window
from .base import Layer
from .initialization import initial_bias, initial_weight
from .products import add_sums, product


def im2col(xp: Any, x: Array, window: Window) -> Array:
    """Lay the windows of ``x`` side by side, one per column.

    Parameters
    ----------
    x : array (N, C, H, W)
    window : Window

    Returns
    -------
    array (N, C*KH*KW, OH*OW)
        Column ``oh*OW + ow`` holds the window of output pixel (oh, ow), zeros where it lies on
        the padding.
    """
    n, c, h, w = x.shape
    oh, ow = window.output_size(h, w)
    rows, columns = window.slices(0, oh), window.slices(1, ow)
    padded = window.pad(xp, x)
    # Over KW, then over KH: the second copy moves whole rows, twice as fast as KH*KW taps.
    wide = xp.empty((n, c, len(columns), padded.shape[2], ow), dtype=x.dtype)
    for kw, column in enumerate(columns):
        wide[:, :, kw] = padded[:, :, :, column]
    cols = xp.empty((n, c, len(rows), len(columns), oh, ow), dtype=x.dtype)
    for kh, row in enumerate(rows):
        cols[:, :, kh] = wide[:, :, :, row]
    return cols.reshape(n, c * len(rows) * len(columns), oh * ow)


def col2im(xp: Any, cols: Array, x: Array, window: Window) -> None:
    """Add each column back to the pixels it was read from: the transpose of ``im2col``.

    Parameters
    ----------
    cols : array (N, C*KH*KW, OH*OW)
    x : array (N, C, H, W)
        Where the sums are written.
    window : Window
    """
    n, c, h, w = x.shape
    oh, ow = window.output_size(h, w)
    rows, columns = window.slices(0, oh), window.slices(1, ow)
    cols = cols.reshape(n, c, len(rows), len(columns), oh, ow)
    height, width = window.padded_size(h, w)
    wide = xp.zeros((n, c, len(columns), height, ow), dtype=cols.dtype)
    for kh, row in enumerate(rows):
        wide[:, :, :, row] += cols[:, :, kh]
    padded = xp.zeros((n, c, height, width), dtype=cols.dtype)
    for kw, column in enumerate(columns):
        padded[:, :, :, column] += wide[:, :, kw]
    x[...] = window.unpad(padded, h, w)


def add_weight_gradient(xp: Any, dweight: Array, cols: Array, dy: Array) -> None:
    """Add the sum over n of dy[n] @ cols[n]^T to ``dweight``, in place.

    Parameters
    ----------
    dweight : array (F, C, KH, KW)
    cols : array (N, K, P)
    dy : array (N, F, P)
    """
    # The transposed product: BLAS takes it 1.7 times as fast for the second layer of LeNet-5.
    transposed = (cols @ dy.transpose(0, 2, 1)).sum(axis=0)  # (K, F)
    dweight += transposed.T.reshape(dweight.shape)


class Conv2d(Layer):
    r"""Cross-correlate images with F learned filters (what deep learning calls convolution).

    Forward, with K = C*KH*KW and P = OH*OW:

        y[n, f, oh, ow] = bias[f] + sum over c, kh, kw of weight[f, c, kh, kw] * x[n, c, h, w]
                          with h = oh*stride + kh - padding and w = ow*stride + kw - padding

    im2col copies the window of each output pixel into one column, so that for each image

        y (F, P) = weight (F, K) @ cols (K, P) + bias

    Backward of that product, and of the copy:

        dweight = sum over n of dy (F, P) @ cols^T (P, K)        dbias = sum of dy over n and P
        dcols   = weight^T (K, F) @ dy (F, P)                    dx    = col2im(dcols)

    col2im is the transpose of im2col: a pixel that several windows read gets the sum of their
    gradients.

    Parameters
    ----------
    in_channels, out_channels : int
        C and F.
    kernel_size, stride, padding : int or (height, width)
    bias : bool
        Leave it out before a batch norm, which subtracts it again.
    dtype : float32 or float64
    rng : numpy.random.Generator or int, optional
        Draws the initial weights; an int is a seed; fresh entropy when left out.
    init : {"he", "xavier", "pytorch"}

    Shapes
    ------
    x (N, C, H, W); weight (F, C, KH, KW); bias (F,); y (N, F, OH, OW),
    OH = (H + 2*padding - KH) // stride + 1.
    """

    ranks = (4,)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
        init: str = "he",
    ) -> None:
        super().__init__()
        self.in_channels = self.channels = count(in_channels, "Conv2d: in_channels")
        self.out_channels = count(out_channels, "Conv2d: out_channels")
        self.window = Window(
            pair(kernel_size, "Conv2d: kernel_size", 1),
            pair(stride, "Conv2d: stride", 1),
            pair(padding, "Conv2d: padding", 0),
        )
        bias, rng = flag(bias, "Conv2d: bias"), generator_or_new(rng, "Conv2d: rng")
        shape = (out_channels, in_channels, *self.window.size)
        self.weight = Parameter(initial_weight(shape, init, rng, dtype))
        fan_in = in_channels * self.window.size[0] * self.window.size[1]
        self.bias = (
            Parameter(initial_bias(out_channels, fan_in, init, rng, dtype)) if bias else None
        )

    def forward(self, x: Array) -> Array:
        self.check(x)
        n, f, oh, ow = shape = self.output_shape(x.shape)
        weight = self.weight.data.reshape(f, -1)  # (F, K)
        y = self.backend.xp.empty((n, f, oh * ow), np.result_type(x.dtype, weight.dtype))
        for part in self._parts(x, y):
            cols = self.backend.primitive(im2col, x[part], self.window)
            self.backend.primitive(product, weight, cols, y[part])
        if self.bias is not None:
            y += self.bias.data[:, None]
        return self.remember(y.reshape(shape), x)

    def backward(self, dy: Array) -> Array:
        (x,) = self.recall(dy)
        n, f, oh, ow = dy.shape
        dy = dy.reshape(n, f, oh * ow)  # (N, F, P)
        weight = self.weight.data.reshape(f, -1)  # (F, K)
        dx = self.backend.xp.empty(x.shape, dy.dtype) if self.input_gradient else None
        for part in self._parts(x, dy):
            # The columns are cheaper to make again than to keep.
            cols = self.backend.primitive(im2col, x[part], self.window)
            if self.weight.requires_grad:
                self.backend.primitive(add_weight_gradient, self.weight.grad, cols, dy[part])
            if dx is not None:
                dcols = self.backend.primitive(product, weight.T, dy[part])
                self.backend.primitive(col2im, dcols, dx[part], self.window)
        if self.bias is not None and self.bias.requires_grad:
            self.backend.primitive(add_sums, self.bias.grad, dy)
        return dx

    def _parts(self, x: Array, y: Array) -> Iterator[slice]:
        """Cut the batch so that a part's columns, K*P numbers per image, stay in the cache."""
        k = self.weight.data.size // self.out_channels
        return self.backend.parts(x.shape[0], k * y.shape[2] * x.dtype.itemsize)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.check_shape(input_shape)
        n, _, h, w = input_shape
        return (n, self.out_channels, *self.window.output_size(h, w))

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        n, _, oh, ow = self.output_shape(input_shape)
        return n * oh * ow * int(self.weight.data.size)

    def arguments(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "kernel_size": self.window.size,
            "stride": self.window.stride,
            "padding": self.window.padding,
            "bias": self.bias is not None,
        }
