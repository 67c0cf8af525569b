"""Train a small network in graphs on several ranks, in several ways: a program, run by the tests.

    mpiexec -n 2 python tests/graphs_on_ranks.py FOLDER BACKEND

The backend is cupy-sim, whose NCCL is simulated as well, or cupy, for two GPUs. Each rank leaves
``rank0.json`` in FOLDER, with what it was told and what it counted; rank 0 also an ``npz`` for each
run with losses, correct predictions, weights and moments. The tests import ``Run`` from here, to
train the same network alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nplenet
import nplenet.train.evaluation
import nplenet.train.preflight
from nplenet.augment import standard_augmentation
from nplenet.backend import get_backend
from nplenet.checkpoint import LATEST, CheckpointFolder, load
from nplenet.compiled.cuda.step import GraphStep
from nplenet.data import DataLoader, DeviceLoader, load_digits, pad_images
from nplenet.group import ALONE, Group, sharing
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.mpi import join
from nplenet.optim import SGD, AdamW
from nplenet.schedules import CosineLR
from nplenet.seeds import generator
from nplenet.train import NonFiniteLoss, fit

SECONDS = 60.0  # between two sums; the first time all kernels are compiled
BATCH, STEPS = 16, 40
IMAGES, LABELS = load_digits("train")
IMAGES = pad_images(IMAGES[:480])

RUNS: dict[str, dict[str, Any]] = {
    "uneven": {"images": 79},  # the last batch has 15 images: 7, and 8 as of a whole batch of 16
    "nobody": {"images": 65, "norm": False},  # the last one has 1: none on rank 0
    "float32": {"images": 79, "dtype": "float32", "rate": 0.01},
}
"""Arguments of ``Run``, of which the tests know what one process makes of them."""


def small(norm: bool) -> Layer:
    """Return a chain with two dropouts, and one or both batch norms."""
    rng = np.random.default_rng(3)
    return Sequential(
        MaxPool2d(4),
        Conv2d(1, 3, 3, bias=False, rng=rng),
        BatchNorm2d(3),
        ReLU(),
        AvgPool2d(2),
        Flatten(),
        Dropout(0.2, rng=generator(0, "dropout")),
        Dense(27, 12, bias=not norm, rng=rng),  # before a norm its gradient is rounding noise
        *([BatchNorm1d(12)] if norm else []),
        ReLU(),
        Dropout(0.3, rng=generator(1, "dropout")),
        Dense(12, 10, rng=rng),
    )


class Run:
    """A training from one seed; ``rate`` is that of SGD, by default AdamW trains."""

    def __init__(
        self,
        backend: str,
        group: Group = ALONE,
        *,
        images: int,
        norm: bool = True,
        dtype: str = "float64",
        rate: float | None = None,
        batch: int = BATCH,
        bad_label: int | None = None,
    ) -> None:
        self.group = group
        self.model = small(norm).astype(dtype).to(backend)
        transform = standard_augmentation()
        transform.transforms[-1].dtype = np.dtype(dtype)  # type: ignore[attr-defined]
        labels = LABELS[:images].copy()
        if bad_label is not None:
            labels[bad_label] = 11
        self.loader = DataLoader(
            IMAGES[:images],
            labels,
            batch,
            shuffle=True,
            rng=generator(0, "shuffle"),
            transform=transform,
            transform_rng=generator(0, "augment"),
        ).to(backend)
        parameters = self.model.parameters()
        self.optimizer: Any = AdamW(parameters, 0.01) if rate is None else SGD(parameters, rate)
        self.schedule = CosineLR(self.optimizer, 40)
        self.loss = CrossEntropyLoss(label_smoothing=0.1)
        per_rank = -(-batch // group.size)
        self.step = nplenet.compile(
            self.model, self.loss, self.optimizer, per_rank, tunables={"threads": 1}
        )

    def fit(self, **options: Any) -> dict[str, np.ndarray]:
        """Train two epochs; return losses, accuracies, the model's state and the optimizer's."""
        history = fit(
            self.model,
            self.loss,
            self.optimizer,
            self.loader,
            step=self.step,
            epochs=2,
            schedule=self.schedule,
            validation=(IMAGES[:40], LABELS[:40]),
            progress=False,
            group=self.group,
            **options,
        )
        moments = {f"its {k}": np.array(v) for k, v in self.optimizer.state_dict().items()}
        epochs = np.array([(e.loss, e.accuracy, e.validation_loss) for e in history.epochs])
        return {**self.model.state_dict(), **moments, "epochs": epochs}


def error_of(kind: type[Exception], work: Callable[[], object]) -> str:
    try:
        work()
    except kind as error:
        return str(error)
    return "no error"


def label_out_of_range(backend: str, group: Group) -> str:
    """Return the error of a label on the last rank, which ``fit`` does not see before."""
    order = np.arange(79)
    generator(0, "shuffle").shuffle(order)
    for module in (nplenet.train.preflight, nplenet.train.evaluation):
        module.shapes_of = lambda *_: []  # type: ignore[attr-defined]  as of an unknown model
    bad = int(order[BATCH + BATCH - 2])  # of the second step, the last sample but one
    return error_of(ValueError, Run(backend, group, images=79, bad_label=bad).fit)


def interrupted_and_resumed(
    backend: str, group: Group, folder: Path
) -> tuple[str, dict[str, np.ndarray]]:
    """Return where a run stopped by a signal to one rank stood, and what became of it."""

    class Stops(CheckpointFolder):
        def save(self, run: Any, progress: Any) -> None:
            super().save(run, progress)
            if progress.step == 2:  # on rank 0, which saves
                os.kill(os.getpid(), signal.SIGINT)

    first = Run(backend, group, images=79)
    first.fit(checkpoints=Stops(folder, every_steps=2))
    checkpoint = group.broadcast(load(folder / LATEST) if group.rank == 0 else None)
    step = first.optimizer.step_count
    return f"{step} steps", Run(backend, group, images=79).fit(resume=checkpoint)


def counts_of_an_epoch(backend: str, group: Group) -> dict[str, int]:
    """Return what the simulated device was asked in the third epoch, of ``STEPS``."""
    import gpusim

    run = Run(backend, group, images=4 * STEPS, batch=4, dtype="float32")
    assert isinstance(run.step, GraphStep)
    assert isinstance(run.loader, DeviceLoader)
    run.model.train()
    layers = [layer for _, layer in run.model.modules()]
    with sharing(group, run.step, run.loader, *layers):
        for _ in range(3):  # the first two compile and record
            epoch = run.step.begin_epoch(run.loader.deal(), run.schedule, 0)
            with gpusim.counting() as count:
                while epoch.done < STEPS:
                    epoch.advance(STEPS)
    assert np.isfinite(get_backend(backend).to_numpy(epoch.losses)).all()
    return count.value.nonzero()


def main(folder: Path, backend: str, group: Group) -> None:
    simulated = backend == "cupy-sim"
    if simulated:
        import gpusim

        gpusim.install(force=True, devices=group.size)
        backend = "cupy"
    if hasattr(group, "seconds"):
        group.seconds = SECONDS
    told: dict[str, Any] = {}
    host = Run(backend, group, **RUNS["uneven"])
    results = {"sums by the host": host.fit()}
    with sharing(group, host.step):
        told["sums by the host"] = host.step.describe()

    group.take_device(get_backend(backend))
    for name, arguments in RUNS.items():
        run = Run(backend, group, **arguments)
        results[name] = run.fit()
    with sharing(group, run.step):
        told["sums by NCCL"] = run.step.describe()
    told["resumed"], results["resumed"] = interrupted_and_resumed(backend, group, folder / "run")
    told["not finite"] = error_of(
        NonFiniteLoss, Run(backend, group, images=79, dtype="float32", rate=1e30).fit
    )
    told["label"] = label_out_of_range(backend, group)
    if simulated:
        told["counts"] = counts_of_an_epoch(backend, group)
    (folder / f"rank{group.rank}.json").write_text(json.dumps(told), encoding="utf-8")
    if group.rank == 0:
        for name, arrays in results.items():
            np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    with join() as ranks:
        main(Path(sys.argv[1]), sys.argv[2], ranks)
