"""Training on the device: NumPy's losses, no waiting, few launches, and errors that say what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpusim
import numpy as np
import pytest

from nplenet.augment import ToFloat, standard_augmentation
from nplenet.backend import Array, Backend, get_backend
from nplenet.compiled import TextbookStep
from nplenet.data import DataLoader, DeviceLoader, load_digits, pad_images
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD, AdamW, Optimizer
from nplenet.seeds import generator
from nplenet.train import NonFiniteLoss, evaluate, fit

ROOT = Path(__file__).parents[2]
IMAGES, LABELS = load_digits("train")
IMAGES, LABELS = pad_images(IMAGES)[:640], LABELS[:640]
LAUNCHES = 57  # kernels and matrix products in a step of LeNet-5, augmentation and metrics too


class Recorder(CrossEntropyLoss):
    """Keeps the loss of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Array] = []

    def forward(self, logits: Array, targets: Array) -> Array:
        self.values.append(super().forward(logits, targets))
        return self.values[-1]


class Watched:
    """A loader that calls ``before_step`` when a batch has been made."""

    def __init__(self, loader: DataLoader | DeviceLoader, before_step: Any) -> None:
        self.loader, self.before_step = loader, before_step

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        for batch in self.loader:
            self.before_step()
            yield batch


def loader_for(backend: Backend, count: int = 640) -> DataLoader | DeviceLoader:
    return DataLoader(
        IMAGES[:count],
        LABELS[:count],
        32,
        shuffle=True,
        rng=generator(0, "shuffle"),
        transform=standard_augmentation(),
        transform_rng=generator(0, "augment"),
    ).to(backend)


def run(
    backend: Backend,
    kind: type[Optimizer] = AdamW,
    loss: CrossEntropyLoss | None = None,
    loader: Any = None,
    epochs: int = 1,
    textbook: bool = False,
    **options: Any,
) -> tuple[LeNet5, Optimizer]:
    """Train LeNet-5 on augmented digits, from one seed."""
    model = LeNet5(seed=0).to(backend)
    optimizer = kind(model.parameters(), 1e-3)
    loss, loader = loss or CrossEntropyLoss(), loader or loader_for(backend)
    if textbook:
        options["step"] = TextbookStep(model, loss, optimizer, 32, "the test wants it")
    fit(model, loss, optimizer, loader, epochs=epochs, progress=False, **options)
    return model, optimizer


# --- the same run -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_20_steps_give_the_losses_of_numpy(cuda: Backend, kind: type[Optimizer]) -> None:
    losses = {}
    for backend in (get_backend("numpy"), cuda):
        loss = Recorder()
        run(backend, kind, loss)
        losses[backend.name] = np.array([float(value) for value in loss.values])
    assert losses["cupy"].shape == (20,)
    assert np.isfinite(losses["cupy"]).all()
    # float32 sums in another order, 20 updates long
    np.testing.assert_allclose(losses["cupy"], losses["numpy"], rtol=0, atol=1e-5)


def test_evaluation_counts_what_numpy_counts(cuda: Backend) -> None:
    model, _ = run(cuda, loader=loader_for(cuda, 320))
    on_device = evaluate(model, IMAGES, LABELS, batch_size=100)
    on_host = evaluate(model.to("numpy"), IMAGES, LABELS, batch_size=100)
    assert on_device.confusion == on_host.confusion
    assert on_device.accuracy == on_host.accuracy
    assert on_device.loss == pytest.approx(on_host.loss, abs=1e-5)  # float32


@pytest.mark.parametrize("there", ["numpy", "cupy"])
def test_a_run_goes_on_where_another_backend_left_it(cuda: Backend, there: str) -> None:
    begin, end = (get_backend("numpy"), cuda) if there == "cupy" else (cuda, get_backend("numpy"))
    model, optimizer = run(begin, loader=loader_for(begin, 96))
    saved = model.state_dict(), optimizer.state_dict()
    assert all(type(value) is np.ndarray for value in saved[0].values())

    rest = []
    for backend in (begin, end):
        copy = LeNet5(seed=1).to(backend)
        copy.load_state_dict(saved[0])
        goes_on = AdamW(copy.parameters())
        goes_on.load_state_dict(saved[1])
        loss = Recorder()
        fit(copy, loss, goes_on, loader_for(backend, 96), epochs=1, progress=False)
        rest.append([float(value) for value in loss.values])
    np.testing.assert_allclose(rest[0], rest[1], rtol=0, atol=1e-5)  # float32, 3 updates


