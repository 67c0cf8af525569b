"""The commands of ``python -m nplenet``: one a module.

A module's first docstring line is its help; ``add_options(parser)`` adds its options and
``run(options)`` does it and returns the exit status: 0 done, 1 done with a bad result.
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


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the argument CHECKPOINT: a file, or the model that comes with the library."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=lambda text: DEFAULT_MODEL if text == "default" else Path(text),
        help="a .safetensors file that training left, or the word default: the LeNet-5 trained on "
        "MNIST that comes with nplenet",
    )
