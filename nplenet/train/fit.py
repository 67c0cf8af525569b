"""The training loop: epochs, validation, and when to stop.

One loop for all backends. The host runs ahead of a GPU until it reads a number from it; so the
metrics of the steps stay on the backend and are fetched only now and then.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from hashlib import sha256
from typing import Any

from ..augment import Transform
from ..checkpoint import Checkpoint, CheckpointError, CheckpointFolder, Epoch, Progress, Run
from ..checks import parts
from ..compiled import Step, TextbookStep, compile
from ..data import DataLoader, DeviceLoader
from ..group import ALONE, Group, sharing
from ..layers import Layer
from ..losses import CrossEntropyLoss
from ..machine import environment, one_blas_thread
from ..optim import Optimizer
from ..rounding import ceil_div
from ..schedules import Schedule
from ..seeds import generator_state
from .epoch import train_epoch
from .evaluation import LabelledImages, validation_images
from .history import History
from .preflight import Validation, check_numbers, check_parts, pictures_of, preprocessing_of
from .stop import Stop, stop_on_signals

DEPRECATED = {
    "eager": "step=TextbookStep(...)",
    "tunables": "step=nplenet.compile(..., tunables=...)",
    "arguments": "CheckpointFolder(..., arguments=...)",
}


@one_blas_thread()
def fit(
    model: Layer,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    loader: DataLoader | DeviceLoader,
    *,
    epochs: int,
    step: Step | None = None,
    schedule: Schedule | None = None,
    validation: Validation | None = None,
    validation_transform: Transform | None = None,
    patience: int | None = None,
    checkpoints: CheckpointFolder | None = None,
    resume: Checkpoint | None = None,
    group: Group = ALONE,
    clip_norm: float | None = None,
    progress: bool = True,
    on_epoch: Callable[[Epoch], None] | None = None,
    **deprecated: Any,
) -> History:
    """Train ``model``: the loop over epochs, with validation, checkpoints and an orderly stop.

    A model in training mode is trained as it is: layers in ``eval`` stay so, such as a batch norm
    whose statistics are kept while the rest is tuned. A model in ``eval`` is switched as a whole.
    Parameters whose ``requires_grad`` is False are not changed.

    On a Ctrl-C, SIGTERM or SIGHUP the current step is finished and saved, and the history so far is
    returned; the second one interrupts at once.

    Parameters
    ----------
    model : Layer
        From floats (N, C, H, W), or (N, F), to logits (N, K).
    loss : CrossEntropyLoss
        With reduction "mean" or "sum".
    optimizer : Optimizer
        Of the model's parameters, or of some of them; it may have others too.
    loader : DataLoader or DeviceLoader
        ``loader.to(model.backend)`` saves the upload of each batch. A ``model.pictures`` that is
        None is measured of its images: see ``nplenet.data.Pictures``.
    epochs : int
        Passes over the loader at the end, those of a resumed run included.
    step : Step, optional
        A step of ``nplenet.compile`` or a ``TextbookStep``, for the same model, loss and optimizer.
        By default the model is compiled, with the tunables of ``resume`` if it has any.
    schedule : Schedule, optional
        Stepped after each training step.
    validation : (images, labels), optional
        Evaluated after each epoch.
    validation_transform : transform(images, None) -> images, optional
        Of the validation images; by default the parts of the loader's transform that are not
        random. It becomes ``model.preprocessing``, which ``evaluate`` applies and a checkpoint
        holds.
    patience : int, optional
        Stop after N epochs without a better validation accuracy (or an equal one with a lower
        loss).
    checkpoints : CheckpointFolder, optional
        Where the run is saved. Without ``resume`` an earlier run's checkpoints there are renamed.
    resume : Checkpoint, optional
        A saved run to continue. With the same arguments and tunables the weights equal the weights
        of an uninterrupted run bit for bit. With another NumPy, BLAS, backend or number
        of ranks they become the same up to rounding, and a warning says so. A checkpoint holds
        state only: build model, optimizer and loader exactly as for a fresh run. Other settings
        than the saved run's, such as another dropout probability, are named in a warning.
    group : Group
        The ranks that share the work, as ``nplenet.mpi.join()`` returns it: each calls ``fit``
        with the same arguments. The results do not depend on their number, except for rounding.
        ``checkpoints``, ``progress`` and ``on_epoch`` act on rank 0 only.
    clip_norm : float, optional
        The gradients of the optimizer's parameters are scaled to this norm, at most, in each step:
        see ``clip_gradients``.
    progress : bool
        Show a progress bar where the error stream is a terminal.
    on_epoch : callable, optional
        Called with each finished ``Epoch``.

    Raises
    ------
    NonFiniteLoss
        When the loss is not finite; the message names the epoch, the step and the first layer whose
        output is not finite. A GPU may be some steps ahead: the layer is then found with the
        weights of a later step, which the message names. ``model.backend.reading_interval = 0``
        checks each step, and waits for each.
    MemoryError
        When the memory of the backend is full; the message names the batch size.
    CheckpointError
        When ``resume`` is from another run, or another run is using the folder.
    RuntimeError
        When another thread is training the model.
    ValueError
        When ``step`` is for another model, loss or optimizer, the loss is not reduced to a number,
        the ranks differ in data, arguments, weights or versions, or the parts of the run do not fit
        each other: an optimizer of another model, a label beyond the model's classes, a batch of
        one image before a batch norm, a transform without the attribute ``random``.
    """
    given = {"schedule": schedule, "checkpoints": checkpoints, "resume": resume}
    given = {name: part for name, part in given.items() if part is not None}
    parts("fit", model=model, loss=loss, optimizer=optimizer, loader=loader, **given)
    check_numbers(epochs, patience, clip_norm, validation, checkpoints)
    check_parts(model, loss, optimizer, loader, validation, schedule)
    model.preprocessing = preprocessing_of(model, loader, validation, validation_transform)
    model.pictures = pictures_of(model, loader)
    model.trust = None  # which was measured with other weights
    old = _deprecated_arguments(deprecated)
    arguments = old.pop("arguments", None) or (checkpoints.arguments if checkpoints else {})
    if step is None:
        step = _make_step(model, loss, optimizer, max(loader.sizes()), resume, group, **old)
    else:
        _check_step(step, (model, loss, optimizer), old)
    run = Run(model, optimizer, schedule, loader, arguments, step.tunables, group.size, clip_norm)
    run.loss = loss
    so_far = Progress() if resume is None else _restored(run, resume, group)
    if group.size > 1:
        more = {"epochs": epochs, "patience": patience, "clip_norm": clip_norm}
        group.compare(_facts(run, step, validation, **more))
    if group.rank > 0:
        checkpoints, progress, on_epoch = None, False, None
    begin = time.perf_counter() - so_far.seconds
    shared = sharing(group, step, loader, *(layer for _, layer in model.modules()))
    held_out = validation and validation_images(step, *validation, group)
    turn = optimizer.turns.training()
    with turn, checkpoints or nullcontext(), shared, stop_on_signals() as stop:
        if checkpoints is not None:
            checkpoints.begin(run, so_far, resume)
        while len(so_far.epochs) < epochs and not (stop.signal or _exhausted(so_far, patience)):
            epoch = _epoch(run, step, so_far, held_out, stop, checkpoints, progress, begin)
            if epoch is None:
                break
            if on_epoch is not None:
                on_epoch(epoch)
            stop.agree(group)
    seconds = time.perf_counter() - begin
    return History(so_far.epochs, stop.signal, seconds, dict(step.tunables))


def _check_step(step: Any, parts: tuple[Any, ...], old: Mapping[str, Any]) -> None:
    if old:
        raise ValueError(f"fit: step excludes the deprecated {' and '.join(old)}")
    if not isinstance(step, Step):
        raise TypeError(f"fit: step must be a Step, as of nplenet.compile, got {step!r}")
    if (step.model, step.loss, step.optimizer) != parts:
        raise ValueError("fit: step is for another model, loss or optimizer")


def _restored(run: Run, resume: Checkpoint, group: Group) -> Progress:
    progress = run.restore(resume)
    if progress.step > len(run.loader):
        raise CheckpointError(
            f"{resume.path}: epoch.losses has {progress.step} steps, an epoch {len(run.loader)}"
        )
    if group.rank == 0:
        run.warn_of_other_bits(resume)
        run.warn_of_other_settings(resume)
        run.warn_of_shared_generators()
    return progress


def _epoch(
    run: Run,
    step: Step,
    so_far: Progress,
    held_out: LabelledImages | None,
    stop: Stop,
    checkpoints: CheckpointFolder | None,
    progress: bool,
    begin: float,
) -> Epoch | None:
    """Train, validate and save the rest of an epoch; None if a signal stopped it within."""
    model, loader, group = run.model, run.loader, step.group
    if not model.training:
        model.train()
    if so_far.step == 0:
        so_far.loader = loader.state_dict()
    metrics = train_epoch(run, step, so_far, stop, checkpoints, progress, begin)
    if stop.signal and so_far.step < len(loader):
        return None
    if group.size > 1:
        group.compare({"the state of the model": _digest(model)})
    if held_out is not None:
        result = held_out.evaluate(step.predict)
        metrics |= {"validation_loss": result.loss, "validation_accuracy": result.accuracy}
    epoch = Epoch(**metrics)
    if run.schedule is not None:
        watched = epoch.loss if epoch.validation_loss is None else epoch.validation_loss
        run.schedule.end_epoch(watched)
    so_far.finish(epoch, loader.state_dict(), time.perf_counter() - begin)
    if checkpoints is not None:
        checkpoints.save_epoch(run, so_far)
    return epoch


def _make_step(
    model: Layer,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    batch_size: int,
    resume: Checkpoint | None,
    group: Group,
    eager: bool = False,
    tunables: Mapping[str, int] | None = None,
) -> Step:
    """Compile the model with the tunables of a checkpoint, if any; on all ranks with rank 0's."""
    images = ceil_div(batch_size, group.size)
    if eager:
        return TextbookStep(model, loss, optimizer, images, "eager=True")
    if group.rank > 0:
        return compile(model, loss, optimizer, images, tunables=group.broadcast({}))
    if tunables is None and resume is not None:
        tunables = resume.record.get("tunables")
        try:
            step = compile(model, loss, optimizer, images, tunables=tunables)
        except ValueError as error:
            raise CheckpointError(f"{resume.path}: {error}") from None
    else:
        step = compile(model, loss, optimizer, images, tunables=tunables)
    group.broadcast(step.tunables)
    return step


