"""Epochs that run without the host: the same training, and nothing asked of the host meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpusim
import numpy as np
import pytest

import nplenet
from nplenet.augment import Compose, affine_augmentation, standard_augmentation
from nplenet.backend import Backend, get_backend
from nplenet.checkpoint import LATEST, CheckpointFolder, CheckpointWarning, load
from nplenet.compiled import TextbookStep
from nplenet.compiled.cuda.epoch import steps_of_a_graph
from nplenet.compiled.cuda.feed import Feed, deal, finish, rows
from nplenet.compiled.cuda.step import GraphStep
from nplenet.data import DataLoader, DeviceLoader, load_digits, pad_images
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD, Adam, AdamW, Optimizer, clip_gradients
from nplenet.schedules import CosineLR, Schedule
from nplenet.seeds import generator
from nplenet.train import History, NonFiniteLoss, fit

IMAGES, LABELS = load_digits("train")
IMAGES, LABELS = pad_images(IMAGES)[:480], LABELS[:480]

Make = Callable[[], Layer]


def small() -> Layer:
    """Return a chain of few operations with both batch norms and two dropouts."""
    rng = np.random.default_rng(3)
    return Sequential(
        MaxPool2d(4),
        Conv2d(1, 3, 3, bias=False, rng=rng),
        BatchNorm2d(3),
        ReLU(),
        AvgPool2d(2),
        Flatten(),
        Dropout(0.2, rng=generator(0, "dropout")),
        Dense(27, 12, bias=False, rng=rng),
        BatchNorm1d(12),
        ReLU(),
        Dropout(0.3, rng=generator(1, "dropout")),
        Dense(12, 10, rng=rng),
    )


@pytest.fixture(params=["fused", "captured"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run each test with the fused kernels, and with those of the textbook layers."""
    if request.param == "captured":
        name = "nplenet.compiled.cuda.step.why_not_fused"
        monkeypatch.setattr(name, lambda *arguments: "the test wants the textbook's kernels")
    return str(request.param)


class Run:
    """A training run from one seed, on a backend."""

    def __init__(
        self,
        backend: Backend,
        make: Make = small,
        *,
        dtype: str = "float64",
        batch: int = 32,
        images: int = 300,
        optimizer: Callable[[Any], Optimizer] = lambda p: AdamW(p, 0.01),
        schedule: Callable[[Optimizer], Schedule] | None = lambda o: CosineLR(o, 40),
        loss: CrossEntropyLoss | None = None,
        labels: np.ndarray = LABELS,
        augmentation: Callable[[], Compose] = standard_augmentation,
    ) -> None:
        self.model = make().astype(dtype).to(backend)
        transform = augmentation()
        transform.transforms[-1].dtype = np.dtype(dtype)  # type: ignore[attr-defined]
        host = DataLoader(
            IMAGES[:images],
            labels[:images],
            batch,
            shuffle=True,
            rng=generator(0, "shuffle"),
            transform=transform,
            transform_rng=generator(0, "augment"),
        )
        self.loader = host.to(backend)
        self.optimizer = optimizer(self.model.parameters())
        self.schedule = schedule and schedule(self.optimizer)
        self.loss = loss or CrossEntropyLoss()
        self.interrupted = False

    def fit(self, epochs: int = 2, **options: Any) -> History:
        return fit(
            self.model,
            self.loss,
            self.optimizer,
            self.loader,
            epochs=epochs,
            schedule=self.schedule,
            validation=(IMAGES[:64], LABELS[:64]),
            progress=False,
            **options,
        )

    def state(self) -> dict[str, np.ndarray]:
        moments = {k: np.array(v) for k, v in self.optimizer.state_dict().items()}
        return self.model.state_dict() | moments

    def textbook(self) -> TextbookStep:
        return TextbookStep(
            self.model, self.loss, self.optimizer, self.loader.batch_size, "to compare with"
        )


def assert_close(found: Run, expected: Run, tolerance: float) -> None:
    wanted = expected.state()
    for name, array in found.state().items():
        scale = max(1.0, float(np.abs(wanted[name]).max()))
        np.testing.assert_allclose(
            array, wanted[name], rtol=0, atol=tolerance * scale, err_msg=name
        )


def bits(run: Run) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in run.state().items()}


