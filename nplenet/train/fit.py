"""The training loop: epochs, validation, and when to stop.

One loop for all backends. A GPU works on its own while the host runs ahead, until the host asks for
a number; so the losses and hits of the steps stay on the backend, and are read now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from hashlib import sha256
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint, CheckpointFolder, Epoch, Progress, Run
from ..compiled import Step, TextbookStep, compile
from ..data import DataLoader, DeviceLoader
from ..group import ALONE, Group, sharing
from ..layers import Layer
from ..losses import CrossEntropyLoss
from ..machine import environment, one_blas_thread
from ..optim import Optimizer
from ..schedules import Schedule
from ..seeds import generator_state
from .epoch import train_epoch
from .evaluation import evaluate_with
from .history import History
from .stop import stop_on_signals


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
        The ranks that share the work, as ``nplenet.mpi.join()`` returns it: each calls ``fit``
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
    with checkpoints or nullcontext(), shared, stop_on_signals() as stop:
        if checkpoints is not None and resume is None:
            checkpoints.begin_anew()
        while len(history.epochs) < epochs and not _exhausted(history.epochs, patience):
            model.train()
            if so_far.step == 0:
                so_far.loader = run.loader.state_dict()
            figures = train_epoch(run, step, so_far, stop, checkpoints, progress, begin)
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
