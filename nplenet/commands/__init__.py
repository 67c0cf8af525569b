"""The commands of ``python -m nplenet``, one per module.

A module's docstring is its help: what it does, then examples; ``add_options(parser)`` adds its
options, and ``run(options)`` does the work and returns the exit status: 0 success, 1 a bad result
or one that could not be saved.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..checkpoint import DEFAULT_MODEL, Checkpoint, CheckpointError
from ..data import DATASETS, Pictures
from ..data.dataset import check_dataset
from ..data.own import FORMS, is_own
from ..data.pictures import assumed
from ..layers import Layer

COMMANDS = (
    "train",
    "evaluate",
    "predict",
    "draw",
    "report",
    "export",
    "import",
    "info",
    "gradcheck",
    "lab",
    "layers",
    "doctor",
    "tune",
)

# Help texts of options that several commands have.
BACKEND_HELP = "array library: numpy on the CPU, cupy on an NVIDIA GPU (default %(default)s)"
DATA_DIR_HELP = (
    "folder with the four IDX files of the data set, plain or .gz, or a new or empty one to "
    "download them to (default: the folder in the environment variable NPLENET_DATA, otherwise the "
    "user's cache)"
)
DATASET_HELP = (
    f"data set: {', '.join(DATASETS)}; auto is MNIST if available, otherwise the bundled digits; "
    f"or images of your own: {FORMS}"
)
ALLOW_HELP = "load weights of which some are NaN or infinite, which are refused otherwise"
NO_DOWNLOAD_HELP = "do not download a data set"


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the argument CHECKPOINT: a file, or the model bundled with the library."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=lambda text: DEFAULT_MODEL if text == "default" else Path(text),
        help=".safetensors file written by training, or the word default for the LeNet-5 trained "
        "on MNIST that comes with nplenet",
    )
    parser.add_argument("--allow-non-finite", action="store_true", help=ALLOW_HELP)


def add_input_shape(parser: argparse.ArgumentParser) -> None:
    """Add the option --input-shape, for files that do not say it."""
    parser.add_argument(
        "--input-shape",
        type=shape,
        metavar="C,H,W",
        help="shape of the model's input, such as 1,28,28 (default: what the file says, otherwise "
        "the first of 32x32 and 28x28 that the model takes)",
    )


def shape(text: str) -> tuple[int, ...]:
    """Return the value of an option that is a shape: integers with commas or x between."""
    try:
        sizes = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        sizes = ()
    if not 1 <= len(sizes) <= 3 or min(sizes) < 1 or max(sizes) > 1 << 16:
        raise argparse.ArgumentTypeError(f"must be 1 to 3 sizes such as 1,28,28, got {text!r}")
    return sizes


def nonempty_path(text: str) -> Path:
    """Return the value of an option that is a path; an empty one would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got an empty text")
    return Path(text)


def check_output(option: str, output: Path, read: str | Path) -> None:
    """Refuse to write a file in the place of the one that the command reads."""
    with suppress(OSError):  # one that is missing is not the other
        if output.samefile(read):
            raise ValueError(f"{option} {output} is the file that is read: name another")


def seed(text: str) -> int:
    """Return the value of an option that is a random seed."""
    return at_least(0, text)


def dataset(text: str) -> str:
    """Return the value of an option that is the name of a data set."""
    try:
        check_dataset(text, "it")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("it ")) from None
    return text


def recorded_dataset(record: Mapping[str, Any], where: Path) -> str:
    """Return the data set of a training run, from its record; "auto" for a model alone.

    Images of your own are not read because a file names them: the file may be a stranger's.
    """
    name = (record.get("arguments") or {}).get("dataset", "auto")
    try:
        check_dataset(name, "arguments.dataset")
    except ValueError as error:
        raise ValueError(f"{where}: in its record {error}") from None
    if is_own(name):
        raise ValueError(f"{where}: was trained on {name}; name the data with --dataset")
    found: str = name
    return found


def known_pictures(
    checkpoint: Checkpoint, model: Layer, input_shape: tuple[int, ...]
) -> tuple[Pictures, list[str]]:
    """Return how the model of a file reads pictures, and the names of all its classes.

    Both stand in the file, or are what is usual for a model of this input and this output.
    """
    count = model.output_shape(input_shape)[1]
    pictures = model.pictures or assumed(input_shape)
    try:
        return pictures, pictures.names(count)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: in its record {error}") from None


def positive(text: str) -> int:
    """Return the value of an option that is an integer of at least 1."""
    return at_least(1, text)


def at_least(lowest: int, text: str) -> int:
    """Return the integer in a text."""
    with suppress(ValueError):
        if (value := int(text)) >= lowest:
            return value
    raise argparse.ArgumentTypeError(f"must be an integer of at least {lowest}, got {text!r}")
