"""Threads that share a step: they meet, they fail together, and nothing hangs."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nplenet.compiled import compile
from nplenet.compiled.cpu import threads as threads_module
from nplenet.compiled.cpu.threads import ThreadBarrier, Threads
from nplenet.layers import BatchNorm2d, Conv2d, Dense, Flatten, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD, Adam

N = 200
X = np.random.default_rng(0).standard_normal((N, 1, 32, 32), np.float32)
Y = np.random.default_rng(1).integers(0, 10, N)


def lenet_step(threads: int, lanes: int = 16) -> Any:
    model = LeNet5(seed=0)
    tunables = {"threads": threads, "lanes": lanes}
    return compile(model, CrossEntropyLoss(), Adam(model.parameters()), N, tunables=tunables)


@pytest.fixture(params=[True, False], ids=["lock", "without a lock"])
def lock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads wait as on a Python with its lock, and as on one without."""
    monkeypatch.setattr(threads_module, "has_lock", lambda: request.param)


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "nplenet-step"]


def test_with_few_images_one_thread_does_the_features_at_the_barrier_and_the_first_has_more() -> (
    None
):
    prepared = lenet_step(2, lanes=64).prepare((1, 32, 32))
    few, many = prepared.program(64), prepared.program(200)
    assert (few.workers, many.workers) == (2, 2)
    assert len(few.stages) == len(many.stages) - 1
    assert len(few.stages[1].once) > len(many.stages[1].once) + 50
    assert [inlet.images for part in few.inputs for inlet in part] == [slice(0, 36), slice(36, 64)]


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_what_is_done_once_is_done_by_the_last_after_all_and_before_any_goes_on(
    workers: int, lock: None
) -> None:
    seen: list[str] = []

    def work(worker: int, barrier: ThreadBarrier) -> None:
        for stage in range(50):
            seen.append(f"{stage}")
            barrier.wait(worker, [lambda: seen.append("once")])

    Threads().share(workers, work)
    expected = [each for stage in range(50) for each in [f"{stage}"] * workers + ["once"]]
    assert seen == expected


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_error_of_one_worker_ends_all_and_is_raised(failing: int, lock: None) -> None:
    threads, ended = Threads(), []

    def work(worker: int, barrier: ThreadBarrier) -> None:
        try:
            barrier.wait(worker, [])
            if worker == failing:
                raise ZeroDivisionError(f"of worker {worker}")
            barrier.wait(worker, [])
        finally:
            ended.append(worker)

    for _ in range(20):
        ended.clear()
        with pytest.raises(ZeroDivisionError, match=f"of worker {failing}"):
            threads.share(3, work)
        assert sorted(ended) == [0, 1, 2]
    threads.share(3, lambda worker, barrier: barrier.wait(worker, []))  # and the next step runs


def test_workers_that_all_fail_end_and_one_of_their_errors_is_raised() -> None:
    threads = Threads()

    def work(worker: int, barrier: ThreadBarrier) -> None:
        raise ZeroDivisionError

    for _ in range(200):
        with pytest.raises(ZeroDivisionError):
            threads.share(4, work)


def test_the_error_of_what_is_done_once_ends_all_and_is_raised() -> None:
    def fail() -> None:
        raise ZeroDivisionError("at the barrier")

    with pytest.raises(ZeroDivisionError, match="at the barrier"):
        Threads().share(3, lambda worker, barrier: barrier.wait(worker, [fail]))


def test_an_error_at_a_barrier_of_a_step_is_told_as_without_threads() -> None:
    model = Sequential(Conv2d(1, 2, 32), BatchNorm2d(2), Flatten(), Dense(2, 10))
    tunables = {"threads": 2, "lanes": 16}
    optimizer = SGD(model.parameters())
    step = compile(model, CrossEntropyLoss(), optimizer, N, tunables=tunables)
    with pytest.raises(ValueError, match="more than one value"):
        step(X[:1], Y[:1])
    assert np.isfinite(step(X, Y))


def test_control_c_while_waiting_ends_the_step_and_leaves_no_helper_at_work(lock: None) -> None:
    threads, at_work = Threads(), threading.Event()

    def work(worker: int, barrier: ThreadBarrier) -> None:
        if worker == 1:
            at_work.set()
            time.sleep(0.3)
            at_work.clear()
            barrier.wait(worker, [])
        else:
            at_work.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.share(2, work)
    assert not at_work.is_set()
    threads.share(2, lambda worker, barrier: barrier.wait(worker, []))


