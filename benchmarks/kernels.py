"""Check each kernel against its NumPy twin, then time both on the GPU.

    python benchmarks/kernels.py [--batch 256] [--only im2col dropout]
    PYTHONPATH=tests python benchmarks/kernels.py --backend cupy-sim        (checks, no times)

"arrays" is the twin run with CuPy's array functions, "kernel" what replaces it: for a product that
is cuBLAS, and "product.cu" our kernel, which runs where a CUDA graph is captured. Arrays are
float32, of LeNet-5's shapes. Each array's bytes count once; an array that stays in the second-level
cache may exceed the bandwidth of the memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import chain
from pkgutil import resolve_name
from typing import Any

import numpy as np

from nplenet import get_backend
from nplenet.augment import rotation_coefficients
from nplenet.backend import Backend
from nplenet.backend.cupy_backend import KERNELS
from nplenet.window import Window

NAMES = {name.rpartition(".")[2]: name for name in KERNELS}
TOLERANCE = 1e-5  # of the array's largest number: some hundred roundings to float32
PRODUCTS = ("product", "matrix_product", "add_product", "add_weight_gradient")
PARTS = {"batch_norm_sums": 0, "batch_norm_center": 1, "batch_norm_gradient_sums": 0}
WAIT = """extern "C" __global__ void wait(long long cycles)
{ for (const long long begin = clock64(); clock64() - begin < cycles;) {} }"""


def arguments(n: int) -> dict[str, tuple[Any, ...]]:
    """Return the arguments of each function for n images, by the name of the function."""
    rng = np.random.default_rng(0)
    normal = partial(rng.standard_normal, dtype=np.float32)
    kernel, pool = Window((5, 5), (1, 1)), Window((2, 2), (2, 2))
    x, xhat, maps, pooled = normal((n, 6, 784)), normal((n, 6, 784)), (n, 6, 28, 28), (n, 6, 14, 14)
    a, b, small, cols = normal(maps), normal(maps), normal(pooled), normal((n, 150, 100))
    state, weight, inverse_std = np.abs(normal((4, 6))) + 1, normal(6), rng.uniform(1, 2, 6)
    sums, sum_x, squares = (rng.uniform(1, 2, (64, *shape)) for shape in ((2, 6), (6,), (6,)))
    tracked, m, flat, v = np.array(3), n * 784, normal((3, 61706)), np.square(normal(61706))
    labels, no_fault = rng.integers(0, 10, n), np.zeros(3, np.int64)
    images = rng.integers(0, 256, (2 * n, 1, 32, 32), np.uint8)
    indexes, coins = rng.integers(0, 2 * n, n, np.int32), rng.integers(0, 2, (2, n), np.uint8)
    angles = rotation_coefficients(rng.uniform(-15, 15, n), 32, 32)
    table = np.array([[0, 1, 2, 3], [n, 2, 3, 4]], np.uint64)
    epoch = indexes.repeat(2), angles.repeat(2, 0), *coins.repeat(2, 1), labels.repeat(2)
    return {
        "im2col": (small, kernel),
        "col2im": (cols, small, kernel),
        "add_weight_gradient": (normal((16, 6, 5, 5)), cols, normal((n, 16, 100))),
        "product": (normal((16, 150)), cols),
        "matrix_product": (normal((n, 400)), normal((120, 400)).T),
        "add_product": (normal((120, 400)), normal((n, 120)).T, normal((n, 400))),
        "add_sums": (normal(6), x),
        "batch_norm_sums": (x, tracked),
        "batch_norm_center": (x, sum_x, m),
        "batch_norm_training": (x, sum_x, squares, m, *state, tracked, 0.1, 1e-5),
        "batch_norm_inference": (x, *state, 1e-5),
        "batch_norm_gradient_sums": (x, xhat, inverse_std),
        "batch_norm_backward": (x, xhat, inverse_std, weight, sums, sums, m, *state[:2]),
        "average_pool": (a, pool, True),
        "average_pool_backward": (small, maps, pool, True),
        "max_pool": (a, pool),
        "max_pool_backward": (small, rng.integers(0, 4, pooled, np.int32), maps, pool),
        **{f"{name}_backward": (a, b) for name in ("relu", "sigmoid", "tanh")},
        "leaky_relu": (a, 0.01),
        "leaky_relu_backward": (a, b, 0.01),
        "sigmoid": (a,),
        "dropout": (normal((n, 120)), 7, 2**30, 4 / 3, 1001),
        "cross_entropy": (normal((n, 10)), labels, 0.1, 1 / n, no_fault, 1),
        "sgd": (*flat, None, None, (0.1, 0.9, 1.0, 1e-4, 1.0)),
        "adam": (*flat, v, None, None, (1e-3, 0.9, 0.999, 1e-8, 0.0, 0.99)),
        "norm": tuple(flat),
        "deal": (table, np.array([1]), table[0], *epoch, n),
        "finish": (np.float32(2.5), np.array(n), np.zeros(3), np.zeros(3, np.int64), np.array([1])),
        "augment_batch": (images, indexes, angles, *coins, 0, np.float32),
    }


def outcome(
    backend: Backend, name: str, given: tuple[Any, ...], run: Callable[..., Any]
) -> list[np.ndarray]:
    """Return outputs and arguments as NumPy arrays; an output in parts (axis 0) is summed."""
    given = tuple(backend.asarray(a.copy()) if isinstance(a, np.ndarray) else a for a in given)
    result = run(resolve_name(name), *given)
    arrays = [*(result if isinstance(result, tuple) else (result,)), *filter(backend.owns, given)]
    if (part := PARTS.get(name.rpartition(".")[2])) is not None:
        arrays[part] = arrays[part].sum(axis=0)
    return [np.asarray(backend.to_numpy(a)) for a in arrays if a is not None]


def by_own_product(cuda: Backend, function: Callable[..., Any], *given: Any) -> Any:
    """Return what a primitive returns when kernels/product.cu multiplies, instead of cuBLAS."""
    with cuda.capturable():
        return cuda.primitive(function, *given)


def fault(a: np.ndarray, b: np.ndarray) -> str:
    """Return how array ``a`` differs from the expected ``b``; an empty string if it does not."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"{a.dtype} {a.shape}, expected {b.dtype} {b.shape}; "
    if not np.isfinite(a).all():
        return "a number that is not finite; "
    error = np.abs(a - b.astype(np.float64)).max(initial=0)
    limit = TOLERANCE * np.abs(b).max(initial=1) if b.dtype.kind == "f" else 0
    return f"an error of {error:.1e}, more than {limit:.1e}; " if error > limit else ""


