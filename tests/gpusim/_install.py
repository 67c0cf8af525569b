"""Put real CuPy on the simulated device.

Swaps the capsules of CuPy's runtime module, answers for libcuda, and compiles kernels for the host.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import _build, _options, host
from .sanitize import require, sanitized

# NVRTC compiles to machine code, so every error is found, but that code does not run: optimising it
# takes two thirds of the 3 s of a fused step. The tests of registers and spills do optimise.
QUICKLY = ("--Ofast-compile=max",)  # since NVRTC 12.9
# Machine code of 9.0, which the simulated device has, takes a third longer than that of 8.0, whose
# limits are no larger. The tests of registers and spills compile for both.
QUICK_ARCH = "80"

_driver: ctypes.CDLL | None = None
_settings: list[bool] = []  # arguments of gpusim_set_options: lazy, no_exec, trace, fill


@dataclasses.dataclass(frozen=True)
class Counters:
    """What CuPy asked of the device.

    Work recorded in a stream capture counts as ``captured`` only; a replay of the graph counts as
    one ``graph_launches``, and its copies from and to the host once more each time.
    """

    launches: int = 0
    gemms: int = 0
    graph_launches: int = 0
    captured: int = 0
    syncs: int = 0
    allocations: int = 0
    frees: int = 0
    h2d: int = 0
    d2h: int = 0
    d2d: int = 0
    memsets: int = 0
    h2d_bytes: int = 0
    d2h_bytes: int = 0
    collectives: int = 0

    def __sub__(self, other: Counters) -> Counters:
        return Counters(
            *(
                a - b
                for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
            )
        )

    def __getitem__(self, name: str) -> int:
        return getattr(self, name)

    def nonzero(self) -> dict[str, int]:
        return {k: v for k, v in dataclasses.asdict(self).items() if v}


_FIELDS = tuple(f.name for f in dataclasses.fields(Counters))


def _need_driver() -> ctypes.CDLL:
    if _driver is None:
        raise RuntimeError("gpusim.install() has not been called")
    return _driver


def counters() -> Counters:
    """Totals since install() or reset_counters().

    Under sanitizers each array has an allocation of its own, so allocations are not counted there.
    """
    values = (ctypes.c_uint64 * len(_FIELDS))()
    assert _need_driver().gpusim_counters(values) == len(_FIELDS)
    found = Counters(*values)
    return dataclasses.replace(found, allocations=0, frees=0) if sanitized() else found


def reset_counters() -> None:
    _need_driver().gpusim_reset_counters()


class Count:
    """Result of counting(): reads live inside the block and stays fixed after it."""

    def __init__(self) -> None:
        self._start, self._end = counters(), None

    @property
    def value(self) -> Counters:
        return (self._end or counters()) - self._start

    def __getattr__(self, name: str) -> int:
        if name not in _FIELDS:
            raise AttributeError(name)
        return getattr(self.value, name)

    def __getitem__(self, name: str) -> int:
        return self.value[name]

    def __repr__(self) -> str:
        return f"Count({self.value.nonzero()})"


@contextlib.contextmanager
def counting() -> Iterator[Count]:
    """``with gpusim.counting() as c: step()`` and then ``assert c.launches <= 30``."""
    c = Count()
    try:
        yield c
    finally:
        c._end = counters()


@contextlib.contextmanager
def lazily() -> Iterator[None]:
    """Let work wait for the next synchronisation or query of an event, as GPUSIM_LAZY=1 does."""
    driver = _need_driver()
    driver.gpusim_set_options(True, *_settings[1:])
    try:
        yield
    finally:
        driver.cuCtxSynchronize()
        driver.gpusim_set_options(*_settings)


def installed() -> bool:
    """Whether this process runs CuPy on the simulated device."""
    return _driver is not None


def real_devices() -> int:
    """How many real CUDA devices the system's driver reports."""
    n = ctypes.c_int(0)
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        return n.value if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(n)) == 0 else 0
    except (OSError, AttributeError):
        return 0


