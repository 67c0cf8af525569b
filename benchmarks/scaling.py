"""Time LeNet-5's training step on several ranks: measured, and as a model predicts it.

    python benchmarks/scaling.py --torch-python ../torch-environment/bin/python
    python benchmarks/scaling.py --ranks 2 4 8 --latency 2e-6 --bandwidth 12.5e9

The step is the compiled one of ``step.py``, with Adam and dropout 0.25, on one thread a rank, and
the rivals take turns as they do there. *Strong* scaling keeps the batch and cuts it into more
parts; *weak* scaling keeps the part of a rank. "in MPI" is the share of a step that a rank spends
in MPI, where it also waits for others that are late. Ratios are medians over the rounds, and of the
tenth percentiles (p10), the least disturbed steps: a rank that shares its core with other work
holds up all. It prints what it measured and judges nothing.

The model of a step of B images on p ranks:

    T(B, p) = T(B / p, 1)  +  S * L * log2(p)  +  2 * n / W * (p - 1) / p

The first term is measured: one process at small and large batches, and straight lines between them.
Even a batch of one image takes some time, the update among it. S = 6 sums or gatherings of a few
numbers (how many images, the statistics of two batch norms forward and backward, the gradients)
take L each for every doubling of the ranks. The n bytes of the gradients go through the links
twice, in parts (Rabenseifner's all-reduce), at W bytes a second. L and W are measured between two
ranks of this machine; --latency and --bandwidth give those of a network, for which the model
predicts and nothing is measured.
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

SUMS = 6
PREDICTED = (2, 4, 8, 16, 32, 64, 128, 256)
SMALLER = (1, 4, 16, 32, 128, 512)  # batches at which one process is measured for the model
SMALL, LARGE = 12, 61_706  # numbers in a sum of statistics, and in LeNet-5's gradients

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
    """Run as a rank: say what an all-reduce costs, then time as many steps as each line asks."""
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
        answer({"sums": [time_sum(group, n) for n in (SMALL, LARGE)]}, world.rank)
        least = group.broadcast(min(warm_up))
        while seconds := next_turn(world):
            before = getattr(group, "seconds_in_mpi", 0.0)
            times = [time_step(step, x, y) for _ in range(max(1, round(seconds / least)))]
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
    """Return the seconds of the next turn, 0 at the end; the others wait asleep, not in MPI."""
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
    """So many ranks at the other end of a pipe."""

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
        self.ranks, self.batch, self.shares = ranks, batch, list[float]()
        self.about, self.rounds = self.answer(), []

    def take_turn(self, seconds: float) -> None:
        super().take_turn(seconds)
        turn: Any = self.rounds[-1]
        self.shares.append(turn["in_mpi"])
        self.rounds[-1] = turn["times"]

    @property
    def least(self) -> float:
        """The seconds of a step that nothing disturbed."""
        return one.percentile(self, 10)


def measure(rivals: Sequence[one.Process], rounds: int, seconds: float) -> None:
    """Let all take turns."""
    for _ in range(rounds):
        for process in rivals:
            process.take_turn(seconds)


def ratio(slow: one.Process, fast: one.Process) -> str:
    """Return how many times as fast, round by round: median and range."""
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
    """See the head of this file: seconds of one process by batch, seconds a sum, bytes a second."""

    alone: dict[int, float]
    latency: float
    bandwidth: float

    def step(self, batch: int, ranks: int) -> float:
        communication = SUMS * self.latency * np.log2(ranks)
        communication += 2 * 4 * LARGE / self.bandwidth * (ranks - 1) / ranks
        sizes = sorted(self.alone)
        computation = np.interp(batch / ranks, sizes, [self.alone[n] for n in sizes])
        return float(computation + communication)


def main() -> None:
    """Read the command line; run as the coordinator, or as one rank."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--ranks", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default: 7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn (default: 0.5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--latency", type=float, help="of a network, in seconds")
    parser.add_argument("--bandwidth", type=float, help="of its links, in bytes a second")
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
    alone: dict[int, float] = {}
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
            median, least = (1e3 * one.percentile(process, p) for p in (50, 10))
            row = f"{batch:>5}  {process.row.name:<18} {median:>8.2f} {least:>8.2f}"
            row += f"  {ratio(ranks[0], process):<24}"
            row += f"  {ratio(torch[0], process) if torch else '-':<24}"
            if isinstance(process, Ranks) and process.ranks > 1:
                row += f"  {statistics.median(process.shares):>6.1%}"
                found.append((batch, process.ranks, process.least))
                sums = process.about["sums"] if process.ranks == 2 else sums
            print(row, flush=True)
            process.close()
        alone[batch] = ranks[0].least
    weak(arguments)
    if not sums:
        print("\nThe model needs 2 among the ranks.")
        return
    smaller = [Ranks(1, n) for n in SMALLER]
    measure(smaller, arguments.rounds, arguments.seconds / 4)
    for process in smaller:
        alone[process.batch] = process.least
        process.close()
    small, large = sums
    model = Model(alone, small, 4 * LARGE / (large - small))
    print(
        f"\nModel: {1e6 * small:.1f} us a sum, {model.bandwidth / 1e9:.1f} GB/s; one process, ms:"
    )
    print("  ".join(f"{n}: {1e3 * alone[n]:.2f}" for n in sorted(alone)))
    print("batch  ranks  measured ms  predicted ms")
    for batch, n, seconds in found:
        print(f"{batch:>5}  {n:>5}  {1e3 * seconds:>11.2f}  {1e3 * model.step(batch, n):>12.2f}")
    predict(model, arguments.batch, "links as between two ranks of this machine")
    if arguments.latency and arguments.bandwidth:
        network = Model(alone, arguments.latency, arguments.bandwidth)
        links = f"{1e6 * arguments.latency:g} us, {arguments.bandwidth / 1e9:g} GB/s, not measured"
        predict(network, arguments.batch, f"a network of {links}")


def torch_process(batch: int, arguments: argparse.Namespace) -> list[one.Process]:
    """Return PyTorch eager with its fused Adam, the faster one, where there is PyTorch."""
    if not one.has_torch(arguments.torch_python):
        return []
    threads = {"STEP_TORCH_THREADS": str(arguments.threads)}
    name = f"torch, {arguments.threads} threads"
    return [one.Process(one.Row(name, "torch_fused", arguments.torch_python, threads), batch)]


def weak(arguments: argparse.Namespace) -> None:
    """Print how the time of a step grows with the ranks where each keeps its images."""
    print("\nWeak scaling\nimages a rank  ranks      p10  efficiency   at p10        in MPI")
    for images in arguments.batch:
        ranks = [Ranks(n, images * n) for n in (1, *arguments.ranks)]
        measure(ranks, arguments.rounds, arguments.seconds)
        for process in ranks:
            print(
                f"{images:>13}  {process.ranks:>5}  {1e3 * process.least:>7.2f}  "
                f"{ratio(ranks[0], process):<24}  {statistics.median(process.shares):>6.1%}",
                flush=True,
            )
            process.close()


def predict(model: Model, batches: Sequence[int], links: str) -> None:
    """Print the speed-up that the model gives for more ranks, each on a core of its own."""
    print(f"\nPredicted times the speed of one rank, with {links}")
    print("batch  " + "".join(f"{n:>8}" for n in PREDICTED))
    for batch in batches:
        speeds = [model.step(batch, 1) / model.step(batch, n) for n in PREDICTED]
        print(f"{batch:>5}  " + "".join(f"{speed:>8.2f}" for speed in speeds))


if __name__ == "__main__":
    main()
