"""Checkpoints: a run stopped anywhere goes on bit for bit, and no damage goes unnoticed."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy

from nplenet.architecture import build
from nplenet.augment import ToFloat, standard_augmentation
from nplenet.backend import Backend, get_backend
from nplenet.checkpoint import (
    BEST,
    LATEST,
    Checkpoint,
    CheckpointError,
    CheckpointFolder,
    CheckpointWarning,
    Epoch,
    file,
    load,
    load_model,
    save_model,
)
from nplenet.checkpoint.file import backup
from nplenet.checkpoint.run import Run
from nplenet.data import DataLoader, load_digits, pad_images
from nplenet.files import atomic_write
from nplenet.layers import (
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GroupNorm,
    Layer,
    LeakyReLU,
    ReLU,
    Residual,
    Sequential,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.machine import blas
from nplenet.models import LeNet5, LeNet5For28x28
from nplenet.optim import SGD, AdamW
from nplenet.schedules import OneCycleLR
from nplenet.seeds import generator, generator_state, restore_generator
from nplenet.train import History, fit

Images = npt.NDArray[np.uint8]
EPOCHS, BATCH, COUNT = 3, 16, 90  # the last batch is not full; 6 steps an epoch


@pytest.fixture(scope="module")
def digits() -> tuple[Images, Images]:
    images, labels = load_digits("train")
    return pad_images(images)[:COUNT], labels[:COUNT]


class Stop(Exception):
    """Ends a training in the middle, as a crash would."""


class Trainer:
    """A small run, made anew each time, with everything random in it."""

    def __init__(
        self, digits: tuple[Images, Images], backend: Backend, prefetch: int = 0, seed: int = 0
    ) -> None:
        self.digits, self.steps = digits, 0
        self.model = LeNet5(seed=seed).to(backend)
        self.loader = DataLoader(
            *digits,
            BATCH,
            shuffle=True,
            rng=generator(seed, "shuffle"),
            transform=standard_augmentation(),
            transform_rng=generator(seed, "augment"),
            prefetch=prefetch,
        ).to(backend)
        self.optimizer = AdamW(self.model.parameters(), 4e-3)
        self.schedule = OneCycleLR(
            self.optimizer, max_lr=4e-3, total_steps=EPOCHS * len(self.loader)
        )

    def fit(self, stop_at: int | None = None, **options: Any) -> History:
        """Train; at the end of step ``stop_at``, counted from the start, raise ``Stop``.

        On a device, where the schedule runs ahead of the steps, when this step is to be saved.
        """
        with pytest.MonkeyPatch.context() as patch:
            step, contents = OneCycleLR.step, Run.contents

            def stopping(schedule: OneCycleLR) -> None:
                step(schedule)
                if schedule.step_count == stop_at:
                    raise Stop

            def failing(run: Run, *arguments: Any) -> Any:
                if run.optimizer.step_count == stop_at:
                    raise Stop
                return contents(run, *arguments)

            if self.model.backend.name == "numpy":
                patch.setattr(OneCycleLR, "step", stopping)
            else:
                patch.setattr(Run, "contents", failing)
            wanted = {"epochs": EPOCHS, "schedule": self.schedule, "validation": self.digits}
            loss = CrossEntropyLoss()
            arguments = wanted | options
            return fit(self.model, loss, self.optimizer, self.loader, progress=False, **arguments)


def figures(epochs: list[Epoch]) -> list[tuple[Any, ...]]:
    """Return what of each epoch does not depend on the clock."""
    return [
        (e.epoch, e.lr, e.loss, e.accuracy, e.validation_loss, e.validation_accuracy)
        for e in epochs
    ]


def assert_same_weights(a: Layer, b: Layer) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    assert [k for k in first if first[k].tobytes() != second[k].tobytes()] == []


# ------------------------------------------------------------------ going on


@pytest.mark.parametrize("stop_at", [1, 4, 6, 7, 17])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_run_that_was_stopped_anywhere_ends_with_the_same_bits(
    digits: tuple[Images, Images], backend: Backend, tmp_path: Path, stop_at: int, prefetch: int
) -> None:
    if backend.name != "numpy" and (prefetch or stop_at not in (4, 6)):
        pytest.skip("one stop within an epoch and one at its end tell enough about a device")
    undisturbed = Trainer(digits, backend)
    history = undisturbed.fit()
    folder = CheckpointFolder(tmp_path, every_steps=1)
    with pytest.raises(Stop):
        Trainer(digits, backend, prefetch).fit(stop_at + 1, checkpoints=folder)
    resumed = Trainer(digits, backend, prefetch, seed=0)
    resume = load(folder.latest)
    assert resume.record["optimizer"]["step"] == stop_at
    again = resumed.fit(checkpoints=folder, resume=resume)
    assert_same_weights(undisturbed.model, resumed.model)
    assert figures(again.epochs) == figures(history.epochs)
    for key, value in undisturbed.optimizer.state_dict().items():
        assert np.array_equal(value, resumed.optimizer.state_dict()[key]), key


def test_nothing_of_the_new_start_shows_after_resuming(
    digits: tuple[Images, Images], backend: Backend, tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path)
    first = Trainer(digits, backend, seed=0)
    first.fit(epochs=2, checkpoints=folder)
    other_seed = Trainer(digits, backend, seed=7)  # other weights, order, masks, augmentation
    other_seed.fit(resume=load(folder.latest))
    undisturbed = Trainer(digits, backend, seed=0)
    undisturbed.fit()
    assert_same_weights(undisturbed.model, other_seed.model)


def test_a_finished_run_is_not_trained_further(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path)
    done = Trainer(digits, get_backend("numpy"))
    done.fit(checkpoints=folder)
    again = Trainer(digits, get_backend("numpy"))
    assert len(again.fit(resume=load(folder.latest)).epochs) == EPOCHS
    assert_same_weights(done.model, again.model)


@pytest.mark.parametrize("kind", ["PCG64", "MT19937", "Philox", "SFC64"])
def test_every_generator_of_numpy_goes_on_from_its_saved_state(kind: str) -> None:
    rng, other = (np.random.Generator(getattr(np.random, kind)(seed)) for seed in (1, 2))
    rng.integers(7, size=3, dtype=np.uint32)  # half of a word is left over
    state = json.loads(json.dumps(generator_state(rng)))
    expected = rng.integers(1000, size=50, dtype=np.uint32).tolist()
    restore_generator(other, state)
    assert other.integers(1000, size=50, dtype=np.uint32).tolist() == expected


@pytest.mark.parametrize("state", [{}, {"bit_generator": "MT19937"}, {"bit_generator": "PCG64"}])
def test_a_state_of_another_generator_is_refused(state: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not the state of a PCG64"):
        restore_generator(rng, state)
    assert rng.random() == np.random.default_rng(0).random()


def test_another_environment_is_said_in_one_line_that_names_what_differs(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    resume = saved_run(digits, tmp_path)
    saved = resume.record["environment"]
    assert saved.keys() == {"nplenet", "python", "numpy", "blas", "machine", "backend", "ranks"}
    resume.record["environment"] = saved | {"numpy": "1.0", "blas": "openblas 0 Z80", "ranks": "3"}
    expected = (
        rf"{resume.path} is from another environment \(numpy 1\.0, here {np.__version__}; "
        rf"blas openblas 0 Z80, here {saved['blas']}; ranks 3, here 1\): .* not bit for bit$"
    )
    with pytest.warns(CheckpointWarning, match=expected):
        Trainer(digits, get_backend("numpy")).fit(epochs=1, resume=resume)
    # No warning, which would be an error here: another Python; a file that does not say more.
    for same in ({**saved, "python": "2.7"}, {"numpy": np.__version__}, None):
        resume.record["environment"] = same
        Trainer(digits, get_backend("numpy")).fit(epochs=1, resume=resume)


def test_the_environment_names_the_kernels_of_blas() -> None:
    if not blas().startswith("openblas") or platform.machine() != "x86_64":
        pytest.skip("only OpenBLAS on x86-64 has the kernels that this test selects")
    program = "from nplenet.machine import blas; print(blas())"
    found = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENBLAS_CORETYPE": kernels},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-1]
        for kernels in ("Nehalem", "Haswell")
    ]
    assert found == ["Nehalem", "Haswell"]


# ------------------------------------------------------------------ what does not fit


def saved_run(digits: tuple[Images, Images], folder: Path) -> Checkpoint:
    Trainer(digits, get_backend("numpy")).fit(epochs=1, checkpoints=CheckpointFolder(folder))
    return load(folder / LATEST)


def test_a_checkpoint_of_another_run_is_refused_and_changes_nothing(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    resume = saved_run(digits, tmp_path)
    trainer = Trainer(digits, get_backend("numpy"), seed=3)
    before = trainer.model.state_dict()

    with pytest.raises(CheckpointError, match="other data"):
        Trainer((digits[0][1:], digits[1][1:]), get_backend("numpy")).fit(resume=resume)
    with pytest.raises(CheckpointError, match="OneCycleLR, this run has no schedule"):
        trainer.fit(resume=resume, schedule=None)
    other = Sequential(Flatten(), Dense(1024, 10))
    with pytest.raises(CheckpointError, match=r"missing \['1.bias', '1.weight'\]"):
        fit(
            other,
            CrossEntropyLoss(),
            SGD(other.parameters()),
            trainer.loader,
            epochs=1,
            resume=resume,
        )
    trainer.optimizer = SGD(trainer.model.parameters(), 1e-3, momentum=0.9)  # type: ignore[assignment]
    with pytest.raises(CheckpointError, match="it has AdamW where this run has SGD"):
        trainer.fit(resume=resume)
    after = trainer.model.state_dict()
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_a_model_alone_has_no_run_to_continue(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    save_model(LeNet5(seed=0), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="only a model, not a run"):
        Trainer(digits, get_backend("numpy")).fit(resume=load(tmp_path / "model.safetensors"))


def test_a_folder_serves_one_run_at_a_time(tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path), pytest.raises(CheckpointError, match="another run"):
        CheckpointFolder(tmp_path).__enter__()
    with CheckpointFolder(tmp_path):
        pass


@pytest.mark.parametrize("options", [{"keep": "none"}, {"every_seconds": -1.0}, {"every_steps": 0}])
def test_bad_settings_of_a_folder_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="CheckpointFolder: "):
        CheckpointFolder(tmp_path, **options)


# ------------------------------------------------------------------ models alone


class Custom(Flatten):
    """A layer that is not the library's."""


