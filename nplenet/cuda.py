"""The CuPy backend: the same primitives on an NVIDIA GPU. The only module that imports cupy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .backend import Array, Backend, BackendError, Result
from .window import Window

THREADS = 256
MOST_BLOCKS = 65535  # the kernels loop over what is left

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

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        kernel = getattr(self, f"run_{function.__name__}", None)
        return super().run(function, *arguments) if kernel is None else kernel(*arguments)

    def run_im2col(self, x: Array, window: Window) -> Array:
        n, c, h, w = x.shape
        oh, ow = window.output_size(h, w)
        cols = self.xp.empty((n, c * window.size[0] * window.size[1], oh * ow), dtype=x.dtype)
        self._launch("im2col", cols.size, x, cols, *_window_numbers(x.shape, window))
        return cols

    def run_col2im(self, cols: Array, x_shape: Sequence[int], window: Window) -> Array:
        x = self.xp.empty(x_shape, dtype=cols.dtype)
        self._launch("col2im", x.size, cols, x, *_window_numbers(x_shape, window))
        return x

    def _launch(self, name: str, threads: int, source: Array, target: Array, *numbers: int) -> None:
        """Run kernel ``name`` with one thread an element; an empty launch is skipped."""
        if threads == 0:
            return
        blocks = min(-(-threads // THREADS), MOST_BLOCKS)
        arguments = (self.xp.ascontiguousarray(source), target, *map(np.int32, numbers))
        self._kernel(name, source.dtype.name)((blocks,), (THREADS,), arguments)

    @cache  # noqa: B019  the one backend object lives as long as the process
    def _kernel(self, name: str, dtype: str) -> Any:
        """Compile ``kernels/<name>.cu`` for a float type, at first use."""
        expression = f"{name}<{'float' if dtype == 'float32' else 'double'}>"
        module = self.xp.RawModule(
            code=_kernel_source(name), options=("-std=c++17",), name_expressions=(expression,)
        )
        return module.get_function(expression)


def _kernel_source(name: str) -> str:
    """Return the text of a kernel: package data, or the top-level folder of a bare checkout."""
    try:
        folder = files("nplenet.kernels")
    except ModuleNotFoundError:
        folder = Path(__file__).parents[1] / "kernels"
    return folder.joinpath(f"{name}.cu").read_text(encoding="utf-8")


def _window_numbers(x_shape: Sequence[int], window: Window) -> tuple[int, ...]:
    """Return N C H W, KH KW, OH OW, stride, padding, dilation: the tail of the window kernels."""
    out = window.output_size(x_shape[2], x_shape[3])
    return (*x_shape, *window.size, *out, *window.stride, *window.padding, *window.dilation)


def _import_cupy() -> Any:
    """Return the module cupy, once it is known that a device can be used."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise BackendError(
            f"the cupy backend needs CuPy, which is not installed; {INSTALL}"
        ) from error
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
