"""The step that is timed to choose tunables: LeNet-5 without dropout and one dense layer."""

from __future__ import annotations

import time

import numpy as np

from ...layers import AvgPool2d, BatchNorm2d, Conv2d, Dense, Flatten, ReLU, Sequential
from ...losses import CrossEntropyLoss
from ...machine import usable_cores
from ...optim import SGD
from .step import CompiledStep
from .tuning import CANDIDATES, MIN_IMAGES_PER_THREAD, Tunables


def seconds_per_step(tunables: Tunables, steps: int = 4) -> float:
    """Return the seconds of the fastest of ``steps`` steps.

    The batch is large enough for the largest number of threads that is tried.
    """
    threads = max(t for t in CANDIDATES["threads"] if t <= max(2, usable_cores()))
    images = MIN_IMAGES_PER_THREAD.per_thread_for_features * threads
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
    times = []
    for _ in range(steps + 1):  # the first one also makes the plan
        begin = time.perf_counter()
        step(x, y)
        times.append(time.perf_counter() - begin)
    return min(times)
