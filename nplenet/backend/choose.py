"""Which backend: by name, or by the array at hand."""

from __future__ import annotations

import copyreg
from functools import cache
from typing import Any

from .base import Backend
from .numpy_backend import NumpyBackend


@cache
def get_backend(name: str) -> Backend:
    """Return a backend by name.

    Parameters
    ----------
    name : {"numpy", "cupy"}

    Raises
    ------
    ValueError
        For an unknown name.
    BackendError
        When CuPy is not installed, finds no driver or finds no device.
    """
    backend: Backend
    if name == "numpy":
        backend = NumpyBackend()
    elif name == "cupy":
        from .cupy_backend import CupyBackend  # imports cupy, which is slow and optional

        backend = CupyBackend()
    else:
        device = str(name).partition(":")[0]  # PyTorch's names: cuda:0
        ours = {"cuda": "cupy", "gpu": "cupy", "cpu": "numpy"}.get(device)
        known = f"; {ours!r} is the {'GPU' if ours == 'cupy' else 'CPU'}" if ours else ""
        raise ValueError(f"unknown backend {name!r}, expected 'numpy' or 'cupy'{known}")
    copyreg.pickle(type(backend), _by_name)
    return backend


def _by_name(backend: Backend) -> tuple[Any, ...]:
    """Copy and pickle a backend as its name: a copy of a layer shares the backend."""
    return get_backend, (backend.name,)


def backend_of(array: object) -> Backend:
    """Return the backend on which ``array`` lives."""
    if get_backend("numpy").owns(array):
        return get_backend("numpy")
    if hasattr(array, "__cuda_array_interface__"):
        return get_backend("cupy")
    raise TypeError(f"expected a NumPy or CuPy array, got {type(array).__name__}")
