"""One epoch of training: its steps, its metrics, its progress bar."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from tqdm import tqdm

from ..backend import Array, Backend, backend_of
from ..checkpoint import CheckpointFolder, Progress, Run
from ..compiled import Step
from ..data import DataLoader
from ..data.lazy import LazyImages
from ..group import ALONE, Group
from ..layers import Layer
from ..layers.sequential import leaves
from .evaluation import naming_batch_size
from .stop import Stop


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or not a number; the message names epoch, step and layer."""


def train_epoch(
    run: Run,
    step: Step,
    so_far: Progress,
    stop: Stop,
    checkpoints: CheckpointFolder | None,
    progress: bool,
    begin: float,
) -> dict[str, Any]:
    """Train what is left of an epoch; return its figures and leave its state in ``so_far``."""
    optimizer, loader, backend = run.optimizer, run.loader, run.model.backend
    if step.compiled and isinstance(loader, DataLoader):
        loader = loader.in_bytes(run.model.parameters()[0].data.dtype)
    number, done, sizes = len(so_far.epochs) + 1, so_far.step, run.loader.sizes()
    epoch_begin = time.perf_counter() - so_far.epoch_seconds
    tally = _Tally(backend, len(loader), so_far, step.group)
    bar = tqdm(
        total=sum(sizes),
        desc=f"epoch {number}",
        unit="img",
        unit_scale=True,
        leave=False,
        disable=None if progress else True,
    )

    def read() -> None:
        _read(tally, number, step, x)
        so_far.losses, so_far.hits = tally.losses_read, tally.hits_read
        now = time.perf_counter()
        so_far.seconds, so_far.epoch_seconds = now - begin, now - epoch_begin

    with bar, naming_batch_size(loader, f"epoch {number}"):
        for k, (size, (images, labels)) in enumerate(zip(sizes, loader, strict=True), start=1):
            if k <= done:  # before the break: the loader makes it again, to draw what it drew
                tally.pass_over(size)
                continue
            lazy = isinstance(images, LazyImages)  # the step makes them, each thread its part
            x, y = images if lazy else backend.asarray(images), backend.asarray(labels)
            tally.add(step.gradients(x, y), step.correct, size)
            due, save = stop.agree(
                step.group, tally.due(), checkpoints is not None and checkpoints.due(k)
            )
            if due:
                read()
                if tally.due_to_be_shown() and not bar.disable:
                    bar.update(tally.seen - bar.n)
                    bar.set_postfix(
                        loss=f"{tally.loss:.4f}", accuracy=f"{tally.accuracy:.2%}", refresh=False
                    )
            optimizer.step()
            if run.schedule is not None:
                run.schedule.step()
            if stop.signal or save:
                read()
                if checkpoints is not None:
                    checkpoints.save(run, so_far)
            if stop.signal:
                break
        if len(tally.sizes) > done:
            read()
    return {
        "epoch": number,
        "lr": optimizer.lr,
        "loss": tally.loss,
        "accuracy": tally.accuracy,
        "validation_loss": None,
        "validation_accuracy": None,
        "seconds": so_far.epoch_seconds,
        "images_per_second": tally.seen / so_far.epoch_seconds,
    }


class _Tally:
    """Loss and hits of the steps of one epoch, kept on the backend until they are read.

    Attributes
    ----------
    sizes : list of int
        Images in the batch of each step of the epoch so far.
    losses_read, hits_read : array (steps read,)
        float64 and int64; ``seen`` images, and ``loss`` and ``accuracy`` are means over these.
    not_finite : (step, loss) or None
        The first step whose loss was not finite; steps count from 1.
    """

    def __init__(self, backend: Backend, steps: int, so_far: Progress, group: Group) -> None:
        self.backend, self.group = backend, group
        self._losses = backend.xp.zeros(steps)  # float64, so that nothing is rounded
        self._hits = backend.xp.zeros(steps, np.int64)
        self.losses_read, self.hits_read = so_far.losses, so_far.hits
        self.sizes: list[int] = []
        self.not_finite: tuple[int, float] | None = None
        self._next_reading = time.perf_counter() + backend.reading_interval
        self._next_showing = 0.0

    def pass_over(self, size: int) -> None:
        """Take in a step of before the break, whose figures are among those read."""
        self.sizes.append(size)

    def add(self, loss: Array, hits: Array, size: int) -> None:
        """Take in a step: its mean loss, and how many of ``size`` answers were right.

        Of both, this rank's share.
        """
        step = len(self.sizes)
        self._losses[step], self._hits[step] = loss, hits
        self.sizes.append(size)

    def due(self) -> bool:
        """Say whether the last reading is long enough ago for the next to be worth the wait."""
        return time.perf_counter() >= self._next_reading

    def due_to_be_shown(self) -> bool:
        """Say so ten times a second: the means are summed anew each time, over all steps."""
        now = time.perf_counter()
        if now < self._next_showing:
            return False
        self._next_showing = now + 0.1
        return True

    def read(self) -> None:
        """Fetch the steps added since the last reading: a GPU ends all work given to it first."""
        begin = len(self.losses_read)
        new = slice(begin, len(self.sizes))
        losses, hits = (
            self.group.sum(self.backend.to_numpy(a[new])) for a in (self._losses, self._hits)
        )
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size and self.not_finite is None:
            self.not_finite = begin + int(bad[0]) + 1, float(losses[bad[0]])
        self.losses_read = np.concatenate([self.losses_read, losses])
        self.hits_read = np.concatenate([self.hits_read, hits])
        self._next_reading = time.perf_counter() + self.backend.reading_interval

    @property
    def seen(self) -> int:
        return sum(self.sizes[: len(self.losses_read)])

    @property
    def loss(self) -> float:
        # Summed anew each time, so that it does not depend on how often it was read.
        weights = self.sizes[: len(self.losses_read)]
        return float(np.sum(self.losses_read * weights)) / max(self.seen, 1)

    @property
    def accuracy(self) -> float:
        return int(self.hits_read.sum()) / max(self.seen, 1)


def _read(tally: _Tally, epoch: int, step: Step, x: Array) -> None:
    """Read ``tally``; refuse a label out of range and a loss that is not finite.

    ``x`` is the input of the last step added.
    """
    step.loss.check()
    tally.read()
    if tally.not_finite is None:
        return
    (number, value), last = tally.not_finite, len(tally.sizes)
    noticed = f" (noticed at step {last}, with the weights of then)" if last > number else ""
    where = first_layer_not_finite(step.model, step.floats(x), step.group)
    raise NonFiniteLoss(
        f"the loss is {value} in epoch {epoch}, step {number}{noticed}: {where}; "
        "a smaller learning rate may help"
    )


def first_layer_not_finite(model: Layer, x: Array, group: Group = ALONE) -> str:
    """Run ``model`` layer by layer and say where the first value that is not finite appears.

    On whichever rank of ``group`` that is; each passes its part of the batch.
    """
    isfinite = backend_of(x).xp.isfinite
    if group.largest(not isfinite(x).all())[0]:
        return "the input of the model is not finite"
    for path, layer in leaves(model):
        x = layer(x)
        if group.largest(not isfinite(x).all())[0]:
            return f"the first output that is not finite is that of layer {path} ({layer!r})"
    return "every layer's output is finite"
