"""Time LeNet-5's training step on several ranks, and predict the time with a model.

    python benchmarks/scaling.py --torch-python ../torch-environment/bin/python
    python benchmarks/scaling.py --ranks 2 4 8 --latency 2e-6 --bandwidth 12.5e9

The step is the compiled step of ``step.py``, with Adam and dropout 0.25, on one thread per rank;
the systems take turns as in ``step.py``. *Strong* scaling keeps the batch and cuts it into more
parts; *weak* scaling keeps the number of images per rank. "in MPI" is the fraction of a step that a
rank spends in MPI, waiting for slower ranks included. A ratio is the median over the rounds; beside
it stands the ratio of the tenth percentiles (p10), the least disturbed steps: a rank that shares
its core with other work delays all ranks.

The model of a step of B images on p ranks:

    T(B, p) = T(B / p, 1)  +  S * L * log2(p)  +  2 * n / W * (p - 1) / p

The first term is measured with one process at small and large batches, and interpolated linearly
between them; the update makes it positive even for a single image. S = 6 sums or gatherings of a
few numbers (the number of images, the statistics of two batch norms forward and backward, the
gradients) take L each per doubling of the ranks. The n bytes of the gradients cross the links
twice, in parts (Rabenseifner's all-reduce), at W bytes per second. L and W are measured between two
ranks of this machine; --latency and --bandwidth set them for a network, which the model predicts
without a measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import step as one
from mpi4py import MPI

import nplenet
from nplenet.group import ALONE, Group, sharing
from nplenet.machine import one_blas_thread
from nplenet.mpi import MpiGroup

SUMS_PER_STEP = 6
PREDICTED_RANKS = (2, 4, 8, 16, 32, 64, 128, 256)
MODEL_BATCHES = (1, 4, 16, 32, 128, 512)  # batch sizes of the runs of one process
STATISTICS, GRADIENTS = 12, 61_706  # numbers per sum, for LeNet-5

# ------------------------------------------------------------------ the worker: one rank


class TimedGroup(MpiGroup):
    """A group that adds up the seconds spent in MPI."""

    seconds_in_mpi = 0.0

    def sum(self, array: Any) -> Any:
        begin = time.perf_counter()
        super().sum(array)
        self.seconds_in_mpi += time.perf_counter() - begin
        return array

    def begin(self, images: int) -> None:
        begin = time.perf_counter()
        super().begin(images)
        self.seconds_in_mpi += time.perf_counter() - begin


@one_blas_thread()
def work(batch: int) -> None:
    """Run as a rank: time sums over all ranks, then steps for the seconds in each input line."""
    world = MPI.COMM_WORLD
    group: Group = TimedGroup(world) if world.size > 1 else ALONE
    model = one.network()
    optimizer = nplenet.optim.Adam(model.parameters())
    loss = nplenet.losses.CrossEntropyLoss()
    images = -(-batch // group.size)
    if group.rank == 0:
        tunables = nplenet.compile(model, loss, optimizer, images).tunables | {"threads": 1}
    tunables = group.broadcast(tunables if group.rank == 0 else {})
    step = nplenet.compile(model, loss, optimizer, images, tunables=tunables)
    x, y = one.images_and_labels(batch)
    x, y = x[group.part(batch)], y[group.part(batch)]
    with sharing(group, step, *(layer for _, layer in model.modules())):
        warm_up = [time_step(step, x, y) for _ in range(20)]
        answer({"sums": [time_sum(group, n) for n in (STATISTICS, GRADIENTS)]}, world.rank)
        fastest = group.broadcast(min(warm_up))
        while seconds := next_turn(world):
            before = getattr(group, "seconds_in_mpi", 0.0)
            times = [time_step(step, x, y) for _ in range(max(1, round(seconds / fastest)))]
            in_mpi = getattr(group, "seconds_in_mpi", 0.0) - before
            answer({"times": times, "in_mpi": in_mpi / sum(times)}, world.rank)


def time_step(step: Any, x: np.ndarray, y: np.ndarray) -> float:
    begin = time.perf_counter()
    step(x, y)
    return time.perf_counter() - begin


def time_sum(group: Group, numbers: int, times: int = 200) -> float:
    """Return the median seconds of a sum over all ranks."""
    array = np.ones(numbers, np.float32)
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        group.sum(array)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def answer(value: Any, rank: int) -> None:
    if rank == 0:
        print(json.dumps(value), flush=True)


def next_turn(world: Any) -> float:
    """Return the seconds of the next turn, 0 at the end; other ranks sleep, to keep MPI idle."""
    if world.rank == 0:
        seconds = float(sys.stdin.readline() or 0)
        for rank in range(1, world.size):
            world.send(seconds, rank)
        return seconds
    while not world.Iprobe(source=0):
        time.sleep(0.001)
    return float(world.recv(source=0))


# ------------------------------------------------------------------ the measurement


class Ranks(one.Process):
    """A run on N ranks, controlled through a pipe."""

    def __init__(self, ranks: int, batch: int) -> None:
        self.row = one.Row(f"{ranks} rank{'s' * (ranks > 1)}", "ranks", sys.executable, {})
        beside = Path(sys.executable).with_name("mpiexec")
        mpiexec = [str(beside if beside.exists() else "mpiexec"), "-n", str(ranks)]
        self.process = subprocess.Popen(
            [*(mpiexec if ranks > 1 else []), sys.executable, __file__, "--worker", str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ranks, self.batch, self.mpi_fractions = ranks, batch, list[float]()
        self.about, self.rounds = self.answer(), []

    def take_turn(self, seconds: float) -> None:
        super().take_turn(seconds)
        turn: Any = self.rounds[-1]
        self.mpi_fractions.append(turn["in_mpi"])
        self.rounds[-1] = turn["times"]

    @property
    def undisturbed(self) -> float:
        """The seconds of a step without other load on the machine: the tenth percentile."""
        return one.percentile(self, 10)


def measure(rivals: Sequence[one.Process], rounds: int, seconds: float) -> None:
    """Time all systems in turns."""
    for _ in range(rounds):
        for process in rivals:
            process.take_turn(seconds)


def ratio(slow: one.Process, fast: one.Process) -> str:
    """Return the speed of ``fast`` relative to ``slow`` as text: median, range, and at p10."""
    ratios = [
        statistics.median(a) / statistics.median(b)
        for a, b in zip(slow.rounds, fast.rounds, strict=True)
    ]
    undisturbed = one.percentile(slow, 10) / one.percentile(fast, 10)
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    return f"{spread:<17} {undisturbed:>5.2f}"


# ------------------------------------------------------------------ the model


@dataclass
class Model:
    """The model of the module's docstring: T(n, 1) in seconds by batch size n, then L and W."""

    one_rank: dict[int, float]
    latency: float
    bandwidth: float

    def step(self, batch: int, ranks: int) -> float:
        communication = SUMS_PER_STEP * self.latency * np.log2(ranks)
        communication += 2 * 4 * GRADIENTS / self.bandwidth * (ranks - 1) / ranks
        sizes = sorted(self.one_rank)
        computation = np.interp(batch / ranks, sizes, [self.one_rank[n] for n in sizes])
        return float(computation + communication)


