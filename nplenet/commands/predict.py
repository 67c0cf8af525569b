"""Recognise the digit in photographs or drawings (PNG, JPEG or BMP), original and inverted.

examples:
  nplenet predict default photo.png
  nplenet predict run/checkpoint.safetensors first.png second.jpg --json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..checkpoint import Checkpoint, CheckpointError, load
from ..input_shape import input_shape
from ..recognize import (
    Recognition,
    fitted,
    picture,
    prepare,
    read_image,
    read_plain,
    recognize,
)
from ..schema import listing, text
from ..terminal import printable, show, show_json
from ..trust import Judgement, judged
from . import add_checkpoint, add_input_shape

SHOWN = 10  # classes, the most probable ones


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="image of one digit, dark on light or light on dark",
    )
    add_input_shape(parser)
    parser.add_argument(
        "--as",
        dest="kind",
        choices=("digit", "image"),
        help="digit finds the ink and brings it into MNIST's form; image takes the whole picture, "
        "as training on folder:DIR does (default: image if the network was trained so)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per image")


def run(options: argparse.Namespace) -> int:
    checkpoint = load(options.checkpoint)
    model = checkpoint.model()
    shape = input_shape(model, options.input_shape or checkpoint.input_shape)
    names = class_names(checkpoint, model.output_shape(shape)[1])
    trained_on = str((checkpoint.record.get("arguments") or {}).get("dataset", ""))
    whole = (options.kind or ("image" if trained_on.startswith("folder:") else "digit")) == "image"
    status = 0
    for path in options.images:
        try:
            image = read_plain(path, shape) if whole else fitted(prepare(read_image(path)), shape)
        except ValueError as error:  # the other images are still processed
            message = str(error) if path in str(error) else f"{path}: {error}"
            show(f"nplenet predict: {printable(message)}", file=sys.stderr)
            status = 2
            continue
        found = recognize(model, image)
        answer = judged(found.probabilities, model.trust, None if whole else image, names)
        if options.json:
            rows = {name: row.astype(float).tolist() for name, row in found._asdict().items()}
            show_json({"image": path} | described(answer, names) | rows)
            continue
        show_prediction(image, found, names, path, answer)
    return status


def show_prediction(
    image: npt.NDArray[np.uint8],
    found: Recognition,
    names: Sequence[str],
    path: str,
    answer: Judgement,
) -> None:
    """Print what the network saw, the probabilities of the likeliest classes, and the answer."""
    show(picture(image))
    likeliest = np.argsort(-found.probabilities, kind="stable")[:SHOWN]
    shown = sorted(likeliest.tolist())
    head = "digit" if list(names) == list("0123456789") else "class"
    show(f"{head:<10}" + "".join(f"{printable(names[k], 7):>8}" for k in shown))
    for name, row in zip(("image", "inverse"), found, strict=True):
        show(f"{name:<10}" + "".join(f"{row[k]:8.2%}" for k in shown))
    show(f"{printable(path)}: {printable(names[answer.answer])}{printable(answer.remark)}")


def described(answer: Judgement, names: Sequence[str]) -> dict[str, object]:
    """Return an answer for JSON; ``trust`` is null where it was not measured."""
    trust = {None: None, True: "sure", False: "unsure"}[answer.sure]
    return {
        "digit": answer.answer,
        "class": names[answer.answer],
        "probability": answer.probability,
        "trust": trust,
        "reason": answer.reason,
    }


def class_names(checkpoint: Checkpoint, classes: int) -> list[str]:
    """Return the names of the classes, which the record of a training run may hold."""
    names = (checkpoint.record.get("arguments") or {}).get("class_names")
    if names is None:
        return [str(k) for k in range(classes)]
    try:
        listing(text)(names, "arguments.class_names")
        if len(names) > classes:
            raise ValueError(f"arguments.class_names has {len(names)} names for {classes} classes")
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: in its record {error}") from None
    found: list[str] = names + [str(k) for k in range(len(names), classes)]
    return found
