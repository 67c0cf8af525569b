"""Show the contents of a checkpoint: model, settings, progress, environment.

examples:
  nplenet info default # the layers, and how it was trained
  nplenet info run/checkpoint.safetensors --json
"""

from __future__ import annotations

import argparse

from .. import checks
from ..augment import in_words
from ..checkpoint import Checkpoint, CheckpointError, Epoch, load
from ..input_shape import input_shape
from ..layers import Layer
from ..terminal import printable, show, show_json
from ..trust import from_record
from . import add_checkpoint, add_input_shape, known_pictures

MAX_NAMES = 2000  # characters of all names of the classes


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    parser.add_argument(
        "--json", action="store_true", help="print everything except the tensors as JSON"
    )
    add_input_shape(parser)


def run(options: argparse.Namespace) -> int:
    checkpoint = load(options.checkpoint)
    record = checkpoint.record
    if options.json:
        tensors = {k: [a.dtype.name, list(a.shape)] for k, a in checkpoint.tensors.items()}
        show_json(record | {"tensors": tensors}, 2)
        return 0
    kind = "a training run" if "progress" in record else "a model"
    version = printable(record["nplenet"])
    show(f"{printable(checkpoint.path)}: {kind}, written by nplenet {version}")
    try:
        model = checkpoint.model(allow_non_finite=True)
        shape = input_shape(model, options.input_shape or checkpoint.input_shape)
        show(f"input {'x'.join(map(str, shape[1:]))}")
        show(model.summary(shape))  # type: ignore[attr-defined]
        _show_images(checkpoint, model, shape)
    except (AttributeError, CheckpointError, ValueError):
        # The shape of its input is unknown, or its layers are not the library's.
        if options.input_shape:
            raise
        show_json(record["model"], 2)
    for name in ("arguments", "environment"):
        if name in record:
            pairs = (f"{k} {v}" for k, v in record[name].items())
            show(f"{name}: " + printable(", ".join(pairs)))
    if (trust := from_record(record.get("trust"))) is not None:
        show(f"trust: {trust}")
    if "progress" in record:
        _show_progress(checkpoint)
    weights = checkpoint.part("model.") if "progress" in record else checkpoint.tensors
    try:
        checks.finite(weights, "its model")
    except ValueError as error:
        show(error)
    return 0


def _show_images(checkpoint: Checkpoint, model: Layer, shape: tuple[int, ...]) -> None:
    """Print what the file says of the images: how they were made, their pixels, their classes."""
    pictures, names = known_pictures(checkpoint, model, shape)
    if model.pictures is not None:
        show(f"images: {pictures}")
    if model.preprocessing is not None:
        show(f"the layers take {printable(in_words(model.preprocessing))}")
    if pictures.classes:
        show(f"classes: {printable(', '.join(names), MAX_NAMES)}")


def _show_progress(checkpoint: Checkpoint) -> None:
    progress, optimizer = checkpoint.record["progress"], checkpoint.record["optimizer"]
    for epoch in progress["epochs"]:
        show(Epoch(**epoch))
    show(
        f"{len(progress['epochs'])} epochs and {len(checkpoint.tensors['epoch.losses'])} steps "
        f"done in {progress['seconds']:.1f} s; optimizer {printable(optimizer['type'])} at step "
        f"{optimizer['step']:,}"
    )
