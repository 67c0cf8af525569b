"""Train the enhanced LeNet-5: load, model, loss, optimizer, loop, result."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from .. import augment
from ..backend import get_backend
from ..checkpoint import KEEP, LATEST, Checkpoint, CheckpointError, CheckpointFolder, load
from ..data import DATASETS, DataLoader, load_dataset, train_validation_split
from ..files import atomic_write
from ..group import Group
from ..losses import CrossEntropyLoss
from ..machine import environment, processor
from ..models import LeNet5
from ..mpi import join, launch
from ..recipe import AUGMENTATIONS, EPOCHS, OPTIMIZERS, SCHEDULES, Settings
from ..seeds import generator
from ..train import NonFiniteLoss, confusion_table, evaluate, fit


def add_options(parser: argparse.ArgumentParser) -> None:
    def setting(name: str, text: str, **kind: Any) -> None:
        default = getattr(Settings, name.replace("-", "_"))
        text += "" if default is None or default is False else f" ({default})"
        parser.add_argument(f"--{name}", help=text, default=argparse.SUPPRESS, **kind)

    add = parser.add_argument
    add("--backend", choices=("numpy", "cupy"), default="numpy", help="CPU or NVIDIA GPU")
    add("--ranks", type=positive, metavar="N", help="processes that share the work, by MPI")
    add("--data-dir", type=Path, help="folder of MNIST's four IDX files, plain or .gz")
    add("--no-download", action="store_true", help="never fetch MNIST")
    setting("dataset", "auto: MNIST, else bundled digits", choices=DATASETS)
    setting(
        "epochs", "passes over the training images (12 for MNIST, 60 for the digits)", type=positive
    )
    setting("batch-size", "images a step", type=positive)
    setting("lr", "highest learning rate", type=float)
    setting("optimizer", "update rule", choices=OPTIMIZERS)
    setting("schedule", "of the learning rate", choices=SCHEDULES)
    setting("dropout", "probability of silence", type=float)
    setting("augment", "seed: rotate, invert, grayscale", choices=AUGMENTATIONS)
    setting("validation", "share of the training images held out for validation", type=float)
    setting("seed", "of everything random", type=int)
    setting("limit", "use only the first so many training and test images", type=positive)
    setting("eager", "run the textbook layers, not the compiled step", action="store_true")
    setting("tunables", 'of the compiled step, as JSON: {"lanes": 64}', type=json.loads)
    add(
        "--output",
        type=Path,
        help="folder for the run; an earlier run's checkpoints become previous-...",
    )
    add(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="save so often, and after each epoch (%(default)s)",
    )
    add("--checkpoint-steps", type=positive, metavar="STEPS", help="save after so many steps, too")
    add(
        "--keep",
        choices=KEEP,
        default="last",
        help="which checkpoints; with best, that one is tested (%(default)s)",
    )
    add("--patience", type=positive, metavar="EPOCHS", help="stop when so many are no better")
    add("--stop-after", type=positive, metavar="EPOCHS", help="end early; --resume goes on")
    add("--resume", metavar="PATH", help="go on from a checkpoint; auto: from --output's, if any")
    add("--quiet", action="store_true", help="print the result only")


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def run(options: argparse.Namespace) -> int:
    group = join()
    if options.ranks not in (None, group.size):
        if group.size > 1:
            raise ValueError(f"--ranks {options.ranks}, but mpiexec started {group.size}")
        launch(options.ranks, ["train", *as_arguments(options)])
    with group:
        return train(options, group)


def as_arguments(options: argparse.Namespace) -> list[str]:
    """Return the arguments that give ``options``, but for the number of ranks."""
    found = []
    for name, value in vars(options).items():
        if value is None or value is False or name in ("command", "run", "ranks"):
            continue
        text = json.dumps(value) if isinstance(value, dict) else str(value)
        option = f"--{name.replace('_', '-')}"
        found.append(option if value is True else f"{option}={text}")
    return found


def train(options: argparse.Namespace, group: Group) -> int:
    """Do the run, alone or as one of the ranks of ``group``, of which rank 0 speaks and writes."""
    leads = group.rank == 0
    tell: Callable[..., None] = print if leads else lambda *words, **to: None
    say: Callable[..., None] = (lambda *words: None) if options.quiet else tell
    resume = group.broadcast(
        checkpoint_to_resume(options.resume, options.output) if leads else None
    )
    settings = settings_of(options, resume)
    output: Path | None = options.output or (resume.path.parent if resume else None)
    output = output if leads else None
    if output:
        output.mkdir(parents=True, exist_ok=True)  # now, not after the training it would lose
    group.take_device(get_backend(options.backend))

    # Load. Validation images come out of the training set; the test set is for the end.
    if not leads:
        group.gather(None)  # wait until rank 0, which may have to fetch the files, has them
    data = load_dataset(settings.dataset, options.data_dir, download=not options.no_download)
    if leads:
        group.gather(None)
    if data.notice:
        tell(data.notice, file=sys.stderr)
    epochs = settings.epochs or EPOCHS[data.name]
    settings = replace(settings, dataset=data.name, epochs=epochs)
    if settings.limit:
        data = data.limited(settings.limit)
    chosen, held_out = train_validation_split(
        data.train_labels, settings.validation, generator(settings.seed, "split")
    )
    loader = DataLoader(
        data.train_images[chosen],
        data.train_labels[chosen],
        settings.batch_size,
        shuffle=True,
        rng=generator(settings.seed, "shuffle"),
        transform=AUGMENTATIONS[settings.augment](),
        transform_rng=generator(settings.seed, "augment"),
    ).to(options.backend)

    # Model, loss, optimizer.
    model = LeNet5(dropout=settings.dropout, seed=settings.seed).to(options.backend)
    optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), settings.lr)
    schedule = SCHEDULES[settings.schedule](optimizer, settings.lr, epochs * len(loader))
    say(model.summary((1, *data.train_images.shape[1:])))
    say(
        f"{data.name}: {len(chosen):,} training, {len(held_out):,} validation, "
        f"{len(data.test_labels):,} test images; {epochs} epochs of {len(loader)} steps"
    )
    if resume:
        say(f"going on from {resume.path}")

    # Loop.
    checkpoints = None
    if output:
        checkpoints = CheckpointFolder(
            output,
            every_seconds=options.checkpoint_every,
            every_steps=options.checkpoint_steps,
            keep=options.keep,
        )
    try:
        history = fit(
            model,
            CrossEntropyLoss(),
            optimizer,
            loader,
            epochs=min(epochs, options.stop_after or epochs),
            schedule=schedule,
            validation=(data.train_images[held_out], data.train_labels[held_out])
            if len(held_out)  # a very small --limit leaves none
            else None,
            patience=options.patience,
            checkpoints=checkpoints,
            resume=resume,
            arguments=asdict(settings),
            eager=settings.eager,
            tunables=settings.tunables,
            group=group,
            progress=not options.quiet,
            on_epoch=say,
        )
    except NonFiniteLoss as error:
        tell(f"nplenet train: {error}", file=sys.stderr)
        return 1

    # Result.
    best = None
    if checkpoints and options.keep == "best" and checkpoints.best.exists():
        best = load(checkpoints.best).part("model.")
    if (state := group.broadcast(best)) is not None:
        model.load_state_dict(state)
    test = evaluate(model, data.test_images, data.test_labels, group=group)
    inverted = evaluate(model, augment.invert(data.test_images), data.test_labels, group=group)
    group.part_ways()
    if len(history.epochs) < epochs:
        reason = f"interrupted by {history.interrupted}" if history.interrupted else "stopped"
        tell(f"{reason} after {len(history.epochs)} whole epochs; this is what was reached")
    say(confusion_table(test.confusion))
    tell(
        f"test accuracy {test.accuracy:.2%}, on inverted images {inverted.accuracy:.2%}, "
        f"trained in {history.seconds:.1f} s"
    )
    if output:
        with atomic_write(output / "history.json") as file:
            record = {
                "arguments": asdict(settings)
                | {
                    "backend": options.backend,
                    "ranks": group.size,
                    "keep": options.keep,
                    "patience": options.patience,
                    "stop_after": options.stop_after,
                },
                "environment": environment()
                | {"processor": f"{processor()}, {os.cpu_count()} cores"},
                **history.as_dict(),
                "test": vars(test),
                "inverted_test": vars(inverted),
            }
            file.write(json.dumps(record, indent=2).encode())
        if history.epochs:
            leave_report(options, output, say)
    if history.interrupted:
        return 128 + signal.Signals[history.interrupted]
    return int(checkpoints is not None and not checkpoints.saved)


def leave_report(options: argparse.Namespace, folder: Path, say: Callable[..., None]) -> None:
    """Write the run's report; without Matplotlib there is a run all the same."""
    from ..report import write_report

    try:
        report = write_report(folder, options.data_dir, download=not options.no_download)
    except ImportError as error:
        print(f"no report: {error}", file=sys.stderr)
    else:
        say(f"report: {report}")


