"""The geometry of a sliding window: one rule for convolution and for both poolings.

Legend: H, W input height and width; OH, OW output height and width; KH, KW window height and width.
A *tap* is one position (kh, kw) inside the window. Over all output pixels, one tap reads a strided,
shifted view of the input, so every window operation is a loop over KH x KW taps, never over pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from .checks import Pair
from .deprecated import moved

__all__ = ["Window", "Windowed"]


@dataclass(frozen=True)
class Window:
    """Size, stride, zero padding and dilation of a window, each as (height, width).

    With ``ceil_mode`` a last window that hangs over the lower or right border counts too, unless it
    would begin beyond the padded input (PyTorch's rule).
    """

    size: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    @cache  # noqa: B019  a few integers per shape, needed for every part of every batch
    def output_size(self, height: int, width: int) -> Pair:
        """Return (OH, OW) for an input of ``height`` x ``width``; a ValueError if none fits."""
        out = self._out_length(height, 0), self._out_length(width, 1)
        if min(out) < 1:
            raise ValueError(
                f"a window of {self.size} with padding {self.padding} and dilation {self.dilation} "
                f"does not fit an input of height {height} and width {width}"
            )
        return out

    def _extent(self, axis: int) -> int:
        """Return how many rows (axis 0) or columns (1) a window spans, its gaps included."""
        return self.dilation[axis] * (self.size[axis] - 1) + 1

    def _out_length(self, length: int, axis: int) -> int:
        padding, stride = self.padding[axis], self.stride[axis]
        steps, rest = divmod(length + 2 * padding - self._extent(axis), stride)
        hangs_over = self.ceil_mode and rest > 0 and (steps + 1) * stride < length + padding
        return max(0, steps + 1 + hangs_over)

    @cache  # noqa: B019
    def padded_size(self, height: int, width: int) -> Pair:
        """Return the size of a frame that holds the padded input and every window."""
        (top, left), (oh, ow) = self.padding, self.output_size(height, width)
        return (
            max(height + 2 * top, (oh - 1) * self.stride[0] + self._extent(0)),
            max(width + 2 * left, (ow - 1) * self.stride[1] + self._extent(1)),
        )

    def coverage(self, length: int, axis: int, count_padding: bool) -> list[int]:
        """Return how many rows (axis 0) or columns (axis 1) of the input each window covers.

        With ``count_padding`` the padding counts too, but never what lies beyond it in ceil_mode.
        """
        padding = self.padding[axis]
        first, last = (-padding, length + padding) if count_padding else (0, length)
        starts = [o * self.stride[axis] - padding for o in range(self._out_length(length, axis))]
        return [min(start + self.size[axis], last) - max(start, first) for start in starts]

    def pad(self, xp: Any, x: Any, value: float = 0.0) -> Any:
        """Return ``x`` (N, C, H, W) in a frame of ``value``; ``x`` itself if it needs none."""
        n, c, h, w = x.shape
        frame = self.padded_size(h, w)
        if frame == (h, w):
            return x
        padded = xp.full((n, c, *frame), value, dtype=x.dtype)
        self.unpad(padded, h, w)[...] = x
        return padded

    def unpad(self, padded: Any, height: int, width: int) -> Any:
        """Return the view of ``padded`` that holds the input itself."""
        top, left = self.padding
        return padded[:, :, top : top + height, left : left + width]

    @cache  # noqa: B019
    def slices(self, axis: int, out: int) -> tuple[slice, ...]:
        """Return, for each position in the window, the rows (axis 0) or columns (1) it reads."""
        stride, dilation = self.stride[axis], self.dilation[axis]
        reach = (out - 1) * stride + 1
        return tuple(
            slice(k * dilation, k * dilation + reach, stride) for k in range(self.size[axis])
        )

    def taps(self, padded: Any, out: Pair) -> Iterator[Any]:
        """Yield for each tap, row by row, the view (N, C, OH, OW) of what it reads."""
        for row in self.slices(0, out[0]):
            for column in self.slices(1, out[1]):
                yield padded[:, :, row, column]


class Windowed:
    """A layer with a window: its parts by PyTorch's names. They stay as they are made."""

    window: Window

    @property
    def kernel_size(self) -> Pair:
        return self.window.size

    @property
    def stride(self) -> Pair:
        return self.window.stride

    @property
    def padding(self) -> Pair:
        return self.window.padding

    @property
    def dilation(self) -> Pair:
        return self.window.dilation


__getattr__ = moved(__name__, {"count": "nplenet.checks.count", "pair": "nplenet.checks.pair"})
