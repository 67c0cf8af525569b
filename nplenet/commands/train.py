"""Train the enhanced LeNet-5 on MNIST, another data set, or images of your own.

examples:
  nplenet train                             # prints the accuracy, keeps nothing
  nplenet train --output run                # keeps model and report in run/
  nplenet train --recipe best --output run  # better, takes four times as long
  nplenet train --resume auto --output run  # resumes after Ctrl-C
  nplenet train --dataset folder:letters --output run
  nplenet train --backend cupy --output run # on an NVIDIA GPU
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import warnings
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import augment
from ..backend import Backend, get_backend
from ..checkpoint import CheckpointFolder, CheckpointWarning
from ..checkpoint.file import backup
from ..compiled import Step, TextbookStep, compile
from ..data import (
    DataLoader,
    Dataset,
    DeviceLoader,
    load_dataset,
    train_validation_split,
)
from ..files import atomic_write
from ..group import Group
from ..losses import CrossEntropyLoss
from ..machine import environment, processor
from ..models import LeNet5
from ..mpi import join, launch
from ..optim import Optimizer
from ..recipe import (
    OPTIMIZERS,
    RENAMED_AUGMENTATIONS,
    Settings,
    augmentation,
    default_epochs,
)
from ..rounding import ceil_div
from ..seeds import generator
from ..terminal import printable
from ..train import Evaluation, History, NonFiniteLoss, evaluate, fit
from .console import Console
from .extension import scheduled
from .train_options import (
    add_options,
    as_arguments,
    checkpoint_to_resume,
    line_to_resume,
    settings_of,
)

__all__ = ["add_options", "run"]

Labelled = tuple[np.ndarray, np.ndarray]


def run(options: argparse.Namespace) -> int:
    group = join()
    if options.ranks not in (None, group.size):
        if group.size > 1:
            raise ValueError(
                f"--ranks {options.ranks} contradicts mpiexec, which started {group.size}"
            )
        launch(options.ranks, ["train", *as_arguments(options)])
    old = vars(options).get("augment")
    if old in RENAMED_AUGMENTATIONS and group.rank == 0:
        new = RENAMED_AUGMENTATIONS[old]
        warnings.warn(
            f"--augment {old} is deprecated: use --augment {new}", FutureWarning, stacklevel=1
        )
    with group:
        return train(options, group)


def train(options: argparse.Namespace, group: Group) -> int:
    """Train LeNet-5, alone or as one rank of ``group``; rank 0 prints and writes.

    The folder of the run is locked from the reading of its checkpoint to the last byte of its
    report, so another run can't come in between.
    """
    checkpoints = checkpoint_folder(options)
    with checkpoints if checkpoints and group.rank == 0 else nullcontext():
        return train_in(checkpoints, options, group)


def train_in(
    checkpoints: CheckpointFolder | None, options: argparse.Namespace, group: Group
) -> int:
    console, backend = Console(group.rank, options.quiet), get_backend(options.backend)
    resume = group.broadcast(checkpoint_to_resume(options) if group.rank == 0 else None)
    settings = settings_of(options, resume)
    group.take_device(backend)

    # Load.
    data = load_data(options, settings, group)
    epochs = settings.epochs or default_epochs(data.name, len(data.train_images))
    classes = number_of_classes(data, settings)
    settings = replace(settings, dataset=data.name, epochs=epochs, classes=classes)
    loader, validation = batches(data, settings, backend)
    if checkpoints:
        checkpoints.arguments = asdict(settings)

    # Model, loss, optimizer.
    model, loss, optimizer = parts(data, settings, backend)
    schedule, resume = scheduled(settings, optimizer, len(loader), resume)
    step = chosen_step(settings, model, loss, optimizer, max(loader.sizes()), group)
    console.introduce(data, loader, resume, epochs, checkpoints)
    console.announce(model, settings, options.backend, group, loader, checkpoints)

    # Loop.
    try:
        history = fit(
            model,
            loss,
            optimizer,
            loader,
            epochs=min(epochs, options.stop_after or epochs),
            step=step,
            schedule=schedule,
            validation=validation,
            patience=options.patience,
            checkpoints=checkpoints,
            resume=resume,
            group=group,
            clip_norm=settings.clip_norm,
            progress=not options.quiet,
            on_epoch=console.detail,
        )
    except NonFiniteLoss as error:
        console.print(f"nplenet train: {error}", file=sys.stderr)
        return 1

    # Result.
    take_best_epoch(model, checkpoints, group)
    tested, inverted = results(model, data, classes, group)
    group.part_ways()
    record = record_of(options, settings, group, history, tested, inverted)
    saved = not (checkpoints and group.rank == 0) or write_history(checkpoints, record)
    console.conclude(history, epochs, data, tested, inverted)
    if checkpoints and group.rank == 0 and history.epochs:
        saved = write_report(checkpoints.folder, data.name, saved, options, console) and saved
    if checkpoints and history.interrupted and group.rank == 0 and checkpoints.saved:
        console.detail(f"to resume: {line_to_resume(options, checkpoints.folder, group.size)}")
    return 128 + signal.Signals[history.interrupted] if history.interrupted else int(not saved)


def load_data(options: argparse.Namespace, settings: Settings, group: Group) -> Dataset:
    """Load the data set; rank 0 first, because it may have to download it for all ranks."""
    if group.rank > 0:
        group.gather(None)
    data = load_dataset(settings.dataset, options.data_dir, download=not options.no_download)
    if group.rank == 0:
        group.gather(None)
    return data.limited(settings.limit) if settings.limit else data


def number_of_classes(data: Dataset, settings: Settings) -> int:
    """Return the number of classes: of the data set, or more if ``--classes`` says so."""
    classes = settings.classes or len(data.classes)
    if classes < len(data.classes):
        raise ValueError(
            f"--classes {classes} is too few: {data.name} has {len(data.classes)} classes"
        )
    return classes


def results(
    model: LeNet5, data: Dataset, classes: int, group: Group
) -> tuple[Evaluation, Evaluation]:
    """Return the result of the test images, and of their inverted form."""
    images, labels = data.test_images, data.test_labels
    return (
        evaluate(model, images, labels, classes=classes, group=group),
        evaluate(model, augment.invert(images), labels, classes=classes, group=group),
    )


def parts(
    data: Dataset, settings: Settings, backend: Backend
) -> tuple[LeNet5, CrossEntropyLoss, Optimizer]:
    """Return the model, for the classes and the channels of the images, the loss, the optimizer."""
    model = LeNet5(
        settings.classes or len(data.classes),
        dropout=settings.dropout,
        in_channels=data.train_images.shape[1],
        seed=settings.seed,
    ).to(backend)
    model.pictures = data.pictures
    decay = settings.weight_decay
    more = {} if decay is None else {"weight_decay": decay}
    optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), settings.lr, **more)
    return model, CrossEntropyLoss(label_smoothing=settings.label_smoothing), optimizer


def batches(
    data: Dataset, settings: Settings, backend: Backend
) -> tuple[DataLoader | DeviceLoader, Labelled | None]:
    """Return the training loader and the validation images, held out of the training images."""
    total = len(data.train_labels)
    count = round(settings.validation * total)
    if count >= total:
        raise ValueError(
            f"--validation {settings.validation:g} leaves none of the {total:,} images to train on"
        )
    chosen, held_out = train_validation_split(
        data.train_labels, count, generator(settings.seed, "split")
    )
    loader = DataLoader(
        data.train_images[chosen],
        data.train_labels[chosen],
        settings.batch_size,
        shuffle=True,
        rng=generator(settings.seed, "shuffle"),
        transform=augmentation(settings.augment),
        transform_rng=generator(settings.seed, "augment"),
    )
    if len(held_out) == 0:  # by --validation 0, or with a very small --limit
        return loader.to(backend), None
    return loader.to(backend), (data.train_images[held_out], data.train_labels[held_out])


def chosen_step(
    settings: Settings,
    model: LeNet5,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    batch_size: int,
    group: Group,
) -> Step | None:
    """Return the step that --eager or --tunables select; None leaves the choice to ``fit``."""
    images = ceil_div(batch_size, group.size)
    if settings.eager:
        return TextbookStep(model, loss, optimizer, images, "--eager")
    if settings.tunables is not None:
        return compile(model, loss, optimizer, images, tunables=settings.tunables)
    return None


def checkpoint_folder(options: argparse.Namespace) -> CheckpointFolder | None:
    """Return the folder of ``--output``, otherwise of the checkpoint that ``--resume`` names."""
    folder: Path | None = options.output
    if folder is None and options.resume not in (None, "auto"):
        resume = Path(options.resume)
        if resume.is_file() or backup(resume).is_file():  # a mistyped name makes no folder
            folder = resume.parent
    if folder is None:
        return None
    return CheckpointFolder(
        folder,
        every_seconds=options.checkpoint_every,
        every_steps=options.checkpoint_steps,
        keep=options.keep,
    )


def take_best_epoch(model: LeNet5, checkpoints: CheckpointFolder | None, group: Group) -> None:
    """Load the weights of the best epoch, if it was kept, on all ranks."""
    best = checkpoints.best_weights() if group.rank == 0 and checkpoints else None
    if (state := group.broadcast(best)) is not None:
        model.load_state_dict(state)


def record_of(
    options: argparse.Namespace,
    settings: Settings,
    group: Group,
    history: History,
    tested: Evaluation,
    inverted: Evaluation,
) -> dict[str, Any]:
    """Return what ``history.json`` holds."""
    names = ("keep", "patience", "stop_after")
    arguments = asdict(settings) | {"backend": options.backend, "ranks": group.size}
    return {
        "arguments": arguments | {name: getattr(options, name) for name in names},
        "environment": environment() | {"processor": f"{processor()}, {os.cpu_count()} cores"},
        **history.as_dict(),
        "test": vars(tested),
        "inverted_test": vars(inverted),
    }


def write_history(checkpoints: CheckpointFolder, record: dict[str, Any]) -> bool:
    """Write ``history.json``; say whether it and the last checkpoint could be written."""
    path = checkpoints.folder / "history.json"
    try:
        with atomic_write(path) as file:
            file.write(json.dumps(record, indent=2).encode())
    except OSError as error:
        warnings.warn(f"{path} could not be written ({error})", CheckpointWarning, stacklevel=1)
        return False
    return checkpoints.saved


def write_report(
    folder: Path, dataset: str, saved: bool, options: argparse.Namespace, console: Console
) -> bool:
    """Write the run's report, or print why not; return whether the run's files could be written."""
    from .. import report

    reason: object = "the files that it reads could not be written"
    try:
        if saved:
            download = not options.no_download
            console.detail("writing the report ...")
            path = report.write_report(folder, options.data_dir, download=download, dataset=dataset)
            console.detail(f"report: {printable(path)}")
            return True
    except OSError as error:
        reason, saved = error, False
    except (ImportError, ValueError) as error:  # ValueError: for the plots of too few images, say
        reason = error
    console.print(f"no report: {reason}", file=sys.stderr)
    return saved
