"""The schema of the JSON text in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.image_set import MAX_CLASSES
from ..data.pictures import KINDS, POLARITIES
from ..schema import Form, choice, fields, listing, mapping, optional, plain, real, text, whole

MAX_SECONDS = 1e12
MAX_AXES = 3
MAX_TRANSFORMS, MAX_CHANNELS = 16, 1000  # of a preprocessing
MAX_INPUT = 3 * 256 * 256
"""Numbers of an input: a stranger's file decides how large the images of an evaluation are."""


def input_shape(value: Any, name: str) -> None:
    """Check the shape of an input, without its batch axis."""
    listing(whole(1, MAX_INPUT), 1)(value, name)
    if len(value) > MAX_AXES or math.prod(value) > MAX_INPUT:
        raise ValueError(
            f"{name} must have at most {MAX_AXES} axes, without the batch axis, and {MAX_INPUT:,} "
            "numbers"
        )


def preprocessing(value: Any, name: str) -> None:
    """Check the transforms before a model: each costs time for each image."""
    listing(TRANSFORM)(value, name)
    if len(value) > MAX_TRANSFORMS:
        raise ValueError(f"{name} must have at most {MAX_TRANSFORMS} transforms, got {len(value)}")
    for i, part in enumerate(value):
        for key, numbers in part.items():
            if isinstance(numbers, list) and len(numbers) > MAX_CHANNELS:
                raise ValueError(f"{name}[{i}].{key} must have at most {MAX_CHANNELS} numbers")


def _size(value: Any, name: str) -> None:
    listing(whole(1, MAX_INPUT), 2)(value, name)
    if len(value) > 2 or math.prod(value) > MAX_INPUT:
        raise ValueError(f"{name} must be a height and a width of at most {MAX_INPUT:,} pixels")


def class_names(value: Any, name: str) -> None:
    """Check the names of the classes: each is printed."""
    listing(text)(value, name)
    if len(value) > MAX_CLASSES:
        raise ValueError(f"{name} must have at most {MAX_CLASSES} names, got {len(value):,}")


PICTURES = fields(
    {"kind": choice(*KINDS)},
    {
        "size": optional(_size),
        "polarity": optional(choice(*POLARITIES)),
        "classes": class_names,
    },
    others=plain,
)


METRICS: Mapping[str, Form] = {
    "epoch": whole(1),
    "lr": real(finite=False),
    "loss": real(finite=False),  # not finite only by a damaged network, whose report says so
    "accuracy": real(0, 1),
    "validation_loss": optional(real(finite=False)),
    "validation_accuracy": optional(real(0, 1)),
    "seconds": real(0, MAX_SECONDS),
    "images_per_second": real(finite=False),
}


def epochs(value: Any, name: str) -> None:
    """Check the metrics of epochs 1, 2, ..."""
    listing(fields(METRICS))(value, name)
    for i, metrics in enumerate(value):
        if metrics["epoch"] != i + 1:
            raise ValueError(f"{name}[{i}].epoch must be {i + 1}, got {metrics['epoch']}")


# Of any file, and of a training run only. More fields may be there, as a later version writes them.
MODEL = {
    "format": whole(),
    "nplenet": text,
    "model": optional(fields({"type": text}, others=plain)),
}
RUN = {
    "data": fields({"images": whole(1), "batch_size": whole(1), "sha256": text}),
    "optimizer": fields({"type": text, "step": whole()}, others=plain),
    "schedule": optional(fields({"type": text}, others=plain)),
    "generators": mapping(mapping(plain)),
    "progress": fields(
        {
            "epochs": epochs,
            "loader": mapping(mapping(plain)),
            "seconds": real(0, MAX_SECONDS),
            "epoch_seconds": real(0, MAX_SECONDS),
        }
    ),
}
TRANSFORM = fields(
    {"type": choice("ToFloat", "Normalize")},
    {"dtype": choice("float32", "float64")},
    others=plain,
)
TRUST = {
    "temperature": real(1e-3, 1e3),
    "least_probability": real(0, 1),
    "images": whole(1),
    "unsure": real(0, 1),
    "right_when_sure": real(0, 1),
}
MORE = {
    "arguments": mapping(plain),
    "tunables": mapping(whole()),
    "environment": mapping(text),
    "settings": mapping(text),
    "input_shape": optional(input_shape),
    "tied": mapping(text),
    "frozen": listing(text),
    "eval": listing(text),
    "preprocessing": optional(preprocessing),
    "pictures": optional(PICTURES),
    "trust": optional(fields(TRUST, others=plain)),
}


def check_record(record: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Check the record of a file by ``save_model``, or of a training run, and the run's tensors.

    Raises
    ------
    ValueError
        Naming the field.
    """
    is_run = isinstance(record, dict) and "progress" in record
    fields(MODEL | RUN if is_run else MODEL, MORE, others=plain)(record, "")
    if not is_run:
        return
    shapes = set()
    for name, kind in (("epoch.losses", "f"), ("epoch.hits", "iu")):
        array = tensors.get(name)
        if array is None or array.ndim != 1 or array.dtype.kind not in kind:
            raise ValueError(f"it has no tensor {name} of one axis")
        shapes.add(array.shape)
    if len(shapes) > 1:
        raise ValueError(f"epoch.losses and epoch.hits have different shapes: {sorted(shapes)}")
