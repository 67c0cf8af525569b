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

from ..checkpoint import load
from ..data import Pictures
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
    recognize,
    with_boxes,
)
from ..terminal import printable, show, show_json
from ..trust import Judgement, judged
from . import add_checkpoint, add_input_shape, check_output, known_pictures, nonempty_path

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
        "as training on folder:DIR does (default: what the file says, otherwise digit for grey "
        "images)",
    )
    parser.add_argument(
        "--one", action="store_true", help="read only the digit that stands out most"
    )
    parser.add_argument(
        "--boxes",
        type=nonempty_path,
        metavar="FILE",
        help="PNG file to write: the image with a box around each digit and its class beside it; "
        "for one IMAGE",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per image")


def run(options: argparse.Namespace) -> int:
    checkpoint = load(options.checkpoint)
    model = checkpoint.model(allow_non_finite=options.allow_non_finite)
    shape = input_shape(model, options.input_shape or checkpoint.input_shape)
    pictures, names = known_pictures(checkpoint, model, shape)
    whole = options.kind == "image" if options.kind else pictures.kind == "whole"
    if options.boxes is not None and (whole or len(options.images) > 1):
        raise ValueError("--boxes takes one IMAGE of digits")
    if options.boxes is not None:
        if options.boxes.suffix.lower() != ".png":
            raise ValueError(f"--boxes must end with .png, got {options.boxes}")
        check_output("--boxes", options.boxes, options.images[0])
    if model.pictures is None and options.kind is None and len(names) != 10 and not whole:
        show(
            "nplenet predict: the file does not say how its images were made, so each picture is "
            "taken for ink on paper; --as image takes the whole picture",
            sys.stderr,
        )
    reader = Reader(model, shape, pictures, names)
    status = 0
    for path in options.images:
        try:
            read = [reader.whole(path)] if whole else reader.digits(path, options.one)
            if options.boxes is not None:
                save_boxes(options.boxes, path, read, names)
        except ValueError as error:  # the other images are still processed
            message = str(error) if path in str(error) else f"{path}: {error}"
            show(f"nplenet predict: {printable(message)}", file=sys.stderr)
            status = 2
            continue
        if options.json:
            show_json(as_json(path, read, names))
        elif len(read) == 1:
            show_prediction(read[0], names, path)
        else:
            show_several(read, names, path)
    return status


class Reading(NamedTuple):
    """What was read: the box in the picture, the image (C, H, W) or (H, W) of it, the answer."""

    box: tuple[int, int, int, int]
    image: npt.NDArray[np.uint8]
    found: Recognition
    judgement: Judgement


class Reader(NamedTuple):
    """A model, and how pictures become its images."""

    model: Layer
    shape: tuple[int, ...]
    pictures: Pictures
    names: Sequence[str]

    def whole(self, path: str) -> Reading:
        """Read a picture as training did."""
        image = self.pictures.read(path, self.shape)
        found = recognize(self.model, image)
        judgement = judged(found.probabilities, self.model.trust, None, self.names)
        return Reading((0, 0, *image.shape[:-3:-1]), image, found, judgement)

    def digits(self, path: str, only_one: bool) -> list[Reading]:
        """Read the digits of a picture, with boxes in the pixels of its file."""
        photo = read_photo(path)
        found = [main_digit(photo.pixels)] if only_one else find_digits(photo.pixels)
        scale = max(photo.size) / max(photo.pixels.shape[:2])
        return [self._digit(scaled(box, scale), prepared) for box, prepared in found]

    def _digit(self, box: tuple[int, int, int, int], prepared: npt.NDArray[np.uint8]) -> Reading:
        image = self.pictures.in_polarity(fitted(prepared, self.shape))
        found = recognize(self.model, image)
        return Reading(
            box, image, found, judged(found.probabilities, self.model.trust, prepared, self.names)
        )


def scaled(box: Sequence[int], scale: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(side * scale) for side in box)
    return left, top, right, bottom


def save_boxes(file: Path, path: str, read: Sequence[Reading], names: Sequence[str]) -> None:
    """Save the picture with its boxes, each with the name of its class."""
    photo = read_photo(path)
    scale = max(photo.pixels.shape[:2]) / max(photo.size)
    boxes = [scaled(one.box, scale) for one in read]
    words = [printable(names[one.judgement.answer], 7) for one in read]
    with atomic_write(file) as written:
        with_boxes(photo.pixels, boxes, words).save(written, "PNG")


def as_json(path: str, read: Sequence[Reading], names: Sequence[str]) -> dict[str, Any]:
    """Return the JSON object of an image: its first digit, and all digits under "digits"."""

    def one(reading: Reading) -> dict[str, Any]:
        rows = {name: row.astype(float).tolist() for name, row in reading.found._asdict().items()}
        return described(reading.judgement, names) | {"box": reading.box} | rows

    digits = [one(reading) for reading in read]
    return {"image": path} | digits[0] | {"digits": digits}


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


def show_several(read: Sequence[Reading], names: Sequence[str], path: str) -> None:
    """Print a line for each digit, then the digits of each line of the picture."""
    show(f"{'class':>7}{'probability':>13}{'of inverse':>12}   left  top  right  bottom")
    lines: list[list[str]] = []
    for k, one in enumerate(read):
        name = printable(names[one.judgement.answer], 7)
        shares = (row[one.judgement.answer] for row in one.found)
        left, top, right, bottom = one.box
        doubt = f"   unsure: {one.judgement.reason}" if one.judgement.sure is False else ""
        show(
            f"{name:>7}"
            + "".join(f"{share:{width}.2%}" for share, width in zip(shares, (13, 12), strict=True))
            + f"{left:7}{top:5}{right:7}{bottom:8}{printable(doubt)}"
        )
        if k == 0 or left < read[k - 1].box[0]:
            lines.append([])
        lines[-1].append(name)
    show(f"{printable(path)}: " + " / ".join(" ".join(line) for line in lines))


def show_prediction(reading: Reading, names: Sequence[str], path: str) -> None:
    """Print what the network saw, the probabilities of the likeliest classes, and the answer."""
    answer = reading.judgement
    show(picture(reading.image))
    likeliest = np.argsort(-reading.found.probabilities, kind="stable")[:SHOWN]
    shown = sorted(likeliest.tolist())
    head = "digit" if list(names) == list("0123456789") else "class"
    show(f"{head:<10}" + "".join(f"{printable(names[k], 7):>8}" for k in shown))
    for name, row in zip(("image", "inverse"), reading.found, strict=True):
        show(f"{name:<10}" + "".join(f"{row[k]:8.2%}" for k in shown))
    show(f"{printable(path)}: {printable(names[answer.answer])}{printable(answer.remark)}")
