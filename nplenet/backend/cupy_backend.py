"""The CuPy backend: arrays on a GPU, and its kernels. The only module that imports cupy."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from . import kernels, training_kernels  # noqa: F401  bind the kernels
from .base import Array, BackendError, Result
from .binding import KERNELS, kernel_for
from .launch import Launcher

__all__ = ["KERNELS", "CupyBackend", "kernel_for"]

INSTALL = (
    "install it with `pip install 'nplenet[cuda12]'` (NVIDIA driver 525 or newer) or "
    "`pip install 'nplenet[cuda13]'` (driver 580 or newer)"
)


class CupyBackend(Launcher):
    """CuPy arrays in the memory of the current CUDA device.

    Raises
    ------
    BackendError
        When CuPy, the driver or a device is missing.
    """

    name = "cupy"
    reading_interval = 0.25  # each read waits until the device has finished

    def __init__(self) -> None:
        self.xp = _import_cupy()

    def asarray(self, array: Any, dtype: Any = None) -> Array:
        return self.xp.asarray(array, dtype=dtype)

    def to_numpy(self, array: Array) -> np.ndarray:
        return self.xp.asnumpy(array)

    def primitive(self, function: Callable[..., Result], *arguments: Any) -> Result:
        kernel = kernel_for(function)
        return function(self.xp, *arguments) if kernel is None else kernel(self, *arguments)

    def nccl(self) -> Any:
        """Return CuPy's module of NCCL, which adds up between GPUs; None if NCCL is missing."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is missing
            from cupy.cuda import nccl  # no attribute of cupy.cuda until it is imported
        return nccl if nccl.available else None

    def identity(self) -> str:
        facts = self.describe()
        device = facts["device"].partition(": ")[2]
        return f"cupy {facts['CuPy']}, {facts['runtime']}, {device}"

    def describe(self) -> dict[str, str]:
        runtime, device = self.xp.cuda.runtime, self.xp.cuda.Device()
        properties = runtime.getDeviceProperties(device.id)
        free, total = device.mem_info
        return {
            "CuPy": self.xp.__version__,
            "driver": f"supports CUDA {_cuda_version(runtime.driverGetVersion())}",
            "runtime": f"CUDA {_cuda_version(runtime.runtimeGetVersion())}",
            "device": f"{device.id} of {runtime.getDeviceCount()}: {properties['name'].decode()}",
            "compute capability": f"{properties['major']}.{properties['minor']}",
            "memory": f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f} GiB",
        }


def _cuda_version(number: int) -> str:
    """Return "12.9" for 12090."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _import_cupy() -> Any:
    """Return the module cupy, once it is known that a device can be used."""
    try:
        if find_spec("cupy"):
            have_kernel_cache()
        import cupy
    except ModuleNotFoundError as error:
        raise BackendError(
            f"the cupy backend needs CuPy, which is not installed; {INSTALL}"
        ) from error
    except (ImportError, OSError) as error:
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


def have_kernel_cache() -> None:
    """Give CuPy a temporary folder for compiled kernels if it cannot write to its own.

    Otherwise it would not import, or fail at the first kernel.
    """
    folder = os.environ.get("CUPY_CACHE_DIR") or os.path.expanduser("~/.cupy/kernel_cache")
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        warnings.warn(
            f"kernels will be compiled anew in each run, because CuPy cannot keep them ({error}); "
            "set CUPY_CACHE_DIR to a folder that can be written",
            stacklevel=2,
        )
        os.environ["CUPY_CACHE_DIR"] = temporary = tempfile.mkdtemp(prefix="nplenet-kernels-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
