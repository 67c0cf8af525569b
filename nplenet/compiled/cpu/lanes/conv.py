"""Convolution in lanes: im2row over the width only, many small matrix products, no im2col.

Legend: C, F channels in and out; H W input size, KH KW kernel size, OH OW output size, n lanes,
SH SW stride; P = OW*n numbers in an output row; K = KH*KW*C numbers in a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ....checks import Pair
from ....layers import Conv2d
from ....window import Window
from ..chunks import Calls, Chunk
from .lane import Lane, LaneValue, Limits, Total, as_numpy, bind, copy_pixels, rows, taps_of
from .sums import sum_calls

MIN_CHANNELS_TO_TRANSPOSE = 16  # output channels from which transposing dy gains more than it costs


class Conv2dLanes(Lane[Conv2d]):
    """y = kernel (F, K) @ windows (K, P), one product for each output row.

    Only the shifts along the width are copied: ``taps[h, kw, c] = x[c, h, ow*SW + kw]``, KW copies
    of x where im2col makes KH*KW. The window of output row oh is then ``taps[oh*SH : oh*SH + KH]``,
    which is contiguous, (K, P): the windows of all rows are a view with overlapping parts. For
    KH = 3 and stride 1:

                one block: C*P numbers
        row 0  | kw 0 | kw 1 | kw 2 |  .
        row 1  | kw 0 | kw 1 | kw 2 |  |  .
        row 2  | kw 0 | kw 1 | kw 2 |  '  |    window of output row 0: rows 0 to 2
        row 3  | kw 0 | kw 1 | kw 2 |     '    window of output row 1: rows 1 to 3

    So K is ordered (kh, kw, c), and the kernel is brought into that order once per step.

    Each product of the forward is small enough (F*K*P <= ``limits.gemm``) for OpenBLAS to run it
    without packing its operands first; where a row is not, it is cut as far as it can be.

    Where a pooling follows whose windows tile the image, y is stored by the taps of these windows
    (see ``LaneValue.tile``), so that the pooling sums long rows. That costs next to nothing: the
    copy of the taps brings the columns of a row into the order of y, and each part of a row that
    belongs to one tap has a product of its own. Tiles TH x TW = 2x2, OW = 6:

        columns of a row of taps      0   2   4 | 1   3   5
        output row 0, of y            tap (0, 0)| tap (0, 1)     two products
        output row 1                  tap (1, 0)| tap (1, 1)

    With few output channels the products are thin, and on some processors BLAS is slow. There one
    product makes a whole tile (``enlarged``). A tile of TH x TW outputs is TH*TW channels of a
    larger convolution: F*TH*TW filters, with the stride SH*TH and SW*TW. Its kernel holds the
    weights once per output, shifted by SH and SW; the rest is zero. For a 3x3 kernel w and tiles of
    2x2 these are four filters of 4x4:

        (0, 0)     (0, 1)     (1, 0)     (1, 1)     output of the tile

        w w w .    . w w w    . . . .    . . . .
        w w w .    . w w w    w w w .    . w w w
        w w w .    . w w w    w w w .    . w w w
        . . . .    . . . .    w w w .    . w w w

    F, OH, OW, KH, KW, SH and SW below belong to the larger convolution, whose TH and TW are 1: its
    output, as it is, is y by taps. Tiles of 2x2 take 1.44 times the operations for a 5x5 kernel;
    for the 6 channels of LeNet-5 forward and dkernel take 10.1 us per image, not 15.8 (AVX2).
    """

    def __init__(
        self,
        layer: Conv2d,
        x: LaneValue,
        limits: Limits,
        tile: Pair = (1, 1),
        enlarged: bool = False,
    ) -> None:
        self.tile = tile
        super().__init__(layer, x, limits)
        # A product makes a whole tile, or of one row what belongs to one tap.
        self.larger, self.steps = (tile, (1, 1)) if enlarged else ((1, 1), tile)
        c, self.h, self.w = x.shape
        window = layer.window
        (kh, kw), (sh, sw), (th, tw) = window.size, window.stride, self.larger
        size = kh + sh * (th - 1), kw + sw * (tw - 1)
        self.window = Window(size, (sh * th, sw * tw), window.padding)
        (kh, kw), (sh, sw) = self.window.size, self.window.stride
        f, oh, ow = self.y.shape
        f, oh, ow = self.out_shape = f * th * tw, oh // th, ow // tw
        self.k = kh * kw * c
        frame = self.window.padded_size(self.h, self.w)
        self.padded = frame != (self.h, self.w)
        self.read_rows = (oh - 1) * sh + kh  # of the frame; what lies below is never read
        self.frame = self.scratch((c, *frame))
        self.taps = self.scratch((self.read_rows, kw, c, ow))
        self.out = self.y  # of the products; an operation that does more replaces y
        memory = limits.memory
        self.kernel = memory.zeros((f, kh, kw, c), x.dtype)
        self.bias = None if layer.bias is None else memory.empty((self.y.shape[0], 1), x.dtype)
        self.dkernel = Total(np.empty((self.k, f), x.dtype), limits)
        self.dbias = None if layer.bias is None else Total(as_numpy(layer.bias.grad), limits)
        self.products = self.scratch((oh * self.steps[1], self.k, f), per_image=False)
        self.dkernel_part = self.scratch((self.k, f), per_image=False)
        self.bias_part = self.scratch(self.y.shape[:1], per_image=False)
        self.dy_columns = self.scratch((oh, ow, f))  # used as (OH, OW, n, F)
        self.kernel_by_phase = memory.zeros((c, kw, kh, f), x.dtype)  # by h % SH, the last first
        # dx is made after dkernel, in the same memory: less to keep in the cache.
        self.dy_rows = self.scratch((oh, f, ow), buffer=self.dy_columns.buffer)
        self.dtaps = self.scratch((self.read_rows, c, kw, ow), buffer=self.taps.buffer)
        self.dframe = self.scratch((c, *frame))

    def begin(self) -> Calls:
        """Return the calls that bring the weights into the orders that the products take."""
        weight, kernel = as_numpy(self.layer.weight.data), self.kernel
        parts = self.weights_in(kernel.transpose(0, 3, 1, 2))
        calls: Calls = [partial(np.copyto, part, weight) for part in parts]
        if self.bias is not None and self.layer.bias is not None:
            bias = as_numpy(self.layer.bias.data)
            calls.append(partial(np.copyto, self.bias, bias[:, None]))
        if self.dx is not None:
            by_row, sh = kernel.transpose(3, 2, 1, 0), self.window.stride[0]
            for phase, own in self.phases():
                target, source = self.kernel_by_phase[:, :, own], by_row[:, :, phase::sh]
                calls.append(partial(np.copyto, target, source[:, :, ::-1]))
        return calls

    def weights_in(self, kernel: np.ndarray) -> list[np.ndarray]:
        """Return where in a kernel (F, C, KH, KW) the layer's weights are, once for each output."""
        window, taps = self.layer.window, prod(self.larger)
        (kh, kw), (sh, sw) = window.size, window.stride
        corners = [(sh * i, sw * j) for i in range(self.larger[0]) for j in range(self.larger[1])]
        return [kernel[tap::taps, :, i : i + kh, j : j + kw] for tap, (i, j) in enumerate(corners)]

    def end(self, chunks: list[Chunk]) -> Calls:
        f, kh, kw, c = self.kernel.shape
        dkernel = self.dkernel.array.reshape(kh, kw, c, f).transpose(3, 2, 0, 1)
        parts = self.weights_in(dkernel)
        return [*super().end(chunks), *sum_calls(parts, as_numpy(self.layer.weight.grad))]

    # ------------------------------------------------------------------ forward

    def windows(self, chunk: Chunk, steps: Pair) -> tuple[Calls, np.ndarray]:
        """Return the calls that copy the taps, and the view of the windows on them.

        The view is (OH/TH, TH, TW, K, P), with ``steps`` TH and TW: [i, a, b] belongs to the
        columns b, TW + b, ... of output row i*TH + a.
        """
        (_, oh, ow), (th, tw), (sh, sw) = self.out_shape, steps, self.window.stride
        calls: Calls = []
        frame = chunk[self.x]
        if self.padded:
            x, frame = frame, chunk[self.frame]
            inside = self.window.unpad(frame[None], self.h, self.w)[0]
            calls = [partial(frame.fill, 0), partial(np.copyto, inside, x)]
        taps = chunk[self.taps]
        h, kw, c, _, n = taps.shape
        taps = taps.reshape(h, kw, c, tw, ow // tw, n)
        c_step, h_step, w_step, n_step = frame.strides
        strides = h_step, w_step, c_step, sw * w_step, tw * sw * w_step, n_step
        shifted = as_strided(frame, taps.shape, strides)
        calls.append(copy_pixels(taps, shifted))
        row, _, k_step, column, _, number = taps.strides
        shape = oh // th, th, tw, self.k, ow // tw * n
        return calls, as_strided(taps, shape, (th * sh * row, sh * row, column, k_step, number))

    def forward(self, chunk: Chunk) -> Calls:
        (f, oh, ow), (th, tw) = self.out_shape, self.steps
        calls, windows = self.windows(chunk, self.steps)
        y = chunk[self.out]
        cuts = self.cuts(f * self.k * chunk.lanes, ow // tw)
        split = np.moveaxis(windows.reshape(*windows.shape[:-1], cuts, -1), 4, 3)
        out = y.reshape(f, th, tw, oh // th, cuts, -1).transpose(3, 1, 2, 4, 0, 5)
        calls.append(bind(np.matmul, self.kernel.reshape(f, -1), split, out=out))
        if self.bias is not None:
            calls.append(bind(np.add, rows(y), self.bias, out=rows(y)))
        return calls

    def cuts(self, work: int, columns: int) -> int:
        """Return into how many equal parts to cut a row whose columns cost ``work`` each."""
        fitting = (n for n in range(1, columns) if columns % n == 0)
        return next((n for n in fitting if work * columns // n <= self.limits.gemm), columns)

    # ------------------------------------------------------------------ backward

    def backward(self, chunk: Chunk) -> Calls:
        calls = self.weight_gradient(chunk) if self.trained else []
        if self.dbias is not None and self.trained:
            dy = rows(chunk[self.dy])
            total = partial(np.matmul, dy, np.ones(dy.shape[1], dy.dtype))
            calls += self.dbias.add(chunk, chunk[self.bias_part], total)
        if self.dx is not None:
            calls += self.tap_gradient(chunk) + self.input_gradient(chunk)
        return calls

    def weight_gradient(self, chunk: Chunk) -> Calls:
        """dkernel = sum over oh of windows[oh] (K, P) @ dy[oh]^T (P, F).

        The taps are cheaper to copy again than to keep. The fastest order of the operands depends
        on the BLAS and on F:

            AVX-512, many channels      dy is transposed first, and its columns are brought into
                                        the order of the pixels: 0.6 of the time with 16 channels
            otherwise, few channels     dkernel^T = dy @ windows^T: 0.9 of the time
            else                        as written above
        """
        f, oh, ow = self.out_shape
        dy = chunk[self.dy]
        transposed = f >= MIN_CHANNELS_TO_TRANSPOSE and self.limits.transpose
        th, tw = steps = (1, 1) if transposed else self.steps
        calls, windows = self.windows(chunk, steps)
        *batch, _, p = windows.shape
        if transposed:
            columns = chunk[self.dy_columns].reshape(oh, ow, chunk.lanes, f)
            by_tap = taps_of(columns.transpose(3, 0, 1, 2), self.steps)
            calls.append(partial(np.copyto, by_tap, dy.reshape(by_tap.shape)))
            columns = columns.reshape(*batch, p, f)
        else:
            columns = dy.reshape(f, th, tw, oh // th, p).transpose(3, 1, 2, 4, 0)
        products = chunk[self.products][: prod(batch)]
        if f < MIN_CHANNELS_TO_TRANSPOSE and not self.limits.transpose:
            products = products.reshape(-1, f, self.k)
            out, rows_first = products.reshape(*batch, f, self.k), windows.swapaxes(-1, -2)
            calls.append(bind(np.matmul, columns.swapaxes(-1, -2), rows_first, out=out))
            products = products.transpose(0, 2, 1)
        else:
            out = products.reshape(*batch, self.k, f)
            calls.append(bind(np.matmul, windows, columns, out=out))
        total = partial(np.add.reduce, products, axis=0)
        return calls + self.dkernel.add(chunk, chunk[self.dkernel_part], total)

    def phases(self) -> Iterator[tuple[int, slice]]:
        """Yield each h % SH, and which rows of ``kernel_by_phase`` reach such an h.

        These are every SHth row of the kernel, the last first.
        """
        begin = 0
        for phase in range(self.window.stride[0]):
            end = begin + len(range(phase, self.window.size[0], self.window.stride[0]))
            yield phase, slice(begin, end)
            begin = end

    def tap_gradient(self, chunk: Chunk) -> Calls:
        """dtaps[h] = sum over kh of kernel[kh]^T (C*KW, F) @ dy[(h - kh) / SH] (F, P).

        The sum is one product: the rows of dy that row h needs are neighbours, and for all h of a
        phase they are a view with overlapping parts of a copy of dy by rows. The rows next to a
        border need fewer rows of dy, so they have products of their own, each together with the row
        at the other border. For KH = 3, OH = 4, SH = 1, one product per letter:

            h              0    1    2    3    4    5
            rows of dy     0   0-1  0-2  1-3  2-3   3
            product        A    B    C    C    B    A

        With rows of zeros around dy one call would do, with 1.4 times the work for the second
        convolution of LeNet-5, and 1.3 times the time.
        """
        f, oh, ow = self.out_shape
        kw, sh = self.window.size[1], self.window.stride[0]
        c, p = self.x.shape[0], ow * chunk.lanes
        dy_rows = chunk[self.dy_rows]
        by_tap = taps_of(dy_rows.swapaxes(0, 1), self.steps)
        calls: Calls = [copy_pixels(by_tap, chunk[self.dy].reshape(by_tap.shape))]
        dy_rows = dy_rows.reshape(oh, f, p)
        for phase, own in self.phases():
            dtaps = chunk[self.dtaps].reshape(self.read_rows, c * kw, p)[phase::sh]
            kernel = self.kernel_by_phase[:, :, own].reshape(c * kw, -1, f).transpose(1, 0, 2)
            kernel_rows = len(kernel)
            if not kernel_rows:  # between the windows
                calls.append(partial(dtaps.fill, 0))
            longest = min(kernel_rows, oh)
            for size in range(1, longest + 1):  # rows of dy in a product
                count = 2 if size < longest else abs(oh - kernel_rows) + 1
                last = oh + kernel_rows - 1 - size
                taps = spread(kernel, kernel_rows - size, 0, size, count).transpose(0, 2, 1, 3)
                window = spread(dy_rows, 0, oh - size, size, count)
                (out,) = spread(dtaps, size - 1, last, 1, count).swapaxes(0, 1)
                taps, window = taps.reshape(count, c * kw, -1), window.reshape(count, -1, p)
                calls.append(bind(np.matmul, taps, window, out=out))
        return calls

    def input_gradient(self, chunk: Chunk) -> Calls:
        """dx[c, h, ow*SW + kw] = the sum of dtaps[h, c, kw, ow]: the transpose of the copy."""
        assert self.dx is not None
        _, _, ow = self.out_shape
        dx, dtaps = chunk[self.dx], chunk[self.dtaps].transpose(2, 1, 0, 3, 4)  # (KW, C, H, OW, n)
        frame = chunk[self.dframe] if self.padded else dx
        first, *others = zip(dtaps, self.window.slices(1, ow), strict=True)
        targets = frame[:, : self.read_rows]
        calls: Calls = [partial(frame.fill, 0)]
        if self.window.stride[1] == 1:  # the first tap sets, and what it leaves out is zero
            calls = [partial(np.copyto, targets[:, :, first[1]], first[0])]
            left_out = [targets[:, :, ow:], frame[:, self.read_rows :]]
            calls += [partial(part.fill, 0) for part in left_out if part.size]
        else:
            others = [first, *others]
        for tap, columns in others:
            calls.append(bind(np.add, targets[:, :, columns], tap, out=targets[:, :, columns]))
        if self.padded:
            inside = self.window.unpad(frame[None], self.h, self.w)[0]
            calls.append(partial(np.copyto, dx, inside))
        return calls

    def make_output(self, shape: tuple[int, ...]) -> LaneValue:
        return LaneValue(shape, self.x.dtype, disposable=True, tile=self.tile)


def spread(array: np.ndarray, first: int, last: int, size: int, count: int) -> np.ndarray:
    """Return ``count`` evenly placed parts of an array, of ``size`` each, as (count, size, ...).

    The first one begins at ``first``, the last one at ``last``.
    """
    step = (last - first) // max(1, count - 1)
    shape, strides = (count, size, *array.shape[1:]), (step * array.strides[0], *array.strides)
    return as_strided(array[first:], shape, strides)
