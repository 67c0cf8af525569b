"""The CuPy backend: kernels in the place of the functions they equal. Only it imports cupy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..window import Window
from .base import Array, BackendError, Result
from .launch import THREADS, Launcher

INSTALL = (
    "install it with `pip install 'nplenet[cuda12]'` (NVIDIA driver 525 or newer) or "
    "`pip install 'nplenet[cuda13]'` (driver 580 or newer)"
)


class CupyBackend(Launcher):
    """CuPy arrays in the memory of the current CUDA device.

    Raises
    ------
    BackendError
        When CuPy is not installed, there is no driver, or there is no device.
    """

    name = "cupy"
    reading_interval = 0.25  # each look waits until the device has done all it was given

    def __init__(self) -> None:
        self.xp = _import_cupy()

    def asarray(self, array: Any, dtype: Any = None) -> Array:
        return self.xp.asarray(array, dtype=dtype)

    def to_numpy(self, array: Array) -> np.ndarray:
        return self.xp.asnumpy(array)

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        kernel = getattr(self, f"run_{function.__name__}", None)
        return super().run(function, *arguments) if kernel is None else kernel(*arguments)

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

    # ------------------------------------------------------------------ convolution

    def run_im2col(self, x: Array, window: Window) -> Array:
        out = window.output_size(*x.shape[2:])
        k = x.shape[1] * window.size[0] * window.size[1]
        cols = self.xp.empty((x.shape[0], k, out[0] * out[1]), dtype=x.dtype)
        x = self.xp.ascontiguousarray(x)
        self.launch_each("im2col", "im2col", cols.size, x, cols, *_numbers(x.shape, window))
        return cols

    def run_col2im(self, cols: Array, x: Array, window: Window) -> None:
        cols = self.xp.ascontiguousarray(cols)
        self.launch_each("col2im", "col2im", x.size, cols, x, *_numbers(x.shape, window))

    def run_add_weight_gradient(self, dweight: Array, cols: Array, dy: Array) -> None:
        parts = self.xp.empty((dy.shape[0], dy.shape[1], cols.shape[1]), dtype=dweight.dtype)
        self._multiply(dy, cols.transpose(0, 2, 1), parts)  # (N, F, K), one product an image
        self._add_sums(dweight, parts.reshape(len(parts), dweight.size))

    # ------------------------------------------------------------------ products and sums

    def run_product(self, a: Array, b: Array, out: Array | None = None) -> Array:
        if out is None:
            out = self.xp.empty((b.shape[0], a.shape[0], b.shape[2]), dtype=b.dtype)
        self._multiply(a, b, out)
        return out

    def run_add_product(self, total: Array, a: Array, b: Array) -> None:
        self._multiply(a, b, total, add=True)

    def run_add_sums(self, total: Array, a: Array) -> None:
        self._add_sums(total, self.xp.ascontiguousarray(a, dtype=total.dtype))

    def _add_sums(self, total: Array, a: Array) -> None:
        """Add the sums of ``a`` (N, C) or (N, C, L) over all axes but axis 1 to ``total``."""
        n, c, *length = a.shape
        pixels = math.prod(length)
        width, block = (32, THREADS) if pixels == 1 else (1, 1024)
        numbers = (c, pixels, n * pixels, width)
        self.launch("sums", "add_sums", -(-c // width), a, total, *numbers, block=block)

    def _multiply(self, a: Array, b: Array, out: Array, add: bool = False) -> None:
        """Write a @ b to ``out`` or add it there, with one call of cuBLAS.

        Arrays are matrices, or stacks of them; ``a`` may be one matrix for a stack ``b``. Unlike
        ``cupy.matmul`` this copies no transposed or repeated operand.
        """
        if not out.flags.c_contiguous:
            raise TypeError(
                f"a product is written to C-contiguous arrays only, got {out.dtype} of shape "
                f"{out.shape} with strides {out.strides}; pass it through ascontiguousarray first"
            )
        if out.size == 0 or a.shape[-1] == 0:
            return
        a, a_transposed = self._operand(a, out.dtype)
        b, b_transposed = self._operand(b, out.dtype)
        # cuBLAS counts by columns, where a row-major matrix is its transpose: out^T = b^T @ a^T.
        cublas, (rows, columns), depth = self.xp.cuda.cublas, out.shape[-2:], a.shape[-1]
        double = out.dtype == np.float64
        real = self.xp.cuda.runtime.CUDA_R_64F if double else self.xp.cuda.runtime.CUDA_R_32F
        one, beta = np.ones((), out.dtype), np.full((), add, out.dtype)
        cublas.gemmStridedBatchedEx(
            self.xp.cuda.device.get_cublas_handle(),
            int(b_transposed),
            int(a_transposed),
            *(columns, rows, depth),
            one.ctypes.data,
            *(b.data.ptr, real, depth if b_transposed else columns, _matrix_step(b)),
            *(a.data.ptr, real, rows if a_transposed else depth, _matrix_step(a)),
            beta.ctypes.data,
            *(out.data.ptr, real, columns, rows * columns),
            len(out) if out.ndim == 3 else 1,
            cublas.CUBLAS_COMPUTE_64F if double else cublas.CUBLAS_COMPUTE_32F,
            cublas.CUBLAS_GEMM_DEFAULT,
        )

    def _operand(self, matrix: Array, dtype: Any) -> tuple[Array, bool]:
        """Return ``matrix`` in a layout that cuBLAS reads, and whether it lies there transposed."""
        matrix = matrix.astype(dtype, copy=False)
        if matrix.flags.c_contiguous:
            return matrix, False
        if matrix.swapaxes(-1, -2).flags.c_contiguous:
            return matrix, True
        return self.xp.ascontiguousarray(matrix), False

    # ------------------------------------------------------------------ batch norm

    def run_batch_norm_training(
        self,
        x: Array,
        weight: Array,
        bias: Array,
        running_mean: Array,
        running_var: Array,
        num_batches_tracked: Array,
        momentum: float | None,
        eps: float,
    ) -> tuple[Array, Array, Array]:
        x = self.xp.ascontiguousarray(x)
        splits, numbers = _channel_parts(x.shape)
        partial = self.xp.empty((x.shape[1], splits, 2), np.float64)
        y, centered = self.xp.empty_like(x), self.xp.empty_like(x)
        inverse_std = self.xp.empty(x.shape[1], np.float64)
        blocks = splits * x.shape[1]
        self.launch(
            "batch_norm", "batch_norm_moments", blocks, x, partial, num_batches_tracked, *numbers
        )
        state = (weight, bias, running_mean, running_var, num_batches_tracked)
        arrays = (x, partial, *state, y, centered, inverse_std)
        average_all = int(momentum is None)
        momenta = (0.0 if momentum is None else momentum, average_all, eps)
        self.launch("batch_norm", "batch_norm_training", blocks, *arrays, *momenta, *numbers)
        return y, centered, inverse_std

    def run_batch_norm_inference(
        self,
        x: Array,
        weight: Array,
        bias: Array,
        running_mean: Array,
        running_var: Array,
        eps: float,
    ) -> tuple[Array, Array, Array]:
        x = self.xp.ascontiguousarray(x)
        splits, numbers = _channel_parts(x.shape)
        y, centered = self.xp.empty_like(x), self.xp.empty_like(x)
        inverse_std = self.xp.empty(x.shape[1], np.float64)
        arrays = (x, weight, bias, running_mean, running_var, y, centered, inverse_std)
        blocks = splits * x.shape[1]
        self.launch("batch_norm", "batch_norm_inference", blocks, *arrays, eps, *numbers)
        return y, centered, inverse_std

    def run_batch_norm_backward(
        self,
        dy: Array,
        centered: Array,
        inverse_std: Array,
        weight: Array,
        dweight: Array,
        dbias: Array,
        batch_statistics: bool,
    ) -> Array:
        dy = self.xp.ascontiguousarray(dy)
        splits, numbers = _channel_parts(dy.shape)
        partial = self.xp.empty((dy.shape[1], splits, 2), np.float64)
        dx, blocks = self.xp.empty_like(dy), splits * dy.shape[1]
        self.launch("batch_norm", "batch_norm_products", blocks, dy, centered, partial, *numbers)
        arrays = (dy, centered, partial, inverse_std, weight, dweight, dbias, dx)
        flag = int(batch_statistics)
        self.launch("batch_norm", "batch_norm_backward", blocks, *arrays, flag, *numbers)
        return dx

    # ------------------------------------------------------------------ pooling

    def run_average_pool(self, x: Array, window: Window, count_include_pad: bool) -> Array:
        x = self.xp.ascontiguousarray(x)
        numbers = (int(count_include_pad), *_numbers(x.shape, window))
        y = self.xp.empty((*x.shape[:2], *window.output_size(*x.shape[2:])), dtype=x.dtype)
        self.launch_each("average_pool", "average_pool", y.size, x, y, *numbers)
        return y

    def run_average_pool_backward(
        self, dy: Array, x_shape: Sequence[int], window: Window, count_include_pad: bool
    ) -> Array:
        dy = self.xp.ascontiguousarray(dy)
        numbers = (int(count_include_pad), *_numbers(x_shape, window))
        dx = self.xp.empty(x_shape, dtype=dy.dtype)
        self.launch_each("average_pool", "average_pool_backward", dx.size, dy, dx, *numbers)
        return dx

    def run_max_pool(self, x: Array, window: Window) -> tuple[Array, Array]:
        x = self.xp.ascontiguousarray(x)
        y = self.xp.empty((*x.shape[:2], *window.output_size(*x.shape[2:])), dtype=x.dtype)
        winner = self.xp.empty(y.shape, np.int32)
        numbers = _numbers(x.shape, window)
        self.launch_each("max_pool", "max_pool", y.size, x, y, winner, *numbers)
        return y, winner

    def run_max_pool_backward(
        self, dy: Array, winner: Array, x_shape: Sequence[int], window: Window
    ) -> Array:
        dy = self.xp.ascontiguousarray(dy)
        dx = self.xp.empty(x_shape, dtype=dy.dtype)
        numbers = _numbers(x_shape, window)
        self.launch_each("max_pool", "max_pool_backward", dx.size, dy, winner, dx, *numbers)
        return dx

    # ------------------------------------------------------------------ activations

    def run_relu_backward(self, dy: Array, y: Array) -> Array:
        return self._elementwise("relu_backward", dy, y)

    def run_leaky_relu(self, x: Array, slope: float) -> Array:
        return self._elementwise("leaky_relu", x, slope)

    def run_leaky_relu_backward(self, dy: Array, x: Array, slope: float) -> Array:
        return self._elementwise("leaky_relu_backward", dy, x, slope)

    def run_sigmoid(self, x: Array) -> Array:
        return self._elementwise("sigmoid", x)

    def run_sigmoid_backward(self, dy: Array, y: Array) -> Array:
        return self._elementwise("sigmoid_backward", dy, y)

    def run_tanh_backward(self, dy: Array, y: Array) -> Array:
        return self._elementwise("tanh_backward", dy, y)

    def _elementwise(self, kernel: str, *arguments: Any) -> Array:
        """Return what a kernel of activation.cu makes of arrays of one shape, and numbers."""
        inputs = [self.xp.ascontiguousarray(a) if self.owns(a) else a for a in arguments]
        out = self.xp.empty_like(inputs[0])
        self.launch_each("activation", kernel, out.size, *inputs, out, out.size)
        return out

    # ------------------------------------------------------------------ dropout

    def run_dropout(self, x: Array, key: int, threshold: int, scale: float) -> tuple[Array, Array]:
        x = self.xp.ascontiguousarray(x)
        y, mask = self.xp.empty_like(x), self.xp.empty_like(x)
        numbers = (x.size, key, threshold, scale)
        self.launch_each("dropout", "dropout", -(-x.size // 8), x, y, mask, *numbers)
        return y, mask

    # ------------------------------------------------------------------ loss

    def run_cross_entropy(
        self,
        logits: Array,
        targets: Array,
        smoothing: float,
        scale: float,
        fault: Array,
        forward: int,
    ) -> tuple[Array, Array, Array]:
        logits = self.xp.ascontiguousarray(logits)
        targets = self.xp.ascontiguousarray(targets, dtype=np.int64)
        dlogits = self.xp.empty_like(logits)
        loss, hits = self.xp.empty((), logits.dtype), self.xp.empty((), np.int64)
        arrays = (logits, targets, dlogits, loss, hits, fault)
        n, k = logits.shape
        numbers = (n, k, 1.0 - smoothing, smoothing / k, scale, forward)
        self.launch("cross_entropy", "cross_entropy", 1, *arrays, *numbers)
        return loss, dlogits, hits

    # ------------------------------------------------------------------ optimizers

    def run_sgd(self, p: Array, g: Array, m: Array, s: None, t: None, *numbers: float) -> None:
        self.launch_each("optimizer", "sgd", p.size, p, g, m, p.size, *numbers)

    def run_adam(
        self, p: Array, g: Array, m: Array, v: Array, s: None, t: None, *numbers: float
    ) -> None:
        self.launch_each("optimizer", "adam", p.size, p, g, m, v, p.size, *numbers)

    # ------------------------------------------------------------------ augmentation

    def run_augment_batch(
        self,
        images: Array,
        indexes: Array,
        coefficients: Array | None,
        inverted: Array | None,
        gray: Array | None,
        fill: int,
        dtype: npt.DTypeLike,
    ) -> Array:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"augment_batch: images have shape {images.shape}, expected (M, C, H, W), C 1 or 3"
            )
        count, shapes = len(indexes), {"coefficients": (6,), "inverted": (), "gray": ()}
        for (name, shape), draw in zip(shapes.items(), (coefficients, inverted, gray), strict=True):
            if draw is not None and draw.shape != (count, *shape):
                raise ValueError(
                    f"augment_batch: {name} has shape {draw.shape}, expected {(count, *shape)}"
                )
        out = self.xp.empty((count, *images.shape[1:]), dtype=dtype)
        arrays = (images, indexes, coefficients, inverted, gray, out)
        pixels = count * images.shape[2] * images.shape[3]
        self.launch_each("augment", "augment_batch", pixels, *arrays, *out.shape, fill)
        return out


def _numbers(x_shape: Sequence[int], window: Window) -> tuple[int, ...]:
    """Return N C H W, KH KW, OH OW, stride, padding, dilation: the tail of the window kernels."""
    out = window.output_size(x_shape[2], x_shape[3])
    return (*x_shape, *window.size, *out, *window.stride, *window.padding, *window.dilation)


def _channel_parts(shape: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """Return in how many parts the batch norm kernels cut a channel of (N, C, L); their tail."""
    n, c, length = shape
    m = n * length
    splits = min(64, -(-m // (8 * THREADS))) or 1  # 8 numbers a thread, but few parts to join
    return splits, (c, length, m, splits)


def _matrix_step(array: Array) -> int:
    """Return how many numbers lie between the matrices of a stack; 0 repeats a single matrix."""
    return math.prod(array.shape[-2:]) if array.ndim == 3 else 0


def _cuda_version(number: int) -> str:
    """Return "12.9" for 12090."""
    return f"{number // 1000}.{number % 1000 // 10}"


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
