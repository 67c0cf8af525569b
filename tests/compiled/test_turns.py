"""Threads of Python that share a step: every prediction is right, a second trainer is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from nplenet.compiled import TextbookStep, compile
from nplenet.data import DataLoader
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import Adam
from nplenet.train import fit
from nplenet.turns import Turns

X = np.random.default_rng(0).standard_normal((64, 1, 32, 32), np.float32)
Y = np.random.default_rng(1).integers(0, 10, 64)
REFUSED = "another thread is training this model"


def textbook_step() -> Any:
    model = LeNet5(seed=0)
    return TextbookStep(model, CrossEntropyLoss(), Adam(model.parameters()), 64, "of the test")


def compiled_step(threads: int = 2) -> Any:
    model = LeNet5(seed=0)
    tunables = {"threads": threads}
    return compile(model, CrossEntropyLoss(), Adam(model.parameters()), 64, tunables=tunables)


STEPS: dict[str, Callable[[], Any]] = {
    "one-worker": lambda: compiled_step(1),
    "two-workers": compiled_step,
    "textbook": textbook_step,
}
each_step = pytest.mark.parametrize("make", STEPS.values(), ids=STEPS)


def in_threads(*works: Callable[[], object]) -> list[BaseException]:
    """Run each in a thread of its own, all at once; return what they raise."""
    errors: list[BaseException] = []
    together = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        together.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive(), "a thread hangs"
    return errors


def assert_same_parameters(step: Any, twin: Any) -> None:
    for ours, theirs in zip(step.model.parameters(), twin.model.parameters(), strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)


@each_step
def test_predictions_are_right_from_any_thread_also_of_shapes_not_planned_yet(make: Any) -> None:
    images = [X, X[:50], X[::-1], X[:1]]
    single = make()
    expected = [single.predict(x) for x in images]
    step, wrong = make(), []

    def ask(i: int) -> None:
        for _ in range(10):
            if not np.array_equal(step.predict(images[i]), expected[i]):
                wrong.append(i)

    assert in_threads(*[lambda i=i: ask(i) for i in range(4)]) == []
    assert wrong == []
    assert all(layer.training for _, layer in step.model.modules())


@each_step
def test_a_prediction_during_training_has_the_parameters_of_one_moment(make: Any) -> None:
    steps, twin, step = 20, make(), make()
    moments = {twin.predict(X[:8]).tobytes()}
    for _ in range(steps):
        twin.gradients(X, Y)
        moments.add(twin.predict(X[:8]).tobytes())  # its running statistics are new
        twin.optimizer.step()
        moments.add(twin.predict(X[:8]).tobytes())
    done, found = threading.Event(), []

    def train() -> None:
        try:
            for _ in range(steps):
                step.gradients(X, Y)
                step.optimizer.step()
        finally:
            done.set()

    def ask() -> None:
        while not done.is_set():
            found.append(step.predict(X[:8]).tobytes())

    assert in_threads(train, ask) == []
    assert found
    assert set(found) <= moments
    assert step(X, Y) == twin(X, Y)  # training is what it is without the other thread


@each_step
def test_a_second_thread_that_trains_is_refused_and_changes_nothing(make: Any) -> None:
    step = make()
    loader = DataLoader(X, Y, 64)
    parts = step.model, step.loss, step.optimizer, loader
    with step.optimizer.turns.training():
        errors = in_threads(
            lambda: step(X, Y),
            lambda: step.gradients(X, Y),
            step.optimizer.step,
            lambda: fit(*parts, epochs=1, step=step, progress=False),
            lambda: fit(*parts, epochs=1, progress=False),  # another step for the same optimizer
        )
        assert [type(error) for error in errors] == [RuntimeError] * 5
        assert all(REFUSED in str(error) for error in errors)
        step(X, Y)  # of the thread that trains
    assert in_threads(lambda: step(X, Y)) == []
    twin = make()
    for _ in range(2):
        twin(X, Y)
    assert_same_parameters(step, twin)


def test_training_from_two_threads_at_once_does_neither_hang_nor_mix() -> None:
    step = compiled_step()
    errors = in_threads(*[lambda: [step(X, Y) for _ in range(30)]] * 2)
    assert {type(error) for error in errors} <= {RuntimeError}
    twin = compiled_step()
    for _ in range(step.optimizer.step_count):
        twin(X, Y)
    assert_same_parameters(step, twin)


def test_one_thread_may_train_after_another() -> None:
    step = compiled_step()
    for _ in range(3):
        assert in_threads(lambda: step(X, Y)) == []
    assert step.optimizer.step_count == 3


def test_who_waits_for_a_turn_gets_it_though_another_comes_back_at_once() -> None:
    turns, ended, taken = Turns(), threading.Event(), []

    def again_and_again() -> None:
        while not ended.is_set():
            with turns.turn():
                taken.append(1)
                time.sleep(0.01)

    thread = threading.Thread(target=again_and_again, daemon=True)
    thread.start()
    waited = []
    for _ in range(10):
        before = len(taken)
        with turns.turn():
            waited.append(len(taken) - before)
    ended.set()
    thread.join()
    assert max(waited) <= 2


def test_the_turn_is_free_again_after_an_error() -> None:
    step = compiled_step()
    for bad in (X[:, [0, 0]], X.tolist()):
        with pytest.raises((TypeError, ValueError)):
            step.predict(bad)
        with pytest.raises((TypeError, ValueError)):
            step(bad, Y)
    assert in_threads(lambda: step(X, Y), lambda: step.predict(X)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12
def test_a_process_forked_while_another_thread_has_the_turn_can_go_on() -> None:
    step = compiled_step(1)
    expected = step.predict(X)
    there, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with step.optimizer.turns.training_turn():
            there.set()
            ended.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    there.wait(60)
    child = os.fork()
    if child == 0:
        try:
            right = np.array_equal(step.predict(X), expected) and np.isfinite(step(X, Y))
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    ended.set()
    thread.join()
    for _ in range(1000):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        time.sleep(0.02)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        raise AssertionError("the step hangs in a forked process")
    assert os.waitstatus_to_exitcode(status) == 0


EXIT = """
import atexit, sys, threading, time
sys.path.insert(0, {tests!r})
import test_turns as t
step = t.{make}
step(t.X, t.Y)

