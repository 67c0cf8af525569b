"""Recognise the digits in photographs or drawings, original and inverted.

examples:
  nplenet predict default photo.png
  nplenet predict default sheet.jpg --boxes read.png
  nplenet predict run/checkpoint.safetensors first.png second.jpg --one --json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..checkpoint import Checkpoint, CheckpointError, load
from ..files import atomic_write
from ..input_shape import input_shape
from ..layers import Layer
from ..recognize import (
    Recognition,
    find_digits,
    fitted,
    main_digit,
    picture,
    read_photo,
    read_plain,
    recognize,
    with_boxes,
)
from ..schema import listing, text
from ..terminal import printable, show, show_json
from . import add_checkpoint, add_input_shape

SHOWN = 10  # classes, the most probable ones


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="image of one or several digits, dark on light or light on dark",
    )
    add_input_shape(parser)
    parser.add_argument(
        "--as",
        dest="kind",
        choices=("digit", "image"),
        help="digit finds the ink and brings it into MNIST's form; image takes the whole picture, "
        "as training on folder:DIR does (default: image if the network was trained so)",
    )
    parser.add_argument(
        "--one", action="store_true", help="read only the digit that stands out most"
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help="save the image with a box around each digit and its class beside it; for one IMAGE",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per image")


def run(options: argparse.Namespace) -> int:
    checkpoint = load(options.checkpoint)
    model = checkpoint.model()
    shape = input_shape(model, options.input_shape or checkpoint.input_shape)
    names = class_names(checkpoint, model.output_shape(shape)[1])
    trained_on = str((checkpoint.record.get("arguments") or {}).get("dataset", ""))
    whole = (options.kind or ("image" if trained_on.startswith("folder:") else "digit")) == "image"
    if options.boxes is not None and (whole or len(options.images) > 1):
        raise ValueError("--boxes takes one IMAGE of digits")
    status = 0
    for path in options.images:
        try:
            read = _read_whole(model, path, shape) if whole else _read(model, path, shape, options)
            if options.boxes is not None:
                _save_boxes(options.boxes, path, read, names)
        except ValueError as error:  # the other images are still processed
            message = str(error) if path in str(error) else f"{path}: {error}"
            show(f"nplenet predict: {printable(message)}", file=sys.stderr)
            status = 2
            continue
        if options.json:
            show_json(as_json(path, read, names))
        elif len(read) == 1:
            show_prediction(read[0].image, read[0].found, names, path)
        else:
            show_several(read, names, path)
    return status


class Reading(NamedTuple):
    """What was read: the box in the picture, the image (C, H, W) or (H, W) of it, the answer."""

    box: tuple[int, int, int, int]
    image: npt.NDArray[np.uint8]
    found: Recognition

    @property
    def answer(self) -> int:
        return int(self.found.probabilities.argmax())


def _read_whole(model: Layer, path: str, shape: tuple[int, ...]) -> list[Reading]:
    image = read_plain(path, shape)
    return [Reading((0, 0, *image.shape[:0:-1]), image, recognize(model, image))]


def _read(
    model: Layer, path: str, shape: tuple[int, ...], options: argparse.Namespace
) -> list[Reading]:
    """Return the digits of a picture, with boxes in the pixels of its file."""
    photo = read_photo(path)
    digits = [main_digit(photo.pixels)] if options.one else find_digits(photo.pixels)
    scale = max(photo.size) / max(photo.pixels.shape[:2])
    read = []
    for box, prepared in digits:
        image = fitted(prepared, shape)
        left, top, right, bottom = (round(side * scale) for side in box)
        read.append(Reading((left, top, right, bottom), image, recognize(model, image)))
    return read


def _save_boxes(file: Path, path: str, read: Sequence[Reading], names: Sequence[str]) -> None:
    photo = read_photo(path)
    scale = max(photo.pixels.shape[:2]) / max(photo.size)
    boxes = [[round(side * scale) for side in one.box] for one in read]
    found = with_boxes(photo.pixels, boxes, [printable(names[one.answer], 7) for one in read])
    with atomic_write(file) as written:
        found.save(written, "PNG")


def as_json(path: str, read: Sequence[Reading], names: Sequence[str]) -> dict[str, Any]:
    """Return what is printed of an image: its first digit, and all of them under "digits"."""

    def one(reading: Reading) -> dict[str, Any]:
        rows = {name: row.astype(float).tolist() for name, row in reading.found._asdict().items()}
        return {"digit": reading.answer, "class": names[reading.answer], "box": reading.box} | rows

    digits = [one(reading) for reading in read]
    return {"image": path} | digits[0] | {"digits": digits}


def show_several(read: Sequence[Reading], names: Sequence[str], path: str) -> None:
    """Print a line for each digit, then the digits of each line of the picture."""
    show(f"{'class':>7}{'probability':>13}{'of inverse':>12}   left  top  right  bottom")
    lines: list[list[str]] = []
    for k, one in enumerate(read):
        name = printable(names[one.answer], 7)
        shares = (row[one.answer] for row in one.found)
        left, top, right, bottom = one.box
        show(
            f"{name:>7}"
            + "".join(f"{share:{width}.2%}" for share, width in zip(shares, (13, 12), strict=True))
            + f"{left:7}{top:5}{right:7}{bottom:8}"
        )
        if k == 0 or left < read[k - 1].box[0]:
            lines.append([])
        lines[-1].append(name)
    show(f"{printable(path)}: " + " / ".join(" ".join(line) for line in lines))


def show_prediction(
    image: npt.NDArray[np.uint8], found: Recognition, names: Sequence[str], path: str
) -> None:
    """Print what the network saw, the probabilities of the likeliest classes, and the answer."""
    show(picture(image))
    likeliest = np.argsort(-found.probabilities, kind="stable")[:SHOWN]
    shown = sorted(likeliest.tolist())
    head = "digit" if list(names) == list("0123456789") else "class"
    show(f"{head:<10}" + "".join(f"{printable(names[k], 7):>8}" for k in shown))
    for name, row in zip(("image", "inverse"), found, strict=True):
        show(f"{name:<10}" + "".join(f"{row[k]:8.2%}" for k in shown))
    show(f"{printable(path)}: {printable(names[likeliest[0]])}")


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
