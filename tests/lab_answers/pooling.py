# ruff: noqa: E501
"""Average pooling: answers."""

from __future__ import annotations

WRONG = [
    ("        y /= kh * kw\n", "", "forward, 2x2", "the divisor 4 is missing"),
    ("        y /= kh * kw\n", "        y /= kh\n", "forward, 2x2", "is divided by KH only"),
    ("y += padded[", "y[...] = padded[", "forward, 2x2", "only the last pixel of each window counts"),
    ("y += padded[:, :, i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw]", "window = padded[:, :, i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw]; y = window * (kh * kw) if i + j == 0 else np.maximum(y, window * (kh * kw))", "forward, 2x2", "is the maximum of each window"),
    ("        y /= kh * kw\n", "        ones = np.pad(np.ones_like(x), ((0, 0), (0, 0), (ph, ph), (pw, pw)))\n        y /= sum(ones[:, :, i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw] for i in range(kh) for j in range(kw))\n", "forward, padding", "the divisor leaves the padding out"),
    ("(ph, ph), (pw, pw)))\n        y", "(ph, ph), (pw, pw)), 'edge')\n        y", "forward, padding", "the padding is not zero"),
    ("j : j + sw * (ow - 1) + 1 : sw]\n        y", "j : j + kw * (ow - 1) + 1 : kw]\n        y", "forward, windows that overlap or leave gaps", "could not be broadcast"),
    ("        share = dy / (kh * kw)\n", "        share = dy\n", "backward, 2x2", "the divisor 4 is missing"),
    ("        share = dy / (kh * kw)\n", "        share = dy / (kh * kw) ** 2\n", "backward, 2x2", "is divided by 4 twice"),
    ("j + sw * (ow - 1) + 1 : sw] += share", "j + sw * (ow - 1) + 1 : sw] = share", "backward, windows that overlap or leave gaps", "where windows overlap"),
    ("        for i in range(kh):\n            for j in range(kw):\n                rows", "        for i in range(1):\n            share = dy\n            for j in range(1):\n                rows", "backward, 2x2", "only the first pixel of each window"),
    ("return dpadded[:, :, ph : ph + h, pw : pw + w]", "return dpadded", "backward, padding", "the padding must be cut off"),
    ("return dpadded[:, :, ph : ph + h, pw : pw + w]", "return dpadded[:, :, :h, :w]", "backward, padding", "cut off at the wrong side"),
    ("return dpadded[:, :, ph : ph + h, pw : pw + w]", "return -dpadded[:, :, ph : ph + h, pw : pw + w]", "backward, 2x2", "wrong sign"),
]  # fmt: skip

RIGHT = {
    "loops": """
def forward(self, x):
    oh, ow = self.output_size(*x.shape[2:])
    padded = np.pad(x, ((0, 0), (0, 0), (self.padding[0],) * 2, (self.padding[1],) * 2))
    y = np.empty((*x.shape[:2], oh, ow))
    for i in range(oh):
        for j in range(ow):
            a, b = i * self.stride[0], j * self.stride[1]
            y[:, :, i, j] = padded[:, :, a : a + self.kernel[0], b : b + self.kernel[1]].mean((2, 3))
    return self.remember(y, x.shape)
AvgPool2d.forward = forward
""",
    "sliding_window_view": """
def forward(self, x):
    padded = np.pad(x, ((0, 0), (0, 0), (self.padding[0],) * 2, (self.padding[1],) * 2))
    view = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, (2, 3))
    y = view[:, :, :: self.stride[0], :: self.stride[1]].mean(axis=(-2, -1))
    return self.remember(y, x.shape)
AvgPool2d.forward = forward
""",
    "sums of columns, then of rows": """
def forward(self, x):
    (kh, kw), (sh, sw) = self.kernel, self.stride
    oh, ow = self.output_size(*x.shape[2:])
    p = np.pad(x, ((0, 0), (0, 0), (self.padding[0],) * 2, (self.padding[1],) * 2))
    rows = sum(p[:, :, i : i + sh * (oh - 1) + 1 : sh] for i in range(kh))
    y = sum(rows[..., j : j + sw * (ow - 1) + 1 : sw] for j in range(kw)) / kh / kw
    return self.remember(y, x.shape)
AvgPool2d.forward = forward
""",
    "running sums": """
def forward(self, x):
    (kh, kw), (sh, sw) = self.kernel, self.stride
    oh, ow = self.output_size(*x.shape[2:])
    p = np.pad(x, ((0, 0), (0, 0), (self.padding[0],) * 2, (self.padding[1],) * 2))
    s = np.pad(p, ((0, 0), (0, 0), (1, 0), (1, 0))).cumsum(2).cumsum(3)
    a, b = np.arange(oh) * sh, np.arange(ow) * sw
    at = lambda i, j: s[:, :, i[:, None], j]
    y = at(a + kh, b + kw) - at(a, b + kw) - at(a + kh, b) + at(a, b)
    return self.remember(y / (kh * kw), x.shape)
AvgPool2d.forward = forward
""",
    "backward window by window": """
def backward(self, dy):
    (shape,) = self.recall(dy)
    n, c, h, w = shape
    (p, q), (kh, kw) = self.padding, self.kernel
    big = np.zeros((n, c, h + 2 * p, w + 2 * q))
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            a, b = i * self.stride[0], j * self.stride[1]
            big[:, :, a : a + kh, b : b + kw] += dy[:, :, i : i + 1, j : j + 1] / (kh * kw)
    return big[:, :, p : p + h, q : q + w]
AvgPool2d.backward = backward
""",
    "both as products with matrices": """
def matrix(self, size, axis):
    k, s, p = self.kernel[axis], self.stride[axis], self.padding[axis]
    out = (size + 2 * p - k) // s + 1
    m = np.zeros((out, size))
    for o in range(out):
        for t in range(o * s - p, o * s - p + k):
            if 0 <= t < size:
                m[o, t] = 1 / k
    return m
def forward(self, x):
    self.a, self.b = matrix(self, x.shape[2], 0), matrix(self, x.shape[3], 1)
    return self.a @ x @ self.b.T
def backward(self, dy):
    return self.a.T @ dy @ self.b
AvgPool2d.forward, AvgPool2d.backward = forward, backward
""",
}