def install(
    *,
    force: bool = False,
    order: str | None = None,
    sanitize: bool | None = None,
    watch: bool | None = None,
    no_exec: bool | None = None,
    lazy: bool | None = None,
    trace: bool | None = None,
    fill: bool | None = None,
    nvrtc: bool | None = None,
    devices: int = 1,
) -> None:
    """Run CuPy on the simulated device from now on; call it before the first ``import cupy``.

    A second call does nothing. Each option defaults to its environment variable: GPUSIM_FORCE
    (even with a real device), GPUSIM_ORDER, GPUSIM_SANITIZE, GPUSIM_WATCH (look for races in the
    kernels that CuPy did not write), GPUSIM_NOEXEC (launches are checked and counted, kernels do
    not run), GPUSIM_LAZY (work waits for the next synchronisation), GPUSIM_TRACE (print launches),
    GPUSIM_FILL=0 (do not fill new memory with NaN), GPUSIM_NVRTC=0 (do not ask NVRTC). ``devices``
    is how many this process sees; it can use one of them, as a rank does, and the simulated NCCL
    adds up what the processes of all ranks have.

    Raises
    ------
    RuntimeError
        When CuPy is already imported or not installed, there is no g++, a real device is present,
        or CuPy's internals are not the ones recorded here.
    """
    global _driver
    if _driver is not None:
        return
    loaded = sorted({m.split(".")[0] for m in sys.modules} & {"cupy", "cupy_backends"})
    if loaded:
        raise RuntimeError(
            f"gpusim.install() must come before 'import cupy', but {loaded} are imported"
        )
    if not (force or _options.flag("GPUSIM_FORCE")) and real_devices():
        raise RuntimeError(
            "gpusim: this machine has a real CUDA device; test on it (--backend cupy), or use "
            "install(force=True) or GPUSIM_FORCE=1"
        )

    def option(value: bool | None, name: str, default: bool = False) -> bool:
        return _options.flag(name, default) if value is None else value

    sanitize = option(sanitize, "GPUSIM_SANITIZE")
    if sanitize:
        require()
    watch = option(watch, "GPUSIM_WATCH")
    spec = importlib.util.find_spec("cupy_backends")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("gpusim: CuPy is not installed (pip install 'nplenet[sim]')")
    libraries, blas = _build.native_libraries(Path(spec.submodule_search_locations[0]))

    # CuPy's cache key knows nothing of the host compiler or the sanitizer, and a host object must
    # never reach a real GPU.
    key = _build.digest(
        *_build.sources(Path(__file__), Path(host.__file__), _build.CSRC / "threads.cpp"),
        *_build.sources(*sorted(_build.CSRC.rglob("*.*h"))),
        _build.compiler_version(),
        _build.cupy_version(),
        str(sanitize),
        str(watch),
    )
    os.environ["CUPY_CACHE_DIR"] = str(_build.cache_dir() / f"cupy-{key}")
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB kernels are linked into CuPy and cannot run here

    path = str(libraries / "libgpusim_driver.so")
    driver = ctypes.CDLL(path)

    class CDLL(
        ctypes.CDLL
    ):  # CuPy's driver wrapper asks ctypes for libcuda; nothing else is redirected
        def __init__(self, name: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(path if name == "libcuda.so.1" else name, *args, **kwargs)

    real_cdll, ctypes.CDLL = ctypes.CDLL, CDLL  # type: ignore[misc]
    try:
        _settings[:] = (
            option(lazy, "GPUSIM_LAZY"),
            option(no_exec, "GPUSIM_NOEXEC"),
            option(trace, "GPUSIM_TRACE"),
            option(fill, "GPUSIM_FILL", True),
        )
        driver.gpusim_set_options(*_settings)
        driver.gpusim_set_devices(devices)
        for name in (blas.replace("cublas", "cublasLt"), blas, _build.NCCL):
            real_cdll(str(libraries / name), ctypes.RTLD_GLOBAL)
        _swap_runtime(libraries, driver)
        import cupy  # noqa: F401

        _patch_cupy(option(nvrtc, "GPUSIM_NVRTC", True), sanitize, watch)
    except BaseException:
        ctypes.CDLL = real_cdll  # type: ignore[misc]
        raise
    _driver = driver
    if order is not None:
        _options.set_order(order)
    _options.listen(driver.gpusim_set_order)


def _swap_runtime(libraries: Path, driver: ctypes.CDLL) -> None:
    import cupy_backends.cuda.api.runtime as runtime

    spec = importlib.util.spec_from_file_location(
        "_gpusim_runtime", libraries / "_gpusim_runtime.so"
    )
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    module.install(runtime)

    def attribute(a: int, d: int) -> int:
        v = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(v), a, d)
        return v.value

    def number(ask: Any) -> int:
        v = ctypes.c_int()
        ask(ctypes.byref(v))
        return v.value

    def checked(error: int) -> None:
        if error:
            raise runtime.CUDARuntimeError(error)

    # the Python-visible twins of the swapped functions, as far as CuPy's Python code calls them
    runtime.getDeviceCount = lambda: number(driver.cuDeviceGetCount)
    runtime.getDevice = lambda: number(driver.cuCtxGetDevice)
    runtime.setDevice = lambda d: checked(driver.gpusim_use_device(d))
    runtime.driverGetVersion = lambda: 12090
    runtime.deviceGetAttribute = attribute
    runtime.deviceSynchronize = lambda: checked(driver.cuCtxSynchronize())
    runtime.getDeviceProperties = module.device_properties


def _unsupported(name: str):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f"gpusim: {name} runs kernels that are linked into CuPy; they need a real device"
        )

    return refuse


def _patch_cupy(nvrtc: bool, sanitize: bool, watch: bool) -> None:
    import cupy
    import cupy.cuda.compiler as compiler

    for name in (
        "default_rng",
        "Generator",
        "XORWOW",
        "MRG32k3a",
        "Philox4x3210",
    ):  # else garbage without an error
        setattr(cupy.random, name, _unsupported(f"cupy.random.{name}"))
    if sanitize:
        cupy.cuda.set_allocator(
            None
        )  # one allocation per array, so that its exact bounds are watched
    real = compiler._compile_using_nvrtc_no_warning
    signature = inspect.signature(real)
    taken = {"source", "options", "arch", "filename", "name_expressions"}
    if not taken <= set(signature.parameters):
        raise RuntimeError(f"gpusim: CuPy changed its NVRTC wrapper: {signature}")
    headers = [_build.CSRC / "cupy_headers", Path(cupy.__file__).parent / "_core" / "include"]

    def compile_for_host(*args: Any, **kwargs: Any) -> tuple[bytes, dict[str, str] | None]:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        a = given.arguments
        if nvrtc:  # the real compiler must take it too
            real(**{**a, "options": (*a["options"], *QUICKLY), "arch": QUICK_ARCH})
        names = tuple(a["name_expressions"] or ())
        try:
            if "cupy/carray.cuh" in a["source"]:  # CuPy wrote it
                library = host.build_generated(a["source"], names, headers)
            else:
                library = host.build(
                    a["source"],
                    a["options"],
                    names,
                    filename=os.path.basename(a["filename"] or "kernel.cu"),
                    sanitize=sanitize,
                    watch=watch,
                )
        except RuntimeError as e:
            raise RuntimeError(
                f"gpusim: the host compiler refuses a kernel that NVRTC took\n{e}"
            ) from None
        return library.read_bytes(), {n: n for n in names} if names else None

    compiler._compile_using_nvrtc_no_warning = compile_for_host
