"""What every backend offers: an array library, and the primitives written with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np

Array = Any
"""An array of the backend at hand: numpy.ndarray or cupy.ndarray."""


class AnyArray(Protocol):
    """What NumPy's and CuPy's arrays share, for type checkers: a list has none of it."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


A = TypeVar("A", bound=AnyArray)
"""An array; a function from ``A`` to ``A`` returns arrays of the library whose arrays it takes."""

Result = TypeVar("Result")


class Backend:
    """An array library and the primitives written with it."""

    name: str
    xp: Any
    reading_interval = (
        0.0  # seconds between two reads of a running loss; here reading costs nothing
    )

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
        """Return facts about the array library and its device, by name."""
        raise NotImplementedError

    def identity(self) -> str:
        """Return what the bits of a result depend on, in a few words."""
        return self.name

    def parts(self, n: int, bytes_per_image: int) -> Iterator[slice]:
        """Yield slices that cut a batch of ``n`` images into parts, each computed at once."""
        yield slice(0, n)

    def primitive(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return ``function(xp, *arguments)``, computed by this backend's kernel if it has one.

        The functions stand beside their layers and use ``xp`` alone. A kernel must return what its
        function returns.
        """
        return function(self.xp, *arguments)

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call ``primitive``, whose old name this is."""
        warnings.warn("Backend.run is deprecated: use primitive", DeprecationWarning, stacklevel=2)
        return self.primitive(function, *arguments)


class BackendError(RuntimeError):
    """The backend cannot be used on this machine; the message says why and what to do."""