def checkpoint_to_resume(resume: str | None, output: Path | None) -> Checkpoint | None:
    """Return the checkpoint that ``--resume`` names, if there is one."""
    if resume is None:
        return None
    if resume != "auto":
        return load(resume)
    if output is None:
        raise CheckpointError("--resume auto takes the checkpoint in --output: name that folder")
    try:
        return load(output / LATEST)
    except FileNotFoundError:
        return None


def settings_of(options: argparse.Namespace, resume: Checkpoint | None) -> Settings:
    """Return the settings given, or those of the run that goes on.

    Of the latter only the number of epochs may be changed, where no schedule was planned on it.
    """
    names = {field.name for field in fields(Settings)}
    given = {name: value for name, value in vars(options).items() if name in names}
    if resume is None:
        return Settings(**given)
    saved = resume.record.get("arguments") or {}
    if saved.keys() != names:
        raise CheckpointError(f"{resume.path} is not of a run by the train command")
    may_change = {"epochs"} if saved["schedule"] == "constant" else set()
    for name, value in given.items():
        if value != saved[name] and name not in may_change:
            raise CheckpointError(
                f"--{name.replace('_', '-')} {value} differs from the run that goes on, which has "
                f"{saved[name]}: leave it out"
            )
    return Settings(**(saved | given))
