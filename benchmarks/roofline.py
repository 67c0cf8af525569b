"""The roofline of a compiled training step: the least time of each part, and its measured time.

    python benchmarks/roofline.py [--batch 256]

For each part of LeNet-5's step the table has the floating-point operations of its matrix products,
the bytes of the arrays that it reads and writes (each counted once), the floor in microseconds per
image, and the measured microseconds. The floor is the larger of operations / peak and bytes /
bandwidth. Both are measured here on one core: the peak with a large matrix product, the bandwidth
with a copy within the second-level cache, where a chunk lies. The parts are timed in the order of
the step, so each finds the caches as the step leaves them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nplenet.compiled import CompiledStep, compile
from nplenet.compiled.cpu.chunks import Chunk
from nplenet.compiled.cpu.prepared import Prepared
from nplenet.compiled.operation import Value
from nplenet.compiled.plan import Plan
from nplenet.losses import CrossEntropyLoss
from nplenet.machine import one_blas_thread
from nplenet.models import LeNet5
from nplenet.optim import Adam

COPIED = 512 * 1024  # bytes: source and target lie in a core's second-level cache


def best_seconds(action: Callable[[], object], repeats: int) -> float:
    """Return the least time of one call."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


def gemm_peak() -> float:
    """Return the floating-point operations per second of a float32 product of 768x768 matrices."""
    n = 768
    a, b, c = (np.ones((n, n), np.float32) for _ in range(3))
    return 2 * n**3 / best_seconds(lambda: np.matmul(a, b, out=c), 20)


def bandwidth(size: int) -> float:
    """Return the bytes per second, read and written, of a copy of ``size`` bytes."""
    a, b = np.zeros(size // 4, np.float32), np.zeros(size // 4, np.float32)
    return 2 * size / best_seconds(lambda: np.copyto(b, a), 200)


def parts_of(prepared: Prepared, images: int) -> list[tuple[str, list[Any]]]:
    """Return the name and the calls of each ``Work``, chunk by chunk, in the order of the step."""
    sequence: list[tuple[str, list[Any]]] = []
    program = prepared.program(images)
    sequence.append(("prepare weights", program.begin))
    for each in prepared.plan.passes:
        chunks = prepared.chunks(images, bool(each.kind))
        for chunk in chunks:
            sequence += [(str(work), work.operation.calls(work.part, chunk)) for work in each.works]
        if each.barrier:
            barrier, part = each.barrier
            sequence.append((f"{each.barrier} joined", barrier.calls_at_barrier(part, chunks)))
    sequence.append(("set gradients", program.end))
    return sequence


def bytes_of(prepared: Prepared) -> dict[str, float]:
    """Return the bytes per image of the arrays that each ``Work`` uses."""
    found: dict[str, float] = {}
    size = prepared.batch_size
    for each in prepared.plan.passes:
        real = prepared.chunks(size, bool(each.kind))[0]
        for work in each.works:
            asked: set[Value] = set()

            def note(
                value: Value, chunk: Chunk, asked: set[Value] = asked, real: Chunk = real
            ) -> np.ndarray:
                asked.add(value)
                return real[value]

            work.operation.calls(work.part, Chunk(0, 0, real.lanes, size, 0, True, note))
            total = sum(value.nbytes(real.lanes) for value in asked if value.per_image)
            found[str(work)] = found.get(str(work), 0) + total / real.lanes
    return found


def flops_of(plan: Plan) -> dict[str, float]:
    """Return the floating-point operations per image of the matrix products of each part."""
    found: dict[str, float] = {}
    for operation in plan.operations:
        forward = 2.0 * operation.layer.multiply_adds((1, *operation.x.shape))
        backward = 1e6 * plan.megaflops(operation) - forward
        for name, work in (("forward", forward), ("backward", backward)):
            label = f"{operation.name} {name}"
            found[label] = found.get(label, 0) + work
    return found


def timed(sequence: list[tuple[str, list[Any]]], rounds: int) -> dict[str, float]:
    """Return the median seconds per step of each part."""
    samples: dict[str, list[float]] = {}
    for _ in range(rounds):
        total: dict[str, float] = {}
        for name, calls in sequence:
            begin = time.perf_counter()
            for call in calls:
                call()
            total[name] = total.get(name, 0) + time.perf_counter() - begin
        for name, seconds in total.items():
            samples.setdefault(name, []).append(seconds)
    return {name: statistics.median(times) for name, times in samples.items()}


@one_blas_thread()
def main() -> None:
    """Measure the machine and the step, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    images = arguments.batch

    model = LeNet5(dropout=0.25, seed=0)
    optimizer = Adam(model.parameters())
    # The table is of one core: one thread, otherwise the tunables of this machine.
    tunables = compile(model, CrossEntropyLoss(), optimizer, images).tunables | {"threads": 1}
    step = compile(
        model,
        CrossEntropyLoss(),
        optimizer,
        images,
        tunables=tunables,
    )
    assert isinstance(step, CompiledStep)
    prepared = step.prepare((1, 32, 32))
    rng = np.random.default_rng(0)
    x, y = rng.random((images, 1, 32, 32), np.float32), rng.integers(0, 10, images)
    whole = min(best_seconds(lambda: step(x, y), 5), best_seconds(lambda: step(x, y), 20))

    peak, cached, memory = gemm_peak(), bandwidth(COPIED), bandwidth(256 << 20)
    print(f"one core: {peak / 1e9:.0f} GFLOP/s in a product of 768x768 float32 matrices, copies at")
    print(f"{cached / 1e9:.0f} GB/s in the second-level cache, {memory / 1e9:.0f} in main memory\n")

    before = np.setbufsize(step.tunables["buffer_size"])
    seconds = timed(parts_of(prepared, images), arguments.rounds)
    np.setbufsize(before)
    program = prepared.program(images)
    seconds["load the images"] = best_seconds(lambda: program.load(x, 0), 30)
    seconds["Adam"] = best_seconds(optimizer.step, 30)
    flops, moved = flops_of(prepared.plan), bytes_of(prepared)
    print(f"{'part':<50} {'kFLOP':>7} {'kB':>6} {'floor us':>9} {'us':>6} {'reached':>8}")
    totals = np.zeros(4)
    for name, taken in seconds.items():
        work, size = flops.get(name, 0.0), moved.get(name, 0.0)
        floor, took = 1e6 * max(work / peak, size / cached), 1e6 * taken / images
        totals += [work, size, floor, took]
        reached = f"{floor / took:>8.0%}" if floor else " " * 8
        print(
            f"{name:<50} {work / 1e3:>7.1f} {size / 1e3:>6.1f} {floor:>9.2f} {took:>6.2f} {reached}"
        )
    work, size, floor, took = totals
    print(
        f"{'all parts':<50} {work / 1e3:>7.1f} {size / 1e3:>6.1f} {floor:>9.2f} {took:>6.2f} "
        f"{floor / took:>8.0%}"
    )
    print(f"\nthe whole step, undisturbed: {1e6 * whole / images:.2f} us per image; its matrix")
    print(f"products alone would take {1e6 * work / peak:.2f} us at the peak")


if __name__ == "__main__":
    main()
