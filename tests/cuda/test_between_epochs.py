"""A step on a GPU between whose epochs something changes, or in which something goes wrong."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gpusim
import numpy as np
import pytest

import nplenet
from nplenet.backend import Backend, get_backend
from nplenet.checkpoint import Epoch
from nplenet.compiled import Step
from nplenet.compiled.cuda.epoch import DeviceEpoch
from nplenet.data import DeviceLoader
from nplenet.layers import BatchNorm1d, BatchNorm2d, Dense, Dropout
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD
from nplenet.schedules import Schedule, StepLR
from nplenet.train import evaluate
from nplenet.train.evaluation import validation_images

from .test_graphs import IMAGES, LABELS, Run, assert_close, path, small

__all__ = ["path"]  # each test runs with the fused kernels, and with those of the textbook layers


def compiled(backend: Backend, dtype: str = "float32") -> Step:
    model, loss = small().astype(dtype).to(backend), CrossEntropyLoss()
    return nplenet.compile(model, loss, SGD(model.parameters(), 0.05), 32)


def batch(backend: Backend, dtype: str = "float32") -> tuple[Any, Any]:
    x = (IMAGES[:32] / 255).astype(dtype)
    return backend.asarray(x), backend.asarray(LABELS[:32].astype(np.int64))


# --- what changes between epochs ----------------------------------------------------------------


def probabilities(run: Run) -> None:
    for layer in run.model.children().values():
        if isinstance(layer, Dropout):
            layer.p = 0.6


def no_dropout(run: Run) -> None:
    for layer in run.model.children().values():
        if isinstance(layer, Dropout):
            layer.p = 0.0


def norms(run: Run) -> None:
    for layer in run.model.children().values():
        if isinstance(layer, (BatchNorm1d, BatchNorm2d)):
            layer.momentum, layer.eps = 0.9, 0.1


def smoothing(run: Run) -> None:
    run.loss.label_smoothing = 0.3


def rates(run: Run) -> None:
    run.optimizer.lr, run.optimizer.weight_decay = 0.002, 0.3


def weights(run: Run) -> None:
    run.model.load_state_dict(small().state_dict())


def images(run: Run) -> None:
    loader = run.loader
    assert isinstance(loader, DeviceLoader)
    assert loader.pipeline.affine is not None
    loader.pipeline.affine.degrees = 50.0
    loader.labels, loader.batch_size, loader.shuffle = LABELS[100:400], 20, False


CHANGES = [probabilities, no_dropout, norms, smoothing, rates, weights, images]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_epochs_is_seen(cuda: Backend, change: Callable[[Run], None]) -> None:
    found, expected = Run(cuda, schedule=None), Run(cuda, schedule=None)
    for run, step in ((found, None), (expected, expected.textbook())):

        def after(epoch: Epoch, run: Run = run) -> None:
            if epoch.epoch == 2:  # by then an epoch has run whose graphs were all recorded before
                change(run)

        history = run.fit(epochs=3, step=step, on_epoch=after)
        run.interrupted = history.epochs[-1].validation_loss  # type: ignore[assignment]
    assert_close(found, expected, 1e-10)
    assert found.interrupted == pytest.approx(expected.interrupted, abs=1e-10)


def test_a_schedule_changed_between_epochs_is_seen(cuda: Backend) -> None:
    found, expected = Run(cuda), Run(cuda)
    for run, step in ((found, None), (expected, expected.textbook())):

        def after(epoch: Epoch, run: Run = run) -> None:
            run.schedule.T_max = 15  # type: ignore[union-attr]

        run.fit(step=step, on_epoch=after)
    assert_close(found, expected, 1e-10)


def test_a_label_out_of_range_is_found_when_the_loss_was_used_on_another_backend(
    cuda: Backend,
) -> None:
    run = Run(cuda)

    def after(epoch: Epoch) -> None:
        run.loss(np.zeros((2, 10)), np.array([0, 1]))
        run.loader.labels = np.full_like(run.loader.labels, 77)

    with pytest.raises(ValueError, match="label 77 of sample 0 in step 1 of the epoch"):
        run.fit(on_epoch=after)
    step, (x, y) = compiled(cuda), batch(cuda)
    step(x, y)
    step.loss(np.zeros((2, 10)), np.array([0, 1]))
    y[3] = 50
    step(x, y)
    with pytest.raises(ValueError, match="label 50 of sample 3"):
        step.loss.check()


class Milestones(Schedule):
    """Its state has a tuple, which ``load_state_dict`` does not take, and a list that grows."""

    def __init__(self, optimizer: Any) -> None:
        self.milestones = (2, 5, 12)
        self.seen: list[int] = []
        super().__init__(optimizer)

    def rate(self, k: int) -> float:
        return self.base_lr * 0.5 ** sum(k >= milestone for milestone in self.milestones)

    def step(self) -> None:
        super().step()
        self.seen.append(self.step_count)


def test_a_schedule_of_ones_own_is_rehearsed_and_brought_back(cuda: Backend) -> None:
    run = Run(cuda, schedule=Milestones)
    step = nplenet.compile(run.model, run.loss, run.optimizer, 32)
    assert isinstance(run.schedule, Milestones)
    epoch = step.begin_epoch(run.loader.deal(), run.schedule, 0)  # type: ignore[union-attr]
    for _ in range(3):
        epoch.advance(1)
    epoch.settle()
    assert run.schedule.seen == [1, 2, 3]
    assert run.schedule.optimizer is run.optimizer
    assert (run.optimizer.step_count, run.optimizer.lr) == (3, 0.005)


# --- errors -------------------------------------------------------------------------------------


def host_state(run: Run) -> tuple[Any, ...]:
    schedule = run.schedule and run.schedule.step_count
    generators = [rng.bit_generator.state for rng in run.model.generators().values()]
    return run.optimizer.step_count, run.optimizer.lr, schedule, generators


def test_an_interrupted_epoch_leaves_the_host_where_the_device_is(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, expected = Run(cuda), Run(cuda)
    advance = DeviceEpoch.advance

    def advance_three(epoch: DeviceEpoch, limit: float) -> None:
        if epoch.done == 3:
            raise KeyboardInterrupt  # as a second Ctrl-C
        advance(epoch, 1)

    monkeypatch.setattr(DeviceEpoch, "advance", advance_three)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    step = expected.textbook()
    expected.model.train()
    for _, (x, y) in zip(range(3), expected.loader, strict=False):
        step(x, y)
        expected.schedule.step()  # type: ignore[union-attr]
    assert host_state(run) == host_state(expected)
    assert_close(run, expected, 1e-10)


@pytest.mark.parametrize("error", ["images", "schedule", "batch"])
def test_an_error_before_an_epoch_leaves_the_host_as_it_was(cuda: Backend, error: str) -> None:
    class Ends(StepLR):
        def step(self) -> None:
            super().step()
            if self.step_count == 3:
                raise ValueError("the schedule has ended")

    schedule = {"schedule": lambda o: Ends(o, 2)}.get(error)
    run = Run(cuda, schedule=schedule)
    step = nplenet.compile(run.model, run.loss, run.optimizer, 31 if error == "batch" else 32)
    before = host_state(run)
    deal = run.loader.deal()  # type: ignore[union-attr]
    message = {"schedule": "the schedule has ended", "batch": "takes 1 to 31 images, got 32"}.get(
        error
    )
    if error == "images":
        deal, message = deal._replace(images=deal.images[:, :, :20, :20]), "takes 27 channels"
    with pytest.raises(ValueError, match=message):
        step.begin_epoch(deal, run.schedule, 0)
    assert host_state(run) == before


def test_a_refused_batch_is_refused_again(cuda: Backend) -> None:
    step = compiled(cuda)
    for _ in range(2):
        with pytest.raises(TypeError, match="images must be on the device, got ndarray"):
            step.predict(IMAGES[:4])
        with pytest.raises(ValueError, match="takes 1 channels"):
            step.predict(cuda.xp.zeros((4, 2, 32, 32), np.float32))


def test_predictions_last(cuda: Backend) -> None:
    step, (x, _) = compiled(cuda), batch(cuda)
    first = [step.predict(x) for _ in range(3)]  # the last two by a graph
    few = step.predict(x[:7])
    seen = cuda.to_numpy(few).copy()
    again = step.predict(0.0 * x)
    np.testing.assert_array_equal(cuda.to_numpy(few), seen)
    np.testing.assert_array_equal(cuda.to_numpy(first[0]), cuda.to_numpy(first[2]))
    assert not np.allclose(cuda.to_numpy(again), cuda.to_numpy(first[0]))


# --- arrays and memory --------------------------------------------------------------------------


def test_floats_of_the_other_width_are_taken(cuda: Backend) -> None:
    step, (x, y) = compiled(cuda), batch(cuda, "float64")
    again = compiled(cuda)
    assert float(step(x, y)) == pytest.approx(float(again(x.astype("float32"), y)), abs=1e-6)
    for _ in range(2):  # the second one is a graph
        found, expected = step.predict(x), again.predict(x.astype("float32"))
        np.testing.assert_allclose(cuda.to_numpy(found), cuda.to_numpy(expected), atol=1e-5)


def test_parameters_of_others_get_their_own_gradient_only(cuda: Backend) -> None:
    ends = []
    for backend in (cuda, get_backend("numpy")):
        model, other = small().astype("float64").to(backend), Dense(2, 2).astype("float64")
        other.to(backend).load_state_dict({"weight": np.ones((2, 2)), "bias": np.ones(2)})
        optimizer = SGD([*model.parameters(), *other.parameters()], 0.05)
        step = nplenet.compile(model, CrossEntropyLoss(), optimizer, 32)
        other.weight.grad[...] = 1.0  # left from elsewhere
        step(*batch(backend, "float64"))
        ends.append(model.state_dict() | {"other": backend.to_numpy(other.weight.data)})
    assert (ends[0]["other"] == 1.0).all()
    for name, array in ends[0].items():
        np.testing.assert_allclose(array, ends[1][name], atol=1e-10)


def test_a_run_gives_its_memory_back(cuda: Backend) -> None:
    pool, used = cuda.xp.get_default_memory_pool(), []
    for _ in range(4):
        Run(cuda, dtype="float32").fit(epochs=1)
        gc.collect()
        used.append(pool.used_bytes())
    assert used[3] - used[1] < 50_000  # a graph takes ten times as much


def test_a_step_keeps_the_graphs_of_one_data_set(cuda: Backend) -> None:
    step, used = compiled(cuda), []
    pool = cuda.xp.get_default_memory_pool()
    for images in (300, 320, 300, 320):
        run = Run(cuda, images=images)
        run.model, run.loss, run.optimizer = step.model, step.loss, step.optimizer
        run.schedule = None
        run.fit(epochs=1, step=step)
        del run
        gc.collect()
        used.append(pool.used_bytes())
    assert used[3] - used[1] < 50_000


@pytest.mark.usefixtures("simulated")
def test_validation_images_are_a_few_large_batches(cuda: Backend) -> None:
    step = compiled(cuda)
    held_out = validation_images(step, IMAGES[:480], LABELS[:480])
    for _ in range(2):
        held_out.evaluate(step.predict)  # compiles, records
    with gpusim.counting() as count:
        found = held_out.evaluate(step.predict)
    assert count.launches + count.graph_launches <= 6  # of one batch
    expected = evaluate(step.model, IMAGES[:480], LABELS[:480])
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    assert found.confusion == expected.confusion


# --- compile ------------------------------------------------------------------------------------


def test_compile_plans_and_checks_at_once(cuda: Backend) -> None:
    run = Run(cuda)
    arguments = (run.model, run.loss, run.optimizer, 32)
    step = nplenet.compile(*arguments, input_shape=(1, 32, 32))
    assert "images (1, 32, 32): " in step.describe()
    with pytest.raises(ValueError, match="tunables: unknown"):
        nplenet.compile(*arguments, tunables={"nonsense": 1})
    for on_device, words in (True, "in graphs, with sums by NCCL"), (False, "launched one by one"):
        step.group = SimpleNamespace(size=2, sums_on_device=on_device)  # type: ignore[assignment]
        assert f"on several ranks the textbook layers' kernels, {words}" in step.describe()
        assert step.runs_epochs == on_device
