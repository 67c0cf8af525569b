"""What every backend offers: an array library, and the primitives written with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

Array = Any
"""An array of the backend at hand: numpy.ndarray or cupy.ndarray."""


Result = TypeVar("Result")


class Backend:
    """An array library and the primitives written with it."""

    name: str
    xp: Any
    reading_interval = 0.0  # seconds between two looks at a running figure; a look is free here

    def __deepcopy__(self, memo: dict[int, Any]) -> Backend:
        return self  # a copy of a layer shares its backend

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


class BackendError(RuntimeError):
    """The backend asked for cannot be used on this machine; the message says why and what to do."""