# --- the same training ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: AdamW(p, 0.01, weight_decay=0.1),
        lambda p: Adam(p, 0.01, weight_decay=0.01),
        lambda p: SGD(p, 0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
        lambda p: SGD(p, 0.05, momentum=0.9, dampening=0.5),
        lambda p: SGD(p, 0.05),
    ],
    ids=["AdamW", "Adam", "nesterov", "dampening", "plain"],
)
def test_epochs_in_graphs_train_what_numpy_trains(
    cuda: Backend, optimizer: Callable[[Any], Optimizer]
) -> None:
    loss = lambda: CrossEntropyLoss(label_smoothing=0.1)  # noqa: E731
    found = Run(cuda, optimizer=optimizer, loss=loss())
    expected = Run(get_backend("numpy"), optimizer=optimizer, loss=loss())
    histories = [run.fit() for run in (found, expected)]
    assert_close(found, expected, 1e-10)
    for one, other in zip(*(h.epochs for h in histories), strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-10)
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-10)
        assert (one.accuracy, one.validation_accuracy, one.lr) == (
            other.accuracy,
            other.validation_accuracy,
            other.lr,
        )


def test_epochs_of_affine_maps_train_what_numpy_trains(cuda: Backend) -> None:
    found, expected, standard = (
        Run(cuda, augmentation=affine_augmentation),
        Run(get_backend("numpy"), augmentation=affine_augmentation),
        Run(get_backend("numpy")),
    )
    for run in (found, expected, standard):
        run.fit()
    assert_close(found, expected, 1e-10)
    with pytest.raises(AssertionError):
        assert_close(standard, expected, 1e-3)


def test_steps_with_clipped_gradients_equal_numpy(cuda: Backend) -> None:
    runs = [Run(backend) for backend in (cuda, get_backend("numpy"))]
    images, labels = IMAGES[:20].astype(np.float64) / 255, LABELS[:20].astype(np.int64)
    losses, norms = [], []
    for run in runs:
        step = nplenet.compile(run.model, run.loss, run.optimizer, 20, tunables={})
        x, y = (run.model.backend.asarray(a) for a in (images, labels))
        run.model.train()
        for _ in range(20):
            losses.append(float(step.gradients(x, y)))
            norms.append(float(clip_gradients(run.model.parameters(), 0.5)))
            run.optimizer.step()
    assert losses[:20] == pytest.approx(losses[20:], abs=1e-10)
    assert norms[:20] == pytest.approx(norms[20:], abs=1e-10)
    assert max(norms) > 0.5
    assert_close(*runs, 1e-10)


def test_the_generators_and_the_schedule_end_where_numpy_leaves_them(cuda: Backend) -> None:
    found, expected = Run(cuda), Run(get_backend("numpy"))
    found.fit()
    expected.fit()
    for run in (found, expected):
        assert run.schedule is not None
        assert run.schedule.step_count == 20
    draws = [
        [rng.integers(1000) for rng in run.model.generators().values()] for run in (found, expected)
    ]
    assert draws[0] == draws[1]
    assert found.loader.state_dict() == expected.loader.state_dict()


def test_two_runs_have_the_same_bits(cuda: Backend) -> None:
    first, second = Run(cuda, dtype="float32"), Run(cuda, dtype="float32")
    first.fit()
    with gpusim.thread_order("random:7"):
        second.fit()
    assert bits(first) == bits(second)


@pytest.mark.parametrize("augmented", [(True, True, True), (False, True, False)])
def test_a_feed_deals_what_numpy_deals(cuda: Backend, augmented: tuple[bool, ...]) -> None:
    rng = np.random.default_rng(0)
    table = rows([0, 5], [1, 2], [[7, 2**64 - 1], [2**63, 8]], [[0.5], [-1.5]])
    draws = [
        rng.integers(0, 255, (8, 6)) if augmented[0] else None,
        *(rng.integers(0, 2, 8) if wanted else None for wanted in augmented[1:]),
    ]
    found: dict[str, list[Any]] = {}
    for backend in (get_backend("numpy"), cuda):
        xp = backend.xp
        images, fault = xp.zeros((8, 1, 2, 2), np.uint8), xp.zeros(3, np.int64)
        sizes = {"entries": 8, "steps": 2, "keys": 2, "numbers": 1}
        feed = Feed(backend, images, fault, **sizes, augmented=augmented)
        order, labels = np.arange(8)[::-1], np.arange(8) % 3
        feed.load(order=order, labels=labels, table=table, draws=draws, first_step=1)
        batch = backend.primitive(deal, *feed.dealt, 3)
        numbers = [feed.key(0), feed.key(1), feed.forward, feed.numbers]
        result = xp.array(2.5), xp.array(4)
        backend.primitive(finish, *result, feed.losses, feed.correct, feed.step)
        ends = [feed.step, feed.losses, feed.correct]
        arrays = [*batch, *numbers, *ends]
        found[backend.name] = [a if a is None else backend.to_numpy(a).tolist() for a in arrays]
    assert found["cupy"] == found["numpy"]
    assert found["numpy"][0] == [2, 1, 0]
    assert found["numpy"][4:10] == [[2, 0, 1], 2**63, 8, 2, [-1.5], [2]]
    assert found["numpy"][10:] == [[0.0, 2.5], [0, 4]]


