"""The step that is timed to choose tunables: LeNet-5 without dropout and one dense layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...layers import AvgPool2d, BatchNorm2d, Conv2d, Dense, Flatten, ReLU, Sequential
from ...losses import CrossEntropyLoss
from ...optim import SGD
from .step import CompiledStep
from .tuning import Tunables


def make_step(images: int, tunables: Tunables) -> Callable[[], object]:
    """Return a training step of a batch, planned and run once."""
    rng = np.random.default_rng(0)
    model = Sequential(
        Conv2d(1, 6, 5, bias=False, rng=rng),
        BatchNorm2d(6),
        ReLU(),
        AvgPool2d(2),
        Conv2d(6, 16, 5, bias=False, rng=rng),
        BatchNorm2d(16),
        ReLU(),
        AvgPool2d(2),
        Flatten(),
        Dense(400, 120, rng=rng),
        ReLU(),
        Dense(120, 10, rng=rng),
    )
    optimizer = SGD(model.parameters())
    step = CompiledStep(model, CrossEntropyLoss(), optimizer, images, tunables)
    x = rng.random((images, 1, 32, 32), np.float32)
    y = np.arange(images) % 10
    step(x, y)
    return lambda: step(x, y)
