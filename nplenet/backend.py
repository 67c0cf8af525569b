"""The swappable array backend: what a layer may ask of an array library.

A layer calls ``backend.xp`` (NumPy's functions, or CuPy's under the same names) and the few
primitives below that a CUDA kernel can take over. The implementations here are the oracle: they run
on either library, and a backend overrides only what it does faster.

Legend: N images, C channels, H W input size, OH OW output size, KH KW window size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from .window import Window

Array = Any
"""An array of the backend at hand: numpy.ndarray or cupy.ndarray."""

PURPOSES = ("init", "shuffle", "dropout", "augment", "split")


def generator(seed: int | None, purpose: str) -> np.random.Generator:
    """Return the random generator of one purpose, derived from the one seed of a run.

    Streams of different purposes are independent (``numpy.random.SeedSequence`` with a spawn key),
    so switching off dropout, say, does not change the order of the training images.

    Parameters
    ----------
    seed : int or None
        A non-negative integer; None takes fresh entropy from the operating system.
    purpose : str
        One of ``PURPOSES``.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"unknown purpose {purpose!r} of a random generator, expected {PURPOSES}")
    sequence = np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose),))
    return np.random.Generator(np.random.PCG64(sequence))


class Backend:
    """An array library and the primitives written with it."""

    name: str
    xp: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return get_backend, (self.name,)  # a copy of a layer shares its backend

    def owns(self, array: object) -> bool:
        """Say whether ``array`` lives on this backend."""
        return isinstance(array, self.xp.ndarray)

    def asarray(self, array: Any, dtype: Any = None) -> Array:
        """Return ``array`` (of any backend, or a nested list) as an array of this backend."""
        raise NotImplementedError

    def to_numpy(self, array: Array) -> np.ndarray:
        """Return an array of this backend as a NumPy array."""
        raise NotImplementedError

    def parts(self, n: int, bytes_per_image: int) -> Iterator[slice]:
        """Yield slices that cut a batch of ``n`` images into parts that suit the device."""
        yield slice(0, n)

    def im2col(self, x: Array, window: Window) -> Array:
        """Lay the windows of ``x`` side by side, one a column.

        Parameters
        ----------
        x : array (N, C, H, W)
        window : Window

        Returns
        -------
        array (N, C*KH*KW, OH*OW)
            Column ``oh*OW + ow`` holds the window of output pixel (oh, ow), zeros where it lies on
            the padding.
        """
        n, c, h, w = x.shape
        oh, ow = window.output_size(h, w)
        rows, columns = window.slices(0, oh), window.slices(1, ow)
        padded = window.pad(self.xp, x)
        # Over KW, then over KH: the second copy moves whole rows, twice as fast as KH*KW taps.
        wide = self.xp.empty((n, c, len(columns), padded.shape[2], ow), dtype=x.dtype)
        for kw, column in enumerate(columns):
            wide[:, :, kw] = padded[:, :, :, column]
        cols = self.xp.empty((n, c, len(rows), len(columns), oh, ow), dtype=x.dtype)
        for kh, row in enumerate(rows):
            cols[:, :, kh] = wide[:, :, :, row]
        return cols.reshape(n, c * len(rows) * len(columns), oh * ow)

    def col2im(self, cols: Array, x_shape: Sequence[int], window: Window) -> Array:
        """Add each column back to the pixels it was read from: the transpose of ``im2col``.

        Parameters
        ----------
        cols : array (N, C*KH*KW, OH*OW)
        x_shape : (N, C, H, W)
        window : Window

        Returns
        -------
        array (N, C, H, W)
        """
        n, c, h, w = x_shape
        oh, ow = window.output_size(h, w)
        rows, columns = window.slices(0, oh), window.slices(1, ow)
        cols = cols.reshape(n, c, len(rows), len(columns), oh, ow)
        height, width = window.padded_size(h, w)
        wide = self.xp.zeros((n, c, len(columns), height, ow), dtype=cols.dtype)
        for kh, row in enumerate(rows):
            wide[:, :, :, row] += cols[:, :, kh]
        padded = self.xp.zeros((n, c, height, width), dtype=cols.dtype)
        for kw, column in enumerate(columns):
            padded[:, :, :, column] += wide[:, :, kw]
        return window.unpad(padded, h, w)

    def dropout_mask(
        self, shape: Sequence[int], p: float, rng: np.random.Generator, dtype: Any
    ) -> Array:
        """Return a mask that is 0 with probability ``p`` and 1 / (1 - p) otherwise."""
        kept = rng.random(shape, dtype=np.float32) >= p
        return self.asarray(kept * np.dtype(dtype).type(1.0 / (1.0 - p) if p < 1.0 else 0.0))


class NumpyBackend(Backend):
    """NumPy arrays in host memory."""

    name = "numpy"
    xp = np
    part_bytes = 512 * 1024  # half of a core's L2 cache on most machines

    def __init__(self) -> None:
        # Freeing one large block tells the C library (glibc: mallopt(3), M_MMAP_THRESHOLD) to
        # keep freed blocks up to that size for the next arrays. Otherwise each temporary comes as
        # fresh pages from the system: 12.4 ms instead of 8.0 ms a step of 64 images. The block is
        # never touched, so it costs no memory.
        np.empty(31 << 20, np.uint8)

    def parts(self, n: int, bytes_per_image: int) -> Iterator[slice]:
        """Yield parts whose columns stay in the cache: 1.3 times as fast as one large array."""
        step = max(1, self.part_bytes // max(1, bytes_per_image))
        for begin in range(0, n, step):
            yield slice(begin, min(begin + step, n))

    def asarray(self, array: Any, dtype: Any = None) -> np.ndarray:
        if hasattr(array, "__cuda_array_interface__"):
            array = array.get()
        return np.asarray(array, dtype=dtype)

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        return array


class BackendError(RuntimeError):
    """The backend asked for cannot be used on this machine; the message says why and what to do."""


@cache
def get_backend(name: str) -> Backend:
    """Return a backend by name.

    Parameters
    ----------
    name : {"numpy", "cupy"}

    Raises
    ------
    ValueError
        For another name.
    BackendError
        When CuPy is not installed, finds no driver or finds no device.
    """
    if name == "numpy":
        return NumpyBackend()
    if name == "cupy":
        from .cuda import CupyBackend  # imports cupy, so only when it is asked for

        return CupyBackend()
    raise ValueError(f"unknown backend {name!r}, expected 'numpy' or 'cupy'")


def backend_of(array: object) -> Backend:
    """Return the backend on which ``array`` lives."""
    if isinstance(array, np.ndarray):
        return get_backend("numpy")
    if hasattr(array, "__cuda_array_interface__"):
        return get_backend("cupy")
    raise TypeError(f"expected a NumPy or CuPy array, got {type(array).__name__}")
