"""Batch normalisation: mean 0 and variance 1 for each channel, then a learned scale and shift."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import Array
from ..checks import count
from ..group import ALONE, Group
from .base import Layer, Parameter


def batch_norm_training(
    xp: Any,
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    num_batches_tracked: Array,
    momentum: float | None,
    eps: float,
    group: Group = ALONE,
) -> tuple[Array, Array, Array]:
    """Normalise with the statistics of the batch, and track those in place.

    Parameters
    ----------
    x : array (N, C, L)
    weight, bias, running_mean, running_var : array (C,)
    num_batches_tracked : int64 array ()
    momentum : float or None
    eps : float
    group : Group
        Over whose ranks the statistics go, with a part of the batch on each; see ``group``.

    Returns
    -------
    y : array (N, C, L)
    centered : array (N, C, L)
        x - mean.
    inverse_std : float64 array (C,)
        1 / sqrt(var + eps).
    """
    m = group.total(x.shape[0]) * x.shape[2]
    mean = group.sum(_channel_sum(x)) / m
    centered = x - _column(mean.astype(x.dtype))
    # Two passes: exact for |mean| >> deviation.
    var = group.sum(_channel_dot(xp, centered, centered)) / m
    num_batches_tracked += 1
    share = 1.0 / num_batches_tracked if momentum is None else momentum
    running_mean += share * (mean - running_mean)
    running_var += share * (var * (m / (m - 1)) - running_var)
    inverse_std = 1.0 / xp.sqrt(var + eps)
    return _scale_and_shift(centered, inverse_std, weight, bias), centered, inverse_std


def batch_norm_inference(
    xp: Any,
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    eps: float,
) -> tuple[Array, Array, Array]:
    """Normalise with the running statistics; arrays as in ``batch_norm_training``."""
    centered = x - _column(running_mean)
    inverse_std = 1.0 / xp.sqrt(running_var.astype(np.float64) + eps)
    return _scale_and_shift(centered, inverse_std, weight, bias), centered, inverse_std


def batch_norm_backward(
    xp: Any,
    dy: Array,
    centered: Array,
    inverse_std: Array,
    weight: Array,
    dweight: Array,
    dbias: Array,
    batch_statistics: bool,
    group: Group = ALONE,
) -> Array:
    """Add to ``dweight`` and ``dbias`` (C,) in place and return dx; dy and dx are (N, C, L).

    The former get the sums of this rank; dx needs those of all ranks of ``group``.
    """
    sum_dy = _channel_sum(dy)
    sum_dy_xhat = inverse_std * _channel_dot(xp, dy, centered)
    dbias += sum_dy
    dweight += sum_dy_xhat
    scale = weight * inverse_std
    dx = dy * _column(scale.astype(dy.dtype))
    if batch_statistics:
        m = group.total(dy.shape[0]) * dy.shape[2]
        slope = scale * inverse_std * group.sum(sum_dy_xhat) / m
        dx -= _column(slope.astype(dy.dtype)) * centered
        dx -= _column((scale * group.sum(sum_dy) / m).astype(dy.dtype))
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

    In training on several ranks (``group``) the sums go over the parts of the batch on all of them.

    Parameters
    ----------
    num_features : int
        C, the size of axis 1.
    eps : float
        Keeps a constant channel from a division by zero.
    momentum : float or None
        The weight of the new statistics.
    dtype : float32 or float64
    """

    buffers = ("running_mean", "running_var", "num_batches_tracked")
    group = ALONE

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.num_features = self.channels = count(num_features, "num_features")
        if not eps >= 0.0:
            raise ValueError(f"{type(self).__name__}: eps must not be negative, got {eps!r}")
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, dtype))  # gamma in the paper
        self.bias = Parameter(np.zeros(num_features, dtype))  # beta in the paper
        self.running_mean: Array = np.zeros(num_features, dtype)
        self.running_var: Array = np.ones(num_features, dtype)
        self.num_batches_tracked: Array = np.zeros((), np.int64)

    def forward(self, x: Array) -> Array:
        self.check(x)
        length = math.prod(x.shape[2:])
        if self.training and self.group.total(x.shape[0]) * length < 2:
            raise ValueError(f"{self} needs more than one value a channel to train, got {x.shape}")
        values = x.reshape(*x.shape[:2], length)  # (N, C, L)
        inputs = (values, self.weight.data, self.bias.data, self.running_mean, self.running_var)
        if self.training:
            tracking = (self.num_batches_tracked, self.momentum)
            found = self._run(batch_norm_training, *inputs, *tracking, self.eps)
        else:
            found = self.backend.run(batch_norm_inference, *inputs, self.eps)
        y, centered, inverse_std = found
        return self.remember(y.reshape(x.shape), centered, inverse_std, self.training)

    def backward(self, dy: Array) -> Array:
        centered, inverse_std, batch_statistics = self.recall(dy)
        arrays = (centered, inverse_std, self.weight.data, self.weight.grad, self.bias.grad)
        dx = self._run(batch_norm_backward, dy.reshape(centered.shape), *arrays, batch_statistics)
        return dx.reshape(dy.shape)

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function or, on a single rank, its kernel, which would not wait for others."""
        if self.group.size == 1:
            return self.backend.run(function, *arguments)
        return function(self.backend.xp, *arguments, self.group)

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
