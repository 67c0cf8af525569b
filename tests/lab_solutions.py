# ruff: noqa: E501
"""Right but unusual answers of the lab: text that stands behind the key and replaces functions."""

from __future__ import annotations

DENSE = {
    "loops": """
def forward(self, x):
    y = np.zeros((len(x), len(self.weight.data)), x.dtype)
    for n in range(len(x)):
        for o in range(y.shape[1]):
            y[n, o] = sum(self.weight.data[o, i] * x[n, i] for i in range(x.shape[1]))
            if self.bias is not None:
                y[n, o] += self.bias.data[o]
    return self.remember(y, x)
Dense.forward = forward
""",
    "einsum": """
def backward(self, dy):
    (x,) = self.recall(dy)
    self.weight.grad += np.einsum("no,ni->oi", dy, x)
    if self.bias is not None:
        self.bias.grad += np.einsum("no->o", dy)
    return np.einsum("no,oi->ni", dy, self.weight.data)
Dense.backward = backward
""",
    "attributes of its own in place of remember": """
def forward(self, x):
    self.x = x
    y = np.dot(x, self.weight.data.T)
    return y if self.bias is None else np.add(y, self.bias.data, out=y)
def backward(self, dy):
    self.weight.grad = self.weight.grad + dy.T.dot(self.x)
    if self.bias is not None:
        self.bias.grad = self.bias.grad + np.ones(len(dy)) @ dy
    return dy.dot(self.weight.data)
Dense.forward, Dense.backward = forward, backward
""",
    "float64 inside": """
def forward(self, x):
    y = x.astype(np.float64) @ self.weight.data.T.astype(np.float64)
    if self.bias is not None:
        y += self.bias.data
    return self.remember(y.astype(x.dtype), x)
Dense.forward = forward
""",
    "float32 inside": """
def forward(self, x):
    y = x.astype(np.float32) @ self.weight.data.T.astype(np.float32)
    if self.bias is not None:
        y += self.bias.data.astype(np.float32)
    return self.remember(y, x)
Dense.forward = forward
""",
    "image by image, dx first": """
def backward(self, dy):
    (x,) = self.recall(dy)
    dx = np.stack([self.weight.data.T @ row for row in dy])
    for row, image in zip(dy, x):
        if self.bias is not None:
            self.bias.grad += row
        self.weight.grad += np.outer(row, image)
    return dx
Dense.backward = backward
""",
}

ACTIVATIONS = {
    "mask of booleans": """
def forward(self, x):
    y = x.copy()
    y[x < 0] = 0
    return self.remember(y, x > 0)
def backward(self, dy):
    (mask,) = self.recall(dy)
    dx = dy.copy()
    dx[~mask] = 0
    return dx
ReLU.forward, ReLU.backward = forward, backward
""",
    "half of x plus |x|": """
def forward(self, x):
    return self.remember((x + np.abs(x)) / 2, x)
def backward(self, dy):
    (x,) = self.recall(dy)
    return dy * np.heaviside(x, 0)
ReLU.forward, ReLU.backward = forward, backward
""",
    "loops over a flat copy": """
def forward(self, x):
    y = np.array([v if v > 0 else 0.0 for v in x.ravel()]).reshape(x.shape)
    return self.remember(y, y)
def backward(self, dy):
    (y,) = self.recall(dy)
    return np.array([d if v > 0 else 0.0 for d, v in zip(dy.flat, y.flat)]).reshape(dy.shape)
ReLU.forward, ReLU.backward = forward, backward
""",
    "sigmoid by tanh": """
def forward(self, x):
    self.y = 0.5 * (1 + np.tanh(x / 2))
    return self.y
def backward(self, dy):
    return dy * (self.y - self.y**2)
Sigmoid.forward, Sigmoid.backward = forward, backward
""",
    "sigmoid with clipped exponent": """
def forward(self, x):
    y = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
    return self.remember(y, y)
Sigmoid.forward = forward
""",
    "leaky ReLU by maximum and minimum": """
def forward(self, x):
    return self.remember(np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0), x)
def backward(self, dy):
    (x,) = self.recall(dy)
    slope = np.full(x.shape, self.negative_slope)
    slope[x > 0] = 1
    slope *= dy
    return slope
LeakyReLU.forward, LeakyReLU.backward = forward, backward
""",
    "tanh by exponentials, derivative by cosh": """
def forward(self, x):
    e = np.exp(-2 * np.abs(x))
    return self.remember(np.sign(x) * (1 - e) / (1 + e), x)
def backward(self, dy):
    (x,) = self.recall(dy)
    return dy / np.cosh(x) ** 2
Tanh.forward, Tanh.backward = forward, backward
""",
}

