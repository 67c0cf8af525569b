"""Group norm and layer norm: mean 0 and variance 1 within each image, then a scale and a shift.

Batch norm couples the images of a batch; these two don't. So they do the same in training and in
``eval``, and a batch may be as small as one image.

Both cut the numbers of an image into rows of M, and normalise each row. Legend: x, g, xhat, dx
(..., M); inverse_std (..., 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..attributes import setting, size
from ..backend import Array
from ..checks import count, flag, not_negative
from ..parameter import Parameter
from .base import Layer


def normalise(xp: Any, x: Array, eps: float) -> tuple[Array, Array]:
    """Return xhat = (x - mean) / sqrt(var + eps) of each row, and 1 / sqrt(var + eps)."""
    centered = x - x.mean(axis=-1, keepdims=True)
    var = (centered * centered).mean(axis=-1, keepdims=True)
    inverse_std = 1 / xp.sqrt(var + eps)
    return centered * inverse_std, inverse_std


def normalise_backward(xp: Any, g: Array, xhat: Array, inverse_std: Array) -> Array:
    """Return dx for g = dL/dxhat: g less its parts along the constant and along xhat.

    Moving x in these two directions does not change xhat; ``_BatchNorm`` has the derivation.
    """
    mean_g = g.mean(axis=-1, keepdims=True)
    mean_g_xhat = (g * xhat).mean(axis=-1, keepdims=True)
    return (g - mean_g - xhat * mean_g_xhat) * inverse_std


class GroupNorm(Layer):
    r"""Normalise the channels of each image in G groups (Wu & He, 2018).

        a row of M = C/G*H*W numbers: the channels of one group in one image
        xhat = (x - mean(row)) / sqrt(var(row) + eps)        y = weight[c] * xhat + bias[c]

    Backward: dbias and dweight are the sums of dy and of dy * xhat over all but the channel. With
    g = dy * weight[c], dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + eps), with means
    over the row.

    Parameters
    ----------
    num_groups, num_channels : int
        G and C; G divides C. G = 1 normalises each image as a whole, G = C each channel apart.
    eps : float
        Prevents a division by zero for a constant row.
    affine : bool
        Whether there are weight and bias.
    dtype : float32 or float64

    Shapes
    ------
    x, y (N, C, H, W), (N, C, L) or (N, C); weight, bias (C,).
    """

    ranks = (2, 3, 4)
    num_channels: int = size(count)
    num_groups: int = setting(count)
    eps: float = setting(not_negative)
    affine: bool = size(flag)

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.num_groups, self.num_channels = num_groups, num_channels
        self.channels, self.eps, self.affine = self.num_channels, eps, affine
        self.check_shape((1, num_channels))
        self.weight = Parameter(np.ones(num_channels, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, dtype)) if affine else None

    def forward(self, x: Array) -> Array:
        self.check(x)
        xhat, inverse_std = self.backend.primitive(normalise, self._rows(x), self.eps)
        xhat = y = xhat.reshape(x.shape)
        if self.weight is not None and self.bias is not None:
            y = xhat * self._column(self.weight, x) + self._column(self.bias, x)
        return self.remember(y, xhat, inverse_std)

    def backward(self, dy: Array) -> Array:
        xhat, inverse_std = self.recall(dy)
        g = dy
        if self.weight is not None and self.bias is not None:
            others = (0, *range(2, dy.ndim))
            self.weight.grad += (dy * xhat).sum(axis=others)
            self.bias.grad += dy.sum(axis=others)
            g = dy * self._column(self.weight, dy)
        rows = self._rows(g), self._rows(xhat)
        return self.backend.primitive(normalise_backward, *rows, inverse_std).reshape(dy.shape)

    def _rows(self, x: Array) -> Array:
        """Return ``x`` as (N, G, M)."""
        return x.reshape(len(x), self.num_groups, math.prod(x.shape[1:]) // self.num_groups)

    def _column(self, parameter: Parameter, x: Array) -> Array:
        """Return (C,) as (C, 1, ...), which broadcasts against ``x``."""
        return parameter.data.reshape(-1, *[1] * (x.ndim - 2))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        super().check_shape(shape)
        if self.num_channels % self.num_groups:  # it may have been assigned
            raise ValueError(
                f"{self._label}: num_groups must divide num_channels, "
                f"got {self.num_groups} for {self.num_channels}"
            )

    def arguments(self) -> dict[str, Any]:
        sizes = {"num_groups": self.num_groups, "num_channels": self.num_channels}
        return sizes | {"eps": self.eps, "affine": self.affine}


def _sizes(value: Any, name: str) -> tuple[int, ...]:
    sizes = tuple(count(n, name) for n in (value if isinstance(value, (tuple, list)) else [value]))
    if not sizes:
        raise ValueError(f"{name} must name at least one axis")
    return sizes


class LayerNorm(Layer):
    r"""Normalise the last axes of x, as many as ``normalized_shape`` has (Ba et al., 2016).

        a row: the M numbers of the last axes, at one place of the first axes
        xhat = (x - mean(row)) / sqrt(var(row) + eps)        y = weight * xhat + bias

    weight and bias have a number for each place in the row. Backward: dbias and dweight are the
    sums of dy and of dy * xhat over the first axes; dx is ``GroupNorm``'s.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The sizes of the last axes; an int for one.
    eps : float
    elementwise_affine : bool
        Whether there are weight and bias.
    bias : bool
        Whether there is a bias beside the weight.
    dtype : float32 or float64

    Shapes
    ------
    x, y (N, ..., S); weight, bias (S); S are the sizes in normalized_shape.
    """

    normalized_shape: tuple[int, ...] = size(_sizes)
    eps: float = setting(not_negative)

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.normalized_shape = normalized_shape  # type: ignore[assignment]  # becomes a tuple
        self.eps = eps
        affine = flag(elementwise_affine, "LayerNorm: elementwise_affine")
        shift = flag(bias, "LayerNorm: bias") and affine
        self.weight = Parameter(np.ones(self.normalized_shape, dtype)) if affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, dtype)) if shift else None

    def forward(self, x: Array) -> Array:
        self.check(x)
        xhat, inverse_std = self.backend.primitive(normalise, self._rows(x), self.eps)
        xhat = y = xhat.reshape(x.shape)
        if self.weight is not None:
            y = xhat * self.weight.data
        if self.bias is not None:
            y = y + self.bias.data
        return self.remember(y, xhat, inverse_std)

    def backward(self, dy: Array) -> Array:
        xhat, inverse_std = self.recall(dy)
        first = tuple(range(dy.ndim - len(self.normalized_shape)))
        g = dy
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=first)
        if self.weight is not None:
            self.weight.grad += (dy * xhat).sum(axis=first)
            g = dy * self.weight.data
        rows = self._rows(g), self._rows(xhat)
        return self.backend.primitive(normalise_backward, *rows, inverse_std).reshape(dy.shape)

    def _rows(self, x: Array) -> Array:
        """Return ``x`` as (N, ..., M)."""
        first = x.shape[: x.ndim - len(self.normalized_shape)]
        return x.reshape(*first, math.prod(self.normalized_shape))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        super().check_shape(shape)
        own = self.normalized_shape
        if len(shape) <= len(own) or tuple(shape[-len(own) :]) != own:
            raise ValueError(
                f"{self._label}: takes an input (N, ...) whose last axes are {own}, "
                f"got one of shape {shape}"
            )

    def arguments(self) -> dict[str, Any]:
        return {
            "normalized_shape": self.normalized_shape,
            "eps": self.eps,
            "elementwise_affine": self.weight is not None,
            "bias": self.bias is not None,
        }
