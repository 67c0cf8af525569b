"""Time training steps and inference of LeNet-5 on the CPU: nplenet against PyTorch.

    python benchmarks/step.py --torch-python ../torch-environment/bin/python
    python benchmarks/step.py --what inference --batch 64 256 --torch-python ...

A training step is forward, loss, backward and Adam; both systems have convolutions without bias and
dropout 0.25, and compute no gradient of the input. Inference is logits in eval mode. Each system
runs in its own process, and the systems take turns: the speed of a machine drifts, so ratios are of
turns in the same round. On a machine with other load the ratio of the tenth percentiles (p10), the
least disturbed steps, varies less. "MB" is the peak memory of the process minus its memory before
the model was made.

To add a row, write a worker function that returns the step to time and a description of what runs
it, and add it to ``WORKERS`` and to ``rows``.
"""

from __future__ import annotations

import argparse
import contextlib
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
PAUSE = 0.05  # seconds between turns: threads of the last system stop spinning

# ------------------------------------------------------------------ workers: one system each


def network(seed: int = 0) -> Any:
    """Return the model of all rows of nplenet."""
    from nplenet.models import LeNet5

    return LeNet5(dropout=0.25, seed=seed)


def images_and_labels(batch: int) -> tuple[Any, Any]:
    """Return the batch of all rows of nplenet."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, 1, 32, 32), np.float32), rng.integers(0, 10, batch)


def textbook(batch: int) -> tuple[Step, str]:
    """Return a step of the layers in nplenet/layers on NumPy."""
    from nplenet.compiled import TextbookStep
    from nplenet.losses import CrossEntropyLoss
    from nplenet.optim import Adam

    model, (x, y) = network(), images_and_labels(batch)
    optimizer = Adam(model.parameters())
    step = TextbookStep(model, CrossEntropyLoss(), optimizer, batch, "it is measured")
    return lambda: step(x, y), numpy_version()


def textbook_inference(batch: int) -> tuple[Step, str]:
    """Return a forward of the layers in eval mode."""
    model, (x, _) = network().eval(), images_and_labels(batch)
    return lambda: model(x), numpy_version()


def compiled(batch: int) -> tuple[Step, str]:
    """Return the compiled step."""
    step, x, y = compiled_step(batch)
    return lambda: step(x, y), f"{numpy_version()}, {step.tunables}"


def compiled_inference(batch: int) -> tuple[Step, str]:
    """Return the forward of the compiled step, batch norm folded."""
    step, x, _ = compiled_step(batch)
    return lambda: step.predict(x), f"{numpy_version()}, {step.tunables}"


def compiled_step(batch: int) -> tuple[Any, Any, Any]:
    """Return the compiled step and its inputs."""
    import nplenet

    model = network()
    optimizer = nplenet.optim.Adam(model.parameters())
    step = nplenet.compile(model, nplenet.losses.CrossEntropyLoss(), optimizer, batch)
    return step, *images_and_labels(batch)


def torch_fused(batch: int) -> tuple[Step, str]:
    """Return a step of PyTorch eager with its fused Adam."""
    return torch_step(batch, fused=True)


def torch_default(batch: int) -> tuple[Step, str]:
    """Return a step of PyTorch eager with its default Adam."""
    return torch_step(batch, fused=None)


def torch_compiled(batch: int) -> tuple[Step, str]:
    """Return a step whose model went through torch.compile, with the fused Adam."""
    return torch_step(batch, fused=True, compiled=True)


def torch_step(batch: int, fused: bool | None, compiled: bool = False) -> tuple[Step, str]:
    """Return a step of the same network in PyTorch."""
    import torch

    model, x, detail = torch_network(batch)
    y = torch.randint(0, 10, (batch,))
    loss, optimizer = torch.nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), fused=fused)
    forward = torch.compile(model) if compiled else model

    def step() -> None:
        optimizer.zero_grad()
        loss(forward(x), y).backward()
        optimizer.step()

    return step, detail


def torch_inference(batch: int) -> tuple[Step, str]:
    """Return a forward of PyTorch eager in inference mode."""
    import torch

    model, x, detail = torch_network(batch)
    model.eval()

    def step() -> None:
        with torch.inference_mode():
            model(x)

    return step, detail


def torch_network(batch: int) -> tuple[Any, Any, str]:
    """Return the same network in PyTorch, its input, and what it runs on."""
    import torch
    from torch_lenet import lenet5

    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ["STEP_TORCH_THREADS"]))
    model = lenet5(dropout=0.25)
    detail = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    return model, torch.randn(batch, 1, 32, 32), detail


def numpy_version() -> str:
    """Return the version of NumPy, its BLAS and the number of BLAS threads."""
    import numpy as np

    return f"NumPy {np.__version__}, {blas_threads()}"


def blas_threads() -> str:
    """Return the BLAS of NumPy and its number of threads."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "BLAS threads unknown (threadpoolctl is not installed)"
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return ", ".join(f"{p['internal_api']} {p['num_threads']} threads" for p in pools) or "no BLAS"


WORKERS = {
    "textbook": textbook,
    "textbook_inference": textbook_inference,
    "compiled": compiled,
    "compiled_inference": compiled_inference,
    "torch_fused": torch_fused,
    "torch_default": torch_default,
    "torch_compiled": torch_compiled,
    "torch_inference": torch_inference,
}


def work(name: str, batch: int) -> None:
    """Run as a worker: describe it, then time steps for the seconds in each input line."""
    if name.startswith("torch"):
        import torch  # noqa: F401
    else:
        import nplenet  # noqa: F401
    before = resident_memory("VmRSS")
    forget_highest_memory()
    step, detail = WORKERS[name](batch)
    timed(step, WARM_UP)
    megabytes = resident_memory("VmHWM") - before
    print(json.dumps({"detail": detail, "megabytes": megabytes}), flush=True)
    for line in sys.stdin:
        print(json.dumps(timed(step, float(line))), flush=True)


