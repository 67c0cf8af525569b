"""Element-wise nonlinearities. Each backward is dx = dy * f'(x)."""

from __future__ import annotations

from ..backend import Array
from .base import Layer


class ReLU(Layer):
    """y = max(x, 0); dx = dy where x > 0, else 0 (at the kink x = 0 too)."""

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.backend.xp.maximum(x, 0)
        return self.remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self.recall(dy)
        return dy * (y > 0)


class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope * x; dx = dy times the same slope."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        self.check(x)
        positive = x > 0
        return self.remember(self.backend.xp.where(positive, x, self.negative_slope * x), positive)

    def backward(self, dy: Array) -> Array:
        (positive,) = self.recall(dy)
        return self.backend.xp.where(positive, dy, self.negative_slope * dy)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)); y' = y * (1 - y).

    Computed as (1 + tanh(x / 2)) / 2, the same function, which overflows for no x.
    """

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = 0.5 * (1.0 + self.backend.xp.tanh(0.5 * x))
        return self.remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self.recall(dy)
        return dy * y * (1.0 - y)


class Tanh(Layer):
    """y = tanh(x); y' = 1 - y^2."""

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.backend.xp.tanh(x)
        return self.remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self.recall(dy)
        return dy * (1.0 - y * y)
