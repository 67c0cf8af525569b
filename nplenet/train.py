"""The training loop: epochs, metrics, the progress bar, and what to do when a run goes wrong.

One loop for all backends. A GPU works on its own while the host runs ahead, until the host asks for
a number; so the losses and hits of the steps stay on the backend, and are read now and then.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from tqdm import tqdm

from .backend import (
    Array,
    Backend,
    backend_of,
    environment,
    generator_state,
    one_blas_thread,
)
from .checkpoint import Checkpoint, CheckpointFolder, Epoch, Progress, Run
from .compiled import Step, TextbookStep, compile
from .data import DataLoader, DeviceLoader
from .data.lazy import LazyImages
from .evaluation import evaluate_with, naming_batch_size
from .layers import Layer
from .layers.sequential import leaves
from .losses import CrossEntropyLoss
from .optim import Optimizer
from .parallel import ALONE, Group, sharing
from .schedules import Schedule


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or not a number; the message names epoch, step and layer."""


@dataclass
class History:
    """The epochs of a run.

    Attributes
    ----------
    epochs : list of Epoch
    interrupted : str
        The name of the signal that ended it, or nothing.
    seconds : float
        Spent in all sittings.
    tunables : dict
        Of the compiled step; empty where the textbook layers ran.
    """

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: str = ""
    seconds: float = 0.0
    tunables: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, ready for JSON."""
        return asdict(self)


@one_blas_thread()
def fit(
    model: Layer,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    loader: DataLoader | DeviceLoader,
    *,
    epochs: int,
    schedule: Schedule | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    patience: int | None = None,
    checkpoints: CheckpointFolder | None = None,
    resume: Checkpoint | None = None,
    arguments: Mapping[str, Any] | None = None,
    eager: bool = False,
    tunables: Mapping[str, int] | None = None,
    group: Group = ALONE,
    progress: bool = True,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train ``model`` until it has had ``epochs`` passes over ``loader``.

    The first Ctrl-C or SIGTERM stops after the step at hand, saves it and returns what was reached;
    the second one interrupts at once.

    Parameters
    ----------
    loader : DataLoader or DeviceLoader
        ``loader.to(model.backend)`` spares the upload of each batch.
    schedule : Schedule, optional
        Stepped after each training step.
    validation : (images, labels), optional
        Evaluated after each epoch.
    patience : int, optional
        Stop after so many epochs without a better validation accuracy (or as good a one with a
        lower loss).
    checkpoints : CheckpointFolder, optional
        Where the run is saved. Without ``resume`` an earlier run in it is put aside.
    resume : Checkpoint, optional
        Go on from there: with the same arguments the weights become the same, bit for bit, as
        without the break. What is not in it, ``model`` and all that, is made as for the first time.
    arguments : mapping, optional
        What made the run, JSON-able; saved with it.
    eager : bool
        Run the textbook layers, not the compiled step (see ``nplenet.compile``).
    tunables : mapping, optional
        Of the compiled step: the same ones give the same bits. Those of ``resume`` if left out, and
        else the machine's own.
    group : Group
        The ranks that share the work, as ``nplenet.parallel.join()`` returns it: each calls ``fit``
        with the same arguments. The results do not depend on their number, but for rounding.
        ``checkpoints``, ``progress`` and ``on_epoch`` are rank 0's alone.
    progress : bool
        Show a progress bar where the error stream is a terminal.
    on_epoch : callable, optional
        Called with each finished ``Epoch``.

    Raises
    ------
    NonFiniteLoss
        Naming the epoch, the step and the first layer whose output is not finite. A GPU has gone
        on by then, and the layer is that of a later step, which the message names;
        ``model.backend.reading_interval = 0`` has each step looked at, and waited for.
    MemoryError
        Naming the batch size, when the memory of the backend is used up.
    CheckpointError
        When ``resume`` is of another run, or another run is using the folder.
    ValueError
        When the ranks differ in data, arguments, weights or versions.
    """
    needs_validation = patience is not None or (checkpoints and checkpoints.keep == "best")
    if needs_validation and validation is None:
        raise ValueError("patience and keeping the best epoch need validation images")
    if group.rank > 0:
        checkpoints, progress, on_epoch = None, False, None
    if tunables is None and resume is not None:
        tunables = resume.record.get("tunables")
    images = -(-loader.batch_size // group.size)
    step: Step
    if eager:
        step = TextbookStep(model, loss, optimizer, images, "asked for")
    elif group.rank == 0:
        step = compile(model, loss, optimizer, images, tunables=tunables)
        group.broadcast(step.tunables)
    else:
        step = compile(model, loss, optimizer, images, tunables=group.broadcast({}))
    run = Run(model, optimizer, schedule, loader, arguments or {}, step.tunables)
    so_far = Progress() if resume is None else run.restore(resume)
    if group.size > 1:
        group.compare(_facts(run, validation, epochs=epochs, patience=patience, eager=eager))
    history = History(so_far.epochs, tunables=step.tunables)
    begin = time.perf_counter() - so_far.seconds
    layers = (layer for _, layer in model.modules())
    shared = sharing(group, step, run.loader, *layers)
    with checkpoints or nullcontext(), shared, _stop_on_signals() as stop:
        if checkpoints is not None and resume is None:
            checkpoints.begin_anew()
        while len(history.epochs) < epochs and not _exhausted(history.epochs, patience):
            model.train()
            if so_far.step == 0:
                so_far.loader = run.loader.state_dict()
            figures = _train_epoch(run, step, so_far, stop, checkpoints, progress, begin)
            if stop.signal and so_far.step < len(loader):
                break
            if group.size > 1:
                group.compare({"the state of the model": _digest(model)})
            if validation is not None:
                result = evaluate_with(step.predict, model.backend, *validation, group=group)
                figures |= {"validation_loss": result.loss, "validation_accuracy": result.accuracy}
            epoch = Epoch(**figures)
            history.epochs.append(epoch)
            so_far = Progress(
                epochs=history.epochs,
                loader=run.loader.state_dict(),
                seconds=time.perf_counter() - begin,
            )
            if checkpoints is not None:
                checkpoints.save_epoch(run, so_far, _best(history.epochs) == epoch)
            if on_epoch is not None:
                on_epoch(epoch)
            stop.agree(group)
            if stop.signal:
                break
    history.interrupted = stop.signal
    history.seconds = time.perf_counter() - begin
    return history


def _facts(
    run: Run, validation: tuple[np.ndarray, np.ndarray] | None, **arguments: Any
) -> dict[str, Any]:
    """Return what must be the same on all ranks."""
    held_out = None if validation is None else DataLoader(*validation, 1).fingerprint()
    generators = {k: generator_state(rng) for k, rng in run.model.generators().items()}
    return {
        **{f"the version of {name}": version for name, version in environment().items()},
        **{f"the argument {name}": value for name, value in arguments.items()},
        **{f"the argument {name}": value for name, value in run.arguments.items()},
        "the batch size": run.loader.batch_size,
        "the SHA-256 of the training images": run.loader.fingerprint(),
        "the SHA-256 of the validation images": held_out,
        "the SHA-256 of the model's state": _digest(run.model),
        "the state of the random generators": generators | run.loader.state_dict(),
        "the update rule": repr(run.optimizer),
        "the schedule": run.schedule and type(run.schedule).__name__,
    }


def _digest(model: Layer) -> str:
    """Return the SHA-256 of all parameters and buffers."""
    return sha256(b"".join(a.tobytes() for a in model.state_dict().values())).hexdigest()


def _best(epochs: list[Epoch]) -> Epoch:
    """Return the first of the epochs with the best validation result."""
    return max(epochs, key=lambda e: (e.validation_accuracy or 0.0, -(e.validation_loss or 0.0)))


def _exhausted(epochs: list[Epoch], patience: int | None) -> bool:
    return (
        patience is not None
        and bool(epochs)
        and (epochs[-1].epoch - _best(epochs).epoch >= patience)
    )


def _train_epoch(
    run: Run,
    step: Step,
    so_far: Progress,
    stop: _Stop,
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
            tally.add(step.gradients(x, y), step.hits, size)
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


class _Stop:
    """The name of the signal that asked for an end, once all ranks know of it, or nothing."""

    signal = ""
    asked = 0  # the number of the signal that this process got

    def agree(self, group: Group, *flags: bool) -> list[int]:
        """Tell all ranks of a signal; and return for each flag whether a rank has set it."""
        number, *agreed = group.largest(self.asked, *flags)
        self.signal = signal.Signals(number).name if number else ""
        return agreed


@contextmanager
def _stop_on_signals() -> Iterator[_Stop]:
    """Take note of the first Ctrl-C or SIGTERM, so that no update is left half done."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers
        return

    def request_stop(signum: int, frame: Any) -> None:
        stop.asked = signum
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        restore()
