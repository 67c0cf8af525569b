"""The simulated device itself: what it computes and counts, and that it catches planted bugs."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpusim
import numpy as np
import pytest

from nplenet.backend import Backend

ORDERS = ("forward", "reverse", "random:1", "random:2")
Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def cupy(cuda: Backend) -> Any:
    if not gpusim.installed():
        pytest.skip("these are tests of the simulated device")
    return cuda.xp


@pytest.fixture(scope="module")
def run_python(cupy: Any) -> Run:
    """Run a text in a fresh interpreter, under the sanitizers if asked."""

    def run(text: str, *arguments: str, sanitize: bool = False, **env: str) -> Any:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("CUPY_")}
        clean["PYTHONPATH"] = str(Path(__file__).parent)
        prefix = ["-m", "gpusim.sanitize", "python"] if sanitize else []
        return subprocess.run(
            [sys.executable, *prefix, "-c", text, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={**clean, **env},
            check=False,
        )

    return run


# -------------------------------------------------------------------- values

RANDOM = np.random.default_rng(0)
A, B = (RANDOM.standard_normal((6, 5)).astype("f4") for _ in range(2))
SAME: dict[str, Callable[..., Any]] = {
    "python scalar": lambda xp, a, b: a + 1.5,
    "float64 scalar": lambda xp, a, b: a + np.float64(1.5),
    "broadcast": lambda xp, a, b: a * b[:, :1],
    "transposed copy": lambda xp, a, b: xp.ascontiguousarray(a.T),
    "sum of an axis": lambda xp, a, b: a.sum(axis=0),
    "argmax": lambda xp, a, b: a.argmax(axis=1),
    "where": lambda xp, a, b: xp.where(a > 0, a, 0),
    "fancy index": lambda xp, a, b: a[xp.arange(6), xp.asarray([0, 1, 2, 3, 4, 0])],
    "astype": lambda xp, a, b: (a * 10).astype(xp.int32),
    "complex": lambda xp, a, b: a * (1 + 2j),
    "product": lambda xp, a, b: a @ b.T,
    "float64 product": lambda xp, a, b: a.astype("f8") @ b.astype("f8").T,
    "vectors": lambda xp, a, b: a[0] @ b[0],
    "float64 vectors": lambda xp, a, b: a[0].astype("f8") @ b[0].astype("f8"),
    "matrix and vector": lambda xp, a, b: a @ b[0],
    "batch": lambda xp, a, b: xp.matmul(a.reshape(2, 3, 5), b.reshape(2, 3, 5).swapaxes(1, 2)),
    "one matrix for a batch": lambda xp, a, b: a[:, :3] @ b.reshape(2, 3, 5),
    "one float64 matrix for a batch": lambda xp, a, b: (
        a[:, :3].astype("f8") @ b.reshape(2, 3, 5).astype("f8")
    ),
    "a batch for one matrix": lambda xp, a, b: a.reshape(2, 3, 5) @ b.T,
}


@pytest.mark.parametrize("name", SAME)
def test_cupy_on_the_simulated_device_equals_numpy(name: str, cupy: Any) -> None:
    found = cupy.asnumpy(SAME[name](cupy, cupy.asarray(A), cupy.asarray(B)))
    expected = np.asarray(SAME[name](np, A, B))
    # Sums of 5 or 6 numbers of about 1, in another order.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, strict=True)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("on_device", [False, True])
def test_gemm_adds_to_what_is_there(cupy: Any, dtype: str, order: str, on_device: bool) -> None:
    from cupy import cublas

    a, b, c = (cupy.asarray(m.astype(dtype), order=order) for m in (A, B.T, np.ones((6, 6))))
    alpha = cupy.asarray(2.0, dtype) if on_device else 2.0
    assert cublas.gemm("N", "N", a, b, out=c, alpha=alpha, beta=1.0) is c
    expected = 2 * A.astype(dtype) @ B.T.astype(dtype) + 1
    np.testing.assert_allclose(c.get(), expected, rtol=1e-5, atol=1e-6, strict=True)


def test_a_batched_product_counts_as_one_gemm(cupy: Any) -> None:
    a, b = cupy.asarray(A[:, :3]), cupy.asarray(B.reshape(2, 3, 5))
    with gpusim.counting() as count:
        a @ b
    assert count.gemms == 1


# -------------------------------------------------------------------- counters


def test_counters_are_live_inside_the_block_and_fixed_after_it(cupy: Any) -> None:
    x = cupy.zeros(1000, "f4")
    x + 1
    with gpusim.counting() as count:
        y = x + 1
        assert (count.launches, count.syncs) == (1, 0)
        y.get()
        cupy.asarray(np.ones(10, "f4"))
        cupy.cuda.Device().synchronize()
    x + 2
    assert (count.launches, count.d2h, count.d2h_bytes) == (1, 1, 4000)
    assert (count.h2d, count.h2d_bytes) == (1, 40)
    assert count.syncs >= 2


def test_new_memory_holds_nan(cupy: Any) -> None:
    with cupy.cuda.using_allocator(None):  # the pool would hand out what was used before
        assert np.isnan(cupy.empty(7).get()).all()


def test_out_of_memory_is_cupys_error(cupy: Any) -> None:
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
        cupy.empty(1 << 40, np.uint8)


def test_kernels_linked_into_cupy_are_refused(cupy: Any) -> None:
    with pytest.raises(NotImplementedError, match="need a real device"):
        cupy.random.default_rng(0)


# -------------------------------------------------------------------- sums of ranks

RANKS = """
import os
import gpusim
gpusim.install(force=True, devices=3)
import cupy
from cupy.cuda import nccl