def test_a_model_comes_back_from_the_device_as_it_went(cuda: Backend) -> None:
    model = LeNet5(seed=0)
    before = model.state_dict()
    after = model.to("cupy").to("numpy").state_dict()
    assert all(type(value) is np.ndarray for value in after.values())
    assert all(before[k].tobytes() == after[k].tobytes() for k in before)


def test_a_transform_without_a_kernel_runs_on_the_host(cuda: Backend) -> None:
    def half(images: Array, rng: object) -> Array:
        return (images / 255).astype(np.float32) / 2

    loader, loss = DataLoader(IMAGES[:64], LABELS[:64], 32, transform=half), Recorder()
    run(cuda, loss=loss, loader=loader.to(cuda))
    expected = Recorder()
    run(get_backend("numpy"), loss=expected, loader=loader)
    found, wanted = ([float(v) for v in recorder.values] for recorder in (loss, expected))
    assert found == pytest.approx(wanted, abs=1e-5)  # float32


# --- what it costs ----------------------------------------------------------------------------


@pytest.fixture
def counting(no_reading: None) -> None:
    if not gpusim.installed():
        pytest.skip("a real device does not count its launches")


@pytest.mark.usefixtures("counting")
def test_a_textbook_step_takes_57_launches_and_waits_for_nothing(
    cuda: Backend,
) -> None:
    readings: list[Any] = []
    loader = Watched(loader_for(cuda, 160), lambda: readings.append(gpusim.counters()))
    run(cuda, loader=loader, epochs=2, textbook=True)
    first, *_, last = readings[5:]  # of the second epoch: in the first one memory is still fetched
    steps = {name: (last[name] - first[name]) / 4 for name in last.nonzero()}
    assert steps["launches"] + steps["gemms"] == LAUNCHES, steps
    assert not {name: steps[name] for name in ("syncs", "allocations", "h2d") if steps.get(name)}


@pytest.mark.usefixtures("counting")
def test_evaluation_waits_as_often_for_many_batches_as_for_few(cuda: Backend) -> None:
    model = LeNet5(seed=0).to(cuda)
    evaluate(model, IMAGES[:64], LABELS[:64], batch_size=8)  # compiles the kernels
    counts = []
    for batch_size in (32, 8):
        with gpusim.counting() as count:
            evaluate(model, IMAGES[:64], LABELS[:64], batch_size=batch_size)
        counts.append((count.value.syncs, count.value.d2h, count.value.h2d))
    assert counts[0] == counts[1]


# --- what goes wrong --------------------------------------------------------------------------


def test_host_images_are_refused_by_a_model_on_the_device(cuda: Backend) -> None:
    model, x = LeNet5(seed=0), IMAGES[:2].astype(np.float32)
    with pytest.raises(TypeError, match=r"computes on the numpy backend but got cupy float32"):
        model(cuda.asarray(x))
    with pytest.raises(TypeError, match=r"computes on the cupy backend but got numpy float32"):
        model.to(cuda)(x)


def test_host_labels_are_refused_for_logits_on_the_device(cuda: Backend) -> None:
    logits = cuda.asarray(np.zeros((2, 10), np.float32))
    with pytest.raises(TypeError, match="logits are on the cupy backend, targets are ndarray"):
        CrossEntropyLoss()(logits, np.zeros(2, np.int64))


def test_bytes_are_refused_by_a_model_on_the_device(cuda: Backend) -> None:
    with pytest.raises(TypeError, match=r"takes float32 or float64, got cupy uint8 .*ToFloat"):
        LeNet5(seed=0).to(cuda)(cuda.asarray(IMAGES[:2]))


