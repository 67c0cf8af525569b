"""The progress of a run: its finished epochs, and the steps of the current epoch."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def check_numbers(owner: str, values: list[Any]) -> None:
    """Raise a TypeError if one of the values of a record is not a number."""
    wrong = [value for value in values if not isinstance(value, (int, float))]
    if wrong:
        raise TypeError(f"its {owner} has {wrong[0]!r} where a number should be")


def short(loss: float) -> str:
    """Return a loss in six or seven characters, however large it is."""
    return f"{loss:.4f}" if loss < 10 else f"{loss:.2f}" if loss < 1000 else f"{loss:.1e}"


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch; training metrics are means over its images, with dropout."""

    epoch: int
    lr: float
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    images_per_second: float

    def __post_init__(self) -> None:
        check_numbers("epoch", [value for value in vars(self).values() if value is not None])

    def __str__(self) -> str:
        """Return loss, accuracy, the same on validation images, and the time: 80 columns hold it.

        The images per second stand in history.json and in the report.
        """
        line = f"epoch {self.epoch:3d}  loss {short(self.loss)}  accuracy {self.accuracy:6.2%}"
        if self.validation_loss is not None:
            line += f"  validation {short(self.validation_loss)}  {self.validation_accuracy:6.2%}"
        return f"{line}  {self.seconds:.{2 if self.seconds < 100 else 0}f} s"


@dataclass
class Progress:
    """The progress of a run.

    Attributes
    ----------
    epochs : list of Epoch
        The finished epochs.
    losses, correct : array (step,)
        float64 and int64: loss and correct predictions of each finished step of this epoch.
    loader : dict
        The states of the loader's generators at the start of the current epoch.
    seconds, epoch_seconds : float
        Spent so far, over all sessions: in the run, and in the current epoch.
    """

    epochs: list[Epoch] = field(default_factory=list)
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0))
    correct: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    loader: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    epoch_seconds: float = 0.0

    def __post_init__(self) -> None:
        check_numbers("progress", [self.seconds, self.epoch_seconds])
        if self.losses.ndim != 1 or self.losses.shape != self.correct.shape:
            raise ValueError(
                f"it has losses {self.losses.shape} and correct predictions {self.correct.shape}"
            )

    @property
    def step(self) -> int:
        """The number of finished steps of the current epoch."""
        return len(self.losses)

    @property
    def best(self) -> Epoch | None:
        """The first of the finished epochs with the best validation result, if there is any."""
        return max(
            self.epochs,
            key=lambda e: (e.validation_accuracy or 0.0, -(e.validation_loss or 0.0)),
            default=None,
        )

    @property
    def hits(self) -> np.ndarray:
        """Deprecated: ``correct``."""
        warnings.warn(
            "Progress.hits is deprecated: use Progress.correct", DeprecationWarning, stacklevel=2
        )
        return self.correct

    def finish(self, epoch: Epoch, loader: dict[str, Any], seconds: float) -> None:
        """Add a finished epoch and begin the next one."""
        self.epochs.append(epoch)
        self.losses, self.correct = np.zeros(0), np.zeros(0, np.int64)
        self.loader, self.seconds, self.epoch_seconds = loader, seconds, 0.0
