"""Pooling: shrink a feature map by taking the average or the maximum of each window, or of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..attributes import setting
from ..backend import Array
from ..checks import Pair, flag, pair
from ..window import Window, Windowed
from .base import Layer


def average_pool(xp: Any, x: Array, window: Window, count_include_pad: bool) -> Array:
    """Return the average of each window: x (N, C, H, W), result (N, C, OH, OW)."""
    n, c, h, w = x.shape
    out = window.output_size(h, w)
    y = xp.zeros((n, c, *out), dtype=x.dtype)
    for view in window.taps(window.pad(xp, x), out):
        y += view
    y /= _divisor(xp, h, w, window, count_include_pad, x.dtype)
    return y


def average_pool_backward(
    xp: Any, dy: Array, x_shape: Sequence[int], window: Window, count_include_pad: bool
) -> Array:
    """Spread dy (N, C, OH, OW) evenly over the pixels of each window; result of ``x_shape``."""
    n, c, h, w = x_shape
    dpixel = dy / _divisor(xp, h, w, window, count_include_pad, dy.dtype)
    dpadded = xp.zeros((n, c, *window.padded_size(h, w)), dtype=dy.dtype)
    for view in window.taps(dpadded, dy.shape[2:]):
        view += dpixel
    return window.unpad(dpadded, h, w)


def _divisor(
    xp: Any, h: int, w: int, window: Window, count_include_pad: bool, dtype: Any
) -> Array | float:
    """Return how many pixels each window averages: one number if all agree, otherwise (OH, OW)."""
    rows = window.coverage(h, 0, count_include_pad)
    columns = window.coverage(w, 1, count_include_pad)
    if len(set(rows)) == len(set(columns)) == 1:
        return float(rows[0] * columns[0])
    return xp.asarray(np.outer(rows, columns), dtype=dtype)


def max_pool(xp: Any, x: Array, window: Window) -> tuple[Array, Array]:
    """Return the maximum of each window and which tap of the window holds it.

    Parameters
    ----------
    x : array (N, C, H, W)
    window : Window

    Returns
    -------
    y : array (N, C, OH, OW)
    winner : int32 array (N, C, OH, OW)
        kh*KW + kw of the first maximum.
    """
    n, c, h, w = x.shape
    out = window.output_size(h, w)
    y = xp.full((n, c, *out), -np.inf, dtype=x.dtype)
    winner = xp.zeros((n, c, *out), dtype=np.int32)
    padded = window.pad(xp, x, value=-np.inf)
    for tap, view in enumerate(window.taps(padded, out)):
        better = (view > y) | xp.isnan(view)
        y = xp.where(better, view, y)
        winner[better] = tap
    return y, winner


def max_pool_backward(
    xp: Any, dy: Array, winner: Array, x_shape: Sequence[int], window: Window
) -> Array:
    """Give dy (N, C, OH, OW) to the winner of each window; result of shape ``x_shape``."""
    n, c, h, w = x_shape
    dpadded = xp.zeros((n, c, *window.padded_size(h, w)), dtype=dy.dtype)
    for tap, view in enumerate(window.taps(dpadded, dy.shape[2:])):
        view += dy * (winner == tap)
    return window.unpad(dpadded, h, w)


class _Pool2d(Windowed, Layer):
    """The base of both poolings: the window. The stride is by default the kernel size."""

    ranks = (4,)

    @property
    def ceil_mode(self) -> bool:
        return self.window.ceil_mode

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.check_shape(input_shape)
        n, c, h, w = input_shape
        return (n, c, *self.window.output_size(h, w))

    def arguments(self) -> dict[str, Any]:
        w = self.window
        return {
            "kernel_size": w.size,
            "stride": w.stride,
            "padding": w.padding,
            "ceil_mode": w.ceil_mode,
        }


def _pooling_window(
    owner: str,
    kernel_size: int | Pair,
    stride: int | Pair | None,
    padding: int | Pair,
    dilation: int | Pair,
    ceil_mode: bool,
) -> Window:
    size = pair(kernel_size, f"{owner}: kernel_size", 1)
    border = pair(padding, f"{owner}: padding", 0)
    if any(2 * p > k for p, k in zip(border, size, strict=True)):
        raise ValueError(
            f"{owner}: padding must be at most half the kernel size {size}, got {border}"
        )
    return Window(
        size,
        size if stride is None else pair(stride, f"{owner}: stride", 1),
        border,
        pair(dilation, f"{owner}: dilation", 1),
        flag(ceil_mode, f"{owner}: ceil_mode"),
    )


class AvgPool2d(_Pool2d):
    """Average each window.

        y[n, c, oh, ow] = sum of x over the window / divisor[oh, ow]

    The divisor is KH*KW; with ``count_include_pad=False`` the number of pixels of the window that
    lie on the image. A window that hangs over in ``ceil_mode`` never counts what lies beyond the
    padding.

    Backward: each pixel of the window gets dy / divisor; a pixel in several windows gets the sum.

    Parameters
    ----------
    kernel_size, padding : int or (height, width)
    stride : int, (height, width) or None
        None: the kernel size.
    ceil_mode, count_include_pad : bool

    Shapes
    ------
    x (N, C, H, W); y (N, C, OH, OW),
    OH = (H + 2*padding - KH) // stride + 1 (rounded up in ceil_mode).
    """

    count_include_pad: bool = setting(flag)

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.window = _pooling_window("AvgPool2d", kernel_size, stride, padding, 1, ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.backend.primitive(average_pool, x, self.window, self.count_include_pad)
        return self.remember(y, x.shape)

    def backward(self, dy: Array) -> Array:
        (x_shape,) = self.recall(dy)
        return self.backend.primitive(
            average_pool_backward, dy, x_shape, self.window, self.count_include_pad
        )

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"count_include_pad": self.count_include_pad}


class MaxPool2d(_Pool2d):
    """Keep the maximum of each window.

        y[n, c, oh, ow] = max of x over the window

    Backward: the first pixel of the window (row by row) that holds the maximum gets dy, all others
    get zero; a pixel that wins several windows gets the sum of their dy. Padding counts as minus
    infinity; NaN wins.

    Parameters
    ----------
    kernel_size, padding, dilation : int or (height, width)
    stride : int, (height, width) or None
        None: the kernel size.
    ceil_mode : bool

    Shapes
    ------
    x (N, C, H, W); y (N, C, OH, OW),
    OH = (H + 2*padding - dilation*(KH - 1) - 1) // stride + 1 (rounded up in ceil_mode).
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.window = _pooling_window(
            "MaxPool2d", kernel_size, stride, padding, dilation, ceil_mode
        )

    def forward(self, x: Array) -> Array:
        self.check(x)
        y, winner = self.backend.primitive(max_pool, x, self.window)
        return self.remember(y, x.shape, winner)

    def backward(self, dy: Array) -> Array:
        x_shape, winner = self.recall(dy)
        return self.backend.primitive(max_pool_backward, dy, winner, x_shape, self.window)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"dilation": self.window.dilation}


class GlobalAvgPool2d(Layer):
    """Average each feature map: from maps to one vector per image, whatever the image size.

        y[n, c] = mean of x[n, c]        dx[n, c, h, w] = dy[n, c] / (H*W)

    PyTorch's ``AdaptiveAvgPool2d(1)`` followed by ``Flatten()``.

    Shapes
    ------
    x (N, C, H, W); y (N, C).
    """

    ranks = (4,)

    def forward(self, x: Array) -> Array:
        self.check(x)
        return self.remember(x.mean(axis=(2, 3)), x.shape)

    def backward(self, dy: Array) -> Array:
        (x_shape,) = self.recall(dy)
        dpixel = dy / math.prod(x_shape[2:])
        return self.backend.xp.broadcast_to(dpixel[:, :, None, None], x_shape).copy()

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.check_shape(input_shape)
        return input_shape[:2]