def _deprecated_arguments(given: dict[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in DEPRECATED:
            raise TypeError(f"fit() got an unexpected keyword argument {name!r}")
        warnings.warn(
            f"fit: the argument {name} is deprecated: use {DEPRECATED[name]}",
            DeprecationWarning,
            stacklevel=4,  # past fit and its decorator
        )
    return given


def _facts(run: Run, step: Step, validation: Validation | None, **arguments: Any) -> dict[str, Any]:
    """Return the facts that must be the same on all ranks, by name."""
    held_out = None if validation is None else DataLoader(*validation, 1).fingerprint()
    versions = environment()
    del versions["blas"]  # may differ: each rank makes its part of a sum that all get
    generators = {k: generator_state(rng) for k, rng in run.model.generators().items()}
    return {
        **{f"the version of {name}": version for name, version in versions.items()},
        **{f"the argument {name}": value for name, value in arguments.items()},
        **{f"the argument {name}": value for name, value in run.arguments.items()},
        "the batch size": run.loader.batch_size,
        "the model": repr(run.model),
        "the step": (type(step).__name__, step.tunables),
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


def _exhausted(so_far: Progress, patience: int | None) -> bool:
    """Say whether none of the last ``patience`` epochs improved the validation result."""
    best = so_far.best
    if patience is None or best is None:
        return False
    return so_far.epochs[-1].epoch - best.epoch >= patience
