"""The fully connected layer: every output sees every input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..attributes import size
from ..backend import Array
from ..checks import count, flag, generator_or_new
from ..parameter import Parameter
from .base import Layer
from .initialization import initial_bias, initial_weight
from .products import add_product, add_sums, matrix_product


class Dense(Layer):
    """Multiply by a matrix and add a bias.

        y = x @ weight^T + bias

    Backward: y[n, o] = sum over i of x[n, i] * weight[o, i] + bias[o], so

        dweight = dy^T @ x        dbias = sum of dy over n        dx = dy @ weight

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : float32 or float64
    rng : numpy.random.Generator or int, optional
        Draws the initial weights; an int is a seed; fresh entropy when left out.
    init : {"he", "xavier", "pytorch"}

    Shapes
    ------
    x (N, in_features); weight (out_features, in_features); bias (out_features,);
    y (N, out_features).
    """

    ranks = (2,)
    in_features: int = size(count)
    out_features: int = size(count)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
        init: str = "he",
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.channels = self.in_features
        bias, rng = flag(bias, "Dense: bias"), generator_or_new(rng, "Dense: rng")
        self.weight = Parameter(initial_weight((out_features, in_features), init, rng, dtype))
        self.bias = (
            Parameter(initial_bias(out_features, in_features, init, rng, dtype)) if bias else None
        )

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.backend.primitive(matrix_product, x, self.weight.data.T)
        if self.bias is not None:
            y += self.bias.data
        return self.remember(y, x)

    def backward(self, dy: Array) -> Array:
        (x,) = self.recall(dy)
        if self.weight.requires_grad:
            self.backend.primitive(add_product, self.weight.grad, dy.T, x)
        if self.bias is not None and self.bias.requires_grad:
            self.backend.primitive(add_sums, self.bias.grad, dy)
        if not self.input_gradient:
            return None
        return self.backend.primitive(matrix_product, dy, self.weight.data)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.check_shape(input_shape)
        return (input_shape[0], self.out_features)

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        return input_shape[0] * int(self.weight.data.size)

    def arguments(self) -> dict[str, Any]:
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias is not None,
        }
