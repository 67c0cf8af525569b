"""Recognise the digit in photographs or drawings (PNG, JPEG or BMP), original and inverted."""

from __future__ import annotations

import argparse
import sys

from ..checkpoint import load
from ..input_shape import input_shape
from ..recognize import fitted, picture, prepare, read_image, recognize
from ..terminal import printable, show, show_json
from . import add_checkpoint, add_input_shape


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="image of one digit, dark on light or light on dark",
    )
    add_input_shape(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per image")


def run(options: argparse.Namespace) -> int:
    checkpoint = load(options.checkpoint)
    model = checkpoint.model()
    shape = input_shape(model, options.input_shape or checkpoint.input_shape)
    status = 0
    for path in options.images:
        try:
            image = fitted(prepare(read_image(path)), shape)
        except ValueError as error:  # the other images are still processed
            message = str(error) if path in str(error) else f"{path}: {error}"
            show(f"nplenet predict: {printable(message)}", file=sys.stderr)
            status = 2
            continue
        found = recognize(model, image)
        prediction = {"image": path, "digit": int(found.probabilities.argmax())}
        if options.json:
            rows = {name: row.astype(float).tolist() for name, row in found._asdict().items()}
            show_json(prediction | rows)
            continue
        show(picture(image))
        show("digit     " + "".join(f"{k:>8}" for k in range(len(found.probabilities))))
        for name, row in zip(("image", "inverse"), found, strict=True):
            show(f"{name:<10}" + "".join(f"{p:8.2%}" for p in row))
        show(f"{printable(path)}: {prediction['digit']}")
    return status