def seconds(cuda: Backend, run: Callable[[], object]) -> float:
    """Return the seconds per call on the device, which begins after the host has queued 20."""
    begin, end, times = cuda.xp.cuda.Event(), cuda.xp.cuda.Event(), []
    for _ in range(6):
        cuda.xp.RawKernel(WAIT, "wait")((1,), (1,), (np.int64(10_000_000),))  # about 6 ms
        begin.record()
        for _ in range(20):
            run()
        end.record()
        end.synchronize()
        times.append(cuda.xp.cuda.get_elapsed_time(begin, end) / 1e3 / 20)
    return float(np.median(times[1:]))  # the first one compiles


def time_rungs(cuda: Backend, name: str, given: tuple[Any, ...], size: int) -> None:
    """Print the time of the kernel and of the twin with CuPy's array functions."""
    properties = cuda.xp.cuda.runtime.getDeviceProperties(cuda.xp.cuda.Device().id)
    # Twice per clock cycle (in kHz); CUDA 13 does not give the clock.
    peak = 2e3 * properties.get("memoryClockRate", 0) * properties.get("memoryBusWidth", 0) / 8
    given = tuple(cuda.asarray(a) if isinstance(a, np.ndarray) else a for a in given)
    rungs = [("kernel", cuda.primitive), ("arrays", lambda f, *a: f(cuda.xp, *a))]
    if name.rpartition(".")[2] in PRODUCTS:
        rungs.append(("product.cu", partial(by_own_product, cuda)))
    for rung, run in rungs:
        time = seconds(cuda, partial(run, resolve_name(name), *given))
        fraction = f"{size / time / peak:8.0%} of peak" if peak else ""
        print(
            f"  {rung:10}{1e6 * time:10.1f} us{size:12,} B{size / time / 1e9:8.0f} GB/s{fraction}"
        )


def main() -> int:
    """Read the options, check and time the kernels; return 1 if one is wrong."""
    parser = argparse.ArgumentParser(
        description="Check each kernel against its NumPy twin, then time both."
    )
    parser.add_argument("--backend", choices=["cupy", "cupy-sim"], default="cupy")
    parser.add_argument("--batch", type=int, default=256, help="number of images (default 256)")
    parser.add_argument("--only", nargs="+", choices=list(NAMES), metavar="NAME")
    options = parser.parse_args()
    if options.backend == "cupy-sim":
        import_module("gpusim").install(force=True)  # before CuPy is imported
    numpy, cuda = get_backend("numpy"), get_backend("cupy")
    cases, wrong = arguments(options.batch), ""
    for short in options.only or NAMES:
        name, given = NAMES[short], cases[short]
        expected = outcome(numpy, name, given, numpy.primitive)
        runs = [cuda.primitive, *([partial(by_own_product, cuda)] if short in PRODUCTS else [])]
        pairs = [zip(outcome(cuda, name, given, run), expected, strict=True) for run in runs]
        found = "".join(fault(a, b) for a, b in chain.from_iterable(pairs))
        shape = max((a for a in given if isinstance(a, np.ndarray)), key=np.size).shape
        print(f"{short:26}{shape!s:20}{'WRONG: ' + found if found else 'equals NumPy'}")
        wrong += found
        if options.backend == "cupy":
            time_rungs(cuda, name, given, sum(a.nbytes for a in expected))
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
