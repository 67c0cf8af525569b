"""Processes that share a step give the bits of threads, and clear errors."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.augment import standard_augmentation
from nplenet.checkpoint import CheckpointFolder, load
from nplenet.compiled import TextbookStep, compile
from nplenet.compiled.cpu.processes import WorkerDied
from nplenet.compiled.cpu.search import SIDE_BY_SIDE
from nplenet.data import DataLoader
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Sequential,
    Tanh,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import Adam, AdamW
from nplenet.train import fit

from .crews import ON_LINUX, N, X, Y, begin_anew, gone, make_step, pids, plain, state

pytestmark = [ON_LINUX, pytest.mark.usefixtures("processes")]
LIKE_THREADS = {"worker_images": 32, "worker_images_for_features": 64, "head_start": 4}


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Return a function that plans a step for threads."""

    def with_threads(step: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setenv("NPLENET_WORKERS", "threads")
            step.prepare(X.shape[1:])
            step.predict(X[:1])
        assert "threads (NPLENET_WORKERS=threads)" in step.describe()
        return step

    return with_threads


# ------------------------------------------------------------------ the same numbers


def frozen() -> Layer:
    model = LeNet5(dropout=0.2, seed=0)
    for _, layer in model.modules():
        if isinstance(layer, BatchNorm2d):
            layer.eval()
    return model


def distant() -> Layer:
    """A batch norm whose mean is far from zero, and one whose weights are small."""
    model = LeNet5(seed=0)
    norms = [layer for _, layer in model.modules() if isinstance(layer, BatchNorm2d)]
    assert isinstance(norms[1].weight.data, np.ndarray)
    norms[1].weight.data[::2] = 1e-14
    norms[1].bias.data[...] = 3.0
    return Sequential(Conv2d(1, 1, 1, rng=np.random.default_rng(0)), model)


def dense() -> Layer:
    rng = np.random.default_rng(0)
    return Sequential(
        AvgPool2d(2),
        Flatten(),
        Dense(256, 40, rng=rng),
        BatchNorm1d(40),
        Tanh(),
        Dropout(0.3, rng=1),
        Dense(40, 10, rng=rng),
    )


MODELS = {
    "lenet5": lambda: LeNet5(dropout=0.2, seed=0),
    "float64": lambda: LeNet5(dropout=0.2, seed=0, dtype=np.float64),
    "frozen": frozen,
    "distant": distant,
    "plain": plain,
    "dense": dense,
}


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("share", [LIKE_THREADS, SIDE_BY_SIDE], ids=["like threads", "evenly"])
@pytest.mark.parametrize("name", MODELS)
def test_processes_give_the_bits_of_threads(
    name: str, share: dict[str, int], workers: int, threads: Callable[[Any], Any]
) -> None:
    one = make_step(MODELS[name](), workers, **share)
    other = threads(make_step(MODELS[name](), workers, **share))
    shift = 1e3 if name == "distant" else 0.0
    batches = [X[:n] + np.float32(shift) for n in (N, 70, N, 101)]
    batches += [X[:, :, ::-1].astype(np.float64), (X * 50).astype(np.uint8)]  # strided, and bytes
    for x in batches:
        assert one(x, Y[: len(x)]) == other(x, Y[: len(x)])
        assert one.correct == other.correct
    assert one.predict(X).tobytes() == other.predict(X).tobytes()
    assert state(one) == state(other)
    used = one.prepare(X.shape[1:]).cutting.capacity.workers
    assert used == workers or not (
        share == SIDE_BY_SIDE or "lenet5" in name
    )  # threads pay from 64 images on
    assert (len(pids(one)), len(pids(other))) == (used - 1, 0)
    assert f"on {used} processes" in one.describe()


@pytest.mark.parametrize("n", [17, 40, 64, N])
def test_steps_that_are_shared_evenly_equal_the_textbook(n: int) -> None:
    model = LeNet5(dropout=0.2, seed=0, dtype=np.float64)
    textbook = TextbookStep(model, CrossEntropyLoss(), Adam(model.parameters()), N, "a test")
    x = X[:n].astype(np.float64)
    value = textbook.gradients(x, Y[:n])
    for workers in (2, 3):
        step = make_step(LeNet5(dropout=0.2, seed=0, dtype=np.float64), workers)
        assert np.isclose(step.gradients(x, Y[:n]), value, rtol=1e-12)
        for ours, theirs in zip(step.model.parameters(), model.parameters(), strict=True):
            bound = 1e-11 * np.abs(theirs.grad).max()  # sums of float64 in another order
            np.testing.assert_allclose(ours.grad, theirs.grad, rtol=0, atol=bound)


def change_settings(step: Any, number: int) -> None:
    """Do between two steps what a program may do."""
    norm, dropout = step.model.features[1], step.model.classifier[3]
    assert isinstance(norm, BatchNorm2d)
    assert isinstance(dropout, Dropout)
    match number:
        case 0:
            step.optimizer.lr = 0.01
        case 1:
            state = step.model.state_dict()
            step.model.load_state_dict({k: v * 0.5 if v.ndim else v for k, v in state.items()})
        case 2:
            dropout.p = 0.5
        case 3:
            norm.eval()
        case 4:
            norm.train()
            norm.momentum = 0.3
        case 5:
            step.loss.label_smoothing = 0.1
        case 6:
            dropout.rng = np.random.default_rng(7)
        case 7:
            step.model.classifier[1].requires_grad_(False)
        case 8:
            step.model.features[0].weight.data[...] = 0.0


def test_what_a_program_changes_between_steps_counts(threads: Callable[[Any], Any]) -> None:
    one, other = make_step(), threads(make_step())
    for number in range(9):
        for step in (one, other):
            change_settings(step, number)
        losses = [one(X, Y), one(X[:90], Y[:90])]
        assert losses == [other(X, Y), other(X[:90], Y[:90])], number
        assert one.predict(X).tobytes() == other.predict(X).tobytes()
    assert state(one) == state(other)
    assert len(pids(one)) == 1


def run_of(kinds: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Train for an epoch with each kind of workers in turn, each in a run that resumes."""
    images = np.random.default_rng(0).integers(0, 256, (400, 1, 32, 32), np.uint8)
    labels = np.random.default_rng(1).integers(0, 10, 400)
    resume = None
    for epoch, kind in enumerate(kinds, start=1):
        monkeypatch.setenv("NPLENET_WORKERS", kind)
        model = LeNet5(dropout=0.2, seed=0)
        loss, optimizer = CrossEntropyLoss(), AdamW(model.parameters())
        tunables = {"threads": 2, **SIDE_BY_SIDE}
        step = compile(model, loss, optimizer, 100, tunables=tunables)
        loader = DataLoader(
            images,
            labels,
            100,
            shuffle=True,
            rng=2,
            transform=standard_augmentation(),
            transform_rng=3,
        )
        checkpoints = CheckpointFolder(folder)
        fit(
            model,
            loss,
            optimizer,
            loader,
            epochs=epoch,
            step=step,
            validation=(images[:120], labels[:120]),
            checkpoints=checkpoints,
            resume=resume,
            progress=False,
        )
        assert f"on 2 {kind}" in step.describe()
        resume = load(checkpoints.latest)
    return state(step)


def test_a_run_resumes_with_the_other_kind_of_workers_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [["threads"] * 3, ["processes", "threads", "processes"]]
    one, other = (run_of(own, tmp_path / str(i), monkeypatch) for i, own in enumerate(kinds))
    assert one == other


def test_new_processes_know_the_images_of_each_epoch(tmp_path: Path) -> None:
    """The augmented images of an epoch are made in the processes, of what they were forked with."""
    images = np.random.default_rng(0).integers(0, 256, (200, 1, 32, 32), np.uint8)
    loader = DataLoader(
        images, Y[:100].repeat(2), 100, transform=standard_augmentation(), transform_rng=3
    ).in_bytes(np.float32)
    one, other, seen = make_step(), make_step(), []
    for _ in range(3):
        for x, y in loader:
            assert one.gradients(x, y) == other.gradients(x[:], y)
            seen += pids(one)
    assert seen[0::2] == seen[1::2]
    assert len(set(seen)) == 3


# ------------------------------------------------------------------ errors


def test_a_worker_killed_within_a_step_ends_it_with_an_error_that_names_it() -> None:
    step, twin = make_step(), make_step()
    step(X, Y), twin(X, Y)
    (pid,) = pids(step)
    os.kill(pid, signal.SIGSTOP)  # so it is killed while it is waited for
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(
        WorkerDied, match=rf"worker process {pid} was ended by signal 9 .*step is not"
    ):
        step.gradients(X, Y)
    assert gone(pid)
    begin_anew(step, twin)
    assert step(X, Y) == twin(X, Y)
    assert pids(step) not in ([], [pid])


def test_a_worker_killed_between_two_steps_is_replaced() -> None:
    step, twin = make_step(workers=3), make_step(workers=3)
    for killed in range(2):
        assert step(X, Y) == twin(X, Y)
        before = pids(step)
        os.kill(before[killed], signal.SIGKILL)
        assert gone_or_zombie(before[killed])
    assert step(X, Y) == twin(X, Y)
    assert state(step) == state(twin)
    assert all(map(gone, before))


def gone_or_zombie(pid: int) -> bool:
    for _ in range(500):
        if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2][1] == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("image", [0, N - 1])
def test_an_error_of_any_worker_is_raised_and_the_next_step_runs(image: int) -> None:
    step, twin = make_step(), make_step()
    bad = X.copy()
    bad[image] = 3e38
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        step.gradients(bad, Y)
    assert pids(step) == []
    begin_anew(step, twin)
    assert step.gradients(X, Y) == twin.gradients(X, Y)


def test_a_warning_in_a_process_is_one_of_the_program() -> None:
    step = make_step()
    bad = X.copy()
    bad[-1] = 3e38
    with np.errstate(over="warn", invalid="warn"):
        with pytest.warns(RuntimeWarning):
            step.predict(bad)
        step.predict(X)
    with np.errstate(all="ignore"):
        step.predict(bad)


def test_bad_input_is_refused_before_any_process_works() -> None:
    step = make_step()
    step(X, Y)
    before = pids(step)
    with pytest.raises(ValueError, match="label"):
        step(X, Y + 10)
    with pytest.raises(TypeError, match="float32"):
        step(X.astype(np.complex64), Y)
    step(X, Y)
    assert pids(step) == before
