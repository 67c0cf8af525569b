"""The options of ``train``, and the settings of a run: from its options or from a checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill, indent
from typing import Any

from ..checkpoint import KEEP, LATEST, Checkpoint, CheckpointError, load
from ..data.own import is_own
from ..recipe import (
    AUGMENTATIONS,
    LATER,
    OPTIMIZERS,
    RECIPES,
    RENAMED_AUGMENTATIONS,
    SCHEDULES,
    SETTINGS,
    Settings,
)
from ..schema import fields
from . import (
    BACKEND_HELP,
    DATA_DIR_HELP,
    DATASET_HELP,
    NO_DOWNLOAD_HELP,
    dataset,
    nonempty_path,
    positive,
    seed,
)
from .extension import epochs_before


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options of ``train``, in the groups that its help shows."""
    add_recipe_option(parser.add_argument_group("recipe", recipes_in_words()))
    add_data_options(parser.add_argument_group("data"))
    add_training_options(parser.add_argument_group("training"))
    add_output_options(parser.add_argument_group("output"))
    add_machine_options(parser.add_argument_group("machine"))


def setting_of(group: argparse._ArgumentGroup) -> Callable[..., None]:
    """Return a function that adds a setting of the run, of ``Settings``, to a group of options."""

    def setting(name: str, text: str, **kind: Any) -> None:
        default = getattr(Settings, name.replace("-", "_"))
        text += "" if default is None or default is False else f" (default {default})"
        group.add_argument(f"--{name}", help=text, default=argparse.SUPPRESS, **kind)

    return setting


def add_recipe_option(group: argparse._ArgumentGroup) -> None:
    """Add the option that stands for several settings."""
    group.add_argument(
        "--recipe",
        choices=RECIPES,
        help="settings to begin with; the options below change single ones",
    )


def recipes_in_words() -> str:
    """Return the table of recipes: settings, accuracy and time."""
    lines = ["                test images, plain / inverted   training, 2 cores"]
    for name, recipe in RECIPES.items():
        values = " ".join(f"{option(key)} {value}" for key, value in recipe.settings.items())
        lines.append(f"{name:15} {recipe.accuracy:31} {recipe.time}")
        lines.append(indent(fill(values, 72, break_on_hyphens=False), "    "))
    return "\n".join(lines)


def option(name: str) -> str:
    """Return the option of a setting."""
    return f"--{name.replace('_', '-')}"


def add_data_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that decide which images the network sees."""
    setting, add = setting_of(group), group.add_argument
    setting("dataset", DATASET_HELP, type=dataset, metavar="NAME")
    setting(
        "augment",
        "augmentation; standard is rotation, inversion and grayscale; affine adds shift and zoom",
        choices=(*AUGMENTATIONS, *RENAMED_AUGMENTATIONS),
        metavar="{" + ",".join(AUGMENTATIONS) + "}",
    )
    setting(
        "validation",
        "fraction of the training images held out for validation; 0 for none",
        type=float,
        metavar="FRACTION",
    )
    setting("limit", "use only the first N training and N test images", type=positive, metavar="N")
    add("--data-dir", type=nonempty_path, metavar="DIR", help=DATA_DIR_HELP)
    add("--no-download", action="store_true", help=NO_DOWNLOAD_HELP)


def add_training_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of the network and of its training, and of when that ends."""
    setting, add = setting_of(group), group.add_argument
    setting(
        "seed", "random seed for weights, shuffling, dropout, augmentation and split", type=seed
    )
    setting(
        "classes",
        "number of classes (default: the classes of the data set)",
        type=positive,
        metavar="N",
    )
    setting(
        "epochs",
        "passes over the training images (default 12, and 60 for fewer than 10,000 images)",
        type=positive,
        metavar="N",
    )
    setting("batch-size", "images per training step", type=positive, metavar="N")
    setting("lr", "peak learning rate", type=float)
    setting("optimizer", "update rule", choices=OPTIMIZERS)
    setting("schedule", "learning rate schedule", choices=SCHEDULES)
    setting(
        "weight-decay",
        "weight decay of the optimizer (default 0.01 for adamw, 0 for the others)",
        type=float,
        metavar="FACTOR",
    )
    setting(
        "label-smoothing",
        "probability that the loss spreads over all classes",
        type=float,
        metavar="P",
    )
    setting(
        "clip-norm",
        "largest norm of the gradients of a step, which are scaled to it (default: any)",
        type=float,
        metavar="NORM",
    )
    setting("dropout", "dropout probability", type=float, metavar="P")
    add(
        "--patience",
        type=positive,
        metavar="N",
        help="stop after N epochs without a better validation accuracy",
    )
    add(
        "--stop-after",
        type=positive,
        metavar="N",
        help="stop after epoch N, without changing the schedule; continue with --resume",
    )