CROSS_ENTROPY = {
    "softmax by rows": """
def softmax(logits):
    rows = []
    for row in logits:
        e = np.exp(row - max(row))
        rows.append(e / sum(e))
    return np.array(rows)
""",
    "softmax by exp of log softmax": """
def softmax(logits):
    return np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
""",
    "softmax with logits transposed": """
def softmax(logits):
    z = logits.T - logits.max(1)
    return (np.exp(z) / np.exp(z).sum(0)).T
""",
    "loss image by image, a Python float": """
def forward(self, logits, targets):
    self.logits, self.targets = logits, targets
    s, k = self.label_smoothing, logits.shape[1]
    total = 0.0
    for z, target in zip(logits, targets):
        z = z - z.max()
        log_p = z - np.log(np.exp(z).sum())
        total -= (1 - s) * log_p[target] + s * log_p.mean()
    return float(total / len(logits))
def backward(self):
    p = softmax(self.logits)
    s, (n, k) = self.label_smoothing, p.shape
    for i in range(n):
        p[i] -= s / k
        p[i, self.targets[i]] -= 1 - s
    return p / n
CrossEntropyLoss.forward, CrossEntropyLoss.backward = forward, backward
""",
    "logaddexp and one-hot by comparison": """
def forward(self, logits, targets):
    log_p = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
    k = logits.shape[1]
    one = np.arange(k) == targets[:, None]
    t = (1 - self.label_smoothing) * one + self.label_smoothing / k
    self.gradient = (np.exp(log_p) - t) / len(logits)
    return np.mean(np.sum(-t * log_p, axis=1))
def backward(self):
    return self.gradient
CrossEntropyLoss.forward, CrossEntropyLoss.backward = forward, backward
""",
    "gradient through the Jacobian": """
def backward(self):
    n = len(self.p)
    rows = []
    for p, t in zip(self.p, self.t):
        jacobian = np.diag(p) - np.outer(p, p)
        rows.append(jacobian @ (-t / p) / n)
    return np.array(rows)
CrossEntropyLoss.backward = backward
""",
}

OPTIMIZERS = {
    "loops over elements": """
def step(self):
    for p, m in zip(self.params, self.moments):
        for i in np.ndindex(p.data.shape):
            m[i] = self.momentum * m[i] + p.grad[i] + self.weight_decay * p.data[i]
            p.data[i] = p.data[i] - self.lr * m[i]
SGD.step = step
""",
    "moments made at the first step": """
def step(self):
    if not hasattr(self, "velocity"):
        self.velocity = {}
    for i, p in enumerate(self.params):
        g = p.grad + self.weight_decay * p.data
        self.velocity[i] = g + self.momentum * self.velocity.get(i, 0)
        p.data[...] = p.data - self.lr * self.velocity[i]
SGD.step = step
""",
    "a step kept as a negative velocity": """
def step(self):
    for p, v in zip(self.params, self.moments):
        v[...] = self.momentum * v - (p.grad + self.weight_decay * p.data)
        p.data += self.lr * v
SGD.step = step
""",
    "the corrections as scalars, as in the library": """
def step(self):
    self.k += 1
    b1, b2 = self.betas
    c1, c2 = 1 - b1**self.k, np.sqrt(1 - b2**self.k)
    for i, p in enumerate(self.params):
        self.m[i] = b1 * self.m[i] + (1 - b1) * p.grad
        self.v[i] = b2 * self.v[i] + (1 - b2) * p.grad * p.grad
        p.data -= self.lr * c2 / c1 * self.m[i] / (np.sqrt(self.v[i]) + self.eps * c2)
Adam.step = step
""",
    "weighted sums over all gradients": """
def step(self):
    self.history = [*getattr(self, "history", []), [p.grad.copy() for p in self.params]]
    b1, b2 = self.betas
    k = len(self.history)
    for i, p in enumerate(self.params):
        w1 = [(1 - b1) * b1 ** (k - 1 - j) / (1 - b1**k) for j in range(k)]
        w2 = [(1 - b2) * b2 ** (k - 1 - j) / (1 - b2**k) for j in range(k)]
        m = sum(w * g[i] for w, g in zip(w1, self.history))
        v = sum(w * g[i] ** 2 for w, g in zip(w2, self.history))
        p.data -= self.lr * m / (v**0.5 + self.eps)
Adam.step = step
""",
    "AdamW with the decay in one expression": """
def step(self):
    old = [p.data.copy() for p in self.params]
    Adam.step(self)
    for p, before in zip(self.params, old):
        p.data -= self.lr * self.weight_decay * before
AdamW.step = step
""",
}

