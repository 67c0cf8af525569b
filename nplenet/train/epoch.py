"""One epoch of training: its steps, its metrics, its progress bar."""

from __future__ import annotations

import math
import shutil
import time
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from tqdm import tqdm

from ..backend import Array, backend_of
from ..checkpoint import CheckpointFolder, Progress, Run
from ..checkpoint.progress import short
from ..compiled import Step
from ..data import DataLoader, DeviceLoader
from ..data.lazy import LazyImages
from ..group import ALONE, Group
from ..layers import Layer
from ..layers.sequential import leaves
from ..machine import HAS_THREADS
from ..optim import clip_gradients
from .evaluation import naming_batch_size
from .stop import Stop

BAR_COLUMNS = 60
SECONDS_PER_DRAWING = 0.1  # of the progress bar, whose means are summed anew over all steps


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
    """Train the rest of an epoch; return its metrics and leave its state in ``so_far``.

    ``begin`` is the start of the run, shifted by the time between its sessions
    (``time.perf_counter``).
    """
    number = len(so_far.epochs) + 1
    metrics = RunningMetrics(step, run.loader.sizes(), so_far, begin)
    bar = progress_bar(number, sum(metrics.sizes), progress)
    by_device = (
        step.runs_epochs
        and isinstance(run.loader, DeviceLoader)
        and run.clip_norm is None  # clipping is the host's
        and run.model.backend.reading_interval > 0.0  # 0 asks for each loss at once
    )
    loop = steps_by_device if by_device else steps_by_host
    with bar, naming_batch_size(run.loader, f"epoch {number}"):
        loop(run, step, metrics, stop, checkpoints, bar)
        metrics.fetch()
    return {
        "epoch": number,
        "lr": run.optimizer.lr,
        "loss": metrics.loss,
        "accuracy": metrics.accuracy,
        "validation_loss": None,
        "validation_accuracy": None,
        "seconds": so_far.epoch_seconds,
        "images_per_second": metrics.images / so_far.epoch_seconds,
    }


def progress_bar(epoch: int, images: int, shown: bool) -> tqdm[Any]:
    """Return the bar of an epoch: how far, the time left, loss and accuracy, on one short line."""
    if not HAS_THREADS:
        tqdm.monitor_interval = 0  # it would warn that it has no thread to watch the bar with
    return tqdm(
        total=images,
        desc=f"epoch {epoch}",
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {remaining} left{postfix}",
        ncols=min(BAR_COLUMNS, shutil.get_terminal_size().columns - 1),
        leave=False,
        disable=None if shown else True,
    )


def steps_by_host(
    run: Run,
    step: Step,
    metrics: RunningMetrics,
    stop: Stop,
    checkpoints: CheckpointFolder | None,
    bar: tqdm[Any],
) -> None:
    """Do the steps of an epoch; the host gives each its images and its update."""
    loader, backend, done = run.loader, run.model.backend, metrics.so_far.step
    if step.compiled and backend.name == "numpy" and isinstance(loader, DataLoader):
        loader = loader.in_bytes(run.model.parameters()[0].data.dtype)
    for k, (images, labels) in enumerate(loader, start=1):
        if k <= done:  # done before the run stopped: made again, for its random numbers
            continue
        lazy = isinstance(images, LazyImages)  # each thread of the step makes its part
        x, y = images if lazy else backend.asarray(images), backend.asarray(labels)
        metrics.add(x, step.gradients(x, y), step.correct)
        due, save = stop.agree(
            step.group, metrics.due(), checkpoints is not None and checkpoints.due(k)
        )
        if due:
            metrics.fetch()
            metrics.show(bar)
        if run.clip_norm is not None:
            # Only these: of others the layers add up gradients that no step clears.
            trained = [p for flat in run.optimizer.flats for p in flat.parameters]
            clip_gradients(trained, run.clip_norm)
        run.optimizer.step()
        if run.schedule is not None:
            run.schedule.step()
        if stop.signal or save:
            metrics.fetch()
            if checkpoints is not None:
                checkpoints.save(run, metrics.so_far)
        if stop.signal:
            break


def steps_by_device(
    run: Run,
    step: Step,
    metrics: RunningMetrics,
    stop: Stop,
    checkpoints: CheckpointFolder | None,
    bar: tqdm[Any],
) -> None:
    """Do the steps of an epoch without the host, which looks in now and then.

    While the device is at work, the host prepares the next epoch, though none may come.
    """
    loader, so_far = run.loader, metrics.so_far
    assert isinstance(loader, DeviceLoader)
    deal, steps = loader.deal(), len(metrics.sizes)
    if so_far.step == steps:
        return
    epoch = step.begin_epoch(deal, run.schedule, so_far.step)
    metrics.follow(epoch)
    # One after the other: meanwhile the host enqueues nothing, and the queue would run dry.
    preparations = iter((loader.prepare, partial(step.prepare_epoch, run.schedule, steps)))
    try:
        while epoch.done < steps and not stop.signal:
            limit = math.inf if checkpoints is None else checkpoints.steps_to_save(epoch.done)
            epoch.advance(step.group.broadcast(limit))  # rank 0 saves; all launch the same graphs
            if epoch.all_queued:
                for prepare in islice(preparations, 1 if epoch.done < steps else None):
                    prepare()
            due, save = stop.agree(
                step.group, metrics.due(), checkpoints is not None and checkpoints.due(epoch.done)
            )
            if due:
                metrics.fetch()
                metrics.show(bar)
            if stop.signal or save:
                metrics.fetch()
                epoch.settle()
                if checkpoints is not None:
                    checkpoints.save(run, so_far)
    finally:  # an error, too, must not leave what was rehearsed for steps that were not run
        epoch.settle()


