# ruff: noqa: E501
"""Dropout: answers."""

from __future__ import annotations

MASK = "(self.rng.random(x.shape) >= self.p) / (1.0 - self.p)"
WRONG = [
    (MASK, "(self.rng.random(x.shape) >= self.p) * 1.0", "scale", "not scaled"),
    (MASK, "(self.rng.random(x.shape) >= self.p) / self.p", "scale", "the scale is 1 / p"),
    (MASK, "(self.rng.random(x.shape) >= self.p) * (1.0 - self.p)", "scale", "divide by it"),
    (MASK, "(self.rng.random(x.shape) < self.p) / (1.0 - self.p)", "share of values dropped", "kept with probability p"),
    (MASK, "(self.rng.random(x.shape) >= 0.5) / (1.0 - self.p)", "share of values dropped", "half of the values"),
    (MASK, "np.ones_like(x)", "share of values dropped", "nothing is dropped"),
    (MASK, "(self.rng.random(x.shape[1:]) >= self.p) / (1.0 - self.p) * np.ones_like(x)", "each value on its own", "one mask for all images"),
    (MASK, "(self.rng.random((len(x), 1, 1)) >= self.p) / (1.0 - self.p) * np.ones_like(x)", "each value on its own", "whole images are dropped"),
    (MASK, "(np.random.default_rng(0).random(x.shape) >= self.p) / (1.0 - self.p)", "each value on its own", "a second forward draws the same mask"),
    (MASK, "(np.random.random(x.shape) >= self.p) / (1.0 - self.p)", "random generator", "draw from self.rng"),
    ("return dy * mask", "return dy", "backward", "the mask is missing"),
    ("return dy * mask", "return dy * (mask > 0)", "backward", "the scale is missing"),
    ("return dy * mask", "return dy * (self.rng.random(dy.shape) >= self.p) / (1 - self.p)", "backward", "a new mask is drawn"),
    ("return dy * mask", "return dy * (mask == 0) / (1 - self.p)", "backward", "the mask is inverted"),
    ("        if not self.training:\n", "        if False:\n", "evaluation", "values are dropped"),
    ("return self.remember(x, np.ones_like(x))", "return self.remember(x * (1 - self.p), np.ones_like(x))", "evaluation", "multiplied by 1 - p"),
]  # fmt: skip

RIGHT = {
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
