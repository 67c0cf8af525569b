"""Softmax: from any numbers to shares of one."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..attributes import setting
from ..backend import Array
from ..checks import count
from .base import Layer


def softmax(xp: Any, x: Array, axis: int) -> Array:
    """Return exp(x) / sum of exp(x) along an axis; less the maximum, so that nothing overflows."""
    y = xp.exp(x - x.max(axis=axis, keepdims=True))
    y /= y.sum(axis=axis, keepdims=True)
    return y


def softmax_backward(xp: Any, dy: Array, y: Array, axis: int) -> Array:
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


class Softmax(Layer):
    """y[k] = exp(x[k]) / sum over j of exp(x[j]): positive numbers whose sum is 1.

    Backward: a larger x[k] makes y[k] larger and all others smaller: the derivative of y[j] with
    respect to x[k] is y[j] * ((j == k) - y[k]), so

        dx[k] = y[k] * (dy[k] - sum over j of dy[j] * y[j])

    ``CrossEntropyLoss`` takes the logits, before a softmax: it has its own, and a network that ends
    with this layer learns slowly.

    Parameters
    ----------
    dim : int
        The axis along which the shares sum to 1: not 0, the images; negative counts from the end.
    """

    dim: int = setting(partial(count, minimum=-64, maximum=64))

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.backend.primitive(softmax, x, self.dim)
        return self.remember(y, y)

    def backward(self, dy: Array) -> Array:
        (y,) = self.recall(dy)
        return self.backend.primitive(softmax_backward, dy, y, self.dim)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        super().check_shape(shape)
        if not -len(shape) < self.dim < len(shape) or self.dim == 0:
            raise ValueError(
                f"{self._label}: dim must be an axis after the batch axis, got an input of shape "
                f"{shape}"
            )

    def arguments(self) -> dict[str, Any]:
        return {"dim": self.dim}
