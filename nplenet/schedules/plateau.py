"""The schedule that watches the loss.

Legend: k steps done, counted from 0.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from ..attributes import Settings
from ..checks import count, fraction, number
from ..optim import Optimizer
from .base import Schedule, not_negative

LARGEST = float(np.finfo(np.float64).max)  # JSON has no infinity
MAX_REDUCTIONS = 10_000  # each is computed anew for each rate
SMALLEST_REDUCTION = 1e-8  # of the rate; PyTorch's eps


class PlateauLR(Schedule):
    """Multiply the rate by ``factor`` after more than ``patience`` epochs without a better loss.

    PyTorch's ``ReduceLROnPlateau`` with mode="min" and a relative threshold: an epoch is better
    whose loss is below best * (1 - threshold). ``fit`` passes the validation loss of each epoch,
    or the training loss without validation images; elsewhere call ``end_epoch(loss)``.

    Parameters
    ----------
    optimizer : Optimizer
    factor : float
        0 to 1.
    patience, cooldown : int
        Epochs without a better loss that are borne, and epochs after a reduction that do not count.
    threshold, min_lr : float
        >= 0.
    """

    settings: ClassVar[Settings] = {
        "factor": fraction,
        "patience": partial(count, minimum=0),
        "threshold": fraction,
        "cooldown": partial(count, minimum=0),
        "min_lr": not_negative,
        "best": partial(number, interval="(-inf, inf]"),
        "bad_epochs": partial(count, minimum=0),
        "resting": partial(count, minimum=0),
        "reductions": partial(count, minimum=0, maximum=MAX_REDUCTIONS),
    }
    factor: float
    patience: int
    threshold: float
    cooldown: int
    min_lr: float
    best: float
    bad_epochs: int
    resting: int
    reductions: int

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(
            optimizer,
            factor=factor,
            patience=patience,
            threshold=threshold,
            cooldown=cooldown,
            min_lr=min_lr,
            best=LARGEST,
            bad_epochs=0,
            resting=0,
            reductions=0,
        )

    def rate(self, k: int) -> float:
        rate = self.base_lr
        for _ in range(self.reductions):
            lower = max(rate * self.factor, self.min_lr)
            if rate - lower <= SMALLEST_REDUCTION:
                break
            rate = lower
        return rate

    def end_epoch(self, loss: float) -> None:
        if loss < self.best * (1.0 - self.threshold):
            self.best, self.bad_epochs = float(loss), 0
        else:
            self.bad_epochs += 1
        if self.resting > 0:
            self.resting -= 1
            self.bad_epochs = 0
        if self.bad_epochs > self.patience:
            self.reductions = min(self.reductions + 1, MAX_REDUCTIONS)
            self.resting, self.bad_epochs = self.cooldown, 0
        self._apply()
