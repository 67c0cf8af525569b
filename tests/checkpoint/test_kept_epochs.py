"""What a folder keeps: the last, the best or all epochs, and nothing of another run."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import DIGITS, Stop, Trainer, assert_same_weights, weights_of

from nplenet.augment import ToFloat
from nplenet.checkpoint import (
    BEST,
    LATEST,
    CheckpointFolder,
    CheckpointWarning,
    file,
    load,
    load_model,
)
from nplenet.data import DataLoader
from nplenet.layers import Dense, Flatten, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD
from nplenet.train import History, fit


def test_a_new_run_in_the_folder_of_another_takes_nothing_of_it_and_loses_nothing(
    tmp_path: Path,
) -> None:
    old = Trainer()
    old.fit(epochs=2, checkpoints=CheckpointFolder(tmp_path, keep="best"))
    kept = CheckpointFolder(tmp_path, keep="all")
    with pytest.warns(CheckpointWarning, match="no checkpoint of epoch 1: it was not kept"):
        Trainer().fit(epochs=1, checkpoints=kept, resume=load(tmp_path / LATEST))
    (tmp_path / "epoch-001.safetensors").write_bytes((tmp_path / LATEST).read_bytes())
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(Stop):  # before it has saved anything
        Trainer(seed=1).fit(1, checkpoints=folder)
    with pytest.raises(FileNotFoundError):
        load(folder.latest)
    left = {path.name for path in tmp_path.glob("*.safetensors*")}
    assert left == {
        f"previous-{n}.safetensors" for n in ("checkpoint", "best", "epoch-001", "epoch-002")
    }
    assert_same_weights(old.model, load_model(tmp_path / f"previous-{LATEST}"))


def test_best_is_the_epoch_with_the_best_validation(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep="best")
    history = Trainer().fit(checkpoints=folder)
    best = max(
        history.epochs, key=lambda e: (e.validation_accuracy or 0, -(e.validation_loss or 0))
    )
    assert len(load(folder.best).record["progress"]["epochs"]) == best.epoch


def test_all_keeps_every_epoch(tmp_path: Path) -> None:
    Trainer().fit(checkpoints=CheckpointFolder(tmp_path, keep="all"))
    names = sorted(path.name for path in tmp_path.glob("epoch-*"))
    assert names == [f"epoch-00{k}.safetensors" for k in (1, 2, 3)]
    counts = [len(load(tmp_path / name).record["progress"]["epochs"]) for name in names]
    assert counts == [1, 2, 3]


def test_the_file_of_the_last_epoch_is_written_on_resuming_if_it_is_missing(tmp_path: Path) -> None:
    """As of a folder in which a version that wrote the checkpoint first was killed."""
    best = CheckpointFolder(tmp_path, keep="best")
    Trainer().fit(epochs=2, checkpoints=best)  # the second is best
    expected = weights_of(best.best)
    best.best.unlink()
    Trainer().fit(epochs=2, checkpoints=best, resume=load(best.latest))
    assert weights_of(best.best) == expected
    with pytest.warns(CheckpointWarning, match="no checkpoint of epoch 1: it was not kept"):
        Trainer().fit(checkpoints=CheckpointFolder(tmp_path, keep="all"), resume=load(best.latest))
    names = sorted(path.name for path in tmp_path.glob("epoch-*"))
    assert names == ["epoch-002.safetensors", "epoch-003.safetensors"]
    assert weights_of(tmp_path / names[0]) == expected


def test_a_best_that_is_lost_is_said_and_none_is_taken_for_it(tmp_path: Path) -> None:
    first, other = (CheckpointFolder(tmp_path / name, keep="best") for name in "ab")
    Trainer().fit(epochs=2, checkpoints=first)
    Trainer(seed=1).fit(epochs=1, checkpoints=other)
    first.best.write_bytes(other.best.read_bytes())
    resume = load(first.latest)
    resume.record["progress"]["epochs"][0]["validation_accuracy"] = 1.0  # so the first is best
    with pytest.warns(CheckpointWarning, match="of the best epoch so far, 1: it was not kept"):
        Trainer().fit(epochs=2, checkpoints=first, resume=resume)
    assert first.best_weights() is None
    assert (tmp_path / "a" / f"previous-{BEST}").read_bytes() == other.best.read_bytes()


def test_a_run_that_resumes_in_another_folder_is_whole_there(tmp_path: Path) -> None:
    first, other = (CheckpointFolder(tmp_path / name, keep="best") for name in "ab")
    Trainer().fit(checkpoints=first)
    Trainer(seed=1).fit(epochs=1, checkpoints=other)
    Trainer().fit(checkpoints=other, resume=load(first.latest))
    assert weights_of(other.best) == weights_of(first.best)
    assert weights_of(other.latest) == weights_of(first.latest)
    names = {path.name for path in other.folder.glob("previous-*")}
    assert names == {f"previous-{BEST}", f"previous-{LATEST}"}


@pytest.mark.parametrize("keep", ["best", "all"])
@pytest.mark.parametrize("epochs", [2, 3])  # the run ends with the full disk, or continues
def test_an_epoch_that_a_full_disk_refused_is_written_later_and_the_checkpoint_waits_for_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: str,
    epochs: int,
) -> None:
    whole = CheckpointFolder(tmp_path / "whole", keep=keep)
    Trainer().fit(checkpoints=whole)
    folder, written = CheckpointFolder(tmp_path / "full", keep=keep), []

    def writing(path: Path, *arguments: Any) -> None:
        written.append(path.name)
        if len(written) == 3:  # the file of the second epoch
            raise OSError(errno.ENOSPC, "No space left on device")
        file.write_file(path, *arguments)

    monkeypatch.setattr("nplenet.checkpoint.folder.write_file", writing)
    with pytest.warns(CheckpointWarning, match=r"No space left on device.*training continues"):
        Trainer().fit(epochs=epochs, checkpoints=folder)
    assert folder.saved == (epochs == 3)
    assert len(load(folder.latest).record["progress"]["epochs"]) == (3 if epochs == 3 else 1)
    monkeypatch.undo()
    Trainer().fit(checkpoints=folder, resume=load(folder.latest))
    assert folder.saved
    names = sorted(path.name for path in whole.folder.glob("*.safetensors*"))
    assert sorted(path.name for path in folder.folder.glob("*.safetensors*")) == names
    for name in names:
        if not name.endswith(".bak"):  # the checkpoint of the second epoch may have been skipped
            assert weights_of(folder.folder / name) == weights_of(whole.folder / name), name


def test_patience_ends_a_run_that_no_longer_improves_and_a_resumed_one_too(tmp_path: Path) -> None:
    def still(**options: Any) -> History:
        model = Sequential(Flatten(), Dense(1024, 10, rng=np.random.default_rng(0)))
        loader = DataLoader(*DIGITS, 32, transform=ToFloat())
        return fit(
            model,
            CrossEntropyLoss(),
            SGD(model.parameters(), lr=0.0),  # never better than at its first epoch
            loader,
            epochs=9,
            validation=DIGITS,
            patience=2,
            progress=False,
            **options,
        )

    assert len(still(checkpoints=CheckpointFolder(tmp_path)).epochs) == 3
    assert len(still(resume=load(tmp_path / LATEST)).epochs) == 3


def test_patience_and_best_need_validation_images(tmp_path: Path) -> None:
    best = CheckpointFolder(tmp_path, keep="best")
    for options in ({"patience": 2}, {"checkpoints": best}):
        with pytest.raises(ValueError, match="need validation"):
            Trainer().fit(validation=None, **options)
