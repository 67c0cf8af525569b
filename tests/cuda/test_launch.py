"""The typed wrapper around every launch: what it reads from CUDA C, and all that it refuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gpusim
import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.backend.cupy_backend import have_kernel_cache
from nplenet.backend.launch import KernelParameter, signatures

N, C, H, W = 1, 2, 4, 4
TAIL = (N, C, H, W, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1)  # of im2col with a 3x3 window: 2x2 outputs
KERNEL = """
template <typename T> __global__ void probe(T* out, const int* in, T number, int n, unsigned char u)
{
    out[0] = number + T(n) + T(u) + (in ? T(in[0]) : T(1000));
}
"""


def launch(cuda: Any, x: Any, cols: Any, tail: tuple[Any, ...] = TAIL, grid: Any = 1) -> None:
    cuda.launch("im2col", "im2col", grid, x, cols, *tail)


def arrays(cuda: Any, dtype: Any = np.float32) -> tuple[Any, Any]:
    return cuda.xp.ones((N, C, H, W), dtype), cuda.xp.zeros((N, C * 9, 4), dtype)


@pytest.fixture
def probe(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Launch a kernel that writes the sum of its numbers, 1000 for a null pointer, and read it."""
    from nplenet.backend import launch as module

    source = module.kernel_source
    monkeypatch.setattr(
        module, "kernel_source", lambda file: KERNEL if file == "probe" else source(file)
    )

    def run(number: Any = 0.5, n: Any = 1, u: Any = 2, ints: Any = None, dtype: Any = "f4") -> Any:
        out = cuda.xp.zeros(1, dtype)
        cuda.launch("probe", "probe", 1, out, ints, number, n, u)
        return out.get()[0]

    return run


# -------------------------------------------------------------------- reading CUDA C


def test_a_signature_holds_names_types_and_pointers() -> None:
    found = signatures(
        """
        // __global__ void commented_out(int n)
        __device__ int helper(int a) { return a; }
        template <typename T>
        __global__ void __launch_bounds__(256, 2) one(
            const T* __restrict__ x, unsigned char* y, T eps, long long n) {}
        extern "C" __global__ void two(unsigned long long *step /* a counter */, double f) {}
        """
    )
    assert found == {
        "one": (
            True,
            [
                KernelParameter("x", "T", True),
                KernelParameter("y", "unsigned char", True),
                KernelParameter("eps", "T", False),
                KernelParameter("n", "long long", False),
            ],
        ),
        "two": (
            False,
            [
                KernelParameter("step", "unsigned long long", True),
                KernelParameter("f", "double", False),
            ],
        ),
    }


@pytest.mark.parametrize("declaration", ["short n", "T n", "float4* x", "size_t n"])
def test_a_c_type_without_a_dtype_is_refused(declaration: str) -> None:
    with pytest.raises(TypeError, match=r"kernel k: [nx] has the unknown type '(short|T|float4|s)"):
        signatures(f"__global__ void k({declaration}) {{}}")


# -------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("change", [TAIL[:-1], (*TAIL, 1)], ids=["one too few", "one too many"])
def test_a_wrong_number_of_arguments_is_refused(cuda: Backend, change: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match=r"kernel im2col: takes 16 arguments, got 1[57]"):
        launch(cuda, *arrays(cuda), change)


def test_arrays_of_two_dtypes_are_refused(cuda: Backend) -> None:
    x, _ = arrays(cuda)
    _, cols = arrays(cuda, np.float64)
    with pytest.raises(TypeError, match="kernel im2col: cols is float64, expected float32"):
        launch(cuda, x, cols)


@pytest.mark.parametrize("dtype", ["f2", "i4", "u1"])
def test_a_dtype_without_a_template_is_refused(cuda: Backend, dtype: str) -> None:
    with pytest.raises(TypeError, match=r"x is \w+, expected float32 or float64"):
        launch(cuda, *arrays(cuda, dtype))


def test_an_array_with_gaps_is_refused(cuda: Backend) -> None:
    _, cols = arrays(cuda)
    with pytest.raises(TypeError, match="kernel im2col: x must be C-contiguous"):
        launch(cuda, cuda.xp.ones((N, C, H, 2 * W), np.float32)[..., ::2], cols)


def test_a_misaligned_array_is_refused(cuda: Any) -> None:
    memory = cuda.xp.zeros(4 * N * C * H * W + 1, np.uint8)
    x = cuda.xp.ndarray((N, C, H, W), np.float32, memory.data + 1)
    _, cols = arrays(cuda)
    with pytest.raises(TypeError, match="kernel im2col: x is not aligned to its float32"):
        launch(cuda, x, cols)


@pytest.mark.parametrize("kind", ["ndarray", "list", "float"])
def test_what_is_not_on_the_device_is_refused_as_an_array(cuda: Backend, kind: str) -> None:
    x, cols = arrays(cuda)
    host = {"ndarray": np.zeros(cols.shape, np.float32), "list": [0.0], "float": 0.0}[kind]
    with pytest.raises(TypeError, match=f"kernel im2col: cols must be a CuPy array, got {kind}"):
        launch(cuda, x, host)


def test_without_an_array_the_template_has_no_type(cuda: Backend) -> None:
    with pytest.raises(TypeError, match="no array argument gives the template its type"):
        launch(cuda, None, None)


