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

from ..checkpoint import load
from ..input_shape import input_shape
from ..recognize import (
    Recognition,
    fitted,
    picture,
    prepare,
    read_image,
    recognize,
)
from ..terminal import printable, show, show_json
from ..trust import Judgement, judged
from . import add_checkpoint, add_input_shape, known_pictures

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
        "as training on folder:DIR does (default: what the file says, otherwise digit for grey "
        "images)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per image")


def run(options: argparse.Namespace) -> int:
    checkpoint = load(options.checkpoint)
    model = checkpoint.model(allow_non_finite=options.allow_non_finite)
    shape = input_shape(model, options.input_shape or checkpoint.input_shape)
    pictures, names = known_pictures(checkpoint, model, shape)
    whole = options.kind == "image" if options.kind else pictures.kind == "whole"
    if model.pictures is None and options.kind is None and len(names) != 10 and not whole:
        show(
            "nplenet predict: the file does not say how its images were made, so each picture is "
            "taken for ink on paper; --as image takes the whole picture",
            sys.stderr,
        )
    status = 0
    for path in options.images:
        try:
            if whole:
                image = pictures.read(path, shape)
            else:
                image = pictures.in_polarity(fitted(prepare(read_image(path)), shape))
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
