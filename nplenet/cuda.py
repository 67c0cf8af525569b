"""The CuPy backend: the same primitives on an NVIDIA GPU. The only module that imports cupy."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array, Backend, BackendError

INSTALL = (
    "install it with `pip install 'nplenet[cuda12]'` (NVIDIA driver 525 or newer) or "
    "`pip install 'nplenet[cuda13]'` (driver 580 or newer)"
)


class CupyBackend(Backend):
    """CuPy arrays in the memory of the current CUDA device.

    Raises
    ------
    BackendError
        When CuPy is not installed, there is no driver, or there is no device.
    """

    name = "cupy"

    def __init__(self) -> None:
        self.xp = _import_cupy()

    def asarray(self, array: Any, dtype: Any = None) -> Array:
        return self.xp.asarray(array, dtype=dtype)

    def to_numpy(self, array: Array) -> np.ndarray:
        return self.xp.asnumpy(array)


def _import_cupy() -> Any:
    """Return the module cupy, once it is known that a device can be used."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise BackendError(f"the cupy backend needs CuPy, which is not installed; {INSTALL}") from error
    except ImportError as error:
        raise BackendError(f"CuPy is installed but does not import ({error}); {INSTALL}") from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(
            f"the cupy backend found no usable NVIDIA driver ({error}); install or update the "
            "driver (`nvidia-smi` shows it), or use --backend numpy"
        ) from error
    if devices == 0:
        raise BackendError(
            "the cupy backend found a driver but no CUDA device; check `nvidia-smi` and "
            "CUDA_VISIBLE_DEVICES, or use --backend numpy"
        )
    return cupy
