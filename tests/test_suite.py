"""What every test relies on: the same ids in each process, the package of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nplenet

ROOT = Path(__file__).parents[1]


def collected(hash_seed: int) -> list[str]:
    """Return the ids of all tests, as a new process collects them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "--backend", "numpy"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_two_processes_collect_the_same_tests() -> None:
    """Otherwise pytest-xdist refuses to run them."""
    first = collected(hash_seed=1)
    assert len(first) > 1000
    assert first == collected(hash_seed=2)
    assert [name for name in first if " at 0x" in name] == []


def test_a_child_process_imports_the_same_package(tmp_path: Path) -> None:
    program = "import nplenet; print(nplenet.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == nplenet.__file__, done.stderr