def test_an_array_is_refused_as_a_number(cuda: Any) -> None:
    x, cols = arrays(cuda)
    with pytest.raises(TypeError, match="kernel im2col: N must be a number, got ndarray"):
        launch(cuda, x, cols, (cuda.xp.asarray(N), *TAIL[1:]))


@pytest.mark.parametrize("value", [1.0, 2.5, np.float32(1)])
def test_a_float_is_refused_as_an_integer(cuda: Backend, value: Any) -> None:
    with pytest.raises(TypeError, match="kernel im2col: N must be an integer"):
        launch(cuda, *arrays(cuda), (value, *TAIL[1:]))


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 10**30, np.int64(2**40)])
def test_an_integer_that_does_not_fit_is_refused(cuda: Backend, value: Any) -> None:
    with pytest.raises(OverflowError, match=r"kernel im2col: N=.* does not fit int32"):
        launch(cuda, *arrays(cuda), (value, *TAIL[1:]))


@pytest.mark.parametrize(("value", "ctype"), [(-1, "uint8"), (256, "uint8")])
def test_an_integer_keeps_its_sign(probe: Any, value: int, ctype: str) -> None:
    with pytest.raises(OverflowError, match=f"kernel probe: u={value} does not fit {ctype}"):
        probe(u=value)


@pytest.mark.parametrize("value", [1e39, -1e39, 2**200])
def test_a_number_too_large_for_float32_is_refused(probe: Any, value: float) -> None:
    with pytest.raises(OverflowError, match=r"kernel probe: number=.* does not fit float32"):
        probe(number=value)


# -------------------------------------------------------------------- what arrives


@pytest.mark.parametrize("number", [0.5, np.float64(0.5), np.float32(0.5)])
@pytest.mark.parametrize("integer", [3, np.int64(3), np.uint8(3)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_numbers_arrive_as_their_c_types(probe: Any, number: Any, integer: Any, dtype: str) -> None:
    assert probe(number, integer, u=255, dtype=dtype) == 0.5 + 3 + 255 + 1000


def test_none_is_the_null_pointer(probe: Any, cuda: Any) -> None:
    assert probe(0.0, 0, 0) == 1000
    assert probe(0.0, 0, 0, cuda.xp.asarray([7], np.int32)) == 7


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinity_and_nan_are_numbers(probe: Any, value: float) -> None:
    np.testing.assert_array_equal(probe(value), np.float32(value))


def test_the_largest_numbers_arrive(probe: Any) -> None:
    assert probe(0.0, 2**31 - 1, 0, dtype="f8") == 2**31 - 1 + 1000
    assert probe(0.0, -(2**31), 0, dtype="f8") == -(2**31) + 1000


# -------------------------------------------------------------------- launches


@pytest.mark.parametrize("grid", [0, (0, 3), (3, 0)])
def test_an_empty_launch_is_skipped(cuda: Backend, simulated: None, grid: Any) -> None:
    x, cols = arrays(cuda)
    with gpusim.counting() as count:
        launch(cuda, x, cols, grid=grid)
    assert count.launches == 0


def test_an_empty_launch_is_checked_all_the_same(cuda: Backend) -> None:
    x, _ = arrays(cuda)
    with pytest.raises(TypeError, match="cols must be a CuPy array"):
        launch(cuda, x, [0.0], grid=0)


def test_launch_each_skips_zero_elements(cuda: Any, simulated: None) -> None:
    x, cols = cuda.xp.ones((0, C, H, W), np.float32), cuda.xp.zeros((0, C * 9, 4), np.float32)
    with gpusim.counting() as count:
        cuda.launch_each("im2col", "im2col", cols.size, x, cols, 0, *TAIL[1:])
    assert count.launches == 0


def test_a_launch_neither_waits_nor_copies(cuda: Backend, simulated: None) -> None:
    x, cols = arrays(cuda)
    launch(cuda, x, cols)
    with gpusim.counting() as count:
        launch(cuda, x, cols)
    assert count.value.nonzero() == {"launches": 1}


def test_a_refused_launch_leaves_the_array_as_it_was(cuda: Backend) -> None:
    x, cols = arrays(cuda)
    with pytest.raises(OverflowError):
        launch(cuda, x, cols, (*TAIL[:-1], 2**31))
    assert not cuda.to_numpy(cols).any()


def test_a_trace_prints_each_kernel_with_its_time(
    cuda: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x, cols = arrays(cuda)
    launch(cuda, x, cols)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(type(cuda), "traced", True)
    launch(cuda, x, cols)
    assert capsys.readouterr().err.rstrip().endswith(" ms  im2col, 1 blocks of 256")


# -------------------------------------------------------------------- where CuPy keeps kernels


def test_kernels_are_kept_where_cupy_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kernels"))
    have_kernel_cache()
    assert os.environ["CUPY_CACHE_DIR"] == str(tmp_path / "kernels")
    assert list((tmp_path / "kernels").iterdir()) == []


@pytest.mark.parametrize("name", ["CUPY_CACHE_DIR", "HOME"])
def test_a_folder_that_cannot_be_written_is_replaced_by_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", "")
    monkeypatch.setenv(name, str(tmp_path / "file" / "folder"))
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.warns(UserWarning, match="kernels will be compiled anew in each run"):
        have_kernel_cache()
    assert Path(os.environ["CUPY_CACHE_DIR"]).parent == tmp_path
    assert Path(os.environ["CUPY_CACHE_DIR"]).is_dir()
