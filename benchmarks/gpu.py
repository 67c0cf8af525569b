"""Measure nplenet on a GPU, beside PyTorch and JAX where these are installed.

    python benchmarks/gpu.py [--json FILE]                 everything, in less than 3 minutes
    python benchmarks/gpu.py --only steps,kernels --quick
    python benchmarks/gpu.py --check [--simulated]         compares results; measures no time

Needs an NVIDIA GPU, nplenet (installed or on PYTHONPATH) and CuPy. Each system runs in a process of
its own with a time limit; one that fails is reported with the last line of its error, and the other
systems are still measured. The sections:

    steps     microseconds per training step of LeNet-5 (batch norm, dropout 0.1, AdamW; float32
              without TF32; a fixed batch on the device). First each system is checked: losses,
              gradients, weights and running statistics of 5 steps, against the layers on NumPy in
              float64
    kernels   each kernel of the compiled step: time, bytes, FLOP, fraction of the card's limit
    epoch     an epoch of 60,000 images with loading, augmentation and metrics, divided by its steps
    train     ``nplenet train --backend cupy``: 12 epochs of MNIST, a process from start to end
    goal      training time until 99 % test accuracy, over 10 seeds; each epoch's test is not in it

The last two need MNIST (NPLENET_DATA, or the user's cache); they download it only with --download.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_process import ROOT, Clock, Outcome, run, run_job
from gpu_tables import (
    OURS,
    Records,
    checks_table,
    epoch_table,
    goal_table,
    kernels_table,
    notes,
    said_by_train,
    steps_table,
    train_table,
    wrong,
)

SYSTEMS = ("compiled", "textbook", "torch graph", "torch eager", "jax")
BATCHES, QUICK_BATCHES = [64, 256, 1024, 4096], [64, 1024]
IMAGES = 60_000
# The fewest epochs with 99.0 % on 5,000 images held out of the training set: mean of two seeds.
RECIPE = {"epochs": 8, "batch": 128, "lr": 8e-3, "weight_decay": 1e-2, "dropout": 0.1}
# Seconds that a process may take of the 170 of the whole program.
LIMITS = {"card": 30, "steps": 50, "kernels": 30, "epoch": 30, "train": 60, "goal": 45}
TOTAL = 170


class Bench:
    """The options, the clock, and what has been found so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.clock = options, Clock(options.seconds)
        self.found: dict[str, Any] = {"sections": {}}
        self.failed = False

    def job(self, section: str, python: str = sys.executable, **job: Any) -> Outcome:
        """Do a job in a process of its own, within the time of its section."""
        job = {"job": section, "simulated": self.options.simulated, **job}
        return run_job(job, self.limit(section), python)

    def limit(self, section: str) -> float:
        return min(LIMITS[section] * self.options.seconds / TOTAL, self.clock.left())

    def keep(self, section: str, name: str, outcome: Outcome) -> dict[str, Any]:
        """Add an outcome to what is found, and return it as a dict."""
        record = {"results": outcome.results, "error": outcome.error, "seconds": outcome.seconds}
        if outcome.errors:
            record["stderr"] = outcome.errors
        self.found["sections"].setdefault(section, {})[name] = record
        failed = any("error" in result for result in outcome.results)
        if name in OURS and (failed or (outcome.error and not outcome.out_of_time)):
            self.failed = True
        return record

    def show(self, title: str, table: str) -> None:
        print(f"\n{title}\n{'-' * len(title)}\n{table}", flush=True)

    def show_timed(self, title: str, table: Callable[..., str], records: Records) -> None:
        """Print the table of a section; with --check only that its code ran, or why not."""
        said = "\n".join(notes(records)) or "runs (not timed)"
        self.show(title, said if self.options.check else table(records))