@pytest.mark.parametrize("moment", ["a task has begun", "a helper has finished", "at the end"])
def test_control_c_just_after_a_gate_has_opened_loses_no_helper(moment: str, lock: None) -> None:
    """The call that opened or passed it returns nothing then, so nobody knows that it did.

    The next step waited for ever, or went on while a helper was still at work.
    """
    threads, done = Threads(), list[int]()

    def work(worker: int, barrier: ThreadBarrier) -> None:
        barrier.wait(worker, [])
        time.sleep(0.05 * worker)
        done.append(worker)

    def steps() -> None:
        threads.share(2, work)
        (helper,) = threads._helpers
        owner, name = {
            "a task has begun": (helper, "begin"),
            "a helper has finished": (helper._done, "wait"),
            "at the end": (helper, "finish"),
        }[moment]
        real = getattr(owner, name)

        def interrupted(*arguments: Any) -> None:
            delattr(owner, name)  # the next call is the class's again
            real(*arguments)
            raise KeyboardInterrupt

        setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            threads.share(2, work)
        for _ in range(3):
            done.clear()
            threads.share(2, work)
            assert sorted(done) == [0, 1]

    in_time(steps)


def in_time(work: Callable[[], None]) -> None:
    """Do the work in a thread that may hang; raise what it raises."""
    found: list[BaseException | None] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it waits for ever"
    if found[0] is not None:
        raise found[0]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
def test_control_c_at_any_moment_leaves_a_step_that_computes_the_same() -> None:
    """In a process of its own, which may hang; 0.1 s of steps that are interrupted, many times."""
    program = """if True:
        import signal, sys, time
        import numpy as np
        import nplenet
        from nplenet.layers import Dense, Flatten, ReLU, Sequential
        from nplenet.losses import CrossEntropyLoss
        from nplenet.optim import SGD

        def interrupt(*_):
            raise KeyboardInterrupt

        rng = np.random.default_rng(0)
        model = Sequential(Flatten(), Dense(16, 8, rng=0), ReLU(), Dense(8, 3, rng=1))
        optimizer = SGD(model.parameters(), 0.1)
        tunables = {"threads": 2, "worker_images": 1, "worker_images_for_features": 1}
        step = nplenet.compile(model, CrossEntropyLoss(), optimizer, 64, tunables=tunables)
        x, y = rng.random((64, 4, 4), np.float32), rng.integers(0, 3, 64)
        before, end, expected = model.state_dict(), time.monotonic() + 3, None
        signal.signal(signal.SIGALRM, interrupt)
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0001, 0.003))
                while True:
                    step(x, y)
            except KeyboardInterrupt:
                model.load_state_dict(before)
                found = [float(step(x, y)) for _ in range(2)]
                expected = expected or found
                assert found == expected, (found, expected)
        print(step.describe())
    """
    environment = os.environ | {"NPLENET_WORKERS": "threads", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 threads" in done.stdout


def test_helpers_see_the_buffer_size_and_the_errors_that_the_caller_has_set() -> None:
    found = []

    def work(worker: int, barrier: ThreadBarrier) -> None:
        found.append((np.getbufsize(), np.geterr()["divide"]))

    before = np.setbufsize(1024)
    try:
        with np.errstate(divide="raise"):
            Threads().share(3, work)
    finally:
        np.setbufsize(before)
    assert found == [(1024, "raise")] * 3


def test_helper_threads_end_with_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPLENET_WORKERS", "threads")
    step = lenet_step(threads=2)
    before = set(helpers())
    step(X, Y)
    own = set(helpers()) - before
    assert len(own) == 1
    del step
    gc.collect()
    for thread in own:
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_gets_helpers_of_its_own() -> None:
    step = lenet_step(threads=2)
    step(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of a fork with threads
        child = os.fork()
    if child == 0:
        try:
            os._exit(0 if np.isfinite(step(X, Y)) else 1)
        finally:
            os._exit(2)
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


@pytest.mark.parametrize("n", [N, 100])
def test_a_step_on_threads_gives_the_same_bits_each_time(n: int, lock: None) -> None:
    steps = map(lenet_step, [3, 3])
    losses = [[step(X[:n], Y[:n]).tobytes() for _ in range(20)] for step in steps]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("n", [4000, 3987, 700, 100, 33])
def test_predictions_do_not_depend_on_the_number_of_threads(n: int) -> None:
    x = np.concatenate([X] * 20)[:n]
    alone, *others = (lenet_step(threads) for threads in (1, 2, 3))
    logits = alone.predict(x)
    for step in others:
        for _ in range(5):
            np.testing.assert_allclose(step.predict(x), logits, rtol=0, atol=1e-6)