name = nccl.get_unique_id()
rank = 1 if os.fork() == 0 else 2 if os.fork() == 0 else 0
cupy.cuda.Device(rank).use()
ranks = nccl.NcclCommunicator(3, name, rank)

def add_up(a, kind):
    stream = cupy.cuda.get_current_stream().ptr
    ranks.allReduce(a.data.ptr, a.data.ptr, a.size, kind, nccl.NCCL_SUM, stream)

long = cupy.arange(300_000) * (rank + 1.0)
add_up(long, nccl.NCCL_FLOAT64)
ordered = cupy.asarray([1e8, -1e8, 1.0][rank], "f4")  # another order gives 0
add_up(ordered, nccl.NCCL_FLOAT32)
doubled = cupy.ones(2)
with cupy.cuda.Stream(non_blocking=True) as stream:
    stream.begin_capture()
    add_up(doubled, nccl.NCCL_FLOAT64)
    graph = stream.end_capture()
    with gpusim.counting() as count:
        for _ in range(2):
            graph.launch()
right = bool((long == 6.0 * cupy.arange(300_000)).all())
found = [right, float(ordered), doubled.tolist(), count.value.nonzero()]
try:
    add_up(cupy.ones(3 + rank), nccl.NCCL_FLOAT64)
except nccl.NcclError:
    found.append("refused")
os.write(1, f"{rank} {cupy.cuda.Device().id} {found}\\n".encode())
if rank == 0:
    os.wait(), os.wait()
