# ruff: noqa: E501
"""Backward of the convolution: answers."""

from __future__ import annotations

DW = 'np.einsum("nfhw,nchw->fc", dy, pixels)'
WRONG = [
    (DW, DW + " / len(x)", "dweight", "is divided by N"),
    (DW, "-" + DW, "dweight", "wrong sign"),
    ("self.weight.grad[:, :, kh, kw] +=", "self.weight.grad[:, :, kh, kw] =", "dweight", "add it with +="),
    (DW, 'np.einsum("fhw,chw->fc", dy[0], pixels[0])', "dweight", "only the first image counts"),
    ("self.weight.grad[:, :, kh, kw]", "self.weight.grad[:, :, -1 - kh, -1 - kw]", "dweight", "is flipped"),
    ("            self.weight.grad[:, :, kh, kw] += " + DW, "            pass", "dweight", "nothing is added"),
    (DW, 'np.einsum("nfhw,nchw->fc", dy, pixels) / (dy.shape[2] * dy.shape[3])', "dweight", "is divided by OH*OW"),
    ("        padded = self.pad(x)\n        dpadded", "        p, q = self.padding\n        padded = np.pad(x, ((0, 0), (0, 0), (0, 2 * p), (0, 2 * q)))\n        dpadded", "dweight, stride and padding", "x must be padded as in forward"),
    ("dpadded[:, :, rows, columns] +=", "dpadded[:, :, rows, columns] =", "dx", "add with +="),
    ("weight = self.weight.data[:, :, kh, kw]", "weight = self.weight.data[:, :, -1 - kh, -1 - kw]", "dx", "the kernel is flipped"),
    ("return dpadded[:, :, top : top + height, left : left + width]", "return dpadded", "dx, stride and padding", "the padding must be cut off"),
    ("return dpadded[:, :, top : top + height, left : left + width]", "return dpadded[:, :, :height, :width]", "dx, stride and padding", "cut off at the wrong side"),
    ("return dpadded[:, :, top : top + height, left : left + width]", "return -dpadded[:, :, top : top + height, left : left + width]", "dx", "wrong sign"),
    ('np.einsum("fc,nfhw->nchw", weight, dy)', 'np.einsum("c,nhw->nchw", weight[0], dy[:, 0])', "dx", "only the first filter counts"),
    ('np.einsum("fc,nfhw->nchw", weight, dy)', 'np.einsum("fc,nfhw->nchw", np.ones_like(weight), dy)', "dx", "weight is not used"),
    ("self.bias.grad += dy.sum(axis=(0, 2, 3))", "self.bias.grad += dy.mean(axis=(0, 2, 3))", "dbias", "is a mean"),
    ("self.bias.grad += dy.sum(axis=(0, 2, 3))", "self.bias.grad += dy.sum(axis=(0, 2, 3)) / len(dy)", "dbias", "is divided by N"),
    ("self.bias.grad += dy.sum(axis=(0, 2, 3))", "self.bias.grad += dy[0].sum(axis=(1, 2))", "dbias", "only the first image counts"),
    ("self.bias.grad += dy.sum(axis=(0, 2, 3))", "self.bias.grad += dy.sum()", "dbias", "sums over the filters, too"),
    ("self.bias.grad += dy.sum(axis=(0, 2, 3))", "pass", "dbias", "nothing is added to bias.grad"),
    ("dpadded = np.zeros(padded.shape, dy.dtype)", "dpadded = np.zeros(padded.shape, dy.dtype); dy *= 1.5", "dx", "writes over an array"),
]  # fmt: skip

