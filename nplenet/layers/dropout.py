"""Dropout: zeros at random places in training, so that no unit relies on a single other one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import Array
from ..checks import fraction, generator_or_new
from ..group import ALONE
from ..rounding import ceil_div
from .base import Layer

UNUSED = [0, 0, 0, 0]  # Philox's buffer, which ``buffer_pos`` marks as used up


def random_words(
    key: int, n: int, first: int = 0, philox: np.random.Philox | None = None
) -> np.ndarray:
    """Return n words of 32 random bits, the same ones for the same key.

    NumPy's Philox4x64-10 encrypts the counters 1, 2, 3, ... with the key; each gives four random
    words of 64 bits, and each of these two of 32, the low half first (the byte order of every
    machine with a CUDA device).

    Parameters
    ----------
    key : int
        0 ... 2^64 - 1.
    n : int
    first : int
        Number of words to skip: the words of the images on lower ranks.
    philox : numpy.random.Philox, optional
        Reused; a new one takes 14 us to make.

    Returns
    -------
    uint32 array (n,)
    """
    philox = philox or np.random.Philox(0)
    counter, rest = divmod(first, 8)
    state: Any = {  # lists do for its arrays, and take a third of the time
        "bit_generator": "Philox",
        "state": {"counter": [counter, 0, 0, 0], "key": [key, 0]},
        "buffer": UNUSED,
        "buffer_pos": len(UNUSED),
        "has_uint32": 0,
        "uinteger": 0,
    }
    philox.state = state
    return philox.random_raw(ceil_div(rest + n, 2)).view(np.uint32)[rest : rest + n]


def keep_mask(key: int, n: int, threshold: int, first: int = 0) -> np.ndarray:
    """Return which of n values dropout keeps, a bool array (n,).

    A value is dropped if its random word is below the threshold, 0 ... 2^32: number of values
    dropped out of 2^32, on average. ``key`` and ``first`` are those of ``random_words``.
    """
    return random_words(key, n, first) >= threshold


def draw_keys(rng: np.random.Generator, shape: tuple[int, ...] | None = None) -> Any:
    """Draw one key, or a uint64 array of keys, in C order the ones that are drawn one by one."""
    return rng.integers(2**64, dtype=np.uint64, size=shape)


def dropout(
    xp: Any, x: Array, key: int | Array, threshold: int, scale: float, first: int = 0
) -> tuple[Array, Array]:
    """Return x times a mask of 0 and ``scale``; and the mask.

    The same key gives the same mask on any backend and in any dtype.

    Parameters
    ----------
    x : array of float32 or float64, any shape
    key : int or uint64 array (1,)
        Of ``keep_mask``; or the array of the backend in which it lies, which a kernel reads there.
    threshold, first : int
        Arguments of ``keep_mask``; its values are in the C order of ``x``.
    scale : float

    Returns
    -------
    y, mask : arrays like ``x``
    """
    key = key if isinstance(key, int) else int(key.item())
    kept = xp.asarray(keep_mask(key, x.size, threshold, first)).reshape(x.shape)
    mask = kept * x.dtype.type(scale)
    return x * mask, mask


class Dropout(Layer):
    """Zero each value with probability p and scale the rest by 1 / (1 - p) (inverted dropout).

        y = x * mask        dx = dy * mask        mask = 0 or 1 / (1 - p)

    The scale keeps the expected value, so that in ``eval`` the layer passes x unchanged
    (Srivastava et al., 2014, section 10).

    The masks come from Philox, a generator without a state: it encrypts the counters 1, 2, 3, ...
    with a key, and the results are as good as random (Salmon et al., 2011, "Parallel random
    numbers: as easy as 1, 2, 3", section 3.3). Each forward draws one number, the key of its mask.
    So the threads of a GPU make their parts of a mask in any order, both backends see the same
    masks, and a checkpoint keeps nothing but the state of ``rng``. Several ranks (``group``) use
    the same key, and each makes the part of the mask that its images need.

    Parameters
    ----------
    p : float
        Dropout probability, 0 <= p <= 1.
    rng : numpy.random.Generator or int, optional
        Draws the keys; an int is a seed; fresh entropy when left out. Its state is part of the
        state of a run.

    Attributes
    ----------
    key_there : uint64 array (1,), optional
        Where forward finds its key instead of drawing one. A CUDA graph keeps the numbers with
        which it was captured, so a key that changes from step to step has to lie on the device.
    """

    group = ALONE
    key_there: Array | None = None

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        super().__init__()
        self.p = fraction(p, "Dropout: p")
        self.rng = generator_or_new(rng, "Dropout: rng")

    @property
    def threshold(self) -> int:
        """Of 2^32: a value whose random word is below it is dropped."""
        return round(fraction(self.p, "Dropout: p") * 2**32)  # it may have been assigned

    @property
    def scale(self) -> float:
        """The factor of the values that are kept."""
        return 1.0 / (1.0 - self.p) if self.p < 1.0 else 0.0

    def draw_key(self) -> int:
        """Draw the key of one mask, 0 ... 2^64 - 1."""
        return int(draw_keys(self.rng))

    def forward(self, x: Array) -> Array:
        self.check(x)
        if not self.training or self.p == 0.0:
            return self.remember(x, None)
        key = self.draw_key() if self.key_there is None else self.key_there
        first = self.group.start * math.prod(x.shape[1:])  # after the words of the ranks before
        y, mask = self.backend.primitive(dropout, x, key, self.threshold, self.scale, first)
        return self.remember(y, mask)

    def backward(self, dy: Array) -> Array:
        (mask,) = self.recall(dy)
        return dy if mask is None else dy * mask

    def arguments(self) -> dict[str, Any]:
        return {"p": self.p}