"""


def test_nccl_adds_up_in_the_order_of_the_ranks_and_refuses_other_sums(run_python: Run) -> None:
    done = run_python(RANKS)
    found = "[True, 1.0, [9.0, 9.0], {'graph_launches': 2}, 'refused']"
    assert sorted(done.stdout.splitlines()) == [f"{r} {r} {found}" for r in range(3)], done.stderr
    assert "gpusim: sum 5 of rank 0 has 3 numbers of type 8, sum 5 of rank 1 has 4" in done.stderr


# -------------------------------------------------------------------- capture

ADD_ONE = 'extern "C" __global__ void add_one(double* x) { x[threadIdx.x] += 1; }'


@pytest.fixture
def capture(cupy: Any) -> Callable[..., tuple[str, str]]:
    """Return a function that captures a call; it returns how the call and the capture ended."""

    def outcome(call: Callable[[], Any]) -> str:
        try:
            call()
        except (RuntimeError, NotImplementedError) as error:
            return str(error).partition(":")[0]
        return ""

    def run(
        call: Callable[[Any], Any], non_blocking: bool = True, mode: int | None = None
    ) -> tuple[str, str]:
        stream = cupy.cuda.Stream(non_blocking=non_blocking)
        with stream:
            stream.begin_capture(mode)
            first = outcome(lambda: call(stream))
            return first, outcome(stream.end_capture)

    return run


UNSUPPORTED, INVALIDATED = "cudaErrorStreamCaptureUnsupported", "cudaErrorStreamCaptureInvalidated"
FORBIDDEN: dict[str, Callable[[Any, Any, Any], Any]] = {  # of cupy, the stream and an array
    "wait for the stream": lambda cp, s, x: s.synchronize(),
    "wait for the device": lambda cp, s, x: cp.cuda.Device().synchronize(),
}
BY_CUPY: dict[str, tuple[str, Callable[[Any, Any, Any], Any]]] = {
    "cuBLAS": (
        "cuBLAS API during stream capture",
        lambda cp, s, x: x.reshape(4, 4) @ x.reshape(4, 4),
    ),
    "to the host": ("D2H transfers are disallowed", lambda cp, s, x: x.get()),
    "a number": ("D2H transfers are disallowed", lambda cp, s, x: float(x[0])),
    "from the host": ("H2D transfers are disallowed", lambda cp, s, x: cp.asarray(A)),
    "the default stream": (
        "default (legacy) stream",
        lambda cp, s, x: cp.cuda.Stream.null.begin_capture(),
    ),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_capture_fails_that(
    name: str, cupy: Any, capture: Callable[..., tuple[str, str]]
) -> None:
    x = cupy.ones(16)
    found = capture(lambda stream: FORBIDDEN[name](cupy, stream, x))
    assert found == (UNSUPPORTED, INVALIDATED)


def test_a_capture_fails_that_loads_a_kernel(
    cupy: Any, capture: Callable[..., tuple[str, str]]
) -> None:
    name, x = "first_used_in_a_capture", cupy.ones(16)
    kernel = cupy.RawKernel(f'extern "C" __global__ void {name}(double* x) {{ x[0] = 1; }}', name)
    found = capture(lambda stream: kernel((1,), (1,), (x,)))
    assert found == ("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", INVALIDATED)


@pytest.mark.parametrize("name", BY_CUPY)
def test_cupy_refuses_in_a_capture(name: str, cupy: Any) -> None:
    text, call = BY_CUPY[name]
    x, stream = cupy.ones(16), cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            with pytest.raises((RuntimeError, NotImplementedError), match=re.escape(text)):
                call(cupy, stream, x)
        finally:
            stream.end_capture()


def test_memory_is_allocated_in_a_capture_in_relaxed_mode_only(
    cupy: Any, capture: Callable[..., tuple[str, str]]
) -> None:
    runtime = cupy.cuda.runtime
    for kind in (cupy.cuda.Memory, cupy.cuda.PinnedMemory):
        call = lambda stream, kind=kind: kind(512)  # noqa: E731
        assert capture(call) == ("", "")  # CuPy's default is relaxed
        assert capture(call, mode=runtime.streamCaptureModeRelaxed) == ("", "")
        for mode in (runtime.streamCaptureModeGlobal, runtime.streamCaptureModeThreadLocal):
            assert capture(call, mode=mode) == (UNSUPPORTED, INVALIDATED)


def test_a_stream_that_records_can_be_asked_nothing(
    cupy: Any, capture: Callable[..., tuple[str, str]]
) -> None:
    assert capture(lambda stream: stream.done) == ("", INVALIDATED)  # CuPy drops the error


def test_the_default_stream_spoils_the_capture_of_a_blocking_stream_only(
    cupy: Any, capture: Callable[..., tuple[str, str]]
) -> None:
    kernel, x = cupy.RawKernel(ADD_ONE, "add_one"), cupy.zeros(16)

    def launch(stream: Any) -> None:
        with cupy.cuda.Stream.null:
            kernel((1,), (16,), (x,))

    launch(None)
    assert capture(launch) == ("", "")
    assert (x.get() == 2).all()  # run, not captured
    assert capture(launch, non_blocking=False) == (
        "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
        INVALIDATED,
    )


def test_an_event_of_a_capture_can_be_asked_nothing(
    cupy: Any, capture: Callable[..., tuple[str, str]]
) -> None:
    event, other = cupy.cuda.Event(), cupy.cuda.Event()
    other.record(cupy.cuda.Stream.null)

    def wait(stream: Any) -> None:
        event.record(stream)
        event.synchronize()

    def ask(stream: Any) -> None:
        event.record(stream)
        assert not event.done  # CuPy drops the error

    assert capture(wait) == ("cudaErrorCapturedEvent", INVALIDATED)
    assert capture(ask) == ("", INVALIDATED)
    assert capture(lambda stream: other.done) == ("", "")
    event.record(cupy.cuda.Stream.null)
    assert event.done
    assert cupy.cuda.Stream.null.done


def driver_copy(to: Any, host: np.ndarray, stream: Any) -> int:
    """Copy from the host by the driver, as CuPy refuses to in a capture; return its error."""
    copy = ctypes.CDLL("libcuda.so.1").cuMemcpyHtoDAsync_v2
    pointers = (to.data.ptr, host.ctypes.data, host.nbytes, stream.ptr)
    return copy(*map(ctypes.c_void_p, pointers))


def test_a_replay_reads_pinned_memory_again_and_counts_the_copy(cupy: Any) -> None:
    host = np.frombuffer(cupy.cuda.alloc_pinned_memory(128), np.float64, 16)
    x, stream = cupy.zeros(16), cupy.cuda.Stream(non_blocking=True)
    host[:] = 1
    with stream:
        stream.begin_capture()
        with gpusim.counting() as count:
            assert driver_copy(x, host, stream) == 0
        graph = stream.end_capture()
    assert (count.h2d, count.captured) == (0, 1)
    for value in (2, 3):
        host[:] = value
        with gpusim.counting() as count:
            graph.launch(stream)
        assert (count.graph_launches, count.h2d, count.h2d_bytes) == (1, 1, 128)
        stream.synchronize()
        assert (x.get() == value).all()


def test_a_capture_refuses_memory_of_the_host_that_is_not_pinned(
    cupy: Any, capture: Callable[..., tuple[str, str]]
) -> None:
    x, errors = cupy.zeros(16), []
    found = capture(lambda stream: errors.append(driver_copy(x, np.ones(16), stream)))
    assert (errors, found) == ([900], ("", INVALIDATED))


def test_a_replay_does_all_that_was_captured_again(cupy: Any) -> None:
    kernel, x = cupy.RawKernel(ADD_ONE, "add_one"), cupy.zeros(16)
    kernel((1,), (16,), (x * 2,))  # loads both kernels
    kernel((1,), (16,), (x,))
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        x.fill(0)
        for _ in range(3):
            kernel((1,), (16,), (x,))
        y = x * 2
        graph = stream.end_capture()
    assert (x.get() == 1).all()  # captured, not run
    for _ in range(2):
        with gpusim.counting() as count:
            graph.launch(stream)
        assert (count.graph_launches, count.launches, count.memsets) == (1, 0, 0)
    stream.synchronize()
    assert (y.get() == 6).all()


# -------------------------------------------------------------------- installation


def test_it_refuses_to_come_after_cupy(run_python: Run) -> None:
    done = run_python("import cupy, gpusim; gpusim.install(force=True)")
    assert "must come before 'import cupy'" in done.stderr


def test_it_refuses_a_machine_with_a_gpu(run_python: Run) -> None:
    done = run_python("import gpusim._install as i; i.real_devices = lambda: 1; i.install()")
    assert "this machine has a real CUDA device" in done.stderr


CHANGED = """
import ctypes, pathlib
import cupy_backends.cuda.api.runtime as runtime
import gpusim._build, gpusim._install
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
name = b"intptr_t (size_t, long, int __pyx_skip_dispatch)"
runtime.__pyx_capi__["malloc"] = new(1, name, None)
before = dict(runtime.__pyx_capi__)
libraries, _ = gpusim._build.native_libraries(pathlib.Path(runtime.__file__).parents[2])
ctypes.CDLL(str(libraries / "libgpusim_driver.so"))
try:
    gpusim._install._swap_runtime(libraries, None)
