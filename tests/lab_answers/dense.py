# ruff: noqa: E501
"""Dense layer: answers."""

from __future__ import annotations

WRONG = [
    ("        if self.bias is not None:\n            y = y + self.bias.data\n", "", "forward", "the bias is missing"),
    ("y = y + self.bias.data", "y = y - self.bias.data", "forward", "the bias is subtracted"),
    ("x @ self.weight.data.T", "x @ self.weight.data", "forward", "weight is not transposed"),
    ("x @ self.weight.data.T", "self.weight.data @ x", "forward", "the factors are exchanged"),
    ("x @ self.weight.data.T", "x @ self.weight", "forward", "the array of a Parameter is its `.data`"),
    ("y + self.bias.data", "y + self.bias", "forward", "the array of a Parameter is its `.data`"),
    ("if self.bias is not None:\n            y =", "if True:\n            y =", "forward", "self.bias is None in a layer without a bias"),
    ("return self.remember(y, x)", "return y", "backward, dx", "end forward with `return self.remember(y, ...)`"),
    ("return dy @ self.weight.data", "return self.weight.data @ dy", "backward, dx", "the factors are exchanged"),
    ("return dy @ self.weight.data", "return dy @ self.weight.data, self.weight.grad, dy", "backward, dx", "returns a tuple; return dx alone"),
    ("(x,) = self.recall(dy)", "x, y = self.recall(dy)", "backward, dx", "recall returns what `remember(y, ...)` has kept"),
    ("(x,) = self.recall(dy)", "x = self.recall(dy)[:] + 0", "backward, dx", "unpack a tuple first"),
    ("self.bias.grad += dy.sum(axis=0)", "self.bias.grad += dy.sum(axis=1)", "backward, dbias", "sums over the outputs, axis 1"),
    ("return self.remember(y, x)", "return self.remember(np.maximum(y, 0), x)", "forward", "a ReLU is applied"),
    ("return self.remember(y, x)", "self.remember(y, x)", "forward", "returns None"),
    ("return dy @ self.weight.data", "return dy @ self.weight.data.T", "backward, dx", "weight is transposed as in forward"),
    ("return dy @ self.weight.data", "return -dy @ self.weight.data", "backward, dx", "wrong sign"),
    ("return dy @ self.weight.data", "return dy @ self.weight.data / len(x)", "backward, dx", "5 times too small; 5 is N"),
    ("        return dy @ self.weight.data\n", "", "backward, dx", "returns None"),
    ("self.weight.grad += dy.T @ x", "self.weight.grad += (x.T @ dy)", "backward, dweight", "is transposed"),
    ("self.weight.grad += dy.T @ x", "self.weight.grad += dy.T @ x / len(x)", "backward, dweight", "is divided by N"),
    ("self.weight.grad += dy.T @ x", "self.weight.grad = dy.T @ x", "backward, dweight", "add it with +="),
    ("self.weight.grad += dy.T @ x", "self.weight.grad -= dy.T @ x", "backward, dweight", "wrong sign"),
    ("self.weight.grad += dy.T @ x", "pass", "backward, dweight", "nothing is added to weight.grad"),
    ("self.weight.grad += dy.T @ x", "self.weight.grad += np.outer(dy[0], x[0])", "backward, dweight", "only the first image counts"),
    ("self.bias.grad += dy.sum(axis=0)", "self.bias.grad += dy.mean(axis=0)", "backward, dbias", "is divided by N"),
    ("self.bias.grad += dy.sum(axis=0)", "self.bias.grad += dy.sum()", "backward, dbias", "sums over the outputs, too"),
    ("self.bias.grad += dy.sum(axis=0)", "self.bias.grad[...] = dy.sum(axis=0)", "backward, dbias", "add it with +="),
    ("self.bias.grad += dy.sum(axis=0)", "pass", "backward, dbias", "nothing is added to bias.grad"),
    ("        if self.bias is not None:\n            self.bias.grad", "        if True:\n            self.bias.grad", "backward, dx", "'NoneType' object has no attribute 'grad'"),
]  # fmt: skip

RIGHT = {
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
