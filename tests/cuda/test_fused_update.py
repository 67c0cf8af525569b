"""The update within the fused step gives the bits of the optimizer's own kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.compiled.cuda.feed import Feed, rows
from nplenet.compiled.cuda.fused import FusedStep, device_of, why_not_fused
from nplenet.compiled.cuda.fused.training import Training
from nplenet.compiled.cuda.fused.update import Update
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Flatten,
    Layer,
    ReLU,
    Sequential,
)
from nplenet.layers.sequential import leaves
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD, Adam, AdamW, Optimizer, RMSprop

SHAPE, SIZES = (1, 9, 9), (6, 6, 5)

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "sgd, Nesterov": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "sgd, dampening": lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
    "adam": lambda p: Adam(p, lr=0.01, weight_decay=0.01),
    "adamw": lambda p: AdamW(p, lr=0.01, weight_decay=0.1),
    "two groups": lambda p: AdamW(
        [{"params": p[:3], "lr": 0.02}, {"params": p[3:], "weight_decay": 0.0}], lr=0.01
    ),
    "no device code": lambda p: RMSprop(p, lr=0.01),
}


def chain() -> Layer:
    """Return a chain in which each kind of layer has parameters, one of them below the loss."""
    rng = np.random.default_rng(1)
    return Sequential(
        BatchNorm2d(1),
        Conv2d(1, 3, 3, rng=rng),
        BatchNorm2d(3),
        ReLU(),
        AvgPool2d(2),
        Flatten(),
        Dense(27, 5, rng=rng),
        BatchNorm1d(5),
        Dense(5, 4, rng=rng),
    )


class Trained:
    """The chain after some steps, whose updates are kernels of their own, or part of the step."""

    def __init__(self, cuda: Backend, make: Callable[[Any], Optimizer], within: bool) -> None:
        model = chain().to(cuda)
        layers = [layer for _, layer in leaves(model)]
        layers[1].bias.requires_grad = False  # type: ignore[attr-defined]
        layers[4 + 2].weight.requires_grad = False  # type: ignore[attr-defined]
        self.optimizer = make(model.parameters())
        rng = np.random.default_rng(2)
        images = cuda.asarray(rng.standard_normal((sum(SIZES), *SHAPE)).astype(np.float32))
        numbers = []
        for _ in SIZES:
            self.optimizer.step_count += 1
            numbers.append(self.optimizer.numbers())
        feed = Feed(
            cuda,
            images,
            cuda.xp.zeros(3, np.int64),
            entries=len(images),
            steps=len(SIZES),
            keys=0,
            numbers=len(numbers[0]),
        )
        first = np.cumsum([0, *SIZES[:-1]]).tolist()
        labels = rng.integers(0, 4, len(images))
        table = rows(first, range(1, len(SIZES) + 1), [[]] * len(SIZES), numbers)
        feed.load(order=np.arange(len(images)), labels=labels, table=table)
        loss = CrossEntropyLoss()
        step = FusedStep(layers, SHAPE, np.float32, max(SIZES), loss, cuda, self.optimizer)
        for n in SIZES:
            if within:
                step.step(feed, n, self.optimizer, 1)
            else:
                step.gradients(feed, n)
                self.optimizer.update(feed.numbers)
        self.step, self.losses = step, feed.losses.get().tobytes()
        self.gradients = [p.grad.get().tobytes() for p in model.parameters()]
        state = {**model.state_dict(), **self.optimizer.state_dict()}
        self.state = {
            name: np.asarray(a).tobytes() for name, a in state.items() if hasattr(a, "shape")
        }


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_update_within_a_step_gives_the_bits_of_the_one_behind_it(
    cuda: Backend, name: str
) -> None:
    apart, within = (Trained(cuda, OPTIMIZERS[name], within) for within in (False, True))
    assert within.losses == apart.losses
    assert within.gradients == apart.gradients
    assert within.state == apart.state
    has_code = within.step.whole.any.parts.update is not None
    assert has_code == (name != "no device code")


def test_many_parameters_are_updated_by_a_kernel_of_its_own(cuda: Backend) -> None:
    """The kernels' argument has no room for the moments of all."""
    rng, loss = np.random.default_rng(0), CrossEntropyLoss()
    layers: list[Layer] = [Dense(4, 4, rng=rng) for _ in range(60)]
    model = Sequential(*layers).to(cuda)
    optimizer = Adam(model.parameters())
    arguments = (layers, (4,), np.dtype(np.float32))
    assert why_not_fused(*arguments, loss, 8, device_of(cuda)) == ""
    step = FusedStep(*arguments, 8, loss, cuda, optimizer)
    assert Training(*arguments, loss, 8, device_of(cuda), Update(optimizer)).any.can_run is False
    assert step.whole is step.training


def test_parameters_begin_where_a_load_of_four_may(cuda: Backend) -> None:
    model = chain().to(cuda)
    optimizer = AdamW(model.parameters())
    assert all(p.data.data.ptr % 16 == p.grad.data.ptr % 16 == 0 for p in model.parameters())
    assert {p.data.size % 4 for p in model.parameters()} > {0}  # so some have room behind them
    saved = optimizer.state_dict()
    assert saved["exp_avg.1.weight"].shape == model.parameters()[2].data.shape
