"""The commands of ``python -m nplenet``: one a module.

A module's first docstring line is its help; ``add_options(parser)`` adds its options and
``run(options)`` does it and returns the exit status: 0 done, 1 done with a bad result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..checkpoint import DEFAULT_MODEL
from ..layers import Layer

COMMANDS = (
    "train",
    "evaluate",
    "predict",
    "draw",
    "report",
    "export",
    "info",
    "gradcheck",
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


def input_shape(model: Layer) -> tuple[int, int, int, int]:
    """Return the shape of one image of the data sets here, for the channels of ``model``."""
    channels = (layer.channels for _, layer in model.modules() if layer.channels is not None)
    return (1, next(channels, 1), 32, 32)