def main() -> None:
    """Read the command line; run as the coordinator, or as one rank."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--ranks", type=int, nargs="+", default=[os.cpu_count()])
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
    parser.add_argument("--latency", type=float, help="latency of a network in seconds")
    parser.add_argument(
        "--bandwidth", type=float, help="bandwidth of its links in bytes per second"
    )
    parser.add_argument("--worker", type=int, metavar="BATCH", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker)
        return
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, NumPy {np.__version__}, "
        f"{MPI.Get_library_version().splitlines()[0]}; {arguments.rounds} rounds of "
        f"{arguments.seconds} s"
    )
    one_rank: dict[int, float] = {}
    found: list[tuple[int, int, float]] = []
    sums: list[float] = []
    print(
        "\nStrong scaling\n"
        "batch  what                ms/step      p10  x 1 rank     at p10        "
        "x torch      at p10        in MPI"
    )
    for batch in arguments.batch:
        torch = torch_process(batch, arguments)
        ranks = [Ranks(n, batch) for n in (1, *arguments.ranks)]
        rivals = [*torch, *ranks]
        measure(rivals, arguments.rounds, arguments.seconds)
        for process in rivals:
            median, p10 = (1e3 * one.percentile(process, p) for p in (50, 10))
            row = f"{batch:>5}  {process.row.name:<18} {median:>8.2f} {p10:>8.2f}"
            row += f"  {ratio(ranks[0], process):<24}"
            row += f"  {ratio(torch[0], process) if torch else '-':<24}"
            if isinstance(process, Ranks) and process.ranks > 1:
                row += f"  {statistics.median(process.mpi_fractions):>6.1%}"
                found.append((batch, process.ranks, process.undisturbed))
                sums = process.about["sums"] if process.ranks == 2 else sums
            print(row, flush=True)
            process.close()
        one_rank[batch] = ranks[0].undisturbed
    weak(arguments)
    if not sums:
        print("\nNo prediction: it needs a run on 2 ranks (--ranks 2).")
        return
    smaller = [Ranks(1, n) for n in MODEL_BATCHES]
    measure(smaller, arguments.rounds, arguments.seconds / 4)
    for process in smaller:
        one_rank[process.batch] = process.undisturbed
        process.close()
    small, large = sums
    model = Model(one_rank, small, 4 * GRADIENTS / (large - small))
    print(
        f"\nModel: {1e6 * small:.1f} us per sum, {model.bandwidth / 1e9:.1f} GB/s; one process, ms:"
    )
    print("  ".join(f"{n}: {1e3 * one_rank[n]:.2f}" for n in sorted(one_rank)))
    print("batch  ranks  measured ms  predicted ms")
    for batch, n, seconds in found:
        print(f"{batch:>5}  {n:>5}  {1e3 * seconds:>11.2f}  {1e3 * model.step(batch, n):>12.2f}")
    predict(model, arguments.batch, "links like the link between two ranks of this machine")
    if arguments.latency and arguments.bandwidth:
        network = Model(one_rank, arguments.latency, arguments.bandwidth)
        links = f"{1e6 * arguments.latency:g} us, {arguments.bandwidth / 1e9:g} GB/s, not measured"
        predict(network, arguments.batch, f"a network of {links}")


def torch_process(batch: int, arguments: argparse.Namespace) -> list[one.Process]:
    """Return a process of PyTorch eager with its fused Adam, if PyTorch is installed."""
    if not one.has_torch(arguments.torch_python):
        return []
    threads = {"STEP_TORCH_THREADS": str(arguments.threads)}
    name = f"torch, {arguments.threads} threads"
    return [one.Process(one.Row(name, "torch_fused", arguments.torch_python, threads), batch)]


def weak(arguments: argparse.Namespace) -> None:
    """Print the time of a step for a fixed number of images per rank."""
    print("\nWeak scaling\nimages/rank    ranks      p10  efficiency   at p10        in MPI")
    for images in arguments.batch:
        ranks = [Ranks(n, images * n) for n in (1, *arguments.ranks)]
        measure(ranks, arguments.rounds, arguments.seconds)
        for process in ranks:
            print(
                f"{images:>13}  {process.ranks:>5}  {1e3 * process.undisturbed:>7.2f}  "
                f"{ratio(ranks[0], process):<24}  {statistics.median(process.mpi_fractions):>6.1%}",
                flush=True,
            )
            process.close()


def predict(model: Model, batches: Sequence[int], links: str) -> None:
    """Print the predicted speed-up for more ranks, each on its own core."""
    print(f"\nPredicted speed-up over one rank, with {links}")
    print("batch  " + "".join(f"{n:>8}" for n in PREDICTED_RANKS))
    for batch in batches:
        speeds = [model.step(batch, 1) / model.step(batch, n) for n in PREDICTED_RANKS]
        print(f"{batch:>5}  " + "".join(f"{speed:>8.2f}" for speed in speeds))


if __name__ == "__main__":
    main()
