"""The settings of a run, what they name (optimizers, schedules, augmentations), and recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import augment
from .data.dataset import check_dataset
from .optim import SGD, Adam, AdamW, Optimizer
from .schedules import CosineLR, OneCycleLR, Schedule, StepLR
from .schema import Form, choice, flag, mapping, optional, real, whole

FEW_IMAGES = 10_000  # of training: with fewer, an epoch has few steps
EPOCHS, EPOCHS_OF_FEW = 12, 60


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adamw": lambda parameters, lr, **more: AdamW(parameters, lr, **more),
    "adam": lambda parameters, lr, **more: Adam(parameters, lr, **more),
    "sgd": lambda parameters, lr, **more: SGD(parameters, lr, momentum=0.9, nesterov=True, **more),
}


SCHEDULES: dict[str, Callable[..., Schedule | None]] = {  # stepped after each batch
    "onecycle": lambda optimizer, lr, steps: OneCycleLR(optimizer, max_lr=lr, total_steps=steps),
    "cosine": lambda optimizer, lr, steps: CosineLR(optimizer, T_max=steps),
    "step": lambda optimizer, lr, steps: StepLR(optimizer, step_size=max(1, steps // 3)),
    "constant": lambda optimizer, lr, steps: None,
}


AUGMENTATIONS: dict[str, Callable[[], augment.Transform]] = {
    "standard": augment.standard_augmentation,
    "affine": augment.affine_augmentation,
    "rotation": lambda: augment.Compose([augment.RandomRotation(15), augment.ToFloat()]),
    "inversion": lambda: augment.Compose([augment.RandomInvert(0.5), augment.ToFloat()]),
    "none": augment.ToFloat,
}


RENAMED_AUGMENTATIONS = {"seed": "standard"}  # in checkpoints and histories before 0.1.0


def augmentation(name: str) -> augment.Transform:
    """Return the transform of a current or old name."""
    return AUGMENTATIONS[RENAMED_AUGMENTATIONS.get(name, name)]()


@dataclass(frozen=True)
class Settings:
    """Everything that decides the result of a run; saved with it, restored when it resumes."""

    dataset: str = "auto"
    epochs: int | None = None
    batch_size: int = 64
    lr: float = 4e-3
    optimizer: str = "adamw"
    schedule: str = "onecycle"
    dropout: float = 0.1
    augment: str = "standard"
    validation: float = 0.05
    seed: int = 0
    limit: int | None = None
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    classes: int | None = None
    eager: bool = False
    tunables: dict[str, int] | None = None


LATER = ("weight_decay", "label_smoothing", "clip_norm", "classes")
"""Settings that older files lack: they mean the default there."""


SETTINGS: dict[str, Form] = {
    "dataset": check_dataset,
    "epochs": optional(whole(1, 10**6)),
    "batch_size": whole(1, 10**9),
    "lr": real(0, 1e30),
    "optimizer": choice(*OPTIMIZERS),
    "schedule": choice(*SCHEDULES),
    "dropout": real(0, 1),
    "augment": choice(*AUGMENTATIONS, *RENAMED_AUGMENTATIONS),
    "validation": real(0, 1),
    "seed": whole(0, 2**128),
    "limit": optional(whole(1)),
    "weight_decay": optional(real(0, 1e30)),
    "label_smoothing": real(0, 1),
    "clip_norm": optional(real(1e-30, 1e30)),
    "classes": optional(whole(1, 1000)),
    "eager": flag,
    "tunables": optional(mapping(whole())),
}
"""The schema of each of the ``Settings``, in checkpoints, in history.json and of options."""


@dataclass(frozen=True)
class Recipe:
    """Settings that belong together, for MNIST; those it does not name keep their default.

    Attributes
    ----------
    settings : dict
    accuracy : str
        Measured on the test images, plain / inverted: the mean of 5 seeds.
    time : str
        Of a training run on two cores (Zen 4, AVX-512).
    """

    settings: dict[str, Any]
    accuracy: str
    time: str


def _recipe(epochs: int, accuracy: str, time: str, **more: Any) -> Recipe:
    """Return a recipe with large batches, which are faster, at twice the rate."""
    return Recipe({"epochs": epochs, "batch_size": 128, "lr": 8e-3} | more, accuracy, time)


RECIPES = {
    "quick": _recipe(3, "98.99 / 99.02 %", "5 s"),
    "standard": _recipe(24, "99.52 / 99.51 %", "39 s", weight_decay=0.1, label_smoothing=0.05),
    "best": _recipe(60, "99.53 / 99.53 %", "99 s", weight_decay=0.1, label_smoothing=0.05),
    "best-affine": _recipe(
        90,
        "99.58 / 99.58 %",
        "167 s",
        weight_decay=0.05,
        label_smoothing=0.05,
        augment="affine",
    ),
}
"""After a study of 40 recipes by validation accuracy, of 2 or 3 seeds each. "standard" and
"best-affine" combine values that it tried apart; of the last, 90 epochs were better by validation
than 60. ``benchmarks/accuracy.py`` measures them."""


def default_epochs(name: str, images: int) -> int:
    """Return the number of epochs for a data set and its number of training images."""
    few = name == "digits" or (name != "mnist" and images < FEW_IMAGES)
    return EPOCHS_OF_FEW if few else EPOCHS
