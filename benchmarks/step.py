"""Time a training step of LeNet-5: nplenet against PyTorch eager on this machine's CPU.

    python benchmarks/step.py --batch 64 256 --torch-python ../torch-environment/bin/python

A step is forward, loss, backward and Adam; convolutions without bias and dropout 0.25 on both
sides, no gradient of the input. Each system runs in a process of its own, and they take turns: a
machine drifts, so only the ratio of neighbours in time counts. On a machine with other work the
ratio of the tenth percentiles (p10), the least disturbed steps, is the steadier one. It prints what
it measured and judges nothing.

To add a row: a worker function that returns (a step to time, what it ran on), and a line in
``rows``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Step = Callable[[], object]
BLAS_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
WARM_UP = 1.0  # seconds, and at least one step
PAUSE = 0.05  # seconds between turns, in which the other's threads stop spinning

# ------------------------------------------------------------------ workers: one system each


def textbook(batch: int) -> tuple[Step, str]:
    """Return a step of the layers in nplenet/layers on NumPy."""
    import numpy as np

    from nplenet.losses import CrossEntropyLoss
    from nplenet.models import LeNet5
    from nplenet.optim import Adam

    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, 1, 32, 32), np.float32)
    y = rng.integers(0, 10, batch)
    model, loss = LeNet5(dropout=0.25, seed=0), CrossEntropyLoss()
    model.input_gradient = False
    optimizer = Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), y)
        model.backward(loss.backward())
        optimizer.step()

    return step, f"NumPy {np.__version__}, {blas_threads()}"


def torch_fused(batch: int) -> tuple[Step, str]:
    """Return a step of PyTorch eager with its fused Adam."""
    return torch_eager(batch, fused=True)


def torch_default(batch: int) -> tuple[Step, str]:
    """Return a step of PyTorch eager with its default Adam."""
    return torch_eager(batch, fused=None)


def torch_eager(batch: int, fused: bool | None) -> tuple[Step, str]:
    """Return a step of the same network in PyTorch."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ["STEP_TORCH_THREADS"]))
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(84, 10),
    )
    x, y = torch.randn(batch, 1, 32, 32), torch.randint(0, 10, (batch,))
    loss, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), fused=fused)

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    return step, f"torch {torch.__version__}, {torch.get_num_threads()} threads"


def blas_threads() -> str:
    """Return which BLAS NumPy uses, with how many threads."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "BLAS threads unknown (threadpoolctl is not installed)"
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return ", ".join(f"{p['internal_api']} {p['num_threads']} threads" for p in pools) or "no BLAS"


WORKERS = {f.__name__: f for f in (textbook, torch_fused, torch_default)}


def work(name: str, batch: int) -> None:
    """Run as a worker: say what runs, then time steps for the seconds that each line asks."""
    step, detail = WORKERS[name](batch)
    timed(step, WARM_UP)
    print(json.dumps(detail), flush=True)
    for line in sys.stdin:
        print(json.dumps(timed(step, float(line))), flush=True)


def timed(step: Step, seconds: float) -> list[float]:
    """Return the seconds of each of as many steps as begin within ``seconds``."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


# ------------------------------------------------------------------ the measurement


@dataclass
class Row:
    """One line of the table: a worker, the interpreter and the environment it runs in."""

    name: str
    worker: str
    python: str
    environment: dict[str, str]


class Process:
    """A worker at the other end of a pipe."""

    def __init__(self, row: Row, batch: int) -> None:
        self.row = row
        self.process = subprocess.Popen(
            [row.python, __file__, "--worker", row.worker, "--batch", str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | row.environment,
        )
        self.detail: str = self.answer()
        self.rounds: list[list[float]] = []

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.row.name}: the worker ended early, see its message above")
        return json.loads(line)

    def take_turn(self, seconds: float) -> None:
        assert self.process.stdin is not None
        time.sleep(PAUSE)
        print(seconds, file=self.process.stdin, flush=True)
        self.rounds.append(self.answer())

    def close(self) -> None:
        self.process.communicate()  # closes stdin, at which the worker ends


