"""Convolution backward: three gradients. The forward is given, written without im2col.

Shapes: x, dx (N, C, H, W)    weight (F, C, KH, KW)    bias (F,)    y, dy (N, F, OH, OW)
A size, a stride or a padding is a pair (height, width).
"""

import numpy as np

from nplenet.layers import Layer, Parameter


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

    def pad(self, x):
        """Return x (N, C, H, W) with zeros around it."""
        rows, columns = self.padding
        return np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))

    def taps(self, out_height, out_width):
        """Yield each place (kh, kw) in a window, and which padded pixels all windows have there."""
        (rows, columns), (down, right) = self.kernel, self.stride
        for kh in range(rows):
            for kw in range(columns):
                yield (
                    (kh, kw),
                    slice(kh, kh + down * (out_height - 1) + 1, down),
                    slice(kw, kw + right * (out_width - 1) + 1, right),
                )

    def forward(self, x):
        """Return y, the sum over all taps of weight[:, :, kh, kw] times the pixels there."""
        padded = self.pad(x)
        n, _, height, width = padded.shape
        out = [
            (size - k) // s + 1
            for size, k, s in zip((height, width), self.kernel, self.stride, strict=True)
        ]
        y = np.zeros((n, len(self.weight.data), *out), x.dtype)
        for (kh, kw), rows, columns in self.taps(*out):
            pixels = padded[:, :, rows, columns]  # (N, C, OH, OW)
            y += np.einsum("fc,nchw->nfhw", self.weight.data[:, :, kh, kw], pixels)
        if self.bias is not None:
            y += self.bias.data[:, None, None]
        return self.remember(y, x)

    def backward(self, dy):
        """Add to self.weight.grad and self.bias.grad; return dx, (N, C, H, W)."""
        (x,) = self.recall(dy)
        # Your code: the loop of forward once more. Each tap adds to one place (kh, kw) of
        #   weight.grad, and to the padded pixels that it read. Cut the padding off at the end.
        padded = self.pad(x)
        dpadded = np.zeros(padded.shape, dy.dtype)
        for (kh, kw), rows, columns in self.taps(*dy.shape[2:]):
            pixels = padded[:, :, rows, columns]
            self.weight.grad[:, :, kh, kw] += np.einsum("nfhw,nchw->fc", dy, pixels)
            weight = self.weight.data[:, :, kh, kw]
            dpadded[:, :, rows, columns] += np.einsum("fc,nfhw->nchw", weight, dy)
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=(0, 2, 3))
        (top, left), (height, width) = self.padding, x.shape[2:]
        return dpadded[:, :, top : top + height, left : left + width]
        # End of your code