def timed(step: Step, seconds: float) -> list[float]:
    """Repeat the step for ``seconds``, at least once; return the time of each step."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def resident_memory(field: str) -> float:
    """Return a field of /proc/self/status in MB; NaN on a system without /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def forget_highest_memory() -> None:
    """Reset the peak memory of this process (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


# ------------------------------------------------------------------ the measurement


@dataclass
class Row:
    """One line of the table: a worker, its interpreter and its environment variables."""

    name: str
    worker: str
    python: str
    environment: dict[str, str]


class Process:
    """A worker process, controlled through a pipe."""

    def __init__(self, row: Row, batch: int) -> None:
        self.row = row
        self.process = subprocess.Popen(
            [row.python, __file__, "--worker", row.worker, "--batch", str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | row.environment,
        )
        self.about: dict[str, Any] = self.answer()
        self.rounds: list[list[float]] = []

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.row.name}: the worker ended early; see its message above")
        return json.loads(line)

    def take_turn(self, seconds: float) -> None:
        assert self.process.stdin is not None
        time.sleep(PAUSE)
        print(seconds, file=self.process.stdin, flush=True)
        self.rounds.append(self.answer())

    def close(self) -> None:
        self.process.communicate()  # closes stdin, which ends the worker


def rows(arguments: argparse.Namespace) -> list[Row]:
    """Return the rows that this machine can measure."""
    here, torch = sys.executable, arguments.torch_python
    suffix = "_inference" if arguments.what == "inference" else ""
    one_thread = dict.fromkeys(BLAS_VARIABLES, "1")  # the compiled step limits BLAS itself
    found = [
        Row("nplenet textbook", f"textbook{suffix}", here, one_thread),
        Row("nplenet compiled", f"compiled{suffix}", here, {}),
    ]
    if not has_torch(torch):
        print(f"no PyTorch in {torch}: give an interpreter that has it with --torch-python")
        return found
    threads = {"STEP_TORCH_THREADS": str(arguments.threads)}
    if arguments.what == "inference":
        return [*found, Row("torch eager", "torch_inference", torch, threads)]
    found.append(Row("torch eager, fused Adam", "torch_fused", torch, threads))
    found.append(Row("torch eager, default Adam", "torch_default", torch, threads))
    if arguments.torch_compile:
        found.append(Row("torch.compile, fused Adam", "torch_compiled", torch, threads))
    return found


def has_torch(python: str) -> bool:
    """Say whether an interpreter exists and imports PyTorch."""
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0


def measure(row_list: list[Row], batch: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Time all rows in turns at one batch size; return the metrics of each."""
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
    return metrics(processes, batch)


def metrics(processes: list[Process], batch: int) -> list[dict[str, Any]]:
    """Return each row's median, spread and speed relative to the faster PyTorch eager."""
    rivals = [p for p in processes if p.row.name.startswith("torch eager")]
    rival = min(rivals, key=lambda p: percentile(p, 50), default=None)
    found = []
    for p in processes:
        metric = {
            "batch": batch,
            "row": p.row.name,
            **p.about,
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
            metric["ratio"] = statistics.median(ratios)
            metric["ratio_low"], metric["ratio_high"] = min(ratios), max(ratios)
            metric["ratio_p10"] = percentile(rival, 10) / percentile(p, 10)
        found.append(metric)
    return found


def percentile(process: Process, percent: int) -> float:
    """Return a percentile of the step times of all rounds, in seconds."""
    steps = sorted(t for turn in process.rounds for t in turn)
    return steps[len(steps) * percent // 100]


def line_of(metric: dict[str, Any]) -> str:
    """Return a line of the table."""
    ratio, ratio_p10 = "-", "-"
    if "ratio" in metric:
        ratio = "{ratio:.2f} ({ratio_low:.2f}-{ratio_high:.2f})".format(**metric)
        ratio_p10 = f"{metric['ratio_p10']:.2f}"
    return (
        f"{metric['batch']:>5}  {metric['row']:<27} {metric['median_ms']:>8.2f}  "
        f"{metric['p10_ms']:>8.2f} {metric['p90_ms']:>8.2f}  {metric['images_per_second']:>9,.0f}  "
        f"{ratio:<17}  {ratio_p10:>6}  {metric['megabytes']:>5.0f}  {metric['detail']}"
    )


def main() -> None:
    """Read the command line; run as the coordinator, or as one worker."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--what", choices=("training", "inference"), default="training")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=7, help="number of rounds (default: 7)")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="seconds per turn (default: 0.5)"
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="threads of PyTorch (default: all CPUs)"
    )
    parser.add_argument(
        "--torch-python", default=sys.executable, help="Python interpreter with PyTorch"
    )
    parser.add_argument("--torch-compile", action="store_true", help="also time torch.compile")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.batch[0])
        return

    row_list = rows(arguments)
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; "
        f"{arguments.what}, {arguments.rounds} rounds of {arguments.seconds} s, "
        "ratios to the faster PyTorch eager"
    )
    print(
        f"{'batch':>5}  {'row':<27} {'ms/step':>8}  {'p10':>8} {'p90':>8}  {'images/s':>9}  "
        f"{'x torch (range)':<17}  at p10  {'MB':>5}  ran on"
    )
    found: list[dict[str, Any]] = []
    for batch in arguments.batch:
        found += measure(row_list, batch, arguments.rounds, arguments.seconds)
        print(
            "\n".join(line_of(metric) for metric in found if metric["batch"] == batch), flush=True
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
