"""The training loop and the example: they learn, repeat, stop cleanly and say what broke."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nplenet.augment import ToFloat, standard_augmentation
from nplenet.backend import Array, Backend, NumpyBackend, get_backend
from nplenet.checkpoint import CheckpointFolder, Epoch, Progress, load
from nplenet.compiled import Step, TextbookStep, compile
from nplenet.data import DataLoader, load_digits, load_mnist, pad_images
from nplenet.layers import Conv2d, Dense, Flatten, Layer, ReLU, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD, AdamW
from nplenet.schedules import OneCycleLR
from nplenet.seeds import generator
from nplenet.train import History, NonFiniteLoss, confusion_table, evaluate, fit

ROOT = Path(__file__).parents[1]
Images = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def digits() -> tuple[Images, Images]:
    images, labels = load_digits("train")
    return pad_images(images)[:256], labels[:256]


def train(
    digits: tuple[Images, Images], backend: Backend, seed: int = 0, epochs: int = 2
) -> tuple[LeNet5, History]:
    model = LeNet5(seed=seed).to(backend)
    loader = DataLoader(
        *digits,
        32,
        shuffle=True,
        rng=generator(seed, "shuffle"),
        transform=standard_augmentation(),
        transform_rng=generator(seed, "augment"),
    ).to(backend)
    optimizer = AdamW(model.parameters(), 4e-3)
    schedule = OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * len(loader))
    history = fit(
        model,
        CrossEntropyLoss(),
        optimizer,
        loader,
        epochs=epochs,
        schedule=schedule,
        validation=digits,
        progress=False,
    )
    return model, history


def test_training_lowers_the_loss(digits: tuple[Images, Images], backend: Backend) -> None:
    _, history = train((digits[0][:128], digits[1][:128]), backend, epochs=6)
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3, 4, 5, 6]
    assert history.epochs[-1].loss < 0.8 * history.epochs[0].loss


def test_one_seed_gives_the_same_weights_bit_for_bit(
    digits: tuple[Images, Images], backend: Backend
) -> None:
    few = digits[0][:100], digits[1][:100]  # the last batch is not full
    first, second = (train(few, backend)[0].state_dict() for _ in range(2))
    assert all(first[k].tobytes() == second[k].tobytes() for k in first)


def test_another_seed_gives_other_weights(digits: tuple[Images, Images], backend: Backend) -> None:
    few = digits[0][:32], digits[1][:32]
    first, second = (train(few, backend, seed)[0].state_dict() for seed in (0, 1))
    assert not np.array_equal(first["features.0.weight"], second["features.0.weight"])


def test_figures_do_not_depend_on_how_often_they_are_read(
    digits: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = [train(digits, get_backend("numpy"))[1]]
    monkeypatch.setattr(NumpyBackend, "reading_interval", 1e9)  # at the end of each epoch only
    histories.append(train(digits, get_backend("numpy"))[1])
    often, once = ([(e.loss, e.accuracy) for e in history.epochs] for history in histories)
    assert often == [pytest.approx(figures, rel=1e-12) for figures in once]  # sums in float64


def test_evaluation_leaves_the_model_as_it_was(
    digits: tuple[Images, Images], backend: Backend
) -> None:
    model = LeNet5(seed=0).to(backend)
    before = model.state_dict()
    evaluate(model, *digits)
    assert model.training
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())


def parts(seed: int = 0) -> tuple[LeNet5, CrossEntropyLoss, AdamW]:
    model = LeNet5(seed=seed)
    return model, CrossEntropyLoss(), AdamW(model.parameters())


def test_fit_trains_with_the_step_it_is_given(digits: tuple[Images, Images]) -> None:
    model, loss, optimizer = parts()
    calls = []

    class Counted(TextbookStep):
        def gradients(self, x: Array, y: Array) -> Any:
            calls.append(len(x))
            return super().gradients(x, y)

    step = Counted(model, loss, optimizer, 100, "for the test")
    loader = DataLoader(*digits, 100, transform=ToFloat())
    history = fit(model, loss, optimizer, loader, epochs=1, step=step, progress=False)
    assert calls == [100, 100, 56]
    assert history.tunables == {}


def test_what_is_not_a_step_is_refused(digits: tuple[Images, Images]) -> None:
    loader = DataLoader(*digits, 100)
    with pytest.raises(TypeError, match=r"fit: step must be a Step, .* got <class '.*Textbook"):
        fit(*parts(), loader, epochs=1, step=TextbookStep)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:fit. the argument eager is deprecated")
def test_a_step_beside_the_old_arguments_is_refused(digits: tuple[Images, Images]) -> None:
    own = parts()
    step = TextbookStep(*own, 100, "for the test")
    with pytest.raises(ValueError, match="fit: step excludes the deprecated eager"):
        fit(*own, DataLoader(*digits, 100), epochs=1, step=step, eager=True)


@pytest.mark.filterwarnings("ignore:fit. the argument arguments is deprecated")
def test_the_old_arguments_none_leaves_those_of_the_folder(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    own, folder = parts(), CheckpointFolder(tmp_path, arguments={"mood": "good"})
    step = TextbookStep(*own, 256, "for the test")
    loader = DataLoader(*digits, 256, transform=ToFloat())
    fit(*own, loader, epochs=1, step=step, checkpoints=folder, arguments=None, progress=False)
    assert load(folder.latest).record["arguments"] == {"mood": "good"}


def test_a_step_of_other_parts_is_refused(digits: tuple[Images, Images]) -> None:
    step = TextbookStep(*parts(), 100, "for the test")
    with pytest.raises(ValueError, match="fit: step is for another model"):
        fit(*parts(), DataLoader(*digits, 100), epochs=1, step=step, progress=False)


def test_an_unknown_argument_of_fit_is_refused(digits: tuple[Images, Images]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        fit(*parts(), DataLoader(*digits, 100), epochs=1, epoch=1)


@pytest.mark.parametrize("eager", [False, True])
def test_the_old_arguments_of_fit_still_work_and_warn(
    digits: tuple[Images, Images], tmp_path: Path, eager: bool
) -> None:
    model, loss, optimizer = parts()
    twin, twin_loss, twin_optimizer = parts()
    loader = DataLoader(*digits, 100, transform=ToFloat())
    lanes = {"lanes": 16}
    old = {"eager": True} if eager else {"tunables": lanes}
    folder = CheckpointFolder(tmp_path)
    with pytest.warns(DeprecationWarning, match="^fit: the argument ") as warned:
        history = fit(
            model,
            loss,
            optimizer,
            loader,
            epochs=1,
            checkpoints=folder,
            arguments={"mood": "good"},
            progress=False,
            **old,
        )
    assert sorted(str(w.message).split()[3] for w in warned) == sorted([*old, "arguments"])
    assert {w.filename for w in warned} == {__file__}
    assert load(folder.latest).record["arguments"] == {"mood": "good"}
    if eager:
        step: Step = TextbookStep(twin, twin_loss, twin_optimizer, 100, "for the test")
    else:
        step = compile(twin, twin_loss, twin_optimizer, 100, tunables=lanes)
    fit(twin, twin_loss, twin_optimizer, loader, epochs=1, step=step, progress=False)
    assert history.tunables == step.tunables
    first, second = model.state_dict(), twin.state_dict()
    assert [k for k in first if first[k].tobytes() != second[k].tobytes()] == []


def test_hits_of_a_progress_still_works_and_warns() -> None:
    progress = Progress(losses=np.zeros(2), correct=np.array([3, 4]))
    with pytest.warns(DeprecationWarning, match=r"use Progress\.correct"):
        assert progress.hits is progress.correct


class Bright(Layer):
    """Answers class 1 for an image brighter than half on average, else class 0."""

    def forward(self, x: Array) -> Array:
        bright = x.mean(axis=(1, 2, 3)) > 0.5
        return self.backend.xp.stack([~bright, bright], axis=1).astype(x.dtype)


def test_evaluation_counts_labels_by_answers(backend: Backend) -> None:
    images = np.zeros((5, 1, 4, 4), np.uint8)
    images[3:] = 255
    labels = np.array([0, 0, 1, 1, 0])
    result = evaluate(Bright().to(backend), images, labels, classes=2, batch_size=2)
    assert result.confusion == [[2, 1], [1, 1]]
    assert result.accuracy == pytest.approx(0.6)
    expected = (3 * np.log1p(np.exp(-1)) + 2 * np.log1p(np.exp(1))) / 5
    assert result.loss == pytest.approx(expected, rel=1e-6)  # float32 logits


def test_the_confusion_table_shows_recall_of_each_label() -> None:
    table = confusion_table([[3, 1], [0, 0]]).splitlines()
    assert table[1].split() == ["0", "3", "1", "75.00%"]
    assert table[2].split() == ["1", ".", ".", "-"]


def test_the_confusion_table_of_many_classes_has_columns_apart_and_names_of_classes() -> None:
    table = confusion_table(np.eye(12, dtype=int).tolist(), ["", "trouser", *"cdefghijkl"])
    head, *rows = table.splitlines()
    assert head.split() == ["label", *map(str, range(12)), "recall"]
    assert rows[1].split() == ["1", "trouser", ".", "1", *["."] * 10, "100.00%"]
    assert {row.index("100.00%") + 7 for row in rows} == {len(head)}
    assert head.index(" 11") + 3 == rows[11].index(" 1 ") + 2


def test_a_loss_without_reduction_is_refused(digits: tuple[Images, Images]) -> None:
    model = Sequential(Flatten(), Dense(1024, 10))
    loader = DataLoader(*digits, 64, transform=ToFloat())
    loss, optimizer = CrossEntropyLoss("none"), AdamW(model.parameters())
    with pytest.raises(ValueError, match="needs reduction='mean' or 'sum'"):
        fit(model, loss, optimizer, loader, epochs=1, progress=False)


@pytest.mark.parametrize("eager", [False, True])
def test_the_loss_of_an_epoch_is_a_mean_over_images_whatever_the_reduction(
    digits: tuple[Images, Images], eager: bool
) -> None:
    """So it compares with the validation loss; the last batch is smaller."""
    images, labels = digits[0][:50], digits[1][:50]
    for reduction in ("mean", "sum"):
        model = Sequential(Flatten(), Dense(1024, 10, rng=0))
        loss, optimizer = CrossEntropyLoss(reduction), SGD(model.parameters(), 0.0)
        step: Step = compile(model, loss, optimizer, 16, tunables={})
        if eager:
            step = TextbookStep(model, loss, optimizer, 16, "")
        loader = DataLoader(images, labels, 16, transform=ToFloat())
        options: dict[str, Any] = {"step": step, "validation": (images, labels), "epochs": 1}
        epoch = fit(model, loss, optimizer, loader, **options, progress=False).epochs[0]
        assert epoch.loss == pytest.approx(epoch.validation_loss, rel=1e-5)  # float32


def fit_small(model: Sequential, digits: tuple[Images, Images]) -> History:
    loader = DataLoader(*digits, 64, transform=ToFloat()).to(model.backend)
    optimizer = AdamW(model.parameters(), 1e-3)
    return fit(model, CrossEntropyLoss(), optimizer, loader, epochs=2, progress=False)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_loss_that_is_not_finite_names_epoch_step_and_layer(
    digits: tuple[Images, Images], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(backend), "reading_interval", 0.0)
    model = Sequential(Flatten(), Dense(1024, 8), ReLU(), Dense(8, 10)).to(backend)
    model[3].weight.data[0, 0] = np.nan
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, step 1: .* layer 3 \(Dense\(8, 10"):
        fit_small(model, digits)
    assert model.input_gradient


def test_training_spares_the_input_gradient_and_asks_for_it_again_afterwards(
    digits: tuple[Images, Images], backend: Backend
) -> None:
    gradients = []

    class Spy(Conv2d):
        def backward(self, dy: Array) -> Array:
            gradients.append(super().backward(dy))

    model = Sequential(Sequential(Spy(1, 2, 32)), Flatten(), Dense(2, 10)).to(backend)
    fit_small(model, digits)
    assert gradients
    assert all(dx is None for dx in gradients)
    assert model[0][0].input_gradient


class Greedy(Flatten):
    """Asks for more memory than there is."""

    def forward(self, x: Array) -> Array:
        if len(x) > 1:
            raise MemoryError("Unable to allocate 7 EiB")
        return super().forward(x)


def test_used_up_memory_is_named_with_the_batch_size(
    digits: tuple[Images, Images], backend: Backend
) -> None:
    model = Sequential(Greedy(), Dense(1024, 10)).to(backend)
    with pytest.raises(MemoryError, match=r"batches of 64 images in epoch 1 \(Unable to .* 7 EiB"):
        fit_small(model, digits)
    with pytest.raises(MemoryError, match="batches of 256 images in evaluation"):
        evaluate(model, *digits)
    assert model.training


# MNIST is nowhere in these runs, so that they do the same on every machine.
def nowhere() -> dict[str, str]:
    environment = {**os.environ, "XDG_CACHE_HOME": "/nowhere"}
    environment.pop("NPLENET_DATA", None)
    return environment


def example(
    *options: object, timeout: float = 240, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "examples" / "train_mnist.py", *options]
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=nowhere() | environment,
        timeout=timeout,
    )


def test_the_example_writes_what_it_prints(tmp_path: Path) -> None:
    done = example(
        "--dataset", "digits", "--limit", 200, "--epochs", 2, "--output", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(record["epochs"]) == 2
    assert record["epochs"][0].keys() == Epoch.__annotations__.keys()
    assert sum(map(sum, record["test"]["confusion"])) == 200
    assert f"test accuracy {record['test']['accuracy']:.2%}" in done.stdout
    assert f"on inverted images {record['inverted_test']['accuracy']:.2%}" in done.stdout
    assert "features.0 Conv2d" in done.stdout


def test_the_example_trains_on_bundled_digits_when_mnist_is_not_to_be_had(tmp_path: Path) -> None:
    options = ("--no-download", "--limit", 64, "--epochs", 1, "--quiet", "--tunables", "{}")
    done = example(*options, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("MNIST is not available; using the bundled digits instead: ")
    assert str(tmp_path) in done.stderr
    assert len(done.stdout.splitlines()) == 1  # --quiet: the result only


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--dataset", "mnist", "--no-download", "--data-dir", "/nowhere"], "/nowhere"),
        (["--dropout", "2"], "--dropout must be a number from 0 to 1, got 2"),
        (["--lr", "-1"], "lr"),
    ],
)
def test_the_example_refuses_bad_options_in_one_line(options: list[str], word: str) -> None:
    done = example("--dataset", "digits", *options)  # the last --dataset counts
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_the_example_trains_on_so_few_images_that_none_is_held_out() -> None:
    done = example("--dataset", "digits", "--limit", 8, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    assert "8 training, 0 validation" in done.stdout
    assert "validation loss" not in done.stdout


def test_an_output_folder_that_can_t_be_made_stops_the_run_before_it_trains(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = example("--dataset", "digits", "--epochs", 1000, "--output", tmp_path / "file" / "run")
    assert done.returncode == 2
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch" not in done.stdout


def test_the_example_without_a_gpu_says_what_to_install() -> None:
    done = example("--backend", "cupy", "--dataset", "digits", "--limit", 64, "--epochs", 1)
    if done.returncode == 0:
        pytest.skip("a GPU is usable here")
    assert "cupy" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.usefixtures("no_report")
def test_ctrl_c_ends_with_what_was_reached(tmp_path: Path) -> None:
    command = [sys.executable, "-u", str(ROOT / "examples" / "train_mnist.py")]
    command += ["--dataset", "digits", "--limit", "1000", "--epochs", "1000"]
    command += ["--output", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=nowhere()) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch   2"):
                break
        time.sleep(0.05)  # somewhere inside the third epoch
        process.send_signal(signal.SIGINT)
        output = process.stdout.read()
        assert process.wait(60) == 130
    assert "interrupted by SIGINT after" in output
    assert "test accuracy" in output
    record = json.loads((tmp_path / "history.json").read_text())
    assert record["interrupted"] == "SIGINT"
    assert len(record["epochs"]) >= 2


def test_the_bundled_digits_train_to_97_percent() -> None:
    done = example("--dataset", "digits", "--quiet", "--tunables", "{}")  # else 4 s of search
    assert done.returncode == 0, done.stderr
    accuracy = float(done.stdout.split("test accuracy ")[1].split("%")[0])
    assert accuracy >= 97.0


def test_a_short_run_on_mnist_learns() -> None:
    folder = os.environ.get("NPLENET_DATA")
    if not folder:
        pytest.skip("NPLENET_DATA does not name a folder with MNIST")
    images, labels = load_mnist(folder, "train", download=False)
    model, _ = train((pad_images(images[:4000]), labels[:4000]), get_backend("numpy"), epochs=4)
    test_images, test_labels = load_mnist(folder, "test", download=False)
    result = evaluate(model, pad_images(test_images[:2000]), test_labels[:2000])
    assert result.accuracy > 0.9
