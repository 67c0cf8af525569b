"""No kernel has a race, not even one that changes no result: see ``gpusim/csrc/watch.h``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
CHAINS = (
    "elementwise-one-after-the-other",
    "no-batch-norm",
    "batch-norm-first-and-twice",
    "pools-that-cannot-be-fused",
    "frozen",
)


def run_watched(*command: str) -> None:
    watched = {"GPUSIM_WATCH": "1", "GPUSIM_NVRTC": "0"}
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **watched},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"


def test_the_kernels_of_layers_have_no_race(simulated: None) -> None:
    run_watched(str(FOLDER / "run_every_kernel.py"))


def test_the_kernels_of_fused_steps_have_no_race(simulated: None) -> None:
    file = FOLDER / "test_fused.py"
    tests = [f"{file}::test_other_models_equal_the_textbook[{chain}]" for chain in CHAINS]
    run_watched("-m", "pytest", "-q", "-n0", "--backend", "cupy-sim", *tests)
