"""Dropout: random silence in training, so that no unit can rely on a single other one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import Array
from .base import Layer

MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], np.uint64)
KEY_STEPS = np.array([[0x9E3779B9], [0xBB67AE85]], np.uint64)
ROUNDS = np.arange(10, dtype=np.uint64)[:, None, None]


def philox(xp: Any, counter: Array, key: int) -> Array:
    """Return four random words for each counter, by Philox4x32-10.

    The words of a counter depend on it and the key alone, so they can be made in any order, or all
    at once. A round, done ten times, mixes the words (c0, c1, c2, c3) with the two halves of the
    key (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3):

        c0, c1, c2, c3 = high(B c2) ^ c1 ^ k0,  low(B c2),  high(A c0) ^ c3 ^ k1,  low(A c0)
        k0, k1 = k0 + 0x9E3779B9,  k1 + 0xBB67AE85        (A, B: the ``MULTIPLIERS``)

    Parameters
    ----------
    counter : uint64 array (4, n)
        Each number below 2^32.
    key : int
        0 ... 2^64 - 1.

    Returns
    -------
    uint64 array (4, n)
        Each number below 2^32.
    """
    low, half = 0xFFFFFFFF, 32
    halves = np.array([[key & low], [key >> half]], np.uint64)
    keys = xp.asarray((halves + ROUNDS * KEY_STEPS) & low)
    multipliers = xp.asarray(MULTIPLIERS)
    # Words 0 and 2, and words 1 and 3, take the same operations: half as many calls.
    even, odd = counter[0::2].copy(), counter[1::2].copy()
    product = xp.empty_like(even)
    swapped = product[::-1]
    for round_key in keys:
        xp.multiply(even, multipliers, out=product)
        xp.right_shift(swapped, half, out=even)
        odd ^= round_key
        even ^= odd
        xp.bitwise_and(swapped, low, out=odd)
    return xp.stack([even, odd], axis=1).reshape(counter.shape)


def dropout(xp: Any, x: Array, key: int, threshold: int, scale: float) -> tuple[Array, Array]:
    """Return x times a mask of 0 and ``scale``; and the mask.

    The same key gives the same mask, whatever the backend and the dtype: element i of n, counted
    in C order, is silenced if word i // B of counter i % B is below the threshold, B = ceil(n / 4).

    Parameters
    ----------
    x : array of float32 or float64, any shape
    key : int
        0 ... 2^64 - 1.
    threshold : int
        0 ... 2^32: of so many words of 2^32 the values are silenced.
    scale : float

    Returns
    -------
    y, mask : arrays like ``x``
    """
    n = math.prod(x.shape)
    counter = xp.zeros((4, -(-n // 4)), dtype=np.uint64)
    counter[0] = xp.arange(counter.shape[1], dtype=np.uint64)
    words = philox(xp, counter, key).reshape(-1)[:n]
    mask = (words >= threshold).reshape(x.shape) * x.dtype.type(scale)
    return x * mask, mask


class Dropout(Layer):
    """Zero each value with probability p and scale the rest by 1 / (1 - p) (inverted dropout).

        y = x * mask        dx = dy * mask        mask = 0 or 1 / (1 - p)

    The scale keeps the expected value, so that in ``eval`` the layer passes x unchanged
    (Srivastava et al., 2014, section 10).

    Each forward draws one number, the key of its mask (see ``dropout``), so both backends see the
    same masks and the state of ``rng`` is all that a checkpoint need keep.

    Parameters
    ----------
    p : float
        Probability of silence, 0 <= p <= 1.
    rng : numpy.random.Generator, optional
        Draws the keys; fresh entropy when left out. A part of a run's state.
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
        key = int(self.rng.integers(2**64, dtype=np.uint64))
        scale = 1.0 / (1.0 - self.p) if self.p < 1.0 else 0.0
        y, mask = self.backend.run(dropout, x, key, round(self.p * 2**32), scale)
        return self.remember(y, mask)

    def backward(self, dy: Array) -> Array:
        (mask,) = self.recall(dy)
        return dy if mask is None else dy * mask

    def extra_repr(self) -> str:
        return f"p={self.p}"
