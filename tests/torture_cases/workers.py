"""Processes that share a step, killed and interrupted at any moment: right bits or an error."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import nplenet
from nplenet.compiled.cpu.processes import WorkerDied
from nplenet.compiled.cpu.search import SIDE_BY_SIDE

from .bench import Bench, Figure, Outcome

STEPS = 60
N = 96


def make_step(workers: int) -> Any:
    """Return a step whose gradients depend on nothing but the parameters."""
    model = nplenet.models.LeNet5(dropout=0.0, seed=0)
    optimizer = nplenet.optim.Adam(model.parameters())
    tunables = {"threads": workers, "lanes": 16, **SIDE_BY_SIDE}
    loss = nplenet.losses.CrossEntropyLoss()
    return nplenet.compile(model, loss, optimizer, N, tunables=tunables)


def images() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).random((N, 1, 32, 32), np.float32), np.arange(N) % 10


def helpers(pid: int | str = "self") -> list[int]:
    """Return the children of the main thread of a process."""
    task = os.getpid() if pid == "self" else pid
    try:
        text = Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="utf-8")
    except OSError:
        return []
    return [int(each) for each in text.split()]


def gradients(step: Any) -> bytes:
    return b"".join(p.grad.tobytes() for p in step.model.parameters())


def steps_under_fire(seed: int, workers: int, attack: str) -> str:
    """Do steps while helpers are killed, or the program is interrupted, at random moments."""
    os.environ["NPLENET_WORKERS"] = "processes"  # beside the thread that attacks
    rng, step, (x, y) = random.Random(seed), make_step(workers), images()
    expected, broken = (step.gradients(x, y), gradients(step)), 0
    over, armed = threading.Event(), threading.Event()

    def interrupt(*_: Any) -> None:
        if armed.is_set():
            raise KeyboardInterrupt

    def fire() -> None:
        while not over.wait(rng.uniform(0.0, 0.3)):
            if attack == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
            elif alive := helpers():
                os.kill(rng.choice(alive), signal.SIGKILL)

    signal.signal(signal.SIGINT, interrupt)
    thread = threading.Thread(target=fire)
    thread.start()
    done = 0
    while done < STEPS and broken < 50 * STEPS:
        try:
            armed.set()
            value = step.gradients(x, y)
            armed.clear()
        except (WorkerDied, KeyboardInterrupt):
            armed.clear()
            broken += 1
            continue
        if (value, gradients(step)) != expected:
            break
        done += 1
    over.set()
    thread.join()
    if done < STEPS:
        return f"{done} of {STEPS} steps are right, {broken} were broken off"
    time.sleep(0.1)  # the last one that was killed is gone
    step.gradients(x, y)
    left = helpers()
    if not left and "a process cannot be started" in step.describe():
        return ""  # three were killed before they began, one after the other
    return "" if len(left) == workers - 1 else f"{len(left)} helpers are left"


def under_fire(bench: Bench, seed: int, workers: int, attack: str) -> str:
    def work() -> int:
        print(steps_under_fire(seed, workers, attack), end="", flush=True)
        return 0

    return judged(bench.forked(work))


def judged(outcome: Outcome) -> str:
    if outcome.status == 0 and not outcome.err:
        return outcome.out
    return f"{outcome.status}: {outcome.out} {outcome.err[-300:]}"


def program_killed(bench: Bench, delay: float, workers: int) -> str:
    """Kill the program, also while it forks, and look for what is left of it."""

    def work() -> int:
        if (pid := os.fork()) == 0:
            step, (x, y) = make_step(workers), images()
            while True:
                step.gradients(x, y)
                step.loss.label_smoothing = (step.loss.label_smoothing + 0.1) % 0.5  # a new plan
        seen = set[int]()
        until = time.monotonic() + 10.0
        while time.monotonic() < until:
            if not seen and helpers(pid):
                until = time.monotonic() + delay
            seen |= set(helpers(pid))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        time.sleep(0.2)
        left = [helper for helper in seen if name_of(helper) == "nplenet-worker"]
        print(f"{left} are left" if left or not seen else "", end="", flush=True)
        return 0

    return judged(bench.forked(work))


def name_of(pid: int) -> str:
    """Return the name of a process that runs; an empty string if it has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return "" if state == "Z" else Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def at_random(bench: Bench) -> Iterator[tuple[str, str]]:
    number = 0
    while bench.goes_on(number):
        rng = random.Random(f"{bench.seed} workers {number}")
        workers, delay = rng.choice((2, 3)), rng.uniform(0.0, 0.3)
        attack = rng.choice(("kill", "interrupt", "program"))
        name = f"workers {number} of seed {bench.seed}: {attack}, {workers}"
        if attack == "program":
            yield name, program_killed(bench, delay, workers)
        else:
            yield name, under_fire(bench, rng.randrange(1 << 30), workers, attack)
        number += 1


CASES = {
    "helpers killed at random, 2": lambda bench: under_fire(bench, 0, 2, "kill"),
    "helpers killed at random, 3": lambda bench: under_fire(bench, 1, 3, "kill"),
    "the program interrupted at random": lambda bench: under_fire(bench, 2, 2, "interrupt"),
    "the program killed": lambda bench: program_killed(bench, 0.1, 2),
}
FIGURES = [Figure("processes that share a step", CASES, at_random, 0.05)]
