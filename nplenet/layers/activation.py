"""Element-wise nonlinearities. Each backward is dx = dy * f'(x)."""

from __future__ import annotations

from typing import Any

from ..attributes import setting
from ..backend import Array
from ..checks import number
from .base import Layer


def relu_backward(xp: Any, dy: Array, y: Array) -> Array:
    return xp.where(y <= 0, dy.dtype.type(0), dy)  # so NaN passes dy back


def leaky_relu(xp: Any, x: Array, slope: float) -> Array:
    return xp.where(x > 0, x, slope * x)


def leaky_relu_backward(xp: Any, dy: Array, x: Array, slope: float) -> Array:
    return xp.where(x > 0, dy, slope * dy)


def sigmoid(xp: Any, x: Array) -> Array:
    """Return 1 / (1 + exp(-x)); below 0 as exp(x) / (1 + exp(x)), so that exp overflows nowhere."""
    return xp.exp(xp.minimum(x, 0)) / (1.0 + xp.exp(-abs(x)))


def sigmoid_backward(xp: Any, dy: Array, y: Array) -> Array:
    return dy * y * (1.0 - y)


def tanh_backward(xp: Any, dy: Array, y: Array) -> Array:
    return dy * (1.0 - y * y)


class ReLU(Layer):
    """y = max(x, 0); dx = dy where x > 0, 0 elsewhere (also at the kink x = 0). NaN stays NaN."""

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.backend.xp.maximum(x, 0)
        return self.remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self.recall(dy)
        return self.backend.primitive(relu_backward, dy, y)


class LeakyReLU(Layer):
    """y = x where x > 0, negative_slope * x elsewhere; dx = dy times the same slope."""

    negative_slope: float = setting(number)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        self.check(x)
        return self.remember(self.backend.primitive(leaky_relu, x, self.negative_slope), x)

    def backward(self, dy: Array) -> Array:
        (x,) = self.recall(dy)
        return self.backend.primitive(leaky_relu_backward, dy, x, self.negative_slope)

    def arguments(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope}


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)); y' = y * (1 - y)."""

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.backend.primitive(sigmoid, x)
        return self.remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self.recall(dy)
        return self.backend.primitive(sigmoid_backward, dy, y)


class Tanh(Layer):
    """y = tanh(x); y' = 1 - y^2."""

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.backend.xp.tanh(x)
        return self.remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self.recall(dy)
        return self.backend.primitive(tanh_backward, dy, y)
