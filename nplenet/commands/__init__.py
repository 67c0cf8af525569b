"""The commands of ``python -m nplenet``, one per module.

A module's first docstring line is its help; ``add_options(parser)`` adds its options, and
``run(options)`` does the work and returns the exit status: 0 success, 1 a bad result or one that
could not be saved.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..checkpoint import DEFAULT_MODEL

COMMANDS = (
    "train",
    "evaluate",
    "predict",
    "draw",
    "report",
    "export",
    "info",
    "gradcheck",
    "layers",
    "doctor",
)

# Help texts of options that several commands have.
BACKEND_HELP = "array library: numpy on the CPU, cupy on an NVIDIA GPU (default %(default)s)"
DATA_DIR_HELP = (
    "folder with the four IDX files of the data set, plain or .gz, or a new or empty one to "
    "download them to (default: the folder in the environment variable NPLENET_DATA, otherwise the "
    "user's cache)"
)
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


def positive(text: str) -> int:
    """Return the value of an option that is an integer of at least 1."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
