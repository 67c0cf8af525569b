"""From feature maps to one vector per image."""

from __future__ import annotations

import math

from ..backend import Array
from .base import Layer


class Flatten(Layer):
    """Reshape (N, C, H, W), or any rank, to (N, C*H*W); backward reshapes back."""

    def forward(self, x: Array) -> Array:
        self.check(x)
        return self.remember(x.reshape(self.output_shape(x.shape)), x.shape)

    def backward(self, dy: Array) -> Array:
        (x_shape,) = self.recall(dy)
        return dy.reshape(x_shape)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.check_shape(input_shape)
        return (input_shape[0], math.prod(input_shape[1:]))
