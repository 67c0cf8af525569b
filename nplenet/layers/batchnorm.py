"""Batch normalisation: mean 0 and variance 1 for each channel, then a learned scale and shift."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..backend import Array
from ..window import count
from .base import Layer, Parameter


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
        centered, var = self._statistics(x) if self.training else self._running(x)
        inverse_std = 1.0 / self.backend.xp.sqrt(var + self.eps)
        y = centered * _column((self.weight.data * inverse_std).astype(x.dtype))
        y += _column(self.bias.data)
        return self.remember(y.reshape(x.shape), centered, inverse_std, self.training)

    def backward(self, dy: Array) -> Array:
        centered, inverse_std, batch_statistics = self.recall(dy)
        g = dy.reshape(centered.shape)  # (N, C, L)
        sum_dy = _channel_sum(g)
        sum_dy_xhat = inverse_std * self._channel_dot(g, centered)
        self.bias.grad += sum_dy
        self.weight.grad += sum_dy_xhat
        scale = self.weight.data * inverse_std
        dx = g * _column(scale.astype(g.dtype))
        if batch_statistics:
            m = g.size // self.num_features
            slope = scale * inverse_std * sum_dy_xhat / m
            dx -= _column(slope.astype(g.dtype)) * centered
            dx -= _column((scale * sum_dy / m).astype(g.dtype))
        return dx.reshape(dy.shape)

    def _statistics(self, x: Array) -> tuple[Array, Array]:
        """Return x - mean as (N, C, L) and the biased variance; track the running statistics."""
        m = x.size // self.num_features
        if m < 2:
            raise ValueError(f"{self} needs more than one value a channel to train, got {x.shape}")
        x = x.reshape(x.shape[0], self.num_features, -1)
        mean = _channel_sum(x) / m
        centered = x - _column(mean.astype(x.dtype))
        var = self._channel_dot(centered, centered) / m  # two passes: exact for |mean| >> deviation
        self.num_batches_tracked += 1
        momentum = 1.0 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean += momentum * (mean - self.running_mean)
        self.running_var += momentum * (var * (m / (m - 1)) - self.running_var)
        return centered, var

    def _running(self, x: Array) -> tuple[Array, Array]:
        x = x.reshape(x.shape[0], self.num_features, -1)
        return x - _column(self.running_mean), self.running_var

    def _channel_dot(self, a: Array, b: Array) -> Array:
        """Return sum(a * b) of each channel in float64."""
        return self.backend.xp.einsum("ncl,ncl->nc", a, b).sum(axis=0, dtype=np.float64)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


def _channel_sum(a: Array) -> Array:
    """Return the sum of each channel of ``a`` (N, C, L), the outer sum in float64."""
    return a.sum(axis=2).sum(axis=0, dtype=np.float64)


def _column(channel_values: Array) -> Array:
    """Return (C,) as (C, 1), which broadcasts against (N, C, L)."""
    return channel_values[:, None]


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images: x, y (N, C, H, W), M = N*H*W. See ``_BatchNorm`` above."""

    ranks = (4,)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of features: x, y (N, C), M = N; or (N, C, L), M = N*L.

    See ``_BatchNorm`` above.
    """

    ranks = (2, 3)
