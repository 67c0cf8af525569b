"""The swappable array backend: what a layer may ask of an array library.

A layer calls ``backend.xp`` (NumPy's functions, or CuPy's under the same names). The few inner
loops worth a hand-written kernel are functions of arrays, called through ``backend.run``: they are
the oracle, they run on either library, and a backend takes over only what it does faster.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

Array = Any
"""An array of the backend at hand: numpy.ndarray or cupy.ndarray."""

Result = TypeVar("Result")

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


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """Return the state of a generator as numbers, strings, lists and dicts, ready for JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(inner) for name, inner in value.items()}
        return value.tolist() if isinstance(value, np.ndarray) else value

    state: dict[str, Any] = plain(rng.bit_generator.state)
    return state


def restore_generator(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Bring ``rng`` into a ``state`` that ``generator_state`` returned.

    Raises
    ------
    ValueError
        When it is no state of a generator of this kind; ``rng`` is unchanged then.
    """
    kind = type(rng.bit_generator)
    try:
        probe: Any = kind()
        probe.state = state
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"not the state of a {kind.__name__} generator: {error}") from None
    rng.bit_generator.state = probe.state


def environment() -> dict[str, str]:
    """Return the versions that decide the bits of a run: Python, NumPy, nplenet, the machine."""
    from . import __version__

    return {
        "nplenet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def processor() -> str:
    """Return the name of the processor."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:  # on Linux
        for line in file:
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep matrix products on one thread.

    They are small here, and threads that wait for each other on a busy machine have been seen to
    make a step ten times as slow.
    """
    with threadpool_limits(1, user_api="blas"):
        yield


class Backend:
    """An array library and the primitives written with it."""

    name: str
    xp: Any
    reading_interval = 0.0  # seconds between two looks at a running figure; a look is free here

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

    def describe(self) -> dict[str, str]:
        """Return what the doctor says about the array library and its device, by name."""
        raise NotImplementedError

    def parts(self, n: int, bytes_per_image: int) -> Iterator[slice]:
        """Yield slices that cut a batch of ``n`` images into parts that suit the device."""
        yield slice(0, n)

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run ``function(xp, *arguments)``, or the kernel that this backend has in its place.

        The functions stand beside the layers they belong to, are written with ``xp`` alone, and are
        what a kernel of the same name must equal.
        """
        return function(self.xp, *arguments)


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

    def describe(self) -> dict[str, str]:
        return {"NumPy": np.__version__}

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
