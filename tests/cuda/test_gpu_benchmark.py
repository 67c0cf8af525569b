"""benchmarks/gpu.py: it notices wrong numbers, survives processes that fail, and computes right."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"


def module(name: str) -> ModuleType:
    """Import a module that lies beside gpu.py."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)


def record(*results: dict[str, Any], error: str = "") -> dict[str, Any]:
    return {"results": list(results), "error": error, "seconds": 1.0}


def check(gradients: float) -> dict[str, Any]:
    """A result of a check whose gradients are wrong by this much in the last step."""
    return {"checked": 7, "errors": [1e-7, 1e-6, gradients, 1e-6]}


def test_it_checks_all_and_times_nothing_on_the_simulated_device(
    simulated: None, tmp_path: Path
) -> None:
    found = tmp_path / "found.json"
    options = ["--check", "--simulated", "--seconds", "600", "--json", found]
    done = subprocess.run(
        [sys.executable, FOLDER / "gpu.py", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines() if " right" in line][:4] == [
        [system, batch] for system in ("compiled", "textbook") for batch in ("7", "32")
    ]
    assert done.stdout.count("runs (not timed)") == 4
    sections = json.loads(found.read_text(encoding="utf-8"))["sections"]
    assert sections["train"]["first run"]["results"][0]["trained_seconds"] >= 0
    assert 0 <= sections["goal"]["compiled"]["results"][1]["accuracy"] <= 1


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    """Where there is one, it is hidden."""
    done = subprocess.run(
        [sys.executable, FOLDER / "gpu.py", "--json", tmp_path / "found.json"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no GPU to measure, or no CuPy to reach it: ")


def test_a_system_with_another_learning_rate_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    work, ours = module("gpu_work"), module("gpu_nplenet").NplenetSteps
    rates = iter([1.1e-3, 1e-3])

    class Other(ours):  # type: ignore[misc, valid-type]
        def __init__(self, case: Any, kind: str) -> None:
            super().__init__(case, kind)
            self.step.optimizer.lr = next(rates)

    monkeypatch.setattr(module("gpu_nplenet"), "NplenetSteps", Other)
    found = work.compare("numpy", 3, "cpu")
    loss, first, last, weights = found["errors"]
    assert first == 0
    assert min(loss, last, weights) > module("gpu_tables").TOLERANCE


def test_errors_are_relative_and_nothing_else_passes_as_small() -> None:
    error = module("gpu_work").relative_error
    assert error([1, -4.0], [1, -5.0]) == pytest.approx(0.2)
    assert error([1, np.nan], [1, 5.0]) == error([1.0], [1, 5.0]) == np.inf


@pytest.mark.parametrize(
    ("system", "gradients", "verdict", "fails"),
    [
        ("compiled", 1.9e-5, "right", False),
        ("compiled", 2.1e-5, "WRONG: above 2e-05", True),
        ("textbook", np.nan, "WRONG: above 2e-05", True),
        ("jax", 9e-5, "right", False),
        ("jax", 1e-3, "WRONG: above 1e-04", False),  # said, but not nplenet's fault
    ],
)
def test_a_wrong_gradient_is_said(system: str, gradients: float, verdict: str, fails: bool) -> None:
    tables, records = module("gpu_tables"), {system: record(check(gradients))}
    assert tables.checks_table(records).endswith(verdict)
    assert tables.wrong(records) is fails


def test_a_process_that_fails_leaves_its_results_and_the_last_line_of_its_error() -> None:
    program = "import sys; print('{\"us\": 1}', flush=True); print('{\"us'); sys.exit('so it ends')"
    outcome = module("gpu_process").run([sys.executable, "-c", program], 60)
    assert (outcome.results, outcome.error) == ([{"us": 1}], "so it ends")
    assert not outcome.out_of_time


def test_a_process_that_crashes_is_named_by_its_signal() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    outcome = module("gpu_process").run([sys.executable, "-c", program], 60)
    assert outcome.error == "SIGSEGV: no message"


def test_a_process_that_hangs_is_stopped_and_leaves_its_results() -> None:
    program = "import time; print('{\"us\": 1}', flush=True); time.sleep(600)"
    outcome = module("gpu_process").run([sys.executable, "-c", program], 3)
    assert (outcome.results, outcome.error) == ([{"us": 1}], "stopped after 3 s")
    assert outcome.out_of_time
    assert outcome.seconds < 60


def test_nothing_starts_when_no_time_is_left() -> None:
    process = module("gpu_process")
    assert process.run(["no such program"], process.Clock(0).left()).out_of_time


def test_a_step_is_compared_with_the_compiled_loop() -> None:
    compiled = record({"batch": 64, "us": 50.0, "fit": True}, {"batch": 64, "us": 60.0})
    jax = record({"batch": 64, "us": 250.0}, {"batch": 256, "error": "no memory"})
    tables, records = module("gpu_tables"), {"jax": jax, "compiled": compiled}
    text = tables.steps_table(records, [64, 256])
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[2:5] == ["compiled 50.0 -", "jax 250.0 -", "compiled, call by call 60.0 -"]
    assert lines[6:] == ["jax 5.0 -", "compiled, call by call 1.2 -"]
    assert tables.notes(records) == ["  jax 256: no memory"]


def test_a_kernel_is_compared_with_the_nearer_limit_of_the_card() -> None:
    limit = module("gpu_tables").limit
    card = {"bytes_per_second": 1e12, "flop_per_second": 1e13}
    kernel = {"seconds": 1e-5, "bytes": 5e6, "flop": 2e7}
    assert limit(kernel, card) == "50% (memory)"
    assert limit(kernel | {"flop": 8e7}, card) == "80% (arithmetic)"
    assert limit(kernel, card | {"bytes_per_second": None}) == "20% (arithmetic)"
    assert limit(kernel, {}) == "-"


def test_the_time_to_the_goal_is_a_mean_over_the_seeds_that_reached_it() -> None:
    runs = [
        {"seed": k, "compiled": True, "seconds": s, "epochs": e, "accuracy": a}
        for k, (s, e, a) in enumerate([(0.1, 4, 0.991), (0.3, 6, 0.993), (None, None, 0.989)])
    ]
    text = module("gpu_tables").goal_table({"compiled": record(*runs)}, {"batch": 128})
    assert "2 of 3 seeds reached 99 % test accuracy" in text
    assert "0.200 +- 0.141 (0.100 to 0.300), 5.0 epochs" in text
    assert "test accuracy at the end: 99.10% +- 0.20%" in text


def test_the_modules_and_functions_of_the_benchmark_are_short() -> None:
    import ast

    for file in FOLDER.glob("gpu*.py"):
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, file.name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, node.name