class RunningMetrics:
    """Loss and accuracy of the epoch in progress.

    Reading a number from a GPU waits for all work queued before it. So the metrics of each step
    stay on the backend, and ``fetch`` moves all new ones into ``so_far`` at once. The means are
    over the fetched steps.

    Parameters
    ----------
    step : Step
    sizes : list of int
        Images in the batch of each step of the epoch.
    so_far : Progress
        Holds the steps before an interruption; ``fetch`` adds to it.
    begin : float
        See ``train_epoch``.
    """

    def __init__(self, step: Step, sizes: list[int], so_far: Progress, begin: float) -> None:
        self.step, self.sizes, self.so_far = step, sizes, so_far
        self.backend = step.model.backend
        self._begin, self._epoch_begin = begin, time.perf_counter() - so_far.epoch_seconds
        self._losses = self.backend.xp.zeros(len(sizes))  # float64, so that nothing is rounded
        self._correct = self.backend.xp.zeros(len(sizes), np.int64)
        self._added = so_far.step  # steps done
        self._x: Array = None  # the input of the last step added
        self._epoch: Any = None  # see ``follow``
        self._next_fetch = time.perf_counter() + self.backend.reading_interval
        self._next_drawing = 0.0

    def add(self, x: Array, loss: Array, correct: Array) -> None:
        """Add this rank's part of a step: its input, loss and correct predictions."""
        self._losses[self._added], self._correct[self._added] = loss, correct
        self._added, self._x = self._added + 1, x

    def follow(self, epoch: Any) -> None:
        """Take the metrics from an epoch that runs without the host, as far as it is enqueued."""
        self._epoch, self._losses, self._correct = epoch, epoch.losses, epoch.correct

    def due(self) -> bool:
        """Say whether ``reading_interval`` has passed since the last fetch."""
        return time.perf_counter() >= self._next_fetch

    def fetch(self) -> None:
        """Move the steps added since the last fetch into ``so_far``.

        Raises
        ------
        ValueError
            When a label is out of range.
        NonFiniteLoss
            When a loss is not finite.
        """
        if self._epoch is None:
            self.step.loss.check()
        else:
            self._added = self._epoch.done
            self.step.loss.check(in_epoch=True, agree=self._epoch.first_fault)
        so_far, new = self.so_far, slice(self.so_far.step, self._added)
        losses, correct = (
            self.step.group.sum(self.backend.to_numpy(a[new]))
            for a in (self._losses, self._correct)
        )
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            raise self._non_finite(new.start + int(bad[0]) + 1, float(losses[bad[0]]))
        so_far.losses = np.concatenate([so_far.losses, losses])
        so_far.correct = np.concatenate([so_far.correct, correct])
        now = time.perf_counter()
        so_far.seconds, so_far.epoch_seconds = now - self._begin, now - self._epoch_begin
        self._next_fetch = now + self.backend.reading_interval

    def _non_finite(self, number: int, loss: float) -> NonFiniteLoss:
        """Return the error for step ``number``, naming the layer where it began."""
        detected = ""
        if self._added > number:
            detected = f" (detected at step {self._added}; the weights have changed since)"
        step = self.step
        x = self._x if self._epoch is None else self._epoch.images_of(number - 1)
        where = first_layer_not_finite(step.model, step.floats(x), step.group)
        return NonFiniteLoss(
            f"the loss is {loss} in epoch {len(self.so_far.epochs) + 1}, step {number}{detected}: "
            f"{where}; a smaller learning rate may help"
        )

    def show(self, bar: tqdm[Any]) -> None:
        """Draw the means on a progress bar, unless it was just drawn."""
        now = time.perf_counter()
        if bar.disable or now < self._next_drawing:
            return
        self._next_drawing = now + SECONDS_PER_DRAWING
        bar.update(self.images - bar.n)
        bar.set_postfix_str(f"loss {short(self.loss)}, {self.accuracy:.2%}", refresh=False)

    @property
    def images(self) -> int:
        return sum(self.sizes[: self.so_far.step])

    @property
    def loss(self) -> float:
        # Summed anew each time, so the result does not depend on the number of fetches.
        sums = self.so_far.losses
        if self.step.loss.reduction == "mean":
            sums = sums * self.sizes[: self.so_far.step]
        return float(np.sum(sums)) / max(self.images, 1)

    @property
    def accuracy(self) -> float:
        return int(self.so_far.correct.sum()) / max(self.images, 1)


@np.errstate(all="ignore")  # the layers would warn of what the error says
def first_layer_not_finite(model: Layer, x: Array, group: Group = ALONE) -> str:
    """Run ``model`` layer by layer and say where the first value that is not finite appears.

    Every rank of ``group`` passes its part of the batch; the answer covers all ranks.
    """
    isfinite = backend_of(x).xp.isfinite
    group.begin(len(x))
    if group.largest(not isfinite(x).all())[0]:
        return "the input of the model is not finite"
    for path, layer in leaves(model):
        x = layer(x)
        if group.largest(not isfinite(x).all())[0]:
            return f"the first output that is not finite is the output of layer {path} ({layer!r})"
    return "every layer's output is finite"
