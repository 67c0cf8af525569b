"""nplenet on the tasks of gpu.py: single steps, whole epochs, its kernels, and training to 99 %."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_case import Case, Values, bytes_and_labels, floats_and_labels, network

import nplenet
from nplenet.augment import ToFloat, standard_augmentation
from nplenet.compiled import Step, TextbookStep
from nplenet.data import DataLoader, load_dataset
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import AdamW
from nplenet.schedules import OneCycleLR
from nplenet.seeds import generator
from nplenet.train import evaluate_with, fit

GOAL = 0.99  # test accuracy


class NplenetSteps:
    """A training step of nplenet; see ``gpu_case.System``.

    ``kind`` is "compiled" (what ``nplenet.compile`` gives on a GPU, for images of bytes as a data
    set has them), "textbook" (the layers on CuPy) or "numpy" (the layers on NumPy in float64, which
    the others must equal).
    """

    def __init__(self, case: Case, kind: str) -> None:
        dtype = np.float64 if kind == "numpy" else np.float32
        self.model = network(case).astype(dtype)
        self.backend = nplenet.get_backend("numpy" if kind == "numpy" else "cupy")
        self.model.to(self.backend)
        self.step = new_step(self.model, case, case.batch, kind == "compiled")
        x, y = floats_and_labels(case.batch, dtype)
        if kind == "compiled":
            x, y = bytes_and_labels(case.batch)  # the same
        self.x, self.y = self.backend.asarray(x), self.backend.asarray(y)
        self.about = f"nplenet {nplenet.__version__}, {self.step.describe().splitlines()[0]}"

    def steps(self, n: int) -> None:
        for _ in range(n):
            self.loss = self.step(self.x, self.y)

    def step_in_two(self) -> None:
        """Do a step as two calls, between which the gradients can be read or changed."""
        self.loss = self.step.gradients(self.x, self.y)
        self.step.optimizer.step()

    def wait(self) -> None:
        if self.backend.name != "numpy":
            self.backend.xp.cuda.Device().synchronize()

    def last(self) -> tuple[float, Values, Values]:
        there = self.backend.to_numpy
        gradients = {p.name: there(p.grad).copy() for p in self.model.parameters()}
        state = {name: np.array(there(a)) for name, a in self.model.state_dict().items()}
        return float(self.loss), gradients, state


def new_step(model: LeNet5, case: Case, batch: int, compiled: bool) -> Step:
    """Return a step for a model that is on its backend already."""
    optimizer = AdamW(model.parameters(), case.lr, case.betas, case.eps, case.weight_decay)
    if compiled:
        return nplenet.compile(model, CrossEntropyLoss(), optimizer, batch)
    return TextbookStep(model, CrossEntropyLoss(), optimizer, batch, "they are measured")


def epochs(case: Case, images: int, count: int, augmented: bool) -> dict[str, Any]:
    """Time whole epochs of ``nplenet.train.fit``; the first one warms up.

    With ``augmented``, an epoch is one of ``nplenet train``: shuffled bytes, the standard
    augmentation, the schedule and the metrics. Without, every batch holds the same images as the
    batch of the other systems; the step still gathers it from the data set.
    """
    x, y = bytes_and_labels(images if augmented else case.batch)
    repeats = 1 if augmented else -(-images // case.batch)
    loader = DataLoader(
        np.tile(x, (repeats, 1, 1, 1)),
        np.tile(y, repeats),
        case.batch,
        shuffle=augmented,
        rng=generator(0, "shuffle"),
        transform=standard_augmentation() if augmented else ToFloat(),
        transform_rng=generator(0, "augment"),
    ).to("cupy")
    step = new_step(network(case).to("cupy"), case, case.batch, compiled=True)
    optimizer, ends = step.optimizer, []
    schedule = OneCycleLR(optimizer, case.lr, total_steps=(1 + count) * len(loader))
    fit(
        step.model,
        step.loss,
        optimizer,
        loader,
        epochs=1 + count,
        step=step,
        schedule=schedule if augmented else None,
        progress=False,
        on_epoch=lambda epoch: ends.append(time.perf_counter()),
    )
    seconds = np.diff(ends)
    return {
        "epoch_seconds": float(np.median(seconds)),
        "us": float(np.median(seconds)) / len(loader) * 1e6,
        "least_us": float(seconds.min()) / len(loader) * 1e6,
        "steps": len(loader),
        "images_per_second": len(loader.images) / float(np.median(seconds)),
    }


def kernels(case: Case, times: int) -> list[dict[str, Any]]:
    """Return name, seconds, bytes and FLOP of each kernel of the compiled step; [] if unknown."""
    system = NplenetSteps(case, "compiled")
    system.steps(3)
    system.wait()
    measure = getattr(system.step, "kernels", None)
    return [dict(row) for row in measure(times)] if callable(measure) else []


def to_goal(seeds: int, recipe: dict[str, Any], data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Train from each seed; yield the seconds until the test accuracy reached ``GOAL``.

    First yields the seconds to load the data, and the seconds of an epoch that compiles everything.
    The clock runs in training only: it stands while the test images are evaluated.
    """
    begin = time.perf_counter()
    limit = data.pop("limit", None)
    dataset = load_dataset(**data)
    if limit:
        dataset = dataset.limited(limit)
    loaded = time.perf_counter()
    train_once(dataset, 1000, recipe | {"epochs": 1})
    yield {"load": loaded - begin, "first": time.perf_counter() - loaded}
    for seed in range(seeds):
        yield train_once(dataset, seed, recipe)


def train_once(dataset: Any, seed: int, recipe: dict[str, Any]) -> dict[str, Any]:
    """Train from a seed; return the seconds and epochs to ``GOAL`` (None if never), and more."""
    model = LeNet5(dropout=recipe["dropout"], seed=seed).to("cupy")
    loader = DataLoader(
        dataset.train_images,
        dataset.train_labels,
        recipe["batch"],
        shuffle=True,
        rng=generator(seed, "shuffle"),
        transform=standard_augmentation(),
        transform_rng=generator(seed, "augment"),
    ).to("cupy")
    optimizer = AdamW(model.parameters(), recipe["lr"], weight_decay=recipe["weight_decay"])
    loss, total = CrossEntropyLoss(), recipe["epochs"] * len(loader)
    schedule = OneCycleLR(optimizer, recipe["lr"], total_steps=total)
    step = nplenet.compile(model, loss, optimizer, recipe["batch"])
    seconds, accuracies = [], []

    def after(epoch: Any) -> None:
        test = dataset.test_images, dataset.test_labels
        accuracies.append(evaluate_with(step.predict, model.backend, *test).accuracy)
        seconds.append(epoch.seconds)

    fit(
        model,
        loss,
        optimizer,
        loader,
        epochs=recipe["epochs"],
        step=step,
        schedule=schedule,
        progress=False,
        on_epoch=after,
    )
    reached = next((k for k, a in enumerate(accuracies, start=1) if a >= GOAL), None)
    return {
        "seed": seed,
        "compiled": step.compiled,
        "seconds": None if reached is None else sum(seconds[:reached]),
        "epochs": reached,
        "accuracy": accuracies[-1],
        "epoch_seconds": seconds,
    }