def again_and_again(work):
    while True:
        work()

works = [lambda: step(t.X, t.Y)] + 2 * [lambda: step.predict(t.X)]  # two of them wait
atexit.register(lambda: print(step.predict(t.X).shape))
for work in works:
    threading.Thread(target=again_and_again, args=(work,), daemon=True).start()
time.sleep({delay})
"""


@pytest.mark.parametrize("delay", [0.02, 0.023])
@pytest.mark.parametrize("make", ["compiled_step(1)", "compiled_step(2)", "textbook_step()"])
def test_the_interpreter_ends_while_daemon_threads_compute_and_wait(
    make: str, delay: float
) -> None:
    program = EXIT.format(tests=os.path.dirname(__file__), make=make, delay=delay)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(64, 10)\n", "")


class Interrupted:
    """A lock in whose release Ctrl-C comes."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        raise KeyboardInterrupt


def test_control_c_while_a_turn_is_taken_gives_it_back() -> None:
    turns = Turns()
    line, turns._line = turns._line, Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt), turns.training_turn():
        pytest.fail("the block ran")
    turns._line = line
    with ThreadPoolExecutor(1) as pool:  # for another thread to take, too
        assert pool.submit(turns._turn.acquire, timeout=0).result(20)
        pool.submit(turns._turn.release).result(20)
    with turns.training_turn():
        assert not turns.within_a_loop


class JustTaken:
    """A lock that Ctrl-C follows: what the call returned is lost."""

    def __init__(self, lock: Any) -> None:
        self._lock, self._first = lock, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)

    def acquire(self) -> None:
        self._lock.acquire()
        if self._first:
            self._first = False
            raise KeyboardInterrupt


def test_control_c_just_after_a_turn_was_taken_gives_it_back() -> None:
    """The next step of the same thread waited for ever."""
    turns, taken = Turns(), list[bool]()

    def steps() -> None:
        turns._turn = JustTaken(turns._turn)
        with pytest.raises(KeyboardInterrupt), turns.training_turn():
            pytest.fail("the block ran")
        for _ in range(2):
            with turns.training_turn():
                taken.append(not turns.within_a_loop)

    for _ in range(2):  # and then that of another one
        thread = threading.Thread(target=steps, daemon=True)
        thread.start()
        thread.join(20)
    assert taken == [True] * 4
