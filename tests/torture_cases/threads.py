"""One step shared by two threads: right answers or one clear refusal, and a clean exit."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import nplenet
from nplenet.compiled import TextbookStep

from .bench import Bench, Case, Figure, limit_resources

ROUNDS = 40
REFUSAL = "another thread is training this model"


def make_step(threads: int, dropout: float = 0.1) -> Any:
    """Return a compiled step, with ``threads`` 0 that of the textbook layers."""
    model, batch = nplenet.models.LeNet5(dropout=dropout, seed=0), 64
    loss, optimizer = nplenet.losses.CrossEntropyLoss(), nplenet.optim.AdamW(model.parameters())
    if threads == 0:
        return TextbookStep(model, loss, optimizer, batch, "a test")
    return nplenet.compile(model, loss, optimizer, batch, tunables={"threads": threads})


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).random((count, 1, 32, 32), np.float32)
    return x, np.arange(count) % 10


def together(*works: Callable[[], None]) -> list[str]:
    """Run in threads at the same time; return what they raise, and which does not end."""
    errors: list[str] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    return errors + ["a thread hangs"] * sum(thread.is_alive() for thread in threads)


def predict_twice(threads: int, count: int = 256) -> str:
    step = make_step(threads)
    inputs = [images(count + 10 * i, i)[0] for i in range(2)]
    expected = [step.predict(x).copy() for x in inputs]
    wrong: list[int] = []

    def work(i: int) -> Callable[[], None]:
        def predict() -> None:
            for _ in range(ROUNDS // 4):
                wrong.append(not np.array_equal(step.predict(inputs[i]), expected[i]))

        return predict

    errors = together(work(0), work(1))
    return "; ".join(errors) or (f"{sum(wrong)} of {len(wrong)} wrong" if any(wrong) else "")


def train_and_predict(threads: int, count: int = 64) -> str:
    """Each prediction has the weights of one moment between two steps."""
    step, twin = make_step(threads), make_step(threads)
    x, y = images(64, 0)
    asked = images(count, 1)[0]
    moments = [twin.predict(asked).tobytes()]
    for _ in range(ROUNDS):
        twin(x, y)
        moments.append(twin.predict(asked).tobytes())
    found: list[bytes] = []

    def predict() -> None:
        for _ in range(ROUNDS):
            found.append(step.predict(asked).tobytes())

    def train() -> None:
        for _ in range(ROUNDS):
            step(x, y)

    if errors := together(train, predict):
        return "; ".join(errors)
    strange = sum(answer not in moments for answer in found)
    if strange:
        return f"{strange} of {len(found)} predictions are those of no moment"
    return "" if step.predict(asked).tobytes() == moments[-1] else "another result of training"


def train_twice(threads: int) -> str:
    """All steps are done one after the other, or refused: none is half done."""
    step, twin = make_step(threads), make_step(threads)
    x, y = images(64, 0)
    done: list[int] = []

    def train() -> None:
        for _ in range(ROUNDS):
            try:
                step(x, y)
                done.append(1)
            except RuntimeError as error:
                if REFUSAL not in str(error):
                    raise

    if errors := together(train, train):
        return "; ".join(errors)
    for _ in done:
        twin(x, y)
    same = all(
        np.array_equal(a.data, b.data)
        for a, b in zip(step.model.parameters(), twin.model.parameters(), strict=True)
    )
    return "" if same and done else f"after {len(done)} steps the weights are not those of so many"


def gradients_twice(threads: int) -> str:
    """The loss and the gradients of each batch are its own, or the thread is refused."""
    step = make_step(threads, dropout=0.0)
    inputs = [images(64, i) for i in range(2)]
    expected = [float(step.gradients(*pair)) for pair in inputs]
    wrong: list[int] = []

    def work(i: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(ROUNDS):
                try:
                    wrong.append(float(step.gradients(*inputs[i])) != expected[i])
                except RuntimeError as error:
                    if REFUSAL not in str(error):
                        raise

        return run

    errors = together(work(0), work(1))
    return "; ".join(errors) or (f"{sum(wrong)} of {len(wrong)} wrong" if any(wrong) else "")


def case(attack: Callable[..., str], *arguments: int) -> Case:
    def run(bench: Bench) -> str:
        def work() -> int:
            print(attack(*arguments), end="")
            return 0

        outcome = bench.forked(work)
        return outcome.out if outcome.status == 0 else f"{outcome.status}: {outcome.err[-300:]}"

    return run


EXIT = """
import sys, threading, time
from torture_cases.threads import images, make_step
step, (x, y) = make_step(int(sys.argv[1])), images(64, 0)
def work():
    while True:
        step.predict(x) if sys.argv[2] == "predict" else step(x, y)
step(x, y)
threading.Thread(target=work, daemon=True).start()
time.sleep(float(sys.argv[3]))
"""


def exit_while(threads: int, what: str, delay: float) -> str:
    """End the interpreter while a daemon thread is in a step."""
    root = Path(nplenet.__file__).parents[1]
    path = os.pathsep.join([str(root), str(root / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", EXIT, str(threads), what, str(delay)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": path},
        preexec_fn=limit_resources,
        start_new_session=True,
    )
    return "" if (done.returncode, done.stderr) == (0, "") else f"{done.returncode}: {done.stderr}"


def exits_at_random(bench: Bench) -> Iterator[tuple[str, str]]:
    number = 0
    while bench.goes_on(number):
        rng = random.Random(f"{bench.seed} threads {number}")
        attack = rng.randrange(4)
        threads = rng.choice((1, 2))
        name = f"threads {number} of seed {bench.seed}"
        if attack == 0:
            what, delay = rng.choice(("predict", "train")), rng.uniform(0, 0.05)
            yield f"{name}: exit, {threads} {what}", exit_while(threads, what, delay)
        elif attack == 1:
            count = rng.choice((1, 7, 64, 200))
            yield f"{name}: predict, {threads}, {count}", case(predict_twice, threads, count)(bench)
        elif attack == 2:
            count = rng.choice((1, 7, 64))
            yield (
                f"{name}: both, {threads}, {count}",
                case(train_and_predict, threads, count)(bench),
            )
        else:
            yield f"{name}: train, {threads}", case(train_twice, threads)(bench)
        number += 1


ATTACKS = {
    "predict and predict": predict_twice,
    "train and predict": train_and_predict,
    "train and train": train_twice,
    "gradients and gradients": gradients_twice,
}
CASES = {
    f"{name}, {('textbook', 'one thread', 'two threads')[threads]}": case(attack, threads)
    for name, attack in ATTACKS.items()
    for threads in (0, 1, 2)
}
CASES |= {
    f"exit while a daemon thread computes, {what}, {threads}": (
        lambda bench, threads=threads, what=what: exit_while(threads, what, 0.02)
    )
    for what in ("predict", "train")
    for threads in (1, 2)
}
FIGURES = [Figure("a step shared by two threads", CASES, exits_at_random, 0.1)]