except RuntimeError as error:
    assert runtime.__pyx_capi__ == before, "some functions were swapped"
    print("refused:", error)
"""


def test_it_refuses_a_cupy_with_other_internals(run_python: Run) -> None:
    done = run_python(CHANGED)
    assert "refused: gpusim: CuPy changed the signature of malloc" in done.stdout, done.stderr


def test_without_execution_launches_are_counted_all_the_same(run_python: Run) -> None:
    done = run_python(
        "import gpusim; gpusim.install(force=True, no_exec=True); import cupy\n"
        "x = cupy.zeros(8, 'f4'); x += 1; print(float(x[0]), gpusim.counters().launches)"
    )
    assert done.stdout.split() == ["0.0", "1"], done.stderr


def test_lazy_work_waits_for_a_synchronisation(cupy: Any) -> None:
    x = cupy.zeros(4)
    there = ctypes.c_double.from_address(x.data.ptr)  # its memory is the host's
    with gpusim.lazily():
        x += 1
        assert there.value == 0
        cupy.cuda.get_current_stream().synchronize()
        assert there.value == 1
        x += 1
    assert there.value == 2
    x += 1
    assert there.value == 3


# -------------------------------------------------------------------- planted bugs

WARP = "0xffffffffu"
ROOM = "__shared__ float s[64]; int t = threadIdx.x;"
FAULTS = {
    "divergent_barrier": (
        "after some threads",
        "(float* x) { if (threadIdx.x < 32) __syncthreads(); x[threadIdx.x] = 1; }",
    ),
    "two_barriers": (
        "different __syncthreads",
        "(float* x) { if (threadIdx.x < 32) { __syncthreads(); }\n else { __syncthreads(); } }",
    ),
    "shuffle_after_return": (
        "deadlock",
        "(float* x) { if (threadIdx.x >= 50) return;"
        f" x[threadIdx.x] += __shfl_down_sync({WARP}, x[threadIdx.x], 1); }}",
    ),
    "shuffle_outside_mask": (
        "outside the mask",
        "(float* x) { if (threadIdx.x < 16) x[0] += __shfl_down_sync(0xffffu, 1.0f, 8); }",
    ),
    "deep_stack": (
        "stack overflow",
        "(float* x) { float a[40000]; for (int i = 0; i < 40000; i++) a[i] = x[0];"
        " __syncthreads(); x[threadIdx.x] = a[threadIdx.x * 7]; }",
    ),
}
RACES = {
    "missing_barrier": f"(float* x) {{ {ROOM} s[t] = x[t]; x[t] = s[63 - t]; __syncthreads(); }}",
    "global_race": "(float* x) { x[0] = x[threadIdx.x]; }",
}
MEMORY = {
    "write_beyond": ("heap-buffer-overflow", "(float* x) { x[threadIdx.x + 937] = 1; }"),
    "shared_beyond": (
        "out of bounds for type",
        "(float* x) { __shared__ float s[32]; s[threadIdx.x] = 1; __syncthreads(); x[0] = s[0]; }",
    ),
    "misaligned": ("misaligned address", "(float* x) { *(float4*)(x + 1) = {1, 2, 3, 4}; }"),
    "signed_overflow": (
        "signed integer overflow",
        "(float* x) { int i = (int)x[999] * 3000000; x[i & 7] = 1; }",
    ),
}


def module(bugs: dict[str, str]) -> gpusim.host.Module:
    return gpusim.host.compile(
        "\n".join(f'extern "C" __global__ void {name}{body}' for name, body in bugs.items())
    )


@pytest.mark.parametrize("name", FAULTS)
def test_a_misused_barrier_is_reported(name: str, cupy: Any) -> None:
    kernel = module({name: FAULTS[name][1]})[name]
    for order in ORDERS[:3]:
        with gpusim.thread_order(order), pytest.raises(gpusim.KernelFault, match=FAULTS[name][0]):
            kernel[1, 64](np.zeros(1000, np.float32))


@pytest.mark.parametrize("name", RACES)
def test_a_race_shows_in_another_order_of_threads(name: str, cupy: Any) -> None:
    kernel, results = module({name: RACES[name]})[name], []
    for order in ORDERS:
        x = np.arange(64, dtype=np.float32)
        with gpusim.thread_order(order):
            kernel[1, 64](x)
        results.append(x.tobytes())
    assert len(set(results)) > 1


WATCHED = {  # what the watch says, the line of the report, and the kernel; run in 3 blocks of 64
    "missing_barrier": (
        "race: writes what thread 31 of the block read at line 3",
        "(float* x) { __shared__ float s[64]; int t = threadIdx.x;\n"
        "s[t] = x[0];\n if (t < 64) x[1 + 64 * blockIdx.x + t] = s[63 - t]; }",
    ),
    "harmless_race": (  # it changes no result in any order
        "race: writes what thread",
        "(float* x) { __shared__ float s[1]; s[0] = 1; __syncthreads(); x[blockIdx.x] = s[0]; }",
    ),
    "read_by_several": (
        "race: writes what several threads read at line 2",
        "(float* x) { extern __shared__ float s[]; s[threadIdx.x] = x[0]; __syncthreads();\n"
        "x[threadIdx.x] = s[0];\n if (threadIdx.x == 63) s[0] = 1; }",
    ),
    "between_blocks": (
        "race: reads what another block wrote at line 1",
        "(float* x) { if (blockIdx.x == 0 && threadIdx.x == 0) x[0] = 1;\n"
        "if (blockIdx.x == 2) x[1 + threadIdx.x] = x[0]; }",
    ),
    "written_after_another_block_read": (
        "race: writes what another block read at line 1",
        "(float* x) { if (blockIdx.x == 0) x[1 + threadIdx.x] = x[0];\n"
        "if (blockIdx.x == 2 && threadIdx.x == 5) x[0] = 1; }",
    ),
}
ORDERED = """(float* x) {
  extern __shared__ float s[];
  __shared__ int n[1];
  float local[8];
  const int t = threadIdx.x, i = 64 * blockIdx.x + t;
  for (int k = 0; k < 8; k++) local[k] = x[i] + k;
  for (int round = 0; round < 2; round++) {
    s[t] = local[(t + round) % 8];
    if (t == 0) n[0] = round;
    __syncthreads();
    x[i] = s[63 - t] + n[0] + __shfl_xor_sync(0xffffffffu, local[t % 8], 1);
    __syncthreads();
  }
  atomicAdd(x + 999, 1.0f);
}"""


def watched(name: str, body: str) -> gpusim.host.Kernel:
    source = f'extern "C" __global__ void {name}{body}'
    return gpusim.host.compile(source, watch=True)[name]


@pytest.mark.parametrize("name", WATCHED)
def test_the_watch_finds_a_race_in_any_order_of_threads(name: str, cupy: Any) -> None:
    what, body = WATCHED[name]
    kernel, found = watched(name, body), ""
    for order in ORDERS:
        with gpusim.thread_order(order), pytest.raises(gpusim.KernelFault, match="race: ") as fault:
            kernel[3, 64, 256](np.zeros(1000, np.float32))
        found += str(fault.value)
    assert what in found


def test_the_watch_finds_nothing_where_barriers_order_all(cupy: Any) -> None:
    kernel, x = watched("ordered", ORDERED), np.zeros(1000, np.float32)
    for order in ORDERS:
        with gpusim.thread_order(order):
            kernel[3, 64, 256](x)
    assert x[999] == 3 * 64 * len(ORDERS)


WATCHED_THROUGH_CUPY = """
import gpusim; gpusim.install(force=True); import cupy
kernel = cupy.RawKernel('''
extern "C" __global__ void shared(float* x) {
  extern __shared__ float s[];
  s[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = s[0];
}''', 'shared')
kernel((1,), (64,), (cupy.ones(64, 'f4').cumsum(),), shared_mem=256)
print('NOT CAUGHT')
"""


def test_the_watch_finds_a_race_through_cupy(run_python: Run) -> None:
    done = run_python(WATCHED_THROUGH_CUPY, GPUSIM_WATCH="1")
    assert "NOT CAUGHT" not in done.stdout
    assert "race: reads what thread 0 of the block wrote at line 4" in done.stderr
    assert "at line 5, block (0,0,0) thread (1,0,0)" in done.stderr


SANITIZED = """
import sys, numpy as np
from gpusim import host
source, name = sys.argv[1:]
host.compile(source, sanitize=True)[name][1, 64](np.arange(1000, dtype="f4"))
print("NOT CAUGHT")
"""


@pytest.mark.parametrize("name", MEMORY)
def test_the_sanitizers_catch(name: str, run_python: Run) -> None:
    what, body = MEMORY[name]
    source = f'\n\nextern "C" __global__ void {name}{body}'
    done = run_python(SANITIZED, source, name, sanitize=True)
    assert done.returncode != 0
    assert "NOT CAUGHT" not in done.stdout
    assert what in done.stderr, done.stderr[-2000:]
    assert "kernel.cu:3" in done.stderr  # the line of the bug


THROUGH_CUPY = """
import gpusim; gpusim.install(force=True); import cupy
kernel = cupy.RawKernel('''
extern "C" __global__ void copy(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) y[i] = x[i];
}''', 'copy')
x = cupy.ones(1000, 'f4'); y = cupy.empty_like(x)
print('sum', float(x.sum()), flush=True)
kernel((4,), (256,), (x, y, cupy.int32(1000)))
print('NOT CAUGHT')
"""


def test_the_sanitizers_see_an_overrun_through_cupy(run_python: Run) -> None:
    done = run_python(THROUGH_CUPY, sanitize=True)
    assert done.returncode != 0
    assert done.stdout.split() == ["sum", "1000.0"]
    assert "heap-buffer-overflow" in done.stderr, done.stderr[-2000:]


def test_sanitizers_need_their_launcher(run_python: Run) -> None:
    done = run_python("import gpusim; gpusim.install(force=True)", GPUSIM_SANITIZE="1")
    assert "python -m gpusim.sanitize" in done.stderr


@pytest.mark.parametrize("text", ["backward", "reverse:2", "random:x", ""])
def test_an_unknown_thread_order_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="use forward, reverse, random or random:SEED"):
        gpusim.set_order(text)


def test_a_kernel_that_nvrtc_refuses_is_reported(tmp_path: Path, cupy: Any) -> None:
    file = tmp_path / "bad.cu"
    file.write_text('extern "C" __global__ void bad(float* x) { x[0] = y; }')
    (report,) = gpusim.check_kernels(file, [90], verbose=False)
    assert 'identifier "y" is undefined' in report.error


UNBUILDABLE = {  # what each stage of NVRTC refuses
    "the compiler": ("is undefined", "x[0] = y;"),
    "the linker": ("Unresolved extern function", "extern __device__ float g(); x[0] = g();"),
    "the assembler": ("uses too much shared data", "__shared__ float s[12289]; x[0] = s[0];"),
}


@pytest.mark.parametrize("stage", UNBUILDABLE)
def test_a_launch_of_a_kernel_that_nvrtc_refuses_fails(stage: str, cupy: Any) -> None:
    why, body = UNBUILDABLE[stage]
    kernel = cupy.RawKernel(
        f'extern "C" __global__ void bad(volatile float* x) {{ {body} }}', "bad"
    )
    with pytest.raises(cupy.cuda.compiler.CompileException, match=why):
        kernel((1,), (1,), (cupy.zeros(1, "f4"),))