def add_machine_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that decide what computes: they change the result by rounding only."""
    setting, add = setting_of(group), group.add_argument
    add("--backend", choices=("numpy", "cupy"), default="numpy", help=BACKEND_HELP)
    add("--ranks", type=positive, metavar="N", help="train on N processes with MPI")
    setting(
        "eager",
        "run the layers of nplenet/layers themselves, not the compiled step, which computes the "
        "same in another order of memory",
        action="store_true",
    )
    setting(
        "tunables",
        'tunables of the compiled step as JSON, such as {"lanes": 64} (default: tuned on this '
        "machine)",
        type=integers,
        metavar="JSON",
    )


def add_output_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of what is saved and printed."""
    add = group.add_argument
    add(
        "--output",
        type=nonempty_path,
        metavar="DIR",
        help="folder for checkpoints, history and report; an earlier run's checkpoints there are "
        "renamed to previous-...",
    )
    add(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="save every SECONDS within an epoch (default %(default)g), and after each epoch",
    )
    add("--checkpoint-steps", type=positive, metavar="N", help="also save every N steps")
    add(
        "--keep",
        choices=KEEP,
        default="last",
        help="checkpoints to keep; best also tests the best epoch (default %(default)s)",
    )
    add(
        "--resume",
        metavar="PATH",
        help="resume from a checkpoint; auto takes the one in --output, if it exists",
    )
    add("--quiet", action="store_true", help="print only the result")


def integers(text: str) -> dict[str, int]:
    """Return the value of an option that is a JSON object of integers."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not all(type(number) is int for number in value.values()):
        raise argparse.ArgumentTypeError(f"must be a JSON object of integers, got {text!r}")
    return value


def as_arguments(options: argparse.Namespace) -> list[str]:
    """Return the command line of ``options``, except for the number of ranks."""
    found = []
    for name, value in vars(options).items():
        if value is None or value is False or name in ("command", "run", "ranks"):
            continue
        text = json.dumps(value) if isinstance(value, dict) else str(value)
        found.append(option(name) if value is True else f"{option(name)}={text}")
    return found


def line_to_resume(options: argparse.Namespace, folder: Path, ranks: int) -> str:
    """Return the command line that resumes an interrupted run; its checkpoint has the settings."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    settings = {field.name for field in dataclasses.fields(Settings)}
    left_out = settings | {"command", "run", "ranks", "recipe", "resume", "output", "debug"}
    given = {
        name: value
        for name, value in vars(options).items()
        if name not in left_out and value != parser.get_default(name)
    }
    # As the run was started: without its script on the PATH, nplenet is python -m nplenet.
    program = ["nplenet"] if Path(sys.argv[0]).stem == "nplenet" else ["python", "-m", "nplenet"]
    words = [*program, "train", "--resume", "auto", "--output", str(folder)]
    words += ["--ranks", str(ranks)] if ranks > 1 else []
    return shlex.join(words + as_arguments(argparse.Namespace(**given)))


def checkpoint_to_resume(options: argparse.Namespace) -> Checkpoint | None:
    """Return the checkpoint that ``--resume`` names, if it exists."""
    if options.resume is None:
        return None
    if options.resume != "auto":
        return load(options.resume)
    if options.output is None:
        raise CheckpointError("--resume auto needs --output: the folder to resume from")
    try:
        return load(options.output / LATEST)
    except FileNotFoundError:
        return None


def settings_of(options: argparse.Namespace, resume: Checkpoint | None) -> Settings:
    """Return the settings given, or the saved run's when it resumes.

    A resumed run may change its number of epochs only: if no schedule depends on it, or if the run
    is finished and is to have more.
    """
    names = {field.name for field in dataclasses.fields(Settings)}
    single = current_names({k: value for k, value in vars(options).items() if k in names})
    for name, value in single.items():
        SETTINGS[name](value, option(name))
    recipe = RECIPES[options.recipe].settings if options.recipe else {}
    given = recipe | single
    saved: dict[str, Any] = {}
    if resume is not None:
        saved = saved_settings(resume)
        changeable = may_change(resume, saved, given)
        for name, value in given.items():
            if value != saved[name] and name not in changeable:
                omit = option(name) if name in single else f"--recipe {options.recipe}"
                raise CheckpointError(
                    f"cannot resume with {option(name)} {value}: the saved run used {saved[name]}; "
                    f"omit {omit}"
                )
    settings = Settings(**(saved | given))
    check_validation(options, settings)
    return settings


def may_change(resume: Checkpoint, saved: Mapping[str, Any], given: Mapping[str, Any]) -> set[str]:
    """Return the settings that a run may have changed when it resumes."""
    longer = epochs_before(resume, given.get("epochs")) > 0
    names = {"epochs"} if longer or saved["schedule"] == "constant" else set()
    if is_own(saved["dataset"]):  # the same images, which are compared, may lie elsewhere now
        names |= {"dataset"}
    return names


def saved_settings(resume: Checkpoint) -> dict[str, Any]:
    """Return the settings in a checkpoint of ``train``, checked, under their current names."""
    names = {field.name for field in dataclasses.fields(Settings)}
    saved = dict(resume.record.get("arguments") or {})
    saved.pop("class_names", None)  # in files of nplenet before ``model.pictures``
    if not names - set(LATER) <= saved.keys() <= names:
        raise CheckpointError(f"{resume.path} was not written by nplenet train")
    saved = {name: getattr(Settings, name) for name in LATER} | saved
    try:
        fields(SETTINGS)(saved, "arguments")
    except ValueError as error:
        raise CheckpointError(f"{resume.path}: in its record {error}") from None
    return current_names(saved)


def check_validation(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse options that need validation images, if none are held out."""
    needing = {"--patience": options.patience, "--keep best": options.keep == "best"}
    for name, given in needing.items():
        if given and settings.validation == 0:
            raise ValueError(f"{name} needs validation images, and --validation 0 holds out none")


def current_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with an augmentation's old name replaced by its current name."""
    name = settings.get("augment")
    return (
        settings | {"augment": RENAMED_AUGMENTATIONS[name]}
        if name in RENAMED_AUGMENTATIONS
        else settings
    )