def test_a_model_comes_back_from_its_file_with_its_architecture(tmp_path: Path) -> None:
    for model in (LeNet5(dropout=0.1, conv_bias=True, seed=1), LeNet5(dtype=np.float64, seed=1)):
        save_model(model, tmp_path / "m.safetensors")
        again = load_model(tmp_path / "m.safetensors")
        assert_same_weights(model, again)
        assert repr(again).split("\n")[1:] == repr(model).split("\n")[1:]
        x = np.random.default_rng(0).random((2, 1, 32, 32)).astype(model.parameters()[0].data.dtype)
        assert np.array_equal(again(x), model.eval()(x))


def test_the_model_of_a_checkpoint_needs_nothing_else(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    trainer = Trainer(digits, get_backend("numpy"))
    trainer.fit(epochs=1, checkpoints=CheckpointFolder(tmp_path))
    assert_same_weights(trainer.model, load_model(tmp_path / LATEST))


def test_numbers_of_numpy_in_a_layer_are_saved_as_plain_ones(tmp_path: Path) -> None:
    half = np.float32(0.5)
    norm = BatchNorm2d(np.int64(3), eps=half, momentum=half)
    model = Sequential(norm, LeakyReLU(half), Flatten(), Dropout(half))
    save_model(model, tmp_path / "m.safetensors")
    assert repr(load_model(tmp_path / "m.safetensors")) == repr(model)


def test_a_model_of_28_by_28_is_saved_with_its_architecture(tmp_path: Path) -> None:
    model = LeNet5For28x28(seed=0)
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert_same_weights(again, model)
    x = np.ones((2, 1, 28, 28), np.float32)
    assert np.array_equal(again(x), model.eval()(x))


def test_a_model_with_other_layers_is_refused_by_name_but_its_run_is_saved(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    model = Sequential(body=Sequential(Custom(), Dense(1024, 10)), end=Dropout(0.5))
    with pytest.raises(TypeError, match=r"layer body\.0 is a Custom"):
        save_model(model, tmp_path / "m.safetensors")
    fit(
        model,
        CrossEntropyLoss(),
        SGD(model.parameters()),
        DataLoader(
            *digits, 32, transform=standard_augmentation(), transform_rng=generator(0, "augment")
        ),
        epochs=1,
        checkpoints=CheckpointFolder(tmp_path),
        progress=False,
    )
    saved = load(tmp_path / LATEST)
    with pytest.raises(CheckpointError, match="not the library's"):
        saved.model()
    other = Sequential(body=Sequential(Custom(), Dense(1024, 10)), end=Dropout(0.5))
    other.load_state_dict(saved.part("model."))
    assert_same_weights(model, other)


def test_a_chain_with_a_forward_of_its_own_is_not_saved_as_a_plain_one(tmp_path: Path) -> None:
    class Branching(Sequential):
        def forward(self, x: Any) -> Any:
            return x + super().forward(x)

    with pytest.raises(TypeError, match="layer inner is a Branching"):
        save_model(Sequential(inner=Branching(Flatten())), tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ([], "does not describe a layer"),
        ({"type": "Sequential", "layers": []}, "does not describe a Sequential"),
        ({"type": "Python"}, "unknown type 'Python'"),
        ({"type": "Layer"}, "unknown type 'Layer'"),
        ({"type": "Dense", "in_features": 3, "out_features": 1 << 40}, "multiply to"),
        (
            {"type": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 1 << 30},
            "multiply",
        ),
        ({"type": "BatchNorm1d", "num_features": 1 << 40}, "largest weight has 6 numbers"),
        ({"type": "Dense", "in_features": 3, "out_features": 4}, r"weight is float32 \(2, 3\)"),
        ({"type": "Dense", "in_features": 3, "out_features": 2, "code": 1}, "no argument"),
        ({"type": "Dense", "in_features": 3, "out_features": 2, "bias": False}, "unknown"),
        ({"type": "Dropout", "p": 3.0}, r"in \[0, 1\]"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(description: Any, words: str) -> None:
    weights = Dense(3, 2).state_dict()
    with pytest.raises(ValueError, match=words):
        build(description, weights)


def convolution(times: int = 1, **arguments: Any) -> dict[str, Any]:
    """Return the description of a chain of convolutions with a kernel of 3."""
    sizes = {"in_channels": 6, "out_channels": 6, "kernel_size": 3, "bias": False}
    layer = {"type": "Conv2d", **sizes, **arguments}
    return {"type": "Sequential", "layers": {str(i): layer for i in range(times)}}


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (convolution(padding=3000), r"0: this Conv2d makes \(6, 6030, 6030\) of an image"),
        (convolution(padding=10**18), "more than a file may ask for"),
        (
            {"type": "Residual", "body": convolution(padding=3000), "shortcut": None},
            r"body\.0: this Conv2d makes \(6, 6030, 6030\) of an image",
        ),
        (convolution(kernel_size=[1, 3], in_channels=1, out_channels=1 << 16), "the sizes of this"),
        (convolution(times=200, padding=8), r"\d\d: this Conv2d makes .*, more than a file"),
        (
            convolution(padding=1000, dilation=1000),
            r"makes \(6, 32, 32\) .* and 24,774,144 numbers",
        ),
        (convolution(padding=1000, stride=1000), "more than a file may ask for"),
        ({"type": "LayerNorm", "normalized_shape": [1] * 300_000}, "has 300,000 entries"),
    ],
    ids=[
        *("padding", "absurd-padding", "residual", "channels", "many-paddings"),
        *("frame-of-dilation", "frame-of-stride", "axes"),
    ],
)
def test_a_model_that_would_take_far_more_memory_than_its_file_is_refused_before_it_does(
    description: Any, words: str
) -> None:
    weights = {f"{i}.weight": np.zeros((6, 6, 3, 3), np.float32) for i in range(200)}
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=words):
            build(description, weights)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "model",
    [
        Sequential(Conv2d(1, 2, 1, padding=3), ReLU()),
        Sequential(Flatten(), Dense(4096, 10)),
        Sequential(Conv2d(1024, 64, 3, padding=2), ReLU()),  # of small maps of many channels
        Sequential(BatchNorm2d(3), Conv2d(3, 64, 7, padding=6)),
        Conv2d(512, 1024, 3, groups=512, dilation=3),
        Sequential(GroupNorm(512, 1024)),
        Sequential(Residual(Sequential(Conv2d(3, 64, 3, padding=1)), Conv2d(3, 64, 1)), ReLU()),
        Sequential(Residual(Dense(784, 784)), Residual(Dense(784, 9), Dense(784, 9, bias=False))),
    ],
    ids=["1x1", "features", "channels", "wide", "depthwise", "groups", "residual", "not-images"],
)
def test_a_model_with_padding_or_many_channels_is_saved_and_loaded(
    model: Layer, tmp_path: Path
) -> None:
    save_model(model, tmp_path / "m.safetensors")
    assert repr(load_model(tmp_path / "m.safetensors")) == repr(model.eval())


