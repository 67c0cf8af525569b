"""For the tests of processes that share a step: a step, its processes, a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.compiled import compile
from nplenet.compiled.cpu.kinds import has_lock
from nplenet.compiled.cpu.search import SIDE_BY_SIDE
from nplenet.layers import Conv2d, Dense, Dropout, Flatten, Layer, MaxPool2d, ReLU, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import Adam

ROOT = Path(__file__).parents[2]
N = 150
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 1, 32, 32), np.float32)
Y = RNG.integers(0, 10, N)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are used on Linux")


def plain() -> Layer:
    """Without a barrier, with layers that LeNet-5 does not have."""
    rng = np.random.default_rng(0)
    return Sequential(
        Conv2d(1, 4, 3, stride=2, rng=rng),
        ReLU(),
        MaxPool2d(3, stride=2),
        Flatten(),
        Dense(4 * 7 * 7, 10, rng=rng),
    )


def make_step(model: Layer | None = None, workers: int = 2, **tunables: int) -> Any:
    model = LeNet5(dropout=0.2, seed=0) if model is None else model
    chosen = {"threads": workers, "lanes": 16, **SIDE_BY_SIDE} | tunables
    return compile(model, CrossEntropyLoss(), Adam(model.parameters()), N, tunables=chosen)


def pids(step: Any) -> list[int]:
    """Return the helper processes of a step's training plan."""
    crew = step.prepare(X.shape[1:]).crew
    return list(crew._pids) if crew and crew.alive else []


def state(step: Any) -> dict[str, bytes]:
    """Return all that training has changed, as bytes."""
    arrays = step.model.state_dict() | step.optimizer.state_dict()
    return {k: np.asarray(v).tobytes() for k, v in arrays.items() if not isinstance(v, tuple)}


def begin_anew(*steps: Any) -> None:
    """Undo what is left of a step that failed."""
    for step in steps:
        step.model.load_state_dict(LeNet5(dropout=0.2, seed=0).state_dict())
        for i, (_, layer) in enumerate(step.model.modules()):
            if isinstance(layer, Dropout):
                layer.rng = np.random.default_rng(i)


def gone(pid: int) -> bool:
    """Wait for the end of a process, and say whether it came."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        if text.rpartition(")")[2].split()[0] == "Z" and not is_child(pid):
            return True  # a zombie of another process, which its parent may reap when it likes
        time.sleep(0.01)
    return False


def is_child(pid: int) -> bool:
    return pid in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


# ------------------------------------------------------------------ a program of its own

PROGRAM = """
import os, signal, sys, time
import numpy as np
import nplenet
from nplenet.compiled.cpu.search import SIDE_BY_SIDE
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
def make_step(batch=64):
    model = nplenet.models.LeNet5(dropout=0.0, seed=0)
    optimizer = nplenet.optim.Adam(model.parameters())
    loss = nplenet.losses.CrossEntropyLoss()
    tunables = {"threads": 2, **SIDE_BY_SIDE}
    return nplenet.compile(model, loss, optimizer, batch, tunables=tunables)
def helpers():
    path = f"/proc/self/task/{os.getpid()}/children"
    return [int(pid) for pid in open(path).read().split()]
x = np.random.default_rng(0).random((64, 1, 32, 32), np.float32)
y = np.arange(64) % 10
step = make_step()
step(x, y)
"""


STARTED: list[subprocess.Popen[str]] = []


def start(program: str, **more: Any) -> subprocess.Popen[str]:
    """Start a program of its own, without other threads."""
    if not has_lock():
        pytest.skip("on a Python without the lock, threads share a step")
    environment = {k: v for k, v in os.environ.items() if k != "NPLENET_WORKERS"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONPATH": str(ROOT)},
        **more,
    )
    STARTED.append(process)
    return process


def output(program: str) -> str:
    process = start(program)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out
