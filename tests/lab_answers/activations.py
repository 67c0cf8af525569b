# ruff: noqa: E501
"""Activations: answers."""

from __future__ import annotations

WRONG = [
    ("np.maximum(x, 0), x", "np.abs(x), x", "ReLU, forward", "is |x|"),
    ("np.maximum(x, 0), x", "np.minimum(x, 0), x", "ReLU, forward", "is min(x, 0)"),
    ("np.maximum(x, 0), x", "np.maximum(x, 0, out=x), x", "ReLU, forward", "writes over an array"),
    ("return dy * (x > 0)", "return dy", "ReLU, backward", "the mask is missing"),
    ("return dy * (x > 0)", "return dy * (x < 0)", "ReLU, backward", "the mask is inverted"),
    ("return dy * (x > 0)", "return dy * (x >= 0)", "ReLU, backward", "at the kink x = 0"),
    ("return dy * (x > 0)", "return (x > 0) * 1.0", "ReLU, backward", "dy is missing"),
    ("return dy * (x > 0)", "return dy * np.maximum(x, 0)", "ReLU, backward", "multiplied by y"),
    ("return dy * (x > 0)", "return dy * (dy > 0)", "ReLU, backward", "must ask x > 0"),
    ("np.where(x > 0, x, self.negative_slope * x)", "np.where(x > 0, x, -self.negative_slope * x)", "LeakyReLU, forward", "the slope below 0 has the wrong sign"),
    ("np.where(x > 0, x, self.negative_slope * x)", "np.where(x > 0, x, 0.01 * x)", "LeakyReLU, forward", "use self.negative_slope"),
    ("np.where(x > 0, x, self.negative_slope * x)", "np.where(x > 0, x, self.negative_slope)", "LeakyReLU, forward", "below 0 it is the slope itself"),
    ("np.where(x > 0, dy, self.negative_slope * dy)", "np.where(x > 0, dy, 0)", "LeakyReLU, backward", "below 0 the gradient is 0"),
    ("np.where(x > 0, dy, self.negative_slope * dy)", "np.where(x > 0, dy, self.negative_slope)", "LeakyReLU, backward", "below 0 dy is missing"),
    ("y = np.where(x >= 0, 1.0, small) / (1.0 + small)", "y = 1 / (1 + np.exp(x))", "Sigmoid, forward", "the exponent has the wrong sign"),
    ("y = np.where(x >= 0, 1.0, small) / (1.0 + small)", "y = np.exp(x) / (1 + np.exp(x))", "Sigmoid, large inputs", "exp overflows"),
    ("y = np.where(x >= 0, 1.0, small) / (1.0 + small)", "y = 1 / (1 + np.exp(-x))", "Sigmoid, large inputs", "exp overflows"),
    ("y = np.where(x >= 0, 1.0, small) / (1.0 + small)", "y = np.where(x > 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x)))", "Sigmoid, large inputs", "np.where computes both"),
    ("return dy * y * (1.0 - y)", "return y * (1.0 - y)", "Sigmoid, backward", "dy is missing"),
    ("return dy * y * (1.0 - y)", "return dy * y * (1.0 + y)", "Sigmoid, backward", "a sign is wrong"),
    ("return dy * y * (1.0 - y)", "return dy * y", "Sigmoid, backward", "the factor 1 - y is missing"),
    ("y = np.tanh(x)", "y = np.tan(x)", "Tanh, forward", "is tan"),
    ("(1.0 - y * y)", "(1.0 - y)", "Tanh, backward", "the square is missing"),
    ("(1.0 - y * y)", "(1.0 + y * y)", "Tanh, backward", "a sign is wrong"),
]  # fmt: skip

RIGHT = {
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