CONV = {
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

CONV_BACKWARD = {
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

POOLING = {
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

BATCH_NORM = {
    "channel by channel": """
def forward(self, x):
    y = np.empty_like(x)
    self.saved = []
    for c in range(x.shape[1]):
        values = x[:, c]
        if self.training:
            mean, var = values.mean(), ((values - values.mean()) ** 2).mean()
            m = values.size
            self.running_mean[c] = (1 - self.momentum) * self.running_mean[c] + self.momentum * mean
            self.running_var[c] = (1 - self.momentum) * self.running_var[c] + self.momentum * var * m / (m - 1)
        else:
            mean, var = self.running_mean[c], self.running_var[c]
        std = np.sqrt(var + self.eps)
        xhat = (values - mean) / std
        y[:, c] = self.weight.data[c] * xhat + self.bias.data[c]
        self.saved.append((xhat, std))
    self.was_training = self.training
    return y
def backward(self, dy):
    dx = np.empty_like(dy)
    for c, (xhat, std) in enumerate(self.saved):
        d = dy[:, c]
        self.bias.grad[c] += d.sum()
        self.weight.grad[c] += (d * xhat).sum()
        g = d * self.weight.data[c]
        if self.was_training:
            g = g - g.mean() - xhat * (g * xhat).mean()
        dx[:, c] = g / std
    return dx
BatchNorm2d.forward, BatchNorm2d.backward = forward, backward
""",
    "mean of squares less square of mean": """
def forward(self, x):
    if self.training:
        mean = x.mean((0, 2, 3))
        var = (x * x).mean((0, 2, 3)) - mean**2
        m = x[:, 0].size
        self.running_mean = self.running_mean * (1 - self.momentum) + self.momentum * mean
        self.running_var = self.running_var * (1 - self.momentum) + self.momentum * var * m / (m - 1)
    else:
        mean, var = self.running_mean, self.running_var
    inverse = 1 / np.sqrt(var + self.eps)
    scale = self.weight.data * inverse
    y = x * column(scale) + column(self.bias.data - mean * scale)
    return self.remember(y, (x - column(mean)) * column(inverse), inverse, self.training)
BatchNorm2d.forward = forward
""",
    "two dimensions": """
def forward(self, x):
    n, c, h, w = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, c)
    if self.training:
        mean, var = rows.mean(0), rows.var(0)
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (rows.var(0, ddof=1) - self.running_var)
    else:
        mean, var = self.running_mean, self.running_var
    inverse_std = (var + self.eps) ** -0.5
    xhat = (rows - mean) * inverse_std
    back = lambda a: a.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    y = back(xhat * self.weight.data + self.bias.data)
    return self.remember(y, back(xhat), inverse_std, self.training)
BatchNorm2d.forward = forward
""",
    "backward through mean and variance": """
def backward(self, dy):
    xhat, inverse_std, training = self.recall(dy)
    axes = (0, 2, 3)
    m = dy.size / dy.shape[1]
    self.bias.grad += dy.sum(axes)
    self.weight.grad += np.einsum("nchw,nchw->c", dy, xhat)
    dxhat = dy * column(self.weight.data)
    if not training:
        return dxhat * column(inverse_std)
    centered = xhat / column(inverse_std)
    dvar = (dxhat * centered).sum(axes) * -0.5 * inverse_std**3
    dmean = -(dxhat.sum(axes)) * inverse_std + dvar * (-2 * centered).sum(axes) / m
    return dxhat * column(inverse_std) + column(dvar) * 2 * centered / m + column(dmean) / m
BatchNorm2d.backward = backward
""",
    "the formula of the paper's followers": """
def backward(self, dy):
    xhat, inverse_std, training = self.recall(dy)
    m = dy.size // dy.shape[1]
    db, dw = dy.sum((0, 2, 3)), (dy * xhat).sum((0, 2, 3))
    self.bias.grad = self.bias.grad + db
    self.weight.grad = self.weight.grad + dw
    scale = column(self.weight.data * inverse_std)
    if training:
        return scale / m * (m * dy - column(db) - xhat * column(dw))
    return scale * dy
BatchNorm2d.backward = backward
""",
}

DROPOUT = {
    "indices": """
def forward(self, x):
    self.factor = np.ones(x.shape)
    if self.training:
        self.factor[:] = 1 / (1 - self.p)
        self.factor[self.rng.random(x.shape) < self.p] = 0
    return x * self.factor
def backward(self, dy):
    return dy * self.factor
Dropout.forward, Dropout.backward = forward, backward
""",
    "binomial": """
def forward(self, x):
    if not self.training:
        return self.remember(x, 1.0)
    mask = self.rng.binomial(1, 1 - self.p, x.shape) / (1 - self.p)
    return self.remember(x * mask, mask)
Dropout.forward = forward
""",
    "where": """
def forward(self, x):
    if not self.training or self.p == 0:
        return self.remember(x.copy(), None)
    kept = self.rng.uniform(size=x.shape) > self.p
    return self.remember(np.where(kept, x / (1 - self.p), 0), kept)
def backward(self, dy):
    (kept,) = self.recall(dy)
    return dy.copy() if kept is None else np.where(kept, dy / (1 - self.p), 0)
Dropout.forward, Dropout.backward = forward, backward
""",
    "integers against a threshold": """
def forward(self, x):
    if not self.training:
        return self.remember(x, np.array(1.0))
    words = self.rng.integers(0, 2**32, x.shape, dtype=np.uint64)
    mask = (words >= round(self.p * 2**32)).astype(x.dtype) / (1 - self.p)
    return self.remember(x * mask, mask)
Dropout.forward = forward
""",
    "loops, the upper values dropped": """
def forward(self, x):
    y = x.copy()
    self.mask = np.ones(x.size)
    if self.training:
        for i, u in enumerate(self.rng.random(x.size)):
            self.mask[i] = 0.0 if u >= 1 - self.p else 1 / (1 - self.p)
    self.mask = self.mask.reshape(x.shape)
    y *= self.mask
    return y
def backward(self, dy):
    return self.mask * dy
Dropout.forward, Dropout.backward = forward, backward
""",
}

ROTATION = {
    "loops over pixels": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    out = np.full(images.shape, fill, np.uint8)
    for i in range(n):
        a = np.deg2rad(angles[i])
        for row in range(h):
            for column in range(w):
                x, y = column + 0.5 - w / 2, row + 0.5 - h / 2
                sx = int(np.floor(np.cos(a) * x - np.sin(a) * y + w / 2))
                sy = int(np.floor(np.sin(a) * x + np.cos(a) * y + h / 2))
                if 0 <= sx < w and 0 <= sy < h:
                    out[i, :, row, column] = images[i, :, sy, sx]
    return out
""",
    "rounding pixel numbers": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    out = np.full_like(images, fill)
    y, x = np.indices((h, w), float)
    y -= (h - 1) / 2
    x -= (w - 1) / 2
    for image, result, angle in zip(images, out, np.radians(angles)):
        sx = np.rint(np.cos(angle) * x - np.sin(angle) * y + (w - 1) / 2).astype(int)
        sy = np.rint(np.sin(angle) * x + np.cos(angle) * y + (h - 1) / 2).astype(int)
        ok = (sx >= 0) & (sx < w) & (sy >= 0) & (sy < h)
        result[:, ok] = image[:, sy[ok], sx[ok]]
    return out
""",
    "complex numbers": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    z = np.arange(w) + 0.5 - w / 2 + 1j * (np.arange(h) + 0.5 - h / 2)[:, None]
    out = []
    for image, angle in zip(images, angles):
        source = z * np.exp(1j * np.pi * angle / 180)
        x, y = np.floor(source.real + w / 2), np.floor(source.imag + h / 2)
        bad = (x < 0) | (x >= w) | (y < 0) | (y >= h)
        x, y = np.where(bad, 0, x).astype(int), np.where(bad, 0, y).astype(int)
        turned = image[:, y, x]
        turned[:, bad] = fill
        out.append(turned)
    return np.stack(out)
""",
    "a frame of fill": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=fill)
    rows, columns = np.mgrid[:h, :w] + 0.5
    a = np.radians(angles)[:, None, None]
    x = np.cos(a) * (columns - w / 2) - np.sin(a) * (rows - h / 2) + w / 2
    y = np.sin(a) * (columns - w / 2) + np.cos(a) * (rows - h / 2) + h / 2
    x = np.clip(np.floor(x), -1, w).astype(int) + 1
    y = np.clip(np.floor(y), -1, h).astype(int) + 1
    return framed[np.arange(n)[:, None, None], :, y, x].transpose(0, 3, 1, 2)
""",
    "a matrix of 2x2": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h))).reshape(2, -1) + 0.5
    center = np.array([[w / 2], [h / 2]])
    flat = images.reshape(n, c, h * w)
    out = np.full_like(flat, fill)
    for i, angle in enumerate(np.radians(angles)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        x, y = np.floor(turn @ (grid - center) + center).astype(int)
        ok = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        out[i][:, ok] = flat[i][:, y[ok] * w + x[ok]]
    return out.reshape(n, c, h, w)
""",
}

KERNEL = "__global__ void average_pool_2x2(const float* x, float* y, int images, int H, int W)\n"
CUDA = {
    "long long and a while loop": """{
    const long long total = (long long)images * (H / 2) * (W / 2);
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    while (i < total) {
        const int ow = i % (W / 2), oh = i / (W / 2) % (H / 2);
        const long long image = i / (W / 2) / (H / 2);
        const float* p = x + (image * H + 2 * oh) * W + 2 * ow;
        y[i] = 0.25f * (p[0] + p[1] + p[W] + p[W + 1]);
        i += (long long)gridDim.x * blockDim.x;
    }
}
""",
    "a loop over the window": """{
    const int total = images * (H / 2) * (W / 2);
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        const int ow = i % (W / 2), oh = i / (W / 2) % (H / 2), n = i / (W / 2) / (H / 2);
        float sum = 0.0f;
        for (int kh = 0; kh < 2; ++kh)
            for (int kw = 0; kw < 2; ++kw) sum += x[(n * H + 2 * oh + kh) * W + 2 * ow + kw];
        y[i] = sum / 4.0f;
    }
}
""",
    "the first thread does everything": """{
    if (blockIdx.x != 0 || threadIdx.x != 0) return;
    for (int n = 0; n < images; ++n)
        for (int oh = 0; oh < H / 2; ++oh)
            for (int ow = 0; ow < W / 2; ++ow) {
                const float* p = x + n * H * W + 2 * oh * W + 2 * ow;
                y[(n * (H / 2) + oh) * (W / 2) + ow] = (p[0] + p[1] + p[W] + p[W + 1]) / 4;
            }
}
""",
    "an image per block": """{
    const int OH = H / 2, OW = W / 2;
    for (int n = blockIdx.x; n < images; n += gridDim.x)
        for (int i = threadIdx.x; i < OH * OW; i += blockDim.x) {
            const float* p = x + n * H * W + i / OW * 2 * W + i % OW * 2;
            y[n * OH * OW + i] = (p[0] + p[1] + p[W] + p[W + 1]) / 4;
        }
}
""",
    "pointers without brackets": """{
    const int OH = H / 2, OW = W / 2, step = gridDim.x * blockDim.x;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < images * OH * OW; i += step) {
        const float* p = x + (i / OW / OH * H + i / OW % OH * 2) * W + i % OW * 2;
        *(y + i) = (*p + *(p + 1) + *(p + W) + *(p + W + 1)) * 0.25f;
    }
}
""",
    "from the last value to the first": """{
    const int OH = H / 2, OW = W / 2, step = gridDim.x * blockDim.x;
    for (int i = images * OH * OW - 1 - (int)(blockIdx.x * blockDim.x + threadIdx.x); i >= 0; i -= step) {
        const int row = i / OW, image = row / OH;
        const float* p = x + (image * H + row % OH * 2) * W + i % OW * 2;
        y[i] = p[0] / 4 + p[1] / 4 + p[W] / 4 + p[W + 1] / 4;
    }
}
""",
}

SOLUTIONS = {
    "dense": DENSE,
    "activations": ACTIVATIONS,
    "cross-entropy": CROSS_ENTROPY,
    "optimizers": OPTIMIZERS,
    "conv": CONV,
    "conv-backward": CONV_BACKWARD,
    "pooling": POOLING,
    "batch-norm": BATCH_NORM,
    "dropout": DROPOUT,
    "rotation": ROTATION,
    "cuda": CUDA,
}
