"""Batch normalisation: mean 0 and variance 1 for each channel, then a learned scale and shift.

Two sums couple the images of a batch in forward, two in backward. On several ranks, each with its
part of the batch, they go over all ranks. So the functions are cut at the sums: the layer passes
what one returns through ``group.sum`` to the next.

Legend: x, centered, y, dy, dx (N, C, L); weight, bias, inverse_std and running statistics (C,);
m numbers per channel, over all ranks (M in the formulas of ``_BatchNorm``). Sums are float64 with
an axis of parts in front, over which the next function adds them up: one part here, on a GPU one
per block of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..attributes import setting, size
from ..backend import Array
from ..checks import count, fraction, not_negative
from ..group import ALONE
from ..parameter import Parameter
from .base import Layer


def batch_norm_sums(xp: Any, x: Array, num_batches_tracked: Array) -> Array:
    """Return sum(x), (parts, C); and count the batch, in place.

    It is counted here because ``batch_norm_training`` reads the count for every channel: on a GPU
    no block of that launch may change it.
    """
    num_batches_tracked += 1
    return _channel_sum(x)[None]


def batch_norm_center(xp: Any, x: Array, sums: Array, m: int) -> tuple[Array, Array]:
    """Return x - mean, and the sum of its squares, (parts, C).

    Two passes over x: exact for |mean| >> deviation.
    """
    mean = sums.sum(axis=0) / m
    centered = x - _column(mean.astype(x.dtype))
    return centered, _channel_dot(xp, centered, centered)[None]


def batch_norm_training(
    xp: Any,
    centered: Array,
    sums: Array,
    squares: Array,
    m: int,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    num_batches_tracked: Array,
    momentum: float | None,
    eps: float,
) -> tuple[Array, Array]:
    """Return y and inverse_std = 1 / sqrt(var + eps), (C,); and track mean and var, in place."""
    mean, var = sums.sum(axis=0) / m, squares.sum(axis=0) / m
    fraction = 1.0 / num_batches_tracked if momentum is None else momentum
    running_mean += fraction * (mean - running_mean)
    running_var += fraction * (var * (m / (m - 1)) - running_var)
    inverse_std = 1.0 / xp.sqrt(var + eps)
    return _scale_and_shift(centered, inverse_std, weight, bias), inverse_std


def batch_norm_inference(
    xp: Any,
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    eps: float,
) -> tuple[Array, Array, Array]:
    """Return y, centered and inverse_std by the running statistics."""
    centered = x - _column(running_mean)
    inverse_std = 1.0 / xp.sqrt(running_var.astype(np.float64) + eps)
    return _scale_and_shift(centered, inverse_std, weight, bias), centered, inverse_std


def batch_norm_gradient_sums(xp: Any, dy: Array, centered: Array, inverse_std: Array) -> Array:
    """Return sum(dy) and sum(dy * xhat), (parts, 2, C)."""
    sums = xp.empty((1, 2, dy.shape[1]))
    sums[0, 0] = _channel_sum(dy)
    sums[0, 1] = inverse_std * _channel_dot(xp, dy, centered)
    return sums


def batch_norm_backward(
    xp: Any,
    dy: Array,
    centered: Array,
    inverse_std: Array,
    weight: Array,
    sums: Array,
    total: Array | None,
    m: int,
    dweight: Array,
    dbias: Array,
) -> Array:
    """Return dx; and add to dweight and dbias, in place.

    The parameters' gradients get the sums of this rank; dx needs ``total``, the sums of all ranks.
    ``total`` is None if the running statistics were used, which do not depend on x.
    """
    sum_dy, sum_dy_xhat = sums.sum(axis=0)
    dbias += sum_dy
    dweight += sum_dy_xhat
    scale = weight * inverse_std
    dx = dy * _column(scale.astype(dy.dtype))
    if total is not None:
        sum_dy, sum_dy_xhat = total.sum(axis=0)
        dx -= _column((scale * inverse_std * sum_dy_xhat / m).astype(dy.dtype)) * centered
        dx -= _column((scale * sum_dy / m).astype(dy.dtype))
    return dx


def _scale_and_shift(centered: Array, inverse_std: Array, weight: Array, bias: Array) -> Array:
    y = centered * _column((weight * inverse_std).astype(centered.dtype))
    y += _column(bias)
    return y


def _channel_sum(a: Array) -> Array:
    """Return the sum of each channel of ``a`` (N, C, L), the outer sum in float64."""
    return a.sum(axis=2).sum(axis=0, dtype=np.float64)


def _channel_dot(xp: Any, a: Array, b: Array) -> Array:
    """Return sum(a * b) of each channel, the outer sum in float64."""
    return xp.einsum("ncl,ncl->nc", a, b).sum(axis=0, dtype=np.float64)


def _column(channel_values: Array) -> Array:
    """Return (C,) as (C, 1), which broadcasts against (N, C, L)."""
    return channel_values[:, None]


def _momentum(value: Any, name: str) -> float | None:
    return None if value is None else fraction(value, name)


class _BatchNorm(Layer):
    r"""Normalise each channel over the M values it has in the batch (Ioffe & Szegedy, 2015).

        mean = sum(x) / M      var = sum((x - mean)^2) / M      xhat = (x - mean) / sqrt(var + eps)
        y = weight * xhat + bias

    Backward. mean and var depend on every x, so with g = dy * weight the chain rule gives

        dbias = sum(dy)        dweight = sum(dy * xhat)
        dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + eps)

    In words: dx is g less its parts along the constant and along xhat, because moving x in these
    two directions does not change y. In ``eval`` mean and var are constants, so
    dx = g / sqrt(var + eps).

    The running statistics are for ``eval``: running = (1 - momentum) * running + momentum * new,
    with the unbiased variance sum((x - mean)^2) / (M - 1), as PyTorch tracks it. ``momentum=None``
    averages over all batches alike.

    In training on several ranks (``group``) M counts the values on all ranks.

    Parameters
    ----------
    num_features : int
        C, the size of axis 1.
    eps : float
        Prevents a division by zero for a constant channel.
    momentum : float or None
        The weight of the new statistics, 0 to 1.
    dtype : float32 or float64
    """

    buffers = ("running_mean", "running_var", "num_batches_tracked")
    group = ALONE
    num_features: int = size(count)
    eps: float = setting(not_negative)
    momentum: float | None = setting(_momentum)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.channels, self.eps, self.momentum = self.num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, dtype))  # gamma in the paper
        self.bias = Parameter(np.zeros(num_features, dtype))  # beta in the paper
        self.running_mean: Array = np.zeros(num_features, dtype)
        self.running_var: Array = np.ones(num_features, dtype)
        self.num_batches_tracked: Array = np.zeros((), np.int64)

    def forward(self, x: Array) -> Array:
        self.check(x)
        values = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))  # (N, C, L)
        run, group, tracked = self.backend.primitive, self.group, self.num_batches_tracked
        arrays = (self.weight.data, self.bias.data, self.running_mean, self.running_var)
        if not self.training:
            y, centered, inverse_std = run(batch_norm_inference, values, *arrays, self.eps)
            return self.remember(y.reshape(x.shape), centered, inverse_std, 0)
        m = group.total(x.shape[0]) * values.shape[2]
        if m < 2:
            raise ValueError(
                f"{self._label}: needs more than one value per channel to train, got {x.shape}"
            )
        sums = group.sum(run(batch_norm_sums, values, tracked))
        centered, squares = run(batch_norm_center, values, sums, m)
        squares = group.sum(squares)
        state = (*arrays, tracked, self.momentum, self.eps)
        y, inverse_std = run(batch_norm_training, centered, sums, squares, m, *state)
        return self.remember(y.reshape(x.shape), centered, inverse_std, m)

    def backward(self, dy: Array) -> Array:
        centered, inverse_std, m = self.recall(dy)  # m is 0 in inference
        run, values = self.backend.primitive, dy.reshape(centered.shape)
        sums = run(batch_norm_gradient_sums, values, centered, inverse_std)
        total = self.group.summed(sums) if m > 0 else None
        arrays = (centered, inverse_std, self.weight.data)
        gradients = (self.weight.grad, self.bias.grad)
        dx = run(batch_norm_backward, values, *arrays, sums, total, m, *gradients)
        return dx.reshape(dy.shape)

    def arguments(self) -> dict[str, Any]:
        return {"num_features": self.num_features, "eps": self.eps, "momentum": self.momentum}


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images: x, y (N, C, H, W), M = N*H*W. See ``_BatchNorm``."""

    ranks = (4,)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of features: x, y (N, C), M = N; or (N, C, L), M = N*L.

    See ``_BatchNorm``.
    """

    ranks = (2, 3)