RIGHT = {
    "loops over windows": """
def backward(self, dy):
    (x,) = self.recall(dy)
    padded = self.pad(x)
    dpadded = np.zeros(padded.shape)
    for n in range(dy.shape[0]):
        for f in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    a, b, g = i * self.stride[0], j * self.stride[1], dy[n, f, i, j]
                    rows, columns = slice(a, a + self.kernel[0]), slice(b, b + self.kernel[1])
                    self.weight.grad[f] += g * padded[n, :, rows, columns]
                    dpadded[n, :, rows, columns] += g * self.weight.data[f]
                    if self.bias is not None:
                        self.bias.grad[f] += g
    p, q = self.padding
    return dpadded[:, :, p : dpadded.shape[2] - p, q : dpadded.shape[3] - q]
Conv2d.backward = backward
""",
    "tensordot": """
def backward(self, dy):
    (x,) = self.recall(dy)
    padded = self.pad(x)
    dpadded = np.zeros_like(padded)
    for (kh, kw), rows, columns in self.taps(*dy.shape[2:]):
        pixels = padded[:, :, rows, columns]
        self.weight.grad[:, :, kh, kw] += np.tensordot(dy, pixels, ((0, 2, 3), (0, 2, 3)))
        share = np.tensordot(dy, self.weight.data[:, :, kh, kw], (1, 0))
        dpadded[:, :, rows, columns] += share.transpose(0, 3, 1, 2)
    if self.bias is not None:
        self.bias.grad += dy.sum((0, 2, 3))
    (p, q), (h, w) = self.padding, x.shape[2:]
    return dpadded[:, :, p : p + h, q : q + w]
Conv2d.backward = backward
""",
    "dilated dy correlated with the flipped kernel": """
def backward(self, dy):
    (x,) = self.recall(dy)
    (kh, kw), (sh, sw), (p, q) = self.kernel, self.stride, self.padding
    n, f, oh, ow = dy.shape
    h, w = x.shape[2] + 2 * p, x.shape[3] + 2 * q
    wide = np.zeros((n, f, h + kh - 1, w + kw - 1))
    wide[:, :, kh - 1 : kh - 1 + sh * (oh - 1) + 1 : sh, kw - 1 : kw - 1 + sw * (ow - 1) + 1 : sw] = dy
    view = np.lib.stride_tricks.sliding_window_view(wide, (kh, kw), (2, 3))
    flipped = self.weight.data[:, :, ::-1, ::-1]
    dpadded = np.einsum("nfhwij,fcij->nchw", view, flipped)
    windows = np.lib.stride_tricks.sliding_window_view(self.pad(x), (kh, kw), (2, 3))
    windows = windows[:, :, ::sh, ::sw]
    self.weight.grad += np.einsum("nfhw,nchwij->fcij", dy, windows)
    if self.bias is not None:
        self.bias.grad += dy.reshape(n, f, -1).sum(axis=2).sum(axis=0)
    return dpadded[:, :, p : h - p, q : w - q]
Conv2d.backward = backward
""",
    "im2col and col2im": """
def backward(self, dy):
    (x,) = self.recall(dy)
    n, f, oh, ow = dy.shape
    padded = self.pad(x)
    cols = np.stack([padded[:, :, r, c] for _, r, c in self.taps(oh, ow)], axis=2)
    k = cols.reshape(n, -1, oh * ow)
    flat = dy.reshape(n, f, oh * ow)
    for image in range(n):
        self.weight.grad += (flat[image] @ k[image].T).reshape(self.weight.grad.shape)
    if self.bias is not None:
        self.bias.grad += flat.sum(axis=(0, 2))
    dcols = (self.weight.data.reshape(f, -1).T @ flat).reshape(cols.shape)
    dpadded = np.zeros_like(padded)
    for place, (_, r, c) in enumerate(self.taps(oh, ow)):
        dpadded[:, :, r, c] += dcols[:, :, place]
    (a, b), (h, w) = self.padding, x.shape[2:]
    return dpadded[:, :, a : a + h, b : b + w].copy()
Conv2d.backward = backward
""",
    "np.add.at": """
def backward(self, dy):
    (x,) = self.recall(dy)
    n, f, oh, ow = dy.shape
    padded = self.pad(x)
    i = np.arange(self.kernel[0])[:, None, None, None] + self.stride[0] * np.arange(oh)[:, None]
    j = np.arange(self.kernel[1])[:, None, None] + self.stride[1] * np.arange(ow)
    windows = padded[:, :, i, j]
    self.weight.grad += np.einsum("nfpq,ncklpq->fckl", dy, windows)
    if self.bias is not None:
        self.bias.grad += np.einsum("nfpq->f", dy)
    dpadded = np.zeros_like(padded)
    np.add.at(dpadded, (slice(None), slice(None), i, j), np.einsum("nfpq,fckl->ncklpq", dy, self.weight.data))
    (a, b), (h, w) = self.padding, x.shape[2:]
    return dpadded[:, :, a : a + h, b : b + w]
Conv2d.backward = backward
""",
}
