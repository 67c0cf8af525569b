"""Every kernel file: what NVRTC and the sanitizers say of it, and the house rules."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gpusim import nvrtc

from nplenet.backend.launch import signatures

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "kernels").glob("*.cu"))
ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)  # CUDA 13 has left 70 behind

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@pytest.fixture(scope="session")
def architectures() -> list[int]:
    """Those of ARCHITECTURES that the NVRTC at hand knows; skips where there is none."""
    try:
        known = nvrtc.supported_archs()
    except RuntimeError as error:
        pytest.skip(str(error))
    assert set(ARCHITECTURES) - {70} <= set(known)
    return [arch for arch in ARCHITECTURES if arch in known]


def instances(file: Path) -> list[str]:
    """Return the name expressions of all templates of a file."""
    found = signatures(file.read_text(encoding="utf-8"))
    templates = [name for name, (is_template, _) in found.items() if is_template]
    return [f"{name}<{kind}>" for name in templates for kind in ("float", "double")]


def code(file: Path) -> str:
    """Return the text of a kernel file without its comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", file.read_text(encoding="utf-8"), flags=re.S)


@every_file
def test_nvrtc_takes_a_kernel_without_warnings_or_spills(
    file: Path, architectures: list[int]
) -> None:
    names = instances(file)
    reports = nvrtc.check_kernels(file, architectures, names=names)  # prints them: pytest -s
    assert [r.error for r in reports if r.error] == []
    assert {w for r in reports for w in r.warnings} == set()
    assert [(r.kernel, r.arch) for r in reports if r.spill_bytes] == []
    plain = sum(not is_template for is_template, _ in signatures(code(file)).values())
    assert len(reports) == (len(names) + plain) * len(architectures)
    assert all(r.registers > 0 for r in reports)


def test_every_kernel_runs_clean_under_sanitizers(simulated: None) -> None:
    program = Path(__file__).with_name("run_every_kernel.py")
    done = subprocess.run(
        [sys.executable, "-m", "gpusim.sanitize", "python", str(program)],
        env={**os.environ, "GPUSIM_NVRTC": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kernels = {name for file in FILES for name in signatures(code(file))}
    assert set(done.stdout.split()) == kernels


@every_file
def test_a_kernel_file_includes_nothing(file: Path) -> None:
    assert "#include" not in code(file)


@every_file
def test_no_kernel_uses_atomics(file: Path) -> None:
    assert not re.search(r"\batomic\w+\s*\(", code(file)), "sums in no fixed order"


@every_file
def test_a_kernel_file_holds_a_kernel_and_says_what_its_threads_do(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert signatures(text)
    assert text.startswith("//")
    assert "\n// Threads: " in text


@every_file
def test_the_numpy_twin_of_a_kernel_exists(file: Path) -> None:
    head = file.read_text(encoding="utf-8").split("\n\n")
    comment = " ".join(line.removeprefix("//").strip() for line in "\n".join(head).splitlines())
    named = re.findall(r"([\w ,]+?) in (nplenet/[\w/]+\.py)", comment.partition("NumPy twin")[2])
    assert named, "name the NumPy twins and their files on top"
    kernels = set(signatures(file.read_text(encoding="utf-8")))
    twins, functions = set(), set()
    for names, module in named:
        tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
        functions |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        twins |= kernels if "same names" in names else set(re.findall(r"\w+", names)) - {"and", "s"}
    assert twins
    assert twins <= functions
