"""benchmarks/kernels.py: it knows every kernel, and a wrong number or a NaN does not pass."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.backend.cupy_backend import KERNELS

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks" / "kernels.py"


@pytest.fixture(scope="module")
def ladder() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


def test_it_has_arguments_for_every_kernel(ladder: dict[str, Any]) -> None:
    assert {ladder["NAMES"][name] for name in ladder["arguments"](2)} == set(KERNELS)


def test_it_checks_kernels_and_times_nothing_on_the_simulated_device(simulated: None) -> None:
    chosen = ("batch_norm_center", "dropout")
    done = subprocess.run(
        [sys.executable, PROGRAM, "--backend", "cupy-sim", "--batch", "3", "--only", *chosen],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(chosen)
    assert done.stdout.count("equals NumPy") == 2


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (np.array([1.0, 2.0]), ""),
        (np.array([1.0, 2.0 + 1e-6]), ""),
        (np.array([1.0, 2.1]), "an error of 1.0e-01, more than 2.0e-05"),
        (np.array([1.0, np.nan]), "a number that is not finite"),
        (np.array([1.0, np.inf]), "a number that is not finite"),
        (np.array([1.0, 2.0], np.float32), "float32 (2,), expected float64 (2,)"),
        (np.array([[1.0, 2.0]]), "float64 (1, 2), expected float64 (2,)"),
    ],
)
def test_it_says_what_is_wrong(found: np.ndarray, said: str, ladder: dict[str, Any]) -> None:
    fault = ladder["fault"](found, np.array([1.0, 2.0]))
    assert fault.removesuffix("; ") == said


def test_whole_numbers_must_be_equal(ladder: dict[str, Any]) -> None:
    assert ladder["fault"](np.array([1, 1_000_000]), np.array([1, 1_000_001]))
