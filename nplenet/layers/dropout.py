"""Dropout: random silence in training, so that no unit can rely on a single other one."""

from __future__ import annotations

import numpy as np

from ..backend import Array
from .base import Layer


class Dropout(Layer):
    """Zero each value with probability p and scale the rest by 1 / (1 - p) (inverted dropout).

        y = x * mask        dx = dy * mask        mask = 0 or 1 / (1 - p)

    The scale keeps the expected value, so that in ``eval`` the layer passes x unchanged
    (Srivastava et al., 2014, section 10).

    Parameters
    ----------
    p : float
        Probability of silence, 0 <= p <= 1.
    rng : numpy.random.Generator, optional
        Draws the masks; fresh entropy when left out. A part of a run's state.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: p must lie between 0 and 1, got {p!r}")
        self.p = p
        self.rng = rng or np.random.default_rng()

    def forward(self, x: Array) -> Array:
        self.check(x)
        if not self.training or self.p == 0.0:
            return self.remember(x, None)
        mask = self.backend.dropout_mask(x.shape, self.p, self.rng, x.dtype)
        return self.remember(x * mask, mask)

    def backward(self, dy: Array) -> Array:
        (mask,) = self.recall(dy)
        return dy if mask is None else dy * mask

    def extra_repr(self) -> str:
        return f"p={self.p}"