def wrong_label() -> DataLoader:
    labels = LABELS[:64].copy()
    labels[37] = 12
    return DataLoader(IMAGES[:64], labels, 16, transform=ToFloat())


@pytest.mark.usefixtures("no_reading")
def test_a_label_out_of_range_is_named_after_training(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a model whose shapes are not known; else ``fit`` names it before."""
    monkeypatch.setattr("nplenet.train.evaluation.shapes_of", lambda *_: [])
    expected = r"label 12 of sample 5 in step 3 of the epoch lies outside 0\.\.9"
    with pytest.raises(ValueError, match=expected):
        run(cuda, loader=wrong_label().to(cuda))


def test_a_label_out_of_range_is_named_after_evaluation(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a model whose shapes are not known; else ``evaluate`` names it before."""
    monkeypatch.setattr("nplenet.train.evaluation.shapes_of", lambda *_: [])
    loader = wrong_label()
    expected = r"label 12 of sample 5 in batch 3 of the 4 .* lies outside 0\.\.9"
    with pytest.raises(ValueError, match=expected):
        evaluate(LeNet5(seed=0).to(cuda), loader.images, loader.labels, batch_size=16)


@pytest.mark.usefixtures("no_reading")
def test_a_loss_found_not_finite_later_names_its_step_and_when_that_was(cuda: Backend) -> None:
    model = LeNet5(seed=0).to(cuda)
    steps: list[int] = []

    def poison() -> None:
        steps.append(len(steps) + 1)
        if steps[-1] == 3:
            model.features[4].weight.data[0, 0] = np.nan

    loader, optimizer = Watched(loader_for(cuda, 160), poison), SGD(model.parameters())
    message = r"nan in epoch 1, step 3 \(detected at step 5; .*\): .* layer features\.0 \(Conv2d"
    with pytest.raises(NonFiniteLoss, match=message):
        fit(model, CrossEntropyLoss(), optimizer, loader, epochs=1, progress=False)


@pytest.fixture
def full_device(cuda: Backend) -> Iterator[Any]:
    """A function after which new arrays find only the bytes given, whatever the pool has cached."""
    memory = cuda.xp.cuda
    allocator = memory.get_allocator()

    def fill(free_bytes: int) -> None:
        pool = memory.MemoryPool()
        pool.set_limit(size=free_bytes)
        memory.set_allocator(pool.malloc)

    yield fill
    memory.set_allocator(allocator)


def test_training_without_enough_memory_names_the_batch_size(
    cuda: Backend, full_device: Any
) -> None:
    model, loader = LeNet5(seed=0).to(cuda), loader_for(cuda)
    optimizer = AdamW(model.parameters())
    full_device(100_000)
    expected = r"batches of 32 images in epoch 1 \(Out of memory .*a smaller batch size"
    with pytest.raises(MemoryError, match=expected):
        fit(model, CrossEntropyLoss(), optimizer, loader, epochs=1, progress=False)


def test_evaluation_without_enough_memory_names_the_batch_size(
    cuda: Backend, full_device: Any
) -> None:
    model = LeNet5(seed=0).to(cuda)
    full_device(900_000)
    with pytest.raises(MemoryError, match=r"batches of 300 images in evaluation \(Out of memory"):
        evaluate(model, IMAGES, LABELS, batch_size=300)


def test_a_data_set_without_enough_memory_is_named(cuda: Backend, full_device: Any) -> None:
    full_device(100_000)
    with pytest.raises(MemoryError, match=r"640 images of 1 MB do not fit .*Out of memory"):
        loader_for(cuda)


# --- the example ------------------------------------------------------------------------------


def test_the_example_trains_on_the_device(cuda: Backend) -> None:
    install = "import gpusim; gpusim.install()" if gpusim.installed() else "pass"
    options = ["--backend", "cupy", "--limit", "256", "--epochs", "1", "--dataset", "digits"]
    code = f"import runpy, sys; {install}; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = ROOT / "examples" / "train_mnist.py"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = sys.argv[1:]; {code}", script, *options],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "epoch   1  loss 2." in done.stdout
    assert "test accuracy" in done.stdout
