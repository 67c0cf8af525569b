"""The host prepares the next epoch while the device does the present one, and nothing differs."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpusim
import numpy as np
import pytest

import nplenet
from nplenet.backend import Backend
from nplenet.checkpoint import LATEST, CheckpointFolder, Epoch, load
from nplenet.compiled.cuda.epoch import DeviceEpoch
from nplenet.compiled.cuda.host import HostSide
from nplenet.compiled.cuda.step import GraphStep
from nplenet.data import DeviceLoader
from nplenet.layers import Dense, Dropout
from nplenet.optim import SGD, Adam
from nplenet.schedules import OneCycleLR, StepLR

from .test_between_epochs import Milestones
from .test_graphs import Run, bits

CYCLE = lambda o: OneCycleLR(o, 0.02, 30)  # noqa: E731  three epochs of ten steps


@pytest.fixture(autouse=True)
def captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the kernels of the textbook layers: to prepare is the same, and they compile faster."""
    monkeypatch.setattr("nplenet.compiled.cuda.step.why_not_fused", lambda *a: "for this test")


def compiled(run: Run) -> GraphStep:
    step = nplenet.compile(run.model, run.loss, run.optimizer, run.loader.batch_size)
    assert isinstance(step, GraphStep)
    return step


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what was dealt or rehearsed: in advance, or when its epoch began."""
    found: list[str] = []
    draw, rehearse = DeviceLoader._draw, HostSide.rehearse
    prepare, ahead = DeviceLoader.prepare, HostSide.rehearse_ahead
    now = ["at the beginning"]

    def note(what: str, function: Any, *arguments: Any) -> Any:
        found.append(f"{what} {now[-1]}")
        return function(*arguments)

    def in_advance(function: Any, *arguments: Any) -> Any:
        now.append("in advance")
        try:
            return function(*arguments)
        finally:
            now.pop()

    def note_deal(loader: DeviceLoader, order: Any) -> Any:
        if not loader.shuffle:  # these are the validation images
            return draw(loader, order)
        return note("dealt", draw, loader, order)

    monkeypatch.setattr(DeviceLoader, "_draw", note_deal)
    monkeypatch.setattr(HostSide, "rehearse", lambda *a: note("rehearsed", rehearse, *a))
    monkeypatch.setattr(DeviceLoader, "prepare", lambda *a: in_advance(prepare, *a))
    monkeypatch.setattr(HostSide, "rehearse_ahead", lambda *a: in_advance(ahead, *a))
    return found


def unprepared_run(cuda: Backend) -> Run:
    """Return a run of three epochs of which none was prepared."""
    run = Run(cuda, dtype="float32", schedule=CYCLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceLoader, "prepare", lambda loader: None)
        patch.setattr(GraphStep, "prepare_epoch", lambda step, schedule, steps: None)
        run.fit(epochs=3)
    return run


# --- the order of events ------------------------------------------------------------------------


@pytest.mark.usefixtures("simulated", "no_reading")
def test_the_next_epoch_is_prepared_while_graphs_are_in_flight(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(cuda, dtype="float32", schedule=CYCLE)
    step = compiled(run)
    seen: list[tuple[str, int, int]] = []
    epochs: list[DeviceEpoch] = []
    prepare, prepare_epoch = DeviceLoader.prepare, GraphStep.prepare_epoch
    begin_epoch = GraphStep.begin_epoch

    def note(what: str) -> None:
        """Note how many steps are enqueued, and how many the device has done: without asking it."""
        there = epochs[-1].runner.feed.step.data.ptr  # simulated memory is the host's
        seen.append((what, epochs[-1].done, ctypes.c_int64.from_address(there).value))

    def begin(*arguments: Any) -> DeviceEpoch:
        epochs.append(begin_epoch(*arguments))
        return epochs[-1]

    monkeypatch.setattr(GraphStep, "begin_epoch", begin)
    monkeypatch.setattr(DeviceLoader, "prepare", lambda a: (note("deal"), prepare(a)))
    monkeypatch.setattr(
        GraphStep, "prepare_epoch", lambda *a: (note("rehearsal"), prepare_epoch(*a))
    )
    run.fit(epochs=1, step=step)  # compiles and records
    seen.clear()
    epochs[0].runner.feed.step.fill(-1)
    with gpusim.lazily():
        run.fit(epochs=1, step=step)
    assert [what for what, _, _ in seen] == ["deal", "rehearsal"]
    assert seen[0][1:] == (10, -1)  # all is queued, and nothing is done
    assert seen[1][1] == 10


def test_each_epoch_but_the_first_is_prepared_in_advance(
    cuda: Backend, prepared: list[str]
) -> None:
    Run(cuda, dtype="float32", schedule=CYCLE).fit(epochs=3)
    first = ["dealt at the beginning", "rehearsed at the beginning"]
    assert prepared == first + 3 * ["dealt in advance", "rehearsed in advance"]


def test_a_schedule_of_ones_own_is_not_rehearsed_in_advance(
    cuda: Backend, prepared: list[str]
) -> None:
    Run(cuda, dtype="float32", schedule=Milestones).fit(epochs=2)
    assert [e for e in prepared if "rehearsed" in e] == 2 * ["rehearsed at the beginning"]


@pytest.mark.usefixtures("simulated")
def test_nothing_is_copied_from_the_host_between_epochs_but_the_table(cuda: Backend) -> None:
    run = Run(cuda, dtype="float32", schedule=None)
    step = compiled(run)
    run.model.train()
    for _ in range(2):
        assert isinstance(run.loader, DeviceLoader)
        with gpusim.counting() as count:
            epoch = step.begin_epoch(run.loader.deal(), None, 0)
        while epoch.done < 10:
            epoch.advance(10)
        run.loader.prepare()
        step.prepare_epoch(None, 10)
    assert (count.h2d, count.syncs) == (1, 0)
    assert count.h2d_bytes == 10 * epoch.runner.feed.words * 8


# --- the same bits ------------------------------------------------------------------------------


@pytest.mark.parametrize("lazily", [False, True])
def test_prepared_epochs_have_the_same_bits(cuda: Backend, lazily: bool) -> None:
    expected = unprepared_run(cuda)
    found = Run(cuda, dtype="float32", schedule=CYCLE)
    if lazily and gpusim.installed():  # the upload must not overtake the steps before
        with gpusim.lazily():
            found.fit(epochs=3)
    else:
        found.fit(epochs=3)
    assert bits(found) == bits(expected)
    assert found.loader.state_dict() == expected.loader.state_dict()


def test_epochs_one_by_one_have_the_same_bits(cuda: Backend, prepared: list[str]) -> None:
    expected = unprepared_run(cuda)
    prepared.clear()
    found = Run(cuda, dtype="float32", schedule=CYCLE)
    step = compiled(found)
    for _ in range(3):
        found.fit(epochs=1, step=step)
    assert bits(found) == bits(expected)
    assert prepared.count("dealt at the beginning") == 1
    assert prepared.count("rehearsed at the beginning") == 1


@pytest.mark.parametrize("stop", [1, 9, 10, 11, 25])
def test_a_run_stopped_anywhere_goes_on_to_the_same_bits(
    cuda: Backend,
    stop: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = unprepared_run(cuda)
    stopped = Run(cuda, dtype="float32", schedule=CYCLE)
    steps, advance = [0], DeviceEpoch.advance

    def advance_one(epoch: DeviceEpoch, limit: float) -> None:
        advance(epoch, 1)
        steps[0] += 1
        if steps[0] == stop:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(DeviceEpoch, "advance", advance_one)
        stopped.fit(epochs=3, checkpoints=CheckpointFolder(tmp_path))
    checkpoint = load(tmp_path / LATEST)
    assert checkpoint.record["optimizer"]["step"] == stop
    rest = Run(cuda, dtype="float32", schedule=CYCLE)
    rest.fit(epochs=3, resume=checkpoint)
    assert bits(rest) == bits(whole)


# --- what changes, and what goes wrong ----------------------------------------------------------


def test_an_error_in_an_epoch_leaves_the_generators_where_a_whole_epoch_does(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, expected = Run(cuda, schedule=CYCLE), Run(cuda, schedule=CYCLE)
    advance = DeviceEpoch.advance

    def advance_five(epoch: DeviceEpoch, limit: float) -> None:
        if epoch.done == 5:  # by then the next epoch is prepared
            raise KeyboardInterrupt
        advance(epoch, 1)

    monkeypatch.setattr(DeviceEpoch, "advance", advance_five)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    assert isinstance(run.loader, DeviceLoader)
    assert isinstance(expected.loader, DeviceLoader)
    assert run.loader._prepared is not None
    expected.loader.deal()
    assert run.loader.state_dict() == expected.loader.state_dict()
    HostSide([], expected.optimizer, expected.schedule).rehearse(5)
    assert (run.optimizer.step_count, run.optimizer.lr) == (5, expected.optimizer.lr)


def test_an_error_in_preparing_belongs_to_the_epoch_that_meets_it(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, epochs = Run(cuda), []
    assert isinstance(run.loader, DeviceLoader)
    rotation, prepare = run.loader.pipeline.affine, DeviceLoader.prepare
    assert rotation is not None

    def broken(loader: DeviceLoader) -> None:
        rotation.degrees = 1.7e308  # twice is infinite
        prepare(loader)

    monkeypatch.setattr(DeviceLoader, "prepare", broken)
    with pytest.raises(ValueError, match="angle 0 of 300 must be finite"):
        run.fit(on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == [1]
    assert run.optimizer.step_count == 10


def test_a_schedule_that_fails_does_so_when_its_epoch_begins(cuda: Backend) -> None:
    run = Run(cuda, schedule=lambda o: StepLR(o, 10, 1e200))  # at step 20 the rate overflows
    epochs: list[Epoch] = []
    with pytest.raises(OverflowError):
        run.fit(on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == [1]
    assert run.optimizer.step_count == 10


@pytest.mark.parametrize("generators", [(0, 0), (0, 1), (0, 1, 0)])
def test_keys_are_rehearsed_in_the_order_of_the_layers(generators: tuple[int, ...]) -> None:
    def dropouts() -> list[Dropout]:
        rngs = [np.random.default_rng(seed) for seed in range(2)]
        return [Dropout(0.5, rng=rngs[i]) for i in generators]

    optimizer, drawn = SGD(Dense(2, 2).parameters()), dropouts()
    expected = [[layer.draw_key() for layer in drawn] for _ in range(5)]
    assert HostSide(dropouts(), optimizer, None).rehearse(5).keys.tolist() == expected


def rate(host: HostSide) -> None:
    host.optimizer.lr = 0.5


def rate_of_a_group(host: HostSide) -> None:
    host.optimizer.param_groups[0].lr *= 0.5


def betas(host: HostSide) -> None:
    host.optimizer.betas = np.array([0.5, 0.875])  # type: ignore[attr-defined]


def steps_done(host: HostSide) -> None:
    host.optimizer.step_count += 1


def key_drawn(host: HostSide) -> None:
    host.dropouts[0].draw_key()


def total_steps(host: HostSide) -> None:
    host.schedule.total_steps = 20  # type: ignore[union-attr]


def other_dropouts(host: HostSide) -> None:
    host.dropouts = host.dropouts[::-1]


def nothing(host: HostSide) -> None: ...


@pytest.mark.parametrize(
    "change",
    [
        nothing,
        rate,
        rate_of_a_group,
        betas,
        steps_done,
        key_drawn,
        total_steps,
        other_dropouts,
    ],
)
@pytest.mark.parametrize("generator", [np.random.PCG64, np.random.Philox, np.random.MT19937])
def test_a_rehearsal_holds_as_long_as_nothing_changes(
    change: Callable[[HostSide], None], generator: Any
) -> None:
    def host_side() -> HostSide:
        optimizer = Adam(Dense(2, 2).parameters())
        schedule = OneCycleLR(optimizer, 0.1, 10)
        optimizer.betas = (0.75, 0.875)
        rngs = [np.random.Generator(generator(seed)) for seed in range(2)]
        return HostSide([Dropout(0.5, rng=rng) for rng in rngs], optimizer, schedule)

    found, expected = host_side(), host_side()
    ahead = found.rehearse_ahead(3)
    assert ahead is not None
    for host in (found, expected):
        change(host)
    hosts = [HostSide(a.dropouts, a.optimizer, a.schedule) for a in (found, expected)]
    rehearsal, wanted = hosts[0].perform(3, ahead), hosts[1].rehearse(3)
    assert (rehearsal is ahead) == (change is nothing)
    assert rehearsal.numbers == wanted.numbers
    assert rehearsal.keys.tolist() == wanted.keys.tolist()
    ends = [
        (a.optimizer.step_count, a.optimizer.lr, [d.draw_key() for d in a.dropouts]) for a in hosts
    ]
    assert ends[0] == ends[1]
