"""The settings of a run, and the optimizers, schedules and augmentations that they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import augment
from .data import DATASETS
from .layers import Layer
from .optim import SGD, Adam, AdamW, Optimizer
from .schedules import CosineLR, OneCycleLR, Schedule, StepLR
from .schema import Form, choice, flag, mapping, optional, real, whole

EPOCHS = {"mnist": 12, "digits": 60}  # there are 40 times fewer bundled digits


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adamw": lambda parameters, lr: AdamW(parameters, lr),
    "adam": lambda parameters, lr: Adam(parameters, lr),
    "sgd": lambda parameters, lr: SGD(parameters, lr, momentum=0.9, nesterov=True),
}


SCHEDULES: dict[str, Callable[..., Schedule | None]] = {  # stepped after each batch
    "onecycle": lambda optimizer, lr, steps: OneCycleLR(optimizer, max_lr=lr, total_steps=steps),
    "cosine": lambda optimizer, lr, steps: CosineLR(optimizer, T_max=steps),
    "step": lambda optimizer, lr, steps: StepLR(optimizer, step_size=max(1, steps // 3)),
    "constant": lambda optimizer, lr, steps: None,
}


AUGMENTATIONS: dict[str, Callable[[], augment.Transform]] = {
    "standard": augment.standard_augmentation,
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
    eager: bool = False
    tunables: dict[str, int] | None = None


SETTINGS: dict[str, Form] = {
    "dataset": choice(*DATASETS),
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
    "eager": flag,
    "tunables": optional(mapping(whole())),
}
"""The schema of each of the ``Settings``, in checkpoints, in history.json and of options."""


def input_shape(model: Layer) -> tuple[int, int, int, int]:
    """Return the shape of one image of the data sets, with the channels of ``model``."""
    channels = (layer.channels for _, layer in model.modules() if layer.channels is not None)
    return (1, next(channels, 1), 32, 32)