# --- nothing is asked of the host -------------------------------------------------------------


@pytest.mark.usefixtures("simulated")
def test_an_epoch_is_a_graph_launch_for_each_100_steps_and_nothing_else(cuda: Backend) -> None:
    run = Run(cuda, images=456, batch=2, dtype="float32")
    step = nplenet.compile(run.model, run.loss, run.optimizer, 2)
    assert isinstance(step, GraphStep)
    assert isinstance(run.loader, DeviceLoader)
    run.model.train()
    for epoch_number in (1, 2):
        epoch = step.begin_epoch(run.loader.deal(), run.schedule, 0)
        with gpusim.counting() as count:
            while epoch.done < 228:
                epoch.advance(228)
        if epoch_number == 2:  # the first one compiles kernels and records graphs
            assert count.graph_launches == 2  # of 114 steps each
            assert count.launches == count.gemms == 0
        assert count.syncs == count.h2d == count.d2h == 0
        assert epoch_number == 1 or count.allocations == count.frees == 0
    assert np.isfinite(cuda.to_numpy(epoch.losses)).all()


@pytest.mark.usefixtures("simulated")
def test_a_step_of_lenet5_is_4_nodes_of_a_graph(cuda: Backend, path: str) -> None:
    run = Run(cuda, make=lambda: LeNet5(seed=0), images=6, batch=2, dtype="float32")
    step = nplenet.compile(run.model, run.loss, run.optimizer, 2)
    assert isinstance(run.loader, DeviceLoader)
    run.model.train()
    epoch = step.begin_epoch(run.loader.deal(), run.schedule, 0)
    epoch.advance(1)  # compiles
    with gpusim.counting() as count:
        epoch.advance(2)
    assert epoch.done == 3
    if path == "fused":
        assert count.value.captured == 2 + 2 * 4  # two for the graph: its images are bytes
    else:
        assert count.value.captured / 2 <= 70


@pytest.mark.parametrize(
    ("steps", "most", "graphs"),
    [(937, 128, [117] * 8 + [1]), (5, 128, [5]), (300, 128, [100] * 3), (7, 2, [1] * 7)],
)
def test_few_different_graphs_make_an_epoch(steps: int, most: int, graphs: list[int]) -> None:
    left, found = steps, []
    while left:
        found.append(steps_of_a_graph(steps, left, most))
        left -= found[-1]
    assert found == graphs
    assert steps_of_a_graph(937, 50, 128) == 32  # up to a step that is saved


# --- stopping and resuming --------------------------------------------------------------------


@pytest.mark.parametrize("every", [3, 4])
def test_a_run_stopped_within_an_epoch_goes_on_to_the_same_bits(
    cuda: Backend, every: int, tmp_path: Path
) -> None:
    whole = Run(cuda, dtype="float32")
    whole.fit()

    class Stops(CheckpointFolder):
        def save(self, run: Any, progress: Any) -> None:
            super().save(run, progress)
            if progress.step >= 6 and not stopped.interrupted:
                stopped.interrupted = True
                os.kill(os.getpid(), signal.SIGINT)

    stopped = Run(cuda, dtype="float32")
    stopped.fit(checkpoints=Stops(tmp_path, every_steps=every))
    checkpoint = load(tmp_path / LATEST)
    assert 6 <= checkpoint.record["optimizer"]["step"] < 10
    rest = Run(cuda, dtype="float32")
    rest.fit(resume=checkpoint)
    assert bits(rest) == bits(whole)


@pytest.mark.parametrize("there", ["numpy", "cupy"])
def test_a_run_goes_on_on_the_other_backend(cuda: Backend, there: str, tmp_path: Path) -> None:
    numpy = get_backend("numpy")
    begin, end = (numpy, cuda) if there == "cupy" else (cuda, numpy)
    whole = Run(numpy)
    whole.fit()
    Run(begin).fit(epochs=1, checkpoints=CheckpointFolder(tmp_path))
    rest = Run(end)
    with pytest.warns(CheckpointWarning, match="is from another environment .backend "):
        rest.fit(resume=load(tmp_path / LATEST))
    assert_close(rest, whole, 1e-10)