def rows(arguments: argparse.Namespace) -> list[Row]:
    """Return what is to be measured on this machine."""
    here = sys.executable
    found = [Row("nplenet textbook", "textbook", here, {})]
    for n in arguments.blas_threads:
        environment = dict.fromkeys(BLAS_VARIABLES, str(n))
        found.append(Row(f"nplenet textbook, BLAS {n}", "textbook", here, environment))
    if not has_torch(arguments.torch_python):
        print(f"No PyTorch in {arguments.torch_python}; name one that has it with --torch-python.")
        return found
    threads = {"STEP_TORCH_THREADS": str(arguments.threads)}
    found.append(Row("torch eager, fused Adam", "torch_fused", arguments.torch_python, threads))
    found.append(Row("torch eager, default Adam", "torch_default", arguments.torch_python, threads))
    return found


def has_torch(python: str) -> bool:
    """Say whether an interpreter is there and imports PyTorch."""
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0


def measure(row_list: list[Row], batch: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Let all rows take turns at one batch size and return the figures of each."""
    processes: list[Process] = []
    try:
        for row in row_list:
            processes.append(Process(row, batch))
        for _ in range(rounds):
            for process in processes:
                process.take_turn(seconds)
    finally:
        for process in processes:
            process.close()
    return figures(processes, batch)


def figures(processes: list[Process], batch: int) -> list[dict[str, Any]]:
    """Return medians, spread and the ratio to the better PyTorch, round by round."""
    rivals = [p for p in processes if p.row.worker.startswith("torch")]
    rival = min(rivals, key=lambda p: percentile(p, 50), default=None)
    found = []
    for p in processes:
        figure = {
            "batch": batch,
            "row": p.row.name,
            "detail": p.detail,
            "steps": sum(len(turn) for turn in p.rounds),
            "median_ms": 1e3 * percentile(p, 50),
            "p10_ms": 1e3 * percentile(p, 10),
            "p90_ms": 1e3 * percentile(p, 90),
            "images_per_second": batch / percentile(p, 50),
        }
        if rival is not None:
            ratios = [
                statistics.median(theirs) / statistics.median(ours)
                for theirs, ours in zip(rival.rounds, p.rounds, strict=True)
            ]
            figure["ratio"] = statistics.median(ratios)
            figure["ratio_low"], figure["ratio_high"] = min(ratios), max(ratios)
            figure["ratio_p10"] = percentile(rival, 10) / percentile(p, 10)
        found.append(figure)
    return found


def percentile(process: Process, percent: int) -> float:
    """Return the step time, in seconds, that so many of all steps stay below."""
    steps = sorted(t for turn in process.rounds for t in turn)
    return steps[len(steps) * percent // 100]


def line_of(figure: dict[str, Any]) -> str:
    """Return a figure as a line of the table."""
    ratio, ratio_p10 = "-", "-"
    if "ratio" in figure:
        ratio = "{ratio:.2f} ({ratio_low:.2f}-{ratio_high:.2f})".format(**figure)
        ratio_p10 = f"{figure['ratio_p10']:.2f}"
    return (
        f"{figure['batch']:>5}  {figure['row']:<27} {figure['median_ms']:>8.2f}  "
        f"{figure['p10_ms']:>8.2f} {figure['p90_ms']:>8.2f}  {figure['images_per_second']:>9,.0f}  "
        f"{ratio:<17}  {ratio_p10:>6}  {figure['detail']}"
    )


def main() -> None:
    """Read the command line; run as the coordinator, or as one worker."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default: 7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn (default: 0.5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument(
        "--blas-threads",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="more rows for NumPy, with its BLAS held to N threads",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.batch[0])
        return

    row_list = rows(arguments)
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; "
        f"{arguments.rounds} rounds of {arguments.seconds} s, ratio to the better PyTorch"
    )
    print(
        f"{'batch':>5}  {'row':<27} {'ms/step':>8}  {'p10':>8} {'p90':>8}  {'images/s':>9}  "
        f"{'x torch (range)':<17}  at p10  ran on"
    )
    found: list[dict[str, Any]] = []
    for batch in arguments.batch:
        found += measure(row_list, batch, arguments.rounds, arguments.seconds)
        print(
            "\n".join(line_of(figure) for figure in found if figure["batch"] == batch), flush=True
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
