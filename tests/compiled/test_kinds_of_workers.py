"""Which kind of workers a step has: threads where processes cannot be, or are not wanted."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import numpy as np
import pytest

from nplenet.compiled.cpu.kinds import has_lock
from nplenet.compiled.cpu.search import default
from nplenet.compiled.cpu.tuning_cache import machine
from nplenet.layers import GELU, AvgPool2d, Conv2d, Dense, Flatten, Sequential

from .crews import ON_LINUX, X, Y, make_step, output, pids

pytestmark = [ON_LINUX, pytest.mark.usefixtures("processes")]
WITH_A_LOCK = pytest.mark.skipif(
    not has_lock(), reason="without Python's lock threads share a step"
)


def test_a_program_with_other_threads_has_threads_until_they_end() -> None:
    out = output(
        """
        import threading
        step.loss.label_smoothing = 0.1  # a new plan
        end = threading.Event()
        thread = threading.Thread(target=end.wait, name="my-thread")
        thread.start()
        step(x, y)
        print(step.describe().splitlines()[1])
        end.set()
        thread.join()
        step(x, y)
        print(step.describe().splitlines()[1])
        """
    )
    one, other = out.splitlines()
    assert "on 2 threads (other threads run in this program: my-thread)" in one
    assert "on 2 processes" in other


def test_processes_at_hand_serve_other_threads_too() -> None:
    out = output(
        """
        import threading
        expected, found = step.predict(x).tobytes(), []
        threads = [threading.Thread(target=lambda: found.append(step.predict(x))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print([each.tobytes() == expected for each in found] == [True] * 4, len(helpers()))
        """
    )
    assert out.split() == ["True", "2"]


def test_a_progress_bar_is_no_thread_that_counts() -> None:
    out = output(
        """
        from tqdm import tqdm
        step.loss.label_smoothing = 0.1
        for _ in tqdm(range(2), file=open(os.devnull, "w")):
            step(x, y)
        print("on 2 processes" in step.describe())
        """
    )
    assert out.split() == ["True"]


def test_a_layer_of_ones_own_has_its_state_in_one_process_so_threads_share_the_step() -> None:
    rng = np.random.default_rng(0)
    model = Sequential(
        Conv2d(1, 2, 5, rng=rng), GELU(), AvgPool2d(2), Flatten(), Dense(2 * 14 * 14, 10, rng=rng)
    )
    step = make_step(model)
    step(X, Y)
    assert "on 2 threads (a layer without lanes" in step.describe()
    assert pids(step) == []


def test_what_the_system_refuses_is_not_asked_for_in_each_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step, twin, asked = make_step(), make_step(), []

    def refuse() -> int:
        asked.append(1)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        losses = [step(X, Y) for _ in range(5)]
    assert losses == [twin(X, Y) for _ in range(5)]
    assert len(asked) == 3
    assert "threads (a process cannot be started: [Errno 11]" in step.describe()


def test_a_step_is_not_copied_with_its_processes() -> None:
    step = make_step()
    step(X, Y)
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="can't be deep-copied or pickled"):
            copied(step)


@WITH_A_LOCK
def test_what_is_tuned_suits_the_kind_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {}
    for kind in ("processes", "threads"):
        monkeypatch.setenv("NPLENET_WORKERS", kind)
        kinds[kind] = default().head_start, machine()["workers"]
    assert kinds == {"processes": (0, "processes"), "threads": (4, "threads")}


@WITH_A_LOCK
def test_what_is_tuned_beside_other_threads_suits_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NPLENET_WORKERS")
    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    try:
        assert (default().head_start, machine()["workers"]) == (4, "threads")
    finally:
        ended.set()
        other.join()


def test_another_kind_of_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPLENET_WORKERS", "fibres")
    with pytest.raises(ValueError, match="NPLENET_WORKERS is 'fibres', expected 'processes' or"):
        make_step()(X, Y)
