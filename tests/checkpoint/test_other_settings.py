"""A run that resumes with other settings says so: which differ, and which apply."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.augment import Compose, Normalize, RandomInvert, ToFloat
from nplenet.checkpoint import LATEST, CheckpointFolder, CheckpointWarning, load
from nplenet.data import DataLoader
from nplenet.layers import BatchNorm2d, Conv2d, Dense, Dropout, Flatten, Layer, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD
from nplenet.schedules import StepLR
from nplenet.train import fit

IMAGES = np.arange(128, dtype=np.uint8).reshape(8, 1, 4, 4)
LABELS = np.arange(8) % 3
TRANSFORM = Compose([RandomInvert(0.5), ToFloat(), Normalize(0.1, 0.3)])


def train(
    p: float = 0.5,
    eps: float = 1e-5,
    smoothing: float = 0.1,
    transform: Any = TRANSFORM,
    drop_last: bool = False,
    decay: float = 0.0,
    lr: float = 0.1,
    every: int | None = None,
    frozen: bool = False,
    mode: bool = True,
    more: Layer | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Train for an epoch more than the run before, if any; return the state of the model."""
    features = Sequential(Conv2d(1, 2, 3, rng=0), BatchNorm2d(2, eps), Dropout(p, rng=0))
    model = Sequential(features, more or Flatten(), Flatten(), Dense(8, 3, rng=0))
    features[1].requires_grad_(not frozen).train(mode)
    optimizer = SGD(model.parameters(), lr, momentum=0.9, weight_decay=decay)
    schedule = None if every is None else StepLR(optimizer, every)
    loader = DataLoader(
        IMAGES, LABELS, 4, transform=transform, transform_rng=0, drop_last=drop_last
    )
    epochs = 2 if "resume" in options else 1
    loss = CrossEntropyLoss(label_smoothing=smoothing)
    options |= {"epochs": epochs, "schedule": schedule, "progress": False}
    fit(model, loss, optimizer, loader, **options)
    return model.state_dict()


HERE, THERE = "the settings here apply", "the checkpoint's settings apply"
OTHERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "dropout": ({"p": 0.25}, r"0\.2\.p 0\.5, here 0\.25", HERE),
    "norm": ({"eps": 0.1}, r"0\.1\.eps 1e-05, here 0\.1", HERE),
    "loss": ({"smoothing": 0.0}, r"loss\.label_smoothing 0\.1, here 0\.0", HERE),
    "transform": ({"transform": ToFloat()}, r"transform \[RandomInvert.* here \[ToFloat", HERE),
    "loader": ({"drop_last": True}, "drop_last False, here True", HERE),
    "clipping": ({"clip_norm": 1.0}, r"clip_norm None, here 1\.0", HERE),
    "decay": ({"decay": 0.1}, r"optimizer\.weight_decay 0\.0, here 0\.1", THERE),
    "frozen": ({"frozen": True}, r"frozen \[\], here \['0\.1\.weight', '0\.1\.bias'\]", THERE),
    "mode": ({"mode": False}, r"eval \[\], here \['0\.1\.'\]", THERE),
    "rate": ({"lr": 0.5}, r"optimizer\.lr 0\.1, here 0\.5", THERE),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_setting_is_named_with_both_values(tmp_path: Path, name: str) -> None:
    options, difference, whose = OTHERS[name]
    train(checkpoints=CheckpointFolder(tmp_path))
    with pytest.warns(CheckpointWarning, match=rf"other settings \({difference}.*\): {whose}$"):
        found = train(resume=load(tmp_path / LATEST), **options)
    if whose == THERE:
        saved_run = train(resume=load(tmp_path / LATEST))
        for ours, theirs in zip(found.values(), saved_run.values(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_schedule_s_settings_are_the_checkpoint_s(tmp_path: Path) -> None:
    train(checkpoints=CheckpointFolder(tmp_path), every=1)
    train(resume=load(tmp_path / LATEST), every=1)  # no warning, though the rate has fallen since
    with pytest.warns(CheckpointWarning, match=rf"schedule\.step_size 1, here 7\): {THERE}"):
        train(resume=load(tmp_path / LATEST), every=7)


class Own(Layer):
    def forward(self, x: Any) -> Any:
        return self.remember(x)

    def backward(self, dy: Any) -> Any:
        self.recall(dy)
        return dy


def test_layers_and_transforms_of_your_own_and_an_older_file_say_nothing(tmp_path: Path) -> None:
    def own(images: Any, rng: Any) -> Any:
        return images

    for more, transform in ((None, TRANSFORM), (Own(), Compose([own, ToFloat()]))):
        again: dict[str, Any] = {"more": more, "transform": transform}
        train(**again, checkpoints=CheckpointFolder(tmp_path))
        saved = load(tmp_path / LATEST)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            train(**again, resume=saved)
            del saved.record["settings"]
            train(**again | {"smoothing": 0.0}, resume=saved)