def test_a_description_can_t_nest_without_end() -> None:
    description: dict[str, Any] = {"type": "Flatten"}
    for _ in range(100):
        description = {"type": "Sequential", "layers": {"0": description}}
    with pytest.raises(ValueError, match="nests more than"):
        build(description, {})


def test_a_description_of_too_many_layers_is_refused_before_any_is_made() -> None:
    layers = {str(i): {"type": "ReLU"} for i in range(7_000)}
    with pytest.raises(ValueError, match="more than 7,000 layers"):
        build(
            {"type": "Sequential", "layers": {"inner": {"type": "Sequential", "layers": layers}}},
            {},
        )
    block = {"type": "Residual", "body": {"type": "Sequential", "layers": layers}}
    with pytest.raises(ValueError, match="more than 7,000 layers"):
        build(block, {})
    del layers["6999"], layers["6998"]
    assert len(build({"type": "Sequential", "layers": layers}, {}).children()) == 6998


# ------------------------------------------------------------------ what is kept


def test_a_new_run_in_the_folder_of_another_takes_nothing_of_it_and_loses_nothing(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    old = Trainer(digits, get_backend("numpy"))
    old.fit(epochs=2, checkpoints=CheckpointFolder(tmp_path, keep="best"))
    kept = CheckpointFolder(tmp_path, keep="all")
    with pytest.warns(CheckpointWarning, match="no checkpoint of epoch 1: it was not kept"):
        Trainer(digits, get_backend("numpy")).fit(
            epochs=1, checkpoints=kept, resume=load(tmp_path / LATEST)
        )
    (tmp_path / "epoch-001.safetensors").write_bytes((tmp_path / LATEST).read_bytes())
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(Stop):  # before it has saved anything
        Trainer(digits, get_backend("numpy"), seed=1).fit(1, checkpoints=folder)
    with pytest.raises(FileNotFoundError):
        load(folder.latest)
    left = {path.name for path in tmp_path.glob("*.safetensors*")}
    assert left == {
        f"previous-{n}.safetensors" for n in ("checkpoint", "best", "epoch-001", "epoch-002")
    }
    assert_same_weights(old.model, load_model(tmp_path / f"previous-{LATEST}"))


def test_best_is_the_epoch_with_the_best_validation(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path, keep="best")
    history = Trainer(digits, get_backend("numpy")).fit(checkpoints=folder)
    best = max(
        history.epochs, key=lambda e: (e.validation_accuracy or 0, -(e.validation_loss or 0))
    )
    assert len(load(folder.best).record["progress"]["epochs"]) == best.epoch


def test_all_keeps_every_epoch(digits: tuple[Images, Images], tmp_path: Path) -> None:
    Trainer(digits, get_backend("numpy")).fit(checkpoints=CheckpointFolder(tmp_path, keep="all"))
    names = sorted(path.name for path in tmp_path.glob("epoch-*"))
    assert names == [f"epoch-00{k}.safetensors" for k in (1, 2, 3)]
    counts = [len(load(tmp_path / name).record["progress"]["epochs"]) for name in names]
    assert counts == [1, 2, 3]


def test_the_file_of_the_last_epoch_is_written_on_resuming_if_it_is_missing(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    """As of a folder in which a version that wrote the checkpoint first was killed."""
    best = CheckpointFolder(tmp_path, keep="best")
    Trainer(digits, get_backend("numpy")).fit(epochs=2, checkpoints=best)  # the second is best
    expected = weights_of(best.best)
    best.best.unlink()
    Trainer(digits, get_backend("numpy")).fit(epochs=2, checkpoints=best, resume=load(best.latest))
    assert weights_of(best.best) == expected
    with pytest.warns(CheckpointWarning, match="no checkpoint of epoch 1: it was not kept"):
        Trainer(digits, get_backend("numpy")).fit(
            checkpoints=CheckpointFolder(tmp_path, keep="all"), resume=load(best.latest)
        )
    names = sorted(path.name for path in tmp_path.glob("epoch-*"))
    assert names == ["epoch-002.safetensors", "epoch-003.safetensors"]
    assert weights_of(tmp_path / names[0]) == expected


def test_a_best_that_is_lost_is_said_and_none_is_taken_for_it(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    first, other = (CheckpointFolder(tmp_path / name, keep="best") for name in "ab")
    Trainer(digits, get_backend("numpy")).fit(epochs=2, checkpoints=first)
    Trainer(digits, get_backend("numpy"), seed=1).fit(epochs=1, checkpoints=other)
    first.best.write_bytes(other.best.read_bytes())
    resume = load(first.latest)
    resume.record["progress"]["epochs"][0]["validation_accuracy"] = 1.0  # so the first is best
    with pytest.warns(CheckpointWarning, match="of the best epoch so far, 1: it was not kept"):
        Trainer(digits, get_backend("numpy")).fit(epochs=2, checkpoints=first, resume=resume)
    assert first.best_weights() is None
    assert (tmp_path / "a" / f"previous-{BEST}").read_bytes() == other.best.read_bytes()


def test_a_run_that_resumes_in_another_folder_is_whole_there(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    first, other = (CheckpointFolder(tmp_path / name, keep="best") for name in "ab")
    Trainer(digits, get_backend("numpy")).fit(checkpoints=first)
    Trainer(digits, get_backend("numpy"), seed=1).fit(epochs=1, checkpoints=other)
    Trainer(digits, get_backend("numpy")).fit(checkpoints=other, resume=load(first.latest))
    assert weights_of(other.best) == weights_of(first.best)
    assert weights_of(other.latest) == weights_of(first.latest)
    names = {path.name for path in other.folder.glob("previous-*")}
    assert names == {f"previous-{BEST}", f"previous-{LATEST}"}


@pytest.mark.parametrize("keep", ["best", "all"])
@pytest.mark.parametrize("epochs", [2, 3])  # the run ends with the full disk, or it goes on
def test_an_epoch_that_a_full_disk_refused_is_written_later_and_the_checkpoint_waits_for_it(
    digits: tuple[Images, Images],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: str,
    epochs: int,
) -> None:
    whole = CheckpointFolder(tmp_path / "whole", keep=keep)
    Trainer(digits, get_backend("numpy")).fit(checkpoints=whole)
    folder, written = CheckpointFolder(tmp_path / "full", keep=keep), []

    def writing(path: Path, *arguments: Any) -> None:
        written.append(path.name)
        if len(written) == 3:  # the file of the second epoch
            raise OSError(errno.ENOSPC, "No space left on device")
        file.write_file(path, *arguments)

    monkeypatch.setattr("nplenet.checkpoint.folder.write_file", writing)
    with pytest.warns(CheckpointWarning, match=r"No space left on device.*training continues"):
        Trainer(digits, get_backend("numpy")).fit(epochs=epochs, checkpoints=folder)
    assert folder.saved == (epochs == 3)
    assert len(load(folder.latest).record["progress"]["epochs"]) == (3 if epochs == 3 else 1)
    monkeypatch.undo()
    Trainer(digits, get_backend("numpy")).fit(checkpoints=folder, resume=load(folder.latest))
    assert folder.saved
    names = sorted(path.name for path in whole.folder.glob("*.safetensors*"))
    assert sorted(path.name for path in folder.folder.glob("*.safetensors*")) == names
    for name in names:
        if not name.endswith(".bak"):  # the checkpoint of the second epoch may have been skipped
            assert weights_of(folder.folder / name) == weights_of(whole.folder / name), name


def weights_of(path: Path) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in load(path).part("model.").items()}


def test_patience_ends_a_run_that_no_longer_improves_and_a_resumed_one_too(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    def still(**options: Any) -> History:
        model = Sequential(Flatten(), Dense(1024, 10, rng=np.random.default_rng(0)))
        loader = DataLoader(*digits, 32, transform=ToFloat())
        return fit(
            model,
            CrossEntropyLoss(),
            SGD(model.parameters(), lr=0.0),  # never better than at its first epoch
            loader,
            epochs=9,
            validation=digits,
            patience=2,
            progress=False,
            **options,
        )

    assert len(still(checkpoints=CheckpointFolder(tmp_path)).epochs) == 3
    assert len(still(resume=load(tmp_path / LATEST)).epochs) == 3


def test_patience_and_best_need_validation_images(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    best = CheckpointFolder(tmp_path, keep="best")
    for options in ({"patience": 2}, {"checkpoints": best}):
        with pytest.raises(ValueError, match="need validation"):
            Trainer(digits, get_backend("numpy")).fit(validation=None, **options)


# ------------------------------------------------------------------ damage


def damaged(contents: bytes, rng: random.Random) -> bytes:
    """Return contents with one damage of a random kind."""
    data = bytearray(contents)
    length = int.from_bytes(data[:8], "little")
    kind = rng.randrange(8)
    if kind == 0:  # bits flipped anywhere
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:  # a bit flipped in the header
        data[8 + rng.randrange(length)] ^= 1 << rng.randrange(8)
    elif kind == 2:  # the end cut off
        del data[rng.randrange(len(data)) :]
    elif kind == 3:  # the header's length
        data[:8] = rng.choice([0, 1, length - 1, length + 1, 1 << 40, 2**64 - 1]).to_bytes(
            8, "little"
        )
    elif kind == 4:  # something behind the end
        data += rng.randbytes(rng.randint(1, 100))
    elif kind == 5:  # a block of noise or zeros
        start = rng.randrange(len(data))
        block = rng.choice([bytes(64), rng.randbytes(64)])
        data[start : start + 64] = block[: len(data) - start]
    else:  # the header rewritten: a huge size, another dtype, two tensors swapped, one left out
        header = json.loads(data[8 : 8 + length])
        names = [name for name in header if name != "__metadata__"]
        a, b = rng.sample(names, 2)
        change = rng.randrange(4)
        if change == 0:
            header[a]["shape"] = [1 << rng.randint(20, 62)]
        elif change == 1:
            header[a]["dtype"] = rng.choice(["F64", "I64", "BF16", "F8_E4M3", "BOOL", "C64", "?"])
        elif change == 2:
            header[a], header[b] = header[b], header[a]
        else:
            del header[a]
        text = json.dumps(header).encode()
        data[: 8 + length] = len(text).to_bytes(8, "little") + text
    return bytes(data)


def test_300_damages_are_refused_or_harmless(digits: tuple[Images, Images], tmp_path: Path) -> None:
    whole = saved_run(digits, tmp_path)
    contents = whole.path.read_bytes()
    rng, messages = random.Random(0), list[str]()
    path = tmp_path / "damaged.safetensors"
    tracemalloc.start()
    try:
        for _ in range(300):
            path.write_bytes(damaged(contents, rng))
            tracemalloc.reset_peak()
            try:
                found = load(path)
            except CheckpointError as error:
                messages.append(str(error))
            else:
                assert found.record == whole.record
                assert found.tensors.keys() == whole.tensors.keys()
                for name, tensor in whole.tensors.items():
                    assert found.tensors[name].tobytes() == tensor.tobytes()
            assert tracemalloc.get_traced_memory()[1] < 100e6 + len(contents)
    finally:
        tracemalloc.stop()
    assert len(messages) > 250
    assert all(str(path) in message and "\n" not in message for message in messages)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4e6  # KiB: no 100 GB header


def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    whole = saved_run(digits, tmp_path)
    Trainer(digits, get_backend("numpy")).fit(
        epochs=2, resume=whole, checkpoints=CheckpointFolder(tmp_path)
    )
    assert len(load(whole.path).record["progress"]["epochs"]) == 2
    whole.path.write_bytes(whole.path.read_bytes()[:-1])
    with pytest.warns(CheckpointWarning, match=r"damaged.*reading its backup"):
        older = load(whole.path)
    assert len(older.record["progress"]["epochs"]) == 1
    # A run that goes on from there must not replace the good backup by the damaged file.
    with pytest.raises(Stop):
        Trainer(digits, get_backend("numpy")).fit(
            9, resume=older, checkpoints=CheckpointFolder(tmp_path, every_steps=1)
        )
    assert load(whole.path).record["optimizer"]["step"] == 8
    assert len(load(backup(whole.path)).record["progress"]["epochs"]) == 1
    backup(whole.path).write_bytes(b"")
    whole.path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"and .*\.bak"):
        load(whole.path)


@pytest.mark.filterwarnings("ignore:.*is from another environment")  # sense, of another version
def test_records_that_make_no_sense_are_refused_even_with_a_right_digest(
    digits: tuple[Images, Images], tmp_path: Path
) -> None:
    whole = saved_run(digits, tmp_path)
    rng, path = random.Random(0), tmp_path / "other.safetensors"
    nonsense = [None, 3, -1.5, "word", [], {}, [[]], {"type": "SGD"}, float("nan"), True]
    refused = 0
    for _ in range(200):
        record = json.loads(json.dumps(whole.record))
        place = record
        while True:  # walk to a random place in it
            key = rng.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
            if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.3:
                break
            place = place[key]
        if rng.random() < 0.3:
            del place[key]
        else:
            place[key] = rng.choice(nonsense)
        file.write_file(path, whole.tensors, record)
        trainer = Trainer(digits, get_backend("numpy"), seed=5)
        before = trainer.model.state_dict()
        try:
            load(path).model()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CheckpointWarning)  # of another environment
                trainer.fit(epochs=1, resume=load(path))  # which has no epoch left to do
        except (CheckpointError, TypeError, ValueError):  # the last two of tunables that can't be
            refused += 1
            after = trainer.model.state_dict()
            assert all(np.array_equal(before[k], after[k]) for k in before)
    assert refused > 50


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: None, FileNotFoundError, "No such file"),
        (lambda p: p.mkdir(), IsADirectoryError, "is a folder"),
        (lambda p: p.write_bytes(b""), CheckpointError, "damaged, or not a safetensors file"),
        (lambda p: p.write_text("hello " * 99), CheckpointError, "damaged, or not a safetensors"),
        (
            lambda p: safetensors.numpy.save_file({"a": np.ones(3)}, p),
            CheckpointError,
            "not by nplenet",
        ),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, make: Any, error: type[Exception], words: str
) -> None:
    path = tmp_path / "file.safetensors"
    make(path)
    with pytest.raises(error, match=words):
        load(path)


def test_a_file_of_a_later_format_is_refused_with_who_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "FORMAT", 9)
    save_model(Conv2d(1, 2, 3), tmp_path / "m.safetensors")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"format 9, written by nplenet \d.* reads format 1"):
        load(tmp_path / "m.safetensors")


