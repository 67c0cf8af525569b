"""The fast step: a whole model compiled to a list of NumPy calls on one block of memory.

``compile`` returns a step that computes what the layers compute, to rounding.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from ..backend import get_backend
from ..checks import count
from ..layers import AvgPool2d, BatchNorm2d, Conv2d, Dense, Flatten, Layer, ReLU, Sequential
from ..layers.sequential import leaves
from ..losses import CrossEntropyLoss
from ..machine import usable_cores
from ..optim import SGD, Optimizer
from .cpu import LANES
from .step import CompiledStep, Step, TextbookStep
from .tuning import CANDIDATES, LEAST, Tunables, checked, tuned

__all__ = ["CompiledStep", "Step", "TextbookStep", "Tunables", "compile"]


def compile(
    model: Layer,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    batch_size: int,
    *,
    tunables: Mapping[str, int] | None = None,
    input_shape: Sequence[int] | None = None,
) -> Step:
    """Return a training step for a model, fast where it can be.

    Parameters
    ----------
    model : Layer
        A (nest of) ``Sequential`` of the library's own layers. Anything else runs on the textbook
        layers, behind the same interface; ``step.describe()`` then says why.
    loss : CrossEntropyLoss
    optimizer : Optimizer
        Made of the model's parameters.
    batch_size : int
        The most images of a step.
    tunables : mapping of str to int, optional
        Some of ``Tunables``, the others as by default. None: those found on this machine, in a
        second of measurements the first time.
    input_shape : (C, H, W), optional
        Of an image. Left out, the memory is laid out at the first step.

    Returns
    -------
    Step
        ``step(x, y) -> loss``, ``step.predict(x) -> logits``, ``step.hits``, ``step.describe()``.

    Raises
    ------
    TypeError, ValueError
        For a batch size or tunables that can't be.
    """
    batch_size = count(batch_size, "compile: batch_size")
    given = None if tunables is None else checked(tunables)
    why = obstacle(model, loss)
    if why:
        return TextbookStep(model, loss, optimizer, batch_size, why)
    chosen = given or tuned(seconds_of_a_step)
    step = CompiledStep(model, loss, optimizer, batch_size, chosen)
    if input_shape is not None:
        step.prepare(input_shape)
    return step


def obstacle(model: Layer, loss: CrossEntropyLoss) -> str:
    """Return why a model can't be compiled; nothing if it can."""
    if type(loss) is not CrossEntropyLoss:
        return f"only CrossEntropyLoss is compiled, not {type(loss).__name__}"
    for _, layer in model.modules():
        if layer.backend is not get_backend("numpy"):
            return f"the model is on the {layer.backend.name} backend, not on numpy"
    for _, layer in leaves(model):
        if type(layer) not in LANES:
            return f"{type(layer).__name__} has no compiled form"
    dtypes = sorted({p.data.dtype.name for p in model.parameters()})
    if len(dtypes) != 1:
        return f"the parameters' dtypes are {dtypes or 'none'}, not one"
    return ""


def seconds_of_a_step(tunables: Tunables, steps: int = 4) -> float:
    """Return the time of the fastest of a few steps of the layers of LeNet-5.

    The batch is large enough for all threads that are tried.
    """
    images = LEAST.features * max(t for t in CANDIDATES["threads"] if t <= max(2, usable_cores()))
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
    for _ in range(steps + 1):  # the first one lays out the memory
        begin = time.perf_counter()
        step(x, y)
        times.append(time.perf_counter() - begin)
    return min(times)
