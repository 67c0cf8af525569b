"""A small training run with everything random in it, which may be stopped anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nplenet.augment import standard_augmentation
from nplenet.backend import Backend, get_backend
from nplenet.checkpoint import LATEST, Checkpoint, CheckpointFolder, Epoch, load
from nplenet.checkpoint.run import Run
from nplenet.data import DataLoader, load_digits, pad_images
from nplenet.layers import Layer
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import AdamW
from nplenet.schedules import OneCycleLR
from nplenet.seeds import generator
from nplenet.train import History, fit

Images = npt.NDArray[np.uint8]
EPOCHS, BATCH, COUNT = 3, 16, 90  # the last batch is not full; 6 steps per epoch
_IMAGES, _LABELS = load_digits("train")
DIGITS: tuple[Images, Images] = (pad_images(_IMAGES)[:COUNT], _LABELS[:COUNT])


class Stop(Exception):
    """Ends a training in the middle, as a crash would."""


class Trainer:
    """A small run, made anew each time, with everything random in it."""

    def __init__(
        self,
        backend: Backend | None = None,
        prefetch: int = 0,
        seed: int = 0,
        digits: tuple[Images, Images] = DIGITS,
    ) -> None:
        backend = backend or get_backend("numpy")
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
            wanted = {"epochs": EPOCHS, "schedule": self.schedule, "validation": DIGITS}
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


def saved_run(folder: Path) -> Checkpoint:
    Trainer().fit(epochs=1, checkpoints=CheckpointFolder(folder))
    return load(folder / LATEST)


def weights_of(path: Path) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in load(path).part("model.").items()}
