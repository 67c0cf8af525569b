# ruff: noqa: E501
"""Convolution with im2col: answers."""

from __future__ import annotations

WRONG = [
    ("(size + 2 * p - k) // s + 1", "(size + 2 * p - k) // s", "output size", "the + 1 is missing"),
    ("(size + 2 * p - k) // s + 1", "(size + 2 * p - k + 1) // s", "output size", "the + 1 belongs after the division"),
    ("(size + 2 * p - k) // s + 1", "(size + p - k) // s + 1", "output size", "padding counts on one side"),
    ("(size + 2 * p - k) // s + 1", "(size + 2 * p - k) + 1", "output size", "stride is not used"),
    ("(size + 2 * p - k) // s + 1", "(size + 2 * p - k) / s + 1", "output size", "divide with //"),
    ("(height, width), kernel", "(width, height), kernel", "output size", "height and width are exchanged"),
    ("self.weight.data.reshape(f, -1)", "self.weight.data.reshape(-1, f).T", "forward", "reshape it to (F, C*KH*KW)"),
    ("np.empty((n, c, kh, kw, oh, ow), x.dtype)\n", "np.empty((n, c, kw, kh, oh, ow), x.dtype)\n", "im2col, stride and padding", "out of bounds"),
    ("return cols.reshape(n, c * kh * kw, oh * ow)", "return cols.transpose(0, 2, 3, 1, 4, 5).reshape(n, -1, oh * ow)", "im2col", "in the order (kh, kw, c)"),
    ("return cols.reshape(n, c * kh * kw, oh * ow)", "return cols.reshape(n, c * kh * kw, oh * ow).swapaxes(1, 2)", "im2col", "each window is a column, not a row"),
    ("return cols.reshape(n, c * kh * kw, oh * ow)", "return cols.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, oh * ow)", "im2col", "in the order (c, kw, kh)"),
    ("cols[:, :, i, j] =", "cols[:, :, kh - 1 - i, kw - 1 - j] =", "im2col", "the windows are flipped"),
    ("(ph, ph), (pw, pw)))\n", "(ph, ph), (pw, pw)), 'edge')\n", "im2col, stride and padding", "the padding is not zero"),
    ("slice(i, i + sh * oh, sh), slice(j, j + sw * ow, sw)", "slice(i, i + oh), slice(j, j + ow)", "im2col, stride and padding", "stride is not used"),
    ("slice(j, j + sw * ow, sw)", "slice(j, j + sw + ow, sw)", "im2col, stride and padding", "could not broadcast"),
    ("        if self.bias is not None:\n            y = y + self.bias.data[:, None]\n", "", "forward", "the bias is missing"),
    ("y = y + self.bias.data[:, None]", "y = y + self.bias.data[0]", "forward", "one bias is added to all filters"),
    ("self.weight.data.reshape(f, -1)", "self.weight.data[:, :, ::-1, ::-1].reshape(f, -1)", "forward", "the kernel is flipped"),
    ("return y.reshape(n, f, oh, ow)", "return y", "forward", "y must be an image"),
    ("return y.reshape(n, f, oh, ow)", "return y.reshape(n, f, oh, ow).transpose(0, 2, 3, 1)", "forward", "the channels must be the second axis"),
    ("self.kernel, self.stride, self.padding)\n        y", "self.kernel, self.stride, (0, 0))\n        y", "forward, stride and padding", "reshape"),
]  # fmt: skip

RIGHT = {
    "loops over windows": """
def im2col(x, kernel, stride, padding):
    n, c, h, w = x.shape
    oh, ow = output_size(h, w, kernel, stride, padding)
    padded = np.zeros((n, c, h + 2 * padding[0], w + 2 * padding[1]), x.dtype)
    padded[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = x
    columns = []
    for i in range(oh):
        for j in range(ow):
            top, left = i * stride[0], j * stride[1]
            window = padded[:, :, top : top + kernel[0], left : left + kernel[1]]
            columns.append(window.reshape(n, -1))
    return np.stack(columns, axis=2)
""",
    "sliding_window_view": """
def im2col(x, kernel, stride, padding):
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    view = np.lib.stride_tricks.sliding_window_view(padded, kernel, (2, 3))
    view = view[:, :, :: stride[0], :: stride[1]]
    n, c, oh, ow, kh, kw = view.shape
    return view.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * kh * kw, oh * ow)
""",
    "indices": """
def im2col(x, kernel, stride, padding):
    n, c, h, w = x.shape
    oh, ow = output_size(h, w, kernel, stride, padding)
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    i = np.arange(kernel[0])[:, None, None, None] + stride[0] * np.arange(oh)[:, None]
    j = np.arange(kernel[1])[:, None, None] + stride[1] * np.arange(ow)
    return padded[:, :, i, j].reshape(n, -1, oh * ow)
""",
    "as_strided": """
def im2col(x, kernel, stride, padding):
    n, c, h, w = x.shape
    oh, ow = output_size(h, w, kernel, stride, padding)
    p = np.ascontiguousarray(np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2)))
    a, b, s, t = p.strides
    shape = (n, c, *kernel, oh, ow)
    steps = (a, b, s, t, s * stride[0], t * stride[1])
    return np.lib.stride_tricks.as_strided(p, shape, steps).reshape(n, -1, oh * ow).copy()
""",
    "forward with einsum": """
def forward(self, x):
    n, c, h, w = x.shape
    oh, ow = output_size(h, w, self.kernel, self.stride, self.padding)
    cols = im2col(x, self.kernel, self.stride, self.padding).reshape(n, c, *self.kernel, oh, ow)
    y = np.einsum("fckl,ncklpq->nfpq", self.weight.data, cols)
    return y if self.bias is None else y + self.bias.data[None, :, None, None]
Conv2d.forward = forward
""",
    "forward with one product for the batch": """
def forward(self, x):
    n, c, h, w = x.shape
    oh, ow = output_size(h, w, self.kernel, self.stride, self.padding)
    cols = im2col(x, self.kernel, self.stride, self.padding).transpose(1, 2, 0)
    f = len(self.weight.data)
    y = self.weight.data.reshape(f, -1) @ cols.reshape(cols.shape[0], -1)
    if self.bias is not None:
        y += self.bias.data.reshape(-1, 1)
    return np.moveaxis(y.reshape(f, oh, ow, n), -1, 0)
Conv2d.forward = forward
""",
    "forward without im2col, with an output size of lists": """
def output_size(height, width, kernel, stride, padding):
    return [
        len(range(0, height + 2 * padding[0] - kernel[0] + 1, stride[0])),
        len(range(0, width + 2 * padding[1] - kernel[1] + 1, stride[1])),
    ]
def forward(self, x):
    n, c, h, w = x.shape
    oh, ow = output_size(h, w, self.kernel, self.stride, self.padding)
    padded = np.pad(x, ((0, 0), (0, 0), (self.padding[0],) * 2, (self.padding[1],) * 2))
    y = np.zeros((n, len(self.weight.data), oh, ow))
    if self.bias is not None:
        y[:] = self.bias.data[:, None, None]
    for i in range(oh):
        for j in range(ow):
            a, b = i * self.stride[0], j * self.stride[1]
            window = padded[:, :, a : a + self.kernel[0], b : b + self.kernel[1]]
            y[:, :, i, j] += np.tensordot(window, self.weight.data, ((1, 2, 3), (1, 2, 3)))
    return y
Conv2d.forward = forward
""",
}
