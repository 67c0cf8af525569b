"""Checkpoints: a run stopped anywhere ends with the same bits, and another run is refused."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import DIGITS, EPOCHS, Stop, Trainer, assert_same_weights, figures, saved_run

from nplenet.backend import Backend
from nplenet.checkpoint import (
    CheckpointError,
    CheckpointFolder,
    CheckpointWarning,
    load,
    save_model,
)
from nplenet.layers import Dense, Flatten, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.machine import blas
from nplenet.models import LeNet5
from nplenet.optim import SGD
from nplenet.schedules import OneCycleLR
from nplenet.seeds import generator_state, restore_generator
from nplenet.train import fit

# ------------------------------------------------------------------ resuming


@pytest.mark.parametrize("stop_at", [1, 4, 6, 7, 17])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_run_that_was_stopped_anywhere_ends_with_the_same_bits(
    backend: Backend, tmp_path: Path, stop_at: int, prefetch: int
) -> None:
    if backend.name != "numpy" and (prefetch or stop_at not in (4, 6)):
        pytest.skip("one stop within an epoch and one at its end tell enough about a device")
    undisturbed = Trainer(backend)
    history = undisturbed.fit()
    folder = CheckpointFolder(tmp_path, every_steps=1)
    with pytest.raises(Stop):
        Trainer(backend, prefetch).fit(stop_at + 1, checkpoints=folder)
    resumed = Trainer(backend, prefetch, seed=0)
    resume = load(folder.latest)
    assert resume.record["optimizer"]["step"] == stop_at
    again = resumed.fit(checkpoints=folder, resume=resume)
    assert_same_weights(undisturbed.model, resumed.model)
    assert figures(again.epochs) == figures(history.epochs)
    for key, value in undisturbed.optimizer.state_dict().items():
        assert np.array_equal(value, resumed.optimizer.state_dict()[key]), key


def test_nothing_of_the_new_start_shows_after_resuming(backend: Backend, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    first = Trainer(backend, seed=0)
    first.fit(epochs=2, checkpoints=folder)
    other_seed = Trainer(backend, seed=7)  # other weights, order, masks, augmentation
    other_seed.fit(resume=load(folder.latest))
    undisturbed = Trainer(backend, seed=0)
    undisturbed.fit()
    assert_same_weights(undisturbed.model, other_seed.model)


def test_a_generator_shared_by_model_and_loader_is_warned_of(tmp_path: Path) -> None:
    """The loader of a resumed epoch would draw the numbers of its start, a dropout the same."""
    trainer = Trainer()
    path = next(iter(trainer.model.generators()))
    dropout = dict(trainer.model.modules())[path.removesuffix("rng")]
    dropout.rng = trainer.loader.rng
    with pytest.warns(CheckpointWarning, match=f"{path} of the model and the loader are one"):
        trainer.fit(epochs=1, checkpoints=CheckpointFolder(tmp_path))
    trainer.fit(epochs=2)  # saves nothing


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    done = Trainer()
    done.fit(checkpoints=folder)
    again = Trainer()
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


def test_another_environment_is_said_in_one_line_that_names_what_differs(tmp_path: Path) -> None:
    resume = saved_run(tmp_path)
    saved = resume.record["environment"]
    assert saved.keys() == {"nplenet", "python", "numpy", "blas", "machine", "backend", "ranks"}
    resume.record["environment"] = saved | {"numpy": "1.0", "blas": "openblas 0 Z80", "ranks": "3"}
    expected = (
        rf"{resume.path} is from another environment \(numpy 1\.0, here {np.__version__}; "
        rf"blas openblas 0 Z80, here {saved['blas']}; ranks 3, here 1\): .* not bit for bit$"
    )
    with pytest.warns(CheckpointWarning, match=expected):
        Trainer().fit(epochs=1, resume=resume)
    # No warning, which would be an error here: another Python; a file that does not say more.
    for same in ({**saved, "python": "2.7"}, {"numpy": np.__version__}, None):
        resume.record["environment"] = same
        Trainer().fit(epochs=1, resume=resume)


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


# ------------------------------------------------------------------ what does not fit


def test_a_checkpoint_of_another_run_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    resume = saved_run(tmp_path)
    trainer = Trainer(seed=3)
    before = trainer.model.state_dict()

    with pytest.raises(CheckpointError, match="other data"):
        Trainer(digits=(DIGITS[0][1:], DIGITS[1][1:])).fit(resume=resume)
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
    sgd = SGD(trainer.model.parameters(), 1e-3, momentum=0.9)
    trainer.optimizer, steps = sgd, EPOCHS * len(trainer.loader)  # type: ignore[assignment]
    schedule = OneCycleLR(sgd, max_lr=4e-3, total_steps=steps)
    with pytest.raises(CheckpointError, match="it has AdamW where this run has SGD"):
        trainer.fit(resume=resume, schedule=schedule)
    after = trainer.model.state_dict()
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_a_model_alone_has_no_run_to_continue(tmp_path: Path) -> None:
    save_model(LeNet5(seed=0), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="only a model, not a run"):
        Trainer().fit(resume=load(tmp_path / "model.safetensors"))


def test_a_folder_serves_one_run_at_a_time(tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path), pytest.raises(CheckpointError, match="another run"):
        CheckpointFolder(tmp_path).__enter__()
    with CheckpointFolder(tmp_path):
        pass


@pytest.mark.parametrize("options", [{"keep": "none"}, {"every_seconds": -1.0}, {"every_steps": 0}])
def test_bad_settings_of_a_folder_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="CheckpointFolder: "):
        CheckpointFolder(tmp_path, **options)
