"""A soak: compile, fit, evaluate, save and load again and again; memory, files, threads stay."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import nplenet
from nplenet.checkpoint import CheckpointFolder, load, load_model, save_model
from nplenet.data import DataLoader
from nplenet.layers import BatchNorm2d, Conv2d, Dense, Flatten, MaxPool2d, ReLU, Sequential
from nplenet.train import evaluate, fit

from .bench import MB, Bench, Figure

GROWTH, FILES, THREADS = "soak: MB per 1,000 cycles", "soak: more open files", "soak: more threads"
GOALS = {GROWTH: 0.05, FILES: 0.0, THREADS: 0.0}
WARM_UP, LEAST = 1500, 1000  # cycles
SHARE = 0.4  # of the minutes


def cycle(folder: Path, x: np.ndarray, y: np.ndarray) -> bytes:
    """Do it all once; return the bits of what was trained."""
    rng = np.random.default_rng(0)
    model = Sequential(
        Conv2d(1, 2, 3, rng=rng),
        BatchNorm2d(2),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Dense(18, 10, rng=rng),
    )
    loss, optimizer = nplenet.losses.CrossEntropyLoss(), nplenet.optim.Adam(model.parameters())
    loader = DataLoader(x, y, 8, shuffle=True, rng=rng)
    step = nplenet.compile(model, loss, optimizer, 8, tunables={"threads": 2})
    checkpoints = CheckpointFolder(folder)
    fit(
        model, loss, optimizer, loader, epochs=1, step=step, checkpoints=checkpoints, progress=False
    )
    evaluate(model, x, y)
    save_model(model, folder / "model.safetensors")
    again = load_model(folder / "model.safetensors")
    load(folder / "checkpoint.safetensors")
    return b"".join(a.tobytes() for a in again.state_dict().values())


def resident() -> float:
    """Return this process's memory in MB, without what the allocator keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def soak(folder: Path, seconds: float) -> dict[str, Any]:
    ctypes.CDLL(None).mallopt(-8, 1)  # one arena: each new thread would have one of its own
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (16, 1, 8, 8)).astype(np.uint8)
    y = np.arange(16) % 10
    begin, cycles, expected = time.monotonic(), 0, cycle(folder, x, y)
    before: tuple[float, int, int] = (0.0, 0, 0)
    while cycles < WARM_UP + LEAST or time.monotonic() - begin < seconds:
        if cycles == WARM_UP:
            before = (resident(), len(os.listdir("/proc/self/fd")), threading.active_count())
        if cycle(folder, x, y) != expected:
            return {"wrong": f"cycle {cycles} trains to other bits"}
        cycles += 1
    growth = (resident() - before[0]) / (cycles - WARM_UP) * 1000
    files = len(os.listdir("/proc/self/fd")) - before[1]
    threads = threading.active_count() - before[2]
    return {"cycles": cycles, GROWTH: growth, FILES: files, THREADS: threads}


def case(bench: Bench) -> str:
    folder, result = bench.new(), bench.new()
    folder.mkdir()
    seconds = 60 * bench.minutes * SHARE

    def work() -> int:
        result.write_text(json.dumps(soak(folder, seconds)))
        return 0

    outcome = bench.forked(work, seconds + 300, cpu_seconds=int(2 * seconds + 600))
    if outcome.status != 0:
        return f"{outcome.status}: {outcome.err[-300:]}"
    found = json.loads(result.read_text())
    if "wrong" in found:
        return str(found["wrong"])
    for name in GOALS:
        bench.measure(name, round(max(found[name], 0.0), 4), f"{found['cycles']:,} cycles")
    worse = [f"{name}: {found[name]:.3f}" for name, goal in GOALS.items() if found[name] > goal]
    return "; ".join(worse)


FIGURES = [Figure("soak", {"compile, fit, evaluate, save, load": case})]