def describe(bench: Bench) -> bool:
    """Print and keep the card, the versions and the commit; say whether there is a card."""
    outcome = bench.job("card")
    card = next(iter(outcome.results), {})
    bench.found |= {"card": card, "commit": commit(), "began": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    bench.found["options"] = {k: str(v) for k, v in vars(bench.options).items()}
    if outcome.error:
        bench.found["card_stderr"] = outcome.errors
        print(f"no GPU to measure, or no CuPy to reach it: {outcome.error}", file=sys.stderr)
        return False
    print(f"nplenet {card['nplenet']}, commit {bench.found['commit']}")
    if bench.options.simulated:
        print("the simulated device: it has no speed, so nothing is timed")
    print(
        f"{card['name']}: {card['sms']} SMs, compute capability {card['capability']}, "
        f"{card['memory_bytes'] / 2**30:.0f} GiB; {limits_of(card)}\n"
        f"driver {card['driver']}, CUDA {card['cuda_runtime']}, NVRTC {card['nvrtc']}, CuPy "
        f"{card['cupy']}, NumPy {card['numpy']}, Python {card['python']}; {card['processor']}",
        flush=True,
    )
    return True


def limits_of(card: dict[str, Any]) -> str:
    flop, size = card["flop_per_second"], card["bytes_per_second"]
    arithmetic = f"{flop / 1e12:.1f} TFLOP/s" if flop else "clock unknown"
    return f"{arithmetic}, {size / 1e12:.2f} TB/s" if size else f"{arithmetic}, bandwidth unknown"


def commit() -> str:
    """Return hash and date of the commit of this checkout; "dirty" if files have changed since."""
    return f"{git('describe', '--always', '--dirty')} of {git('log', '-1', '--format=%cI')}"


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() or "unknown"


def steps(bench: Bench) -> None:
    """Check each system, and time its steps."""
    options = bench.options
    pythons = {"torch": options.torch_python, "jax": options.jax_python}
    for system in SYSTEMS:
        outcome = bench.job(
            "steps",
            pythons.get(system.split()[0], sys.executable),
            simulated=options.simulated and system in OURS,
            system=system,
            check=[7, 32] if options.check else [32],
            batches=[] if options.check else options.batch,
            device="cpu" if options.simulated else "cuda",
            fit_images=IMAGES,
            scale=0.3 if options.quick else 1.0,
        )
        bench.keep("steps", system, outcome)
    records = bench.found["sections"]["steps"]
    bench.failed |= wrong(records)
    bench.show("each system against the layers on NumPy in float64", checks_table(records))
    if not options.check:
        bench.show("training step", steps_table(records, options.batch))
    print("\n".join(notes(records)), flush=True)


def kernels(bench: Bench) -> None:
    """List the kernels of the compiled step."""
    batches, times = ([16], 2) if bench.options.check else (bench.options.batch, 20)
    bench.keep("kernels", "compiled", bench.job("kernels", batches=batches, times=times))
    card = bench.found["card"]
    bench.show_timed(
        "kernels of the compiled step, without the update",
        lambda records: kernels_table(records, card),
        bench.found["sections"]["kernels"],
    )


def epoch(bench: Bench) -> None:
    """Time epochs with loading and augmentation."""
    batches, images, count = bench.options.batch, IMAGES, 3
    if bench.options.check:
        batches, images, count = [16], 40, 1
    outcome = bench.job("epoch", batches=batches, images=images, count=count)
    bench.keep("epoch", "compiled", outcome)
    records = bench.found["sections"]["epoch"]
    bench.show_timed("an epoch with loading and augmentation", epoch_table, records)


def train(bench: Bench) -> None:
    """Run the command ``nplenet train`` twice: the second run finds its kernels compiled."""
    options = bench.options
    command = [sys.executable, "-m", "nplenet", "train", "--quiet"]
    command += ["--backend", "numpy" if options.simulated else "cupy"]
    command += ["--dataset", "digits" if options.check else "mnist"]
    command += ["--limit", "64", "--epochs", "1", "--eager"] if options.check else []
    command += [] if options.download else ["--no-download"]
    for name in ("first run",) if options.check else ("first run", "second run"):
        outcome = run(command, bench.limit("train"))
        said = said_by_train(outcome.output)
        bench.keep("train", name, outcome)["results"] = [said] if said else []
        bench.failed |= bool(options.check and not said)
        if outcome.error or outcome.seconds > options.seconds / 6:  # too slow to do it again
            break
    records = bench.found["sections"]["train"]
    bench.show_timed(" ".join(["nplenet", *command[3:]]), train_table, records)


def goal(bench: Bench) -> None:
    """Train until 99 % from several seeds."""
    recipe, seeds = RECIPE, 3 if bench.options.quick else 10
    data: dict[str, Any] = {"name": "mnist", "download": bench.options.download}
    if bench.options.check:
        recipe, seeds, data = RECIPE | {"epochs": 1}, 1, {"name": "digits", "limit": 64}
    bench.keep("goal", "compiled", bench.job("goal", seeds=seeds, recipe=recipe, data=data))
    bench.show_timed(
        "training time until 99 % test accuracy",
        lambda records: goal_table(records, recipe),
        bench.found["sections"]["goal"],
    )


SECTIONS = {f.__name__: f for f in (steps, kernels, epoch, train, goal)}


def names(text: str) -> list[str]:
    """Return the sections of an option such as "steps,goal"."""
    chosen = text.split(",")
    if unknown := [name for name in chosen if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(SECTIONS)}")
    return chosen


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--only", type=names, metavar="A,B", help=f"sections, some of {', '.join(SECTIONS)}")
    add("--batch", type=int, nargs="+", default=None, help="batch sizes (default: 64 to 4096)")
    add("--quick", action="store_true", help="two batch sizes, shorter timings, three seeds")
    add("--check", action="store_true", help="compare results and time nothing")
    add("--simulated", action="store_true", help="with --check: the simulated device of tests/")
    add("--download", action="store_true", help="download MNIST if it is not found")
    add("--json", type=Path, metavar="FILE", help="also write everything that was found to FILE")
    add("--seconds", type=float, default=TOTAL, help=f"most that all may take (default {TOTAL})")
    add("--torch-python", default=sys.executable, help="Python interpreter with PyTorch")
    add("--jax-python", default=sys.executable, help="Python interpreter with JAX")
    add("--work", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.simulated and not options.check:
        parser.error("--simulated needs --check: the simulated device has no speed")
    options.batch = options.batch or (QUICK_BATCHES if options.quick else BATCHES)
    return options


def write(bench: Bench) -> None:
    """Write what was found so far."""
    if bench.options.json:
        text = json.dumps(bench.found, indent=2) + "\n"
        bench.options.json.write_text(text, encoding="utf-8")


def main() -> int:
    """Read the options, and do one process's work or measure all sections.

    Returns 1 if a system's results are wrong or one of nplenet failed.
    """
    options = read_options()
    if options.work:
        from gpu_work import work

        return work(options.work)
    bench = Bench(options)
    there = describe(bench)
    write(bench)
    if not there:
        return 1
    for section in options.only or SECTIONS:
        SECTIONS[section](bench)
        write(bench)
    print(f"\n{options.seconds - bench.clock.left():.0f} s in all")
    return int(bench.failed)


if __name__ == "__main__":
    raise SystemExit(main())
