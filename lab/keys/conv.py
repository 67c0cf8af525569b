"""Convolution forward as one matrix product: im2col lays the windows side by side.

Shapes: x (N, C, H, W)    weight (F, C, KH, KW)    bias (F,)    y (N, F, OH, OW)
A size, a stride or a padding is a pair (height, width).
"""

import numpy as np

from nplenet.layers import Layer, Parameter


def output_size(height, width, kernel, stride, padding):
    """Return (OH, OW): how many windows of size kernel fit into the padded image."""
    # Your code: one formula, for rows and for columns; divide whole numbers with //
    return tuple(
        (size + 2 * p - k) // s + 1
        for size, k, s, p in zip((height, width), kernel, stride, padding, strict=True)
    )
    # End of your code


def im2col(x, kernel, stride, padding):
    """Return the windows of x side by side, one per column: (N, C*KH*KW, OH*OW).

    Column oh*OW + ow holds the window whose corner is the row oh*stride - padding and the column
    ow*stride - padding; row (c*KH + kh)*KW + kw of it is the pixel (c, kh, kw) of the window, 0 on
    the padding.
    """
    # Your code: pad with zeros; then, for each of the KH*KW places in a window, copy what all
    #   windows have there, a slice with steps
    n, c, h, w = x.shape
    (kh, kw), (sh, sw), (ph, pw) = kernel, stride, padding
    oh, ow = output_size(h, w, kernel, stride, padding)
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    cols = np.empty((n, c, kh, kw, oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            rows, columns = slice(i, i + sh * oh, sh), slice(j, j + sw * ow, sw)
            cols[:, :, i, j] = padded[:, :, rows, columns][:, :, :oh, :ow]
    return cols.reshape(n, c * kh * kw, oh * ow)
    # End of your code


class Conv2d(Layer):
    ranks = (4,)

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=(1, 1),
        padding=(0, 0),
        bias=True,
        rng=None,
    ):
        super().__init__()
        self.kernel, self.stride, self.padding = kernel_size, stride, padding
        shape = (out_channels, in_channels, *kernel_size)
        scale = np.sqrt(2.0 / (in_channels * kernel_size[0] * kernel_size[1]))
        weight = scale * np.random.default_rng(rng).standard_normal(shape)
        self.weight = Parameter(weight.astype(np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x):
        """Return y, (N, F, OH, OW). (The backward is an assignment of its own.)"""
        # Your code: weight as a matrix (F, C*KH*KW), times the columns, plus the bias, unless
        #   self.bias is None; then the shape
        n, _, h, w = x.shape
        f = len(self.weight.data)
        oh, ow = output_size(h, w, self.kernel, self.stride, self.padding)
        y = self.weight.data.reshape(f, -1) @ im2col(x, self.kernel, self.stride, self.padding)
        if self.bias is not None:
            y = y + self.bias.data[:, None]
        return y.reshape(n, f, oh, ow)
        # End of your code
