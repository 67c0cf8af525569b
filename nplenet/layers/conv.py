"""Convolution as one matrix product: im2col lays the windows side by side, a GEMM does the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..attributes import size
from ..backend import Array
from ..checks import Pair, count, flag, generator_or_new, pair
from ..parameter import Parameter
from ..window import Window, Windowed
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
    dweight : array (F, K) or (F, C, KH, KW)
    cols : array (N, K, P)
    dy : array (N, F, P)
    """
    # The transposed product: BLAS takes it 1.7 times as fast for the second layer of LeNet-5.
    transposed = (cols @ dy.transpose(0, 2, 1)).sum(axis=0)  # (K, F)
    dweight += transposed.T.reshape(dweight.shape)


class Conv2d(Windowed, Layer):
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

    With ``dilation`` d the taps of a window lie d pixels apart: h = oh*stride + kh*d - padding.

    With ``groups`` G the channels are cut into G groups, and so are the filters; a filter sees the
    channels of its own group only. Each group is a convolution of its own, with K = C/G*KH*KW:

        weight (F, K)      cols (G*K, P)            y (F, P)
        | group 0 |   @   | group 0 |      =      | group 0 |      F/G rows
        | group 1 |       | group 1 |             | group 1 |

    Parameters
    ----------
    in_channels, out_channels : int
        C and F.
    kernel_size, stride, padding, dilation : int or (height, width)
    groups : int
        Divides C and F. With G = C each channel has filters of its own ("depthwise").
    bias : bool
        Leave it out before a batch norm, which subtracts it again.
    dtype : float32 or float64
    rng : numpy.random.Generator or int, optional
        Draws the initial weights; an int is a seed; fresh entropy when left out.
    init : {"he", "xavier", "pytorch"}

    Shapes
    ------
    x (N, C, H, W); weight (F, C/G, KH, KW); bias (F,); y (N, F, OH, OW),
    OH = (H + 2*padding - dilation*(KH - 1) - 1) // stride + 1.
    """

    ranks = (4,)
    in_channels: int = size(count)
    out_channels: int = size(count)
    groups: int = size(count)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
        *,
        dilation: int | Pair = 1,
        groups: int = 1,
        dtype: npt.DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
        init: str = "he",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.channels = self.in_channels
        self.window = Window(
            pair(kernel_size, "Conv2d: kernel_size", 1),
            pair(stride, "Conv2d: stride", 1),
            pair(padding, "Conv2d: padding", 0),
            pair(dilation, "Conv2d: dilation", 1),
        )
        self.groups = groups
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                "Conv2d: groups must divide in_channels and out_channels, "
                f"got {groups} for {in_channels} and {out_channels}"
            )
        bias, rng = flag(bias, "Conv2d: bias"), generator_or_new(rng, "Conv2d: rng")
        shape = (out_channels, in_channels // groups, *self.window.size)
        self.weight = Parameter(initial_weight(shape, init, rng, dtype))
        fan_in = shape[1] * shape[2] * shape[3]
        self.bias = (
            Parameter(initial_bias(out_channels, fan_in, init, rng, dtype)) if bias else None
        )

    def forward(self, x: Array) -> Array:
        self.check(x)
        n, f, oh, ow = shape = self.output_shape(x.shape)
        weight = self._by_group(self.weight.data)  # (G, F/G, K)
        y = self.backend.xp.empty((n, f, oh * ow), np.result_type(x.dtype, weight.dtype))
        for part in self._parts(x, y):
            cols = self.backend.primitive(im2col, x[part], self.window)
            self._products(weight, cols, y[part])
        if self.bias is not None:
            y += self.bias.data[:, None]
        return self.remember(y.reshape(shape), x)

    def backward(self, dy: Array) -> Array:
        (x,) = self.recall(dy)
        n, f, oh, ow = dy.shape
        dy = dy.reshape(n, f, oh * ow)  # (N, F, P)
        weight, dweights = map(self._by_group, (self.weight.data, self.weight.grad))  # (G, F/G, K)
        dx = self.backend.xp.empty(x.shape, dy.dtype) if self.input_gradient else None
        for part in self._parts(x, dy):
            # The columns are cheaper to make again than to keep.
            cols = self.backend.primitive(im2col, x[part], self.window)
            if self.weight.requires_grad:
                for arrays in zip(dweights, self._rows(cols), self._rows(dy[part]), strict=True):
                    self.backend.primitive(add_weight_gradient, *arrays)
            if dx is not None:
                dcols = self.backend.xp.empty(cols.shape, dy.dtype)
                self._products(weight.swapaxes(1, 2), dy[part], dcols)
                self.backend.primitive(col2im, dcols, dx[part], self.window)
        if self.bias is not None and self.bias.requires_grad:
            self.backend.primitive(add_sums, self.bias.grad, dy)
        return dx

    def _products(self, weight: Array, b: Array, out: Array) -> None:
        """Write weight[g] @ (rows g of b) to the rows g of ``out``, for each group g."""
        if self.groups == 1:
            self.backend.primitive(product, weight[0], b, out)
            return
        for matrix, rows, target in zip(weight, self._rows(b), self._rows(out), strict=True):
            target[...] = self.backend.primitive(product, matrix, rows)

    def _by_group(self, weight: Array) -> Array:
        """Return an array of the weight's shape as (G, F/G, K)."""
        return weight.reshape(self.groups, self.out_channels // self.groups, -1)

    def _rows(self, array: Array) -> list[Array]:
        """Return the part (N, rows, P) of each group in an array (N, G*rows, P)."""
        step = array.shape[1] // self.groups
        return [array[:, g * step : (g + 1) * step] for g in range(self.groups)]

    def _parts(self, x: Array, y: Array) -> Iterator[slice]:
        """Cut the batch so that a part's columns, G*K*P numbers per image, stay in the cache."""
        k = self.weight.data.size // self.out_channels * self.groups
        return self.backend.parts(x.shape[0], k * y.shape[2] * x.dtype.itemsize)

    @property
    def is_plain(self) -> bool:
        """Whether it has one group and no dilation, which the compiled forms require."""
        return self.groups == 1 and self.window.dilation == (1, 1)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.check_shape(input_shape)
        n, _, h, w = input_shape
        return (n, self.out_channels, *self.window.output_size(h, w))

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        n, _, oh, ow = self.output_shape(input_shape)
        return n * oh * ow * int(self.weight.data.size)

    def arguments(self) -> dict[str, Any]:
        window = self.window
        plain = {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "kernel_size": window.size,
            "stride": window.stride,
            "padding": window.padding,
            "bias": self.bias is not None,
        }
        rare = {"dilation": (window.dilation, (1, 1)), "groups": (self.groups, 1)}
        return plain | {name: value for name, (value, usual) in rare.items() if value != usual}
