"""Average pooling: each window becomes its average.

Shapes: x, dx (N, C, H, W)    y, dy (N, C, OH, OW)
A size, a stride or a padding is a pair (height, width).
"""

import numpy as np

from nplenet.layers import Layer


class AvgPool2d(Layer):
    ranks = (4,)

    def __init__(self, kernel_size, stride=None, padding=(0, 0)):
        super().__init__()
        self.kernel, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def output_size(self, height, width):
        """Return (OH, OW)."""
        return tuple(
            (size + 2 * p - k) // s + 1
            for size, k, s, p in zip(
                (height, width), self.kernel, self.stride, self.padding, strict=True
            )
        )

    def output_shape(self, shape):
        return (*shape[:2], *self.output_size(*shape[2:]))

    def forward(self, x):
        """Return the average of each window of the padded image; the zeros of the padding count."""
        # Your code: end with: return self.remember(y, ...)
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding
        oh, ow = self.output_size(*x.shape[2:])
        padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        y = np.zeros((*x.shape[:2], oh, ow), x.dtype)
        for i in range(kh):
            for j in range(kw):
                y += padded[:, :, i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw]
        y /= kh * kw
        return self.remember(y, x.shape)
        # End of your code

    def backward(self, dy):
        """Return dx: a pixel gets a share of the dy of each window in which it lies."""
        # Your code:
        (shape,) = self.recall(dy)
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding
        (n, c, h, w), (oh, ow) = shape, dy.shape[2:]
        dpadded = np.zeros((n, c, h + 2 * ph, w + 2 * pw), dy.dtype)
        share = dy / (kh * kw)
        for i in range(kh):
            for j in range(kw):
                rows = slice(i, i + sh * (oh - 1) + 1, sh)
                dpadded[:, :, rows, j : j + sw * (ow - 1) + 1 : sw] += share
        return dpadded[:, :, ph : ph + h, pw : pw + w]
        # End of your code
