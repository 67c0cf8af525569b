"""A release: the wheel holds the whole package, the source distribution the tests as well."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
# The wheel is imported here, not the checkout.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

pytest.importorskip("build", reason="building the wheel needs `pip install build`")


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def source_files() -> list[str]:
    """Return the names of the files that a release is made of."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git repository, whose files the release is compared with")
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [name for name in files.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("release")
    source = folder / "source"
    for name in source_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def python(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a fresh environment into which the wheel has been installed."""
    folder = tmp_path_factory.mktemp("wheel")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    (wheel,) = release.glob("nplenet-*.whl")
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = run(python, "-c", code, cwd=folder).strip()
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, wheel, cwd=folder)
    # Dependencies come from the environment of the tests, behind the fresh one's packages.
    Path(site, "dependencies.pth").write_text(str(Path(np.__file__).parents[1]))
    return python


def test_the_source_distribution_holds_every_file_and_its_tests_run(
    release: Path, tmp_path: Path
) -> None:
    (archive,) = release.glob("nplenet-*.tar.gz")
    with tarfile.open(archive) as tar:
        names = [member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()]
        tar.extractall(tmp_path, filter="data")
    made = {"PKG-INFO", *(name for name in names if name.startswith("nplenet.egg-info/"))}
    assert set(names) - made == set(source_files())
    (source,) = tmp_path.iterdir()
    tests = ("tests/test_losses.py", "tests/layers/test_conv.py", "tests/test_schedules.py")
    command = (sys.executable, "-m", "pytest", "-q", "-n0", "--backend", "numpy", *tests)
    assert " passed" in run(*command, cwd=source)


def test_every_module_imports_from_the_installed_wheel(python: Path, tmp_path: Path) -> None:
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "nplenet").rglob("*.py")
        if path.name not in ("__main__.py", "cuda.py")  # a command; needs CuPy to do anything
    )
    code = (
        "import importlib, nplenet\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "print(nplenet.__file__)"
    )
    imported_from = run(python, "-c", code, cwd=tmp_path)
    assert str(python.parents[1]) in imported_from


def test_the_wheel_brings_every_kernel(python: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.resources import files\n"
        "kernels = files('nplenet.kernels')\n"
        "found = [*kernels.iterdir(), *kernels.joinpath('fused').iterdir()]\n"
        "print(*sorted(p.name for p in found))"
    )
    installed = run(python, "-c", code, cwd=tmp_path).split()
    expected = {path.name for path in (ROOT / "kernels").rglob("*.cu")}
    assert "norm.cu" in expected
    assert expected <= set(installed)


def test_the_wheel_brings_the_lab_without_its_key(python: Path, tmp_path: Path) -> None:
    nplenet = (python, "-m", "nplenet", "lab")
    run(*nplenet, "start", "all", "--output", "homework", cwd=tmp_path)
    assert "raise NotImplementedError" in (tmp_path / "homework" / "conv.py").read_text()
    shutil.copy(ROOT / "lab" / "keys" / "dense.py", tmp_path)
    assert "10 of 10 points" in run(*nplenet, "grade", "dense.py", cwd=tmp_path)
    shutil.copy(ROOT / "lab" / "keys" / "kernel.cu", tmp_path)
    code = (
        "from nplenet.__main__ import main\n"
        "assert main(['lab', 'start', 'conv', '--key', '--output', 'solved']) == 2\n"
        "assert main(['lab', 'grade', 'kernel.cu']) == 1"
    )
    said = run(python, "-c", code, cwd=tmp_path)
    assert "can't be tried: the simulated CUDA device is in the source tree only" in said
    assert not (tmp_path / "solved").exists()


def test_the_wheel_brings_the_bundled_digits(python: Path, tmp_path: Path) -> None:
    code = "from nplenet.data import load_digits; print(len(load_digits('all')[1]))"
    assert run(python, "-c", code, cwd=tmp_path).strip() == "1797"


def test_the_wheel_brings_the_drawing_page_and_the_trained_model(
    python: Path, tmp_path: Path
) -> None:
    run(python, "-m", "nplenet", "draw", "default", "--no-open", cwd=tmp_path)
    assert (tmp_path / "page.html").stat().st_size > 300_000
