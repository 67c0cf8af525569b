"""The doctor says what a backend needs, tries it, and names the line to type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nplenet import doctor
from nplenet.__main__ import main
from nplenet.backend import Array, Backend
from nplenet.data import read_idx, write_idx


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MNIST is nowhere, so that these tests do the same on every machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(tmp_path / "cache"))
    monkeypatch.delenv("NPLENET_DATA", raising=False)


def findings(backend: str = "numpy") -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine(backend)}


def write_mnist(folder: Path) -> None:
    for split, count in (("train", 3), ("t10k", 2)):
        write_idx(folder / f"{split}-images-idx3-ubyte", np.zeros((count, 28, 28), np.uint8))
        write_idx(folder / f"{split}-labels-idx1-ubyte", np.zeros(count, np.uint8))


def test_numpy_is_usable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert f"NumPy               {np.__version__}\n" in output
    assert f"Python              {sys.version.split()[0]} on" in output
    assert output.endswith("the numpy backend is usable\n")
    assert "CuPy" not in output


def test_blas_is_named_with_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    blas = {"user_api": "blas", "internal_api": "openblas", "version": "0.3", "num_threads": 7}
    openmp = {"user_api": "openmp", "internal_api": "openmp", "version": None, "num_threads": 9}
    monkeypatch.setattr(doctor, "threadpool_info", lambda: [openmp, blas])
    assert findings()["BLAS"].value == "openblas 0.3, 7 threads (training uses 1)"


@pytest.mark.skipif(
    "openblas" not in np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"],
    reason="this NumPy has another BLAS than OpenBLAS",
)
def test_the_openblas_of_numpy_is_found() -> None:
    assert findings()["BLAS"].value.startswith("openblas")


def test_missing_mnist_comes_with_a_line_that_python_can_run() -> None:
    finding = findings()["MNIST"]
    assert finding.value.startswith("not found")
    assert not finding.fatal
    compile(finding.remedy.split('"')[1], "remedy", "exec")


def test_mnist_is_shown_where_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path)
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path))
    assert findings()["MNIST"] == ("MNIST", str(tmp_path), "", False)


def test_half_of_mnist_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path))
    assert findings()["MNIST"].value.startswith("not found")


def test_damaged_mnist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path)
    damaged = tmp_path / "train-labels-idx1-ubyte"
    write_idx(damaged, np.append(read_idx(damaged), np.uint8(0)))
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path))
    finding = findings()["MNIST"]
    assert str(damaged) in finding.value
    assert finding.remedy


def test_without_cupy_the_exit_status_is_1_and_the_line_to_type_is_there() -> None:
    code = (
        "import sys; sys.modules['cupy'] = None\n"  # as if it were not installed
        "from nplenet.__main__ import main; sys.exit(main(['doctor', '--backend', 'cupy']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "CuPy, which is not installed" in done.stdout
    assert "pip install 'nplenet[cuda12]'" in done.stdout
    assert done.stdout.endswith("the cupy backend is not usable\n")


def test_two_cupy_packages_are_refused_before_either_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("numpy", "cupy-cuda12x", "cupy-cuda13x")
    packages = [SimpleNamespace(metadata={"Name": name}) for name in names]
    monkeypatch.setattr(doctor, "distributions", lambda: packages)
    finding = findings("cupy")["CuPy"]
    assert finding.fatal
    assert finding.remedy.startswith("pip uninstall --yes cupy-cuda12x cupy-cuda13x && pip install")


def test_cupy_is_usable_once_a_kernel_has_given_what_numpy_gives(
    cuda: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--backend", "cupy"]) == 0
    names = ["CuPy", "driver", "runtime", "device", "compute capability", "memory", "kernels"]
    lines = capsys.readouterr().out.splitlines()
    assert [line[:20].strip() for line in lines[-8:-1]] == names
    assert lines[-1] == "the cupy backend is usable"


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_wrong_numbers_make_cupy_unusable(
    cuda: Backend, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(array: Array) -> Array:
        return np.full(array.shape, value, np.float32)

    monkeypatch.setattr(cuda, "to_numpy", wrong)
    finding = findings("cupy")["kernels"]
    assert finding.fatal
    assert "differs from NumPy's result by" in finding.value
    assert finding.remedy.startswith("pip install")


def test_a_kernel_that_does_not_compile_makes_cupy_unusable(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise OSError("libnvrtc.so.12: cannot open shared object file")

    monkeypatch.setattr(cuda, "asarray", broken)
    finding = findings("cupy")["kernels"]
    assert finding.fatal
    assert "OSError: libnvrtc.so.12" in finding.value