# ------------------------------------------------------------------ the moment of writing


@pytest.mark.parametrize("call", ["write", "fsync", "link", "replace"])
def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(
    digits: tuple[Images, Images], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = saved_run(digits, tmp_path)
    contents = before.path.read_bytes()

    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full(io.FileIO):
        """Takes half of what is written."""

        def write(self, contents: Any) -> int:
            super().write(contents[: len(contents) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    trainer = Trainer(digits, get_backend("numpy"))
    if call == "write":
        monkeypatch.setattr("nplenet.files.open", Full, raising=False)
    elif call == "link":  # a file system without hard links, and then a full one
        monkeypatch.setattr(os, "link", full)
        monkeypatch.setattr(os, "replace", full)
    else:
        monkeypatch.setattr(os, call, full)
    folder = CheckpointFolder(tmp_path)
    with pytest.warns(CheckpointWarning, match="No space left on device.*unchanged"):
        trainer.fit(epochs=2, resume=before, checkpoints=folder)
    assert not folder.saved
    monkeypatch.undo()
    assert before.path.read_bytes() == contents
    assert list(tmp_path.glob(".*.part")) == []


def test_without_hard_links_the_one_before_is_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path, previous = tmp_path / "a", tmp_path / "a.bak"
    for contents in (b"1", b"2", b"3"):
        with atomic_write(path, previous=previous) as file:
            file.write(contents)
    assert (path.read_bytes(), previous.read_bytes()) == (b"3", b"2")


OWN = ("checkpoint.safetensors", "checkpoint.safetensors.bak", "best.safetensors")
OWN += ("epoch-012.safetensors", "history.json", "report.html")


@pytest.mark.parametrize("name", OWN)
def test_leftovers_of_a_killed_write_are_removed(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as file:
        left = Path(file.name)
    left.write_bytes(b"half")
    with CheckpointFolder(tmp_path):
        assert not left.exists()


def test_files_of_others_are_neither_removed_nor_renamed(tmp_path: Path) -> None:
    others = [
        ".firefox-download.iso.part",
        ".checkpoint.safetensors.part",
        "epoch-of-man.safetensors",
    ]
    others += [".checkpoint.safetensors.4711-0123abcd.part", ".a.png.4711-0123abcd.nplenet.part"]
    for name in others:
        (tmp_path / name).write_text("mine")
    folders = [".torrents.part", ".checkpoint.safetensors.4711-0123abcd.nplenet.part"]
    for name in [*folders, "epoch-001.safetensors"]:
        (tmp_path / name).mkdir()
    link = tmp_path / ".history.json.4711-0123abcd.nplenet.part"
    link.symlink_to(tmp_path / others[0])
    before = sorted(tmp_path.iterdir())
    with CheckpointFolder(tmp_path) as folder:
        folder.begin_anew()
    assert sorted(set(tmp_path.iterdir()) - {tmp_path / ".lock"}) == before
    assert all((tmp_path / name).read_text() == "mine" for name in others)


def test_a_lock_that_is_a_symbolic_link_does_no_harm_to_its_target(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("whole")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(victim)
    with pytest.raises(OSError), CheckpointFolder(tmp_path / "run"):  # noqa: PT011  any kind
        pass
    assert victim.read_text() == "whole"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_at_any_moment_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    """With the same files, bits and test result, whatever it keeps."""
    pytest.importorskip("PIL")
    program = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run(
        [sys.executable, program, tmp_path, "4", "3"], capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    *lines, last = map(json.loads, done.stdout.splitlines())
    first = [line for line in lines if "readings" in line]
    kills = [line for line in lines if "same" in line]
    assert [line["run"] for line in first] == ["last", "best", "all", "pictures", "network"]
    assert all(line["readings"] > 5 for line in first)
    assert "best.safetensors" in first[1]["files"]
    assert "epoch-004.safetensors" in first[2]["files"]
    assert [kill for kill in kills if not kill["same"]] == []
    assert (last["survived"], last["of"], len(kills)) == (20, 20, 20)
    assert last["calls"].keys() == {"write", "fsync", "link", "rename", "unlink"}
    assert done.returncode == 0