# --- what goes wrong --------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_its_step(cuda: Backend) -> None:
    run = Run(cuda, optimizer=lambda p: SGD(p, 1e30), dtype="float32", schedule=None)
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, step [2-4] \(detected at step \d+"):
        run.fit()


def test_a_label_out_of_range_is_named_with_its_step(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a model whose shapes are not known; else ``fit`` names it before."""
    monkeypatch.setattr("nplenet.train.preflight.shapes_of", lambda *_: [])
    monkeypatch.setattr("nplenet.train.evaluation.shapes_of", lambda *_: [])
    labels = LABELS.copy()
    labels[:] = 3
    order = np.arange(300)
    generator(0, "shuffle").shuffle(order)
    labels[order[32 + 5]] = 11
    run = Run(cuda, labels=labels)
    with pytest.raises(ValueError, match="label 11 of sample 5 in step 2 of the epoch"):
        run.fit()


def test_a_batch_norm_over_one_value_is_refused_as_by_its_layer(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a model whose shapes are not known; else ``fit`` names it before."""
    monkeypatch.setattr("nplenet.train.preflight.shapes_of", lambda *_: [])
    make = lambda: Sequential(Flatten(), features=Sequential(Dense(1024, 10), BatchNorm1d(10)))  # noqa: E731
    run = Run(cuda, make=make, images=33)
    with pytest.raises(
        ValueError, match=r"^features\.1 \(BatchNorm1d\(10.*: needs more than one value"
    ):
        run.fit()


def test_a_moved_model_is_refused(cuda: Backend) -> None:
    run = Run(cuda)
    step = nplenet.compile(run.model, run.loss, run.optimizer, 32)
    run.model.astype("float32")
    with pytest.raises(ValueError, match="has other arrays than those it was compiled for"):
        run.fit(step=step)


def test_a_loss_without_reduction_runs_on_the_textbook_layers(cuda: Backend) -> None:
    run = Run(cuda, images=6, batch=2, loss=CrossEntropyLoss("none"))
    step = nplenet.compile(run.model, run.loss, run.optimizer, 2)
    assert "reduction='none'" in step.describe()
    images, labels = cuda.asarray(IMAGES[:2] / 255), cuda.asarray(LABELS[:2])
    assert step(images, labels).shape == (2,)


# --- threads ----------------------------------------------------------------------------------


def test_predictions_are_right_from_any_thread_and_a_second_trainer_is_refused(
    cuda: Backend,
) -> None:
    run = Run(cuda, images=6, batch=2, dtype="float32")
    step = nplenet.compile(run.model, run.loss, run.optimizer, 2)
    assert isinstance(run.loader, DeviceLoader)
    dealt = run.loader.deal()
    epoch = step.begin_epoch(dealt, run.schedule, 0)
    count = run.optimizer.step_count
    images, labels = cuda.asarray(IMAGES[:5] / np.float32(255)), cuda.asarray(LABELS[:2])
    batches = [images[:2], images[2:4], images[4:5]]
    expected = [cuda.to_numpy(step.predict(x)) for x in batches]
    wrong, errors = [], []

    def ask(i: int) -> None:
        for _ in range(5):
            if not np.array_equal(cuda.to_numpy(step.predict(batches[i])), expected[i]):
                wrong.append(i)

    def train(work: Callable[[], Any]) -> None:
        try:
            work()
        except RuntimeError as error:
            errors.append(str(error))

    trainings: list[Callable[[], Any]] = [
        lambda: step(batches[0], labels),
        lambda: step.begin_epoch(dealt, run.schedule, 0),
        lambda: epoch.advance(1),
        epoch.settle,
    ]
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(3)]
    threads += [threading.Thread(target=train, args=(work,)) for work in trainings]
    with run.optimizer.turns.training():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(errors) == 4
    assert all("another thread is training this model" in error for error in errors)
    assert (epoch.done, run.optimizer.step_count) == (0, count)


def test_an_epoch_that_another_one_has_overwritten_is_refused(cuda: Backend) -> None:
    run = Run(cuda, images=6, batch=2, dtype="float32")
    step = nplenet.compile(run.model, run.loss, run.optimizer, 2)
    assert isinstance(run.loader, DeviceLoader)
    first = step.begin_epoch(run.loader.deal(), run.schedule, 0)
    first.advance(1)
    first.settle()
    second = step.begin_epoch(run.loader.deal(), run.schedule, 0)
    with pytest.raises(RuntimeError, match="another epoch of this step has begun"):
        first.advance(1)
    second.advance(1)
    assert second.done == 1


def test_a_model_alone_is_compiled_for_inference(cuda: Backend) -> None:
    model = small().to(cuda)
    images = cuda.asarray(IMAGES[:9] / np.float32(255))
    step = nplenet.compile(model)
    assert isinstance(step, GraphStep)
    for _ in range(3):  # the captured path records in the second
        found = cuda.to_numpy(step.predict(images))
        np.testing.assert_allclose(found, cuda.to_numpy(model.eval()(images)), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="it only predicts"):
        step(images, cuda.asarray(LABELS[:9]))
    with pytest.raises(ValueError, match="it only predicts"):
        step.begin_epoch(None, None, 0)
