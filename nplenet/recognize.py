"""Recognise the digits in a photograph or drawing: bring each into MNIST's form, run a model.

1. ``data.picture_file.read_photo`` reads a file.
2. ``find_digits`` finds its digits (package ``segment``): whatever the paper, the light and the
   things beside them. ``prepare`` takes the one digit that stands out most.
3. ``segment.form.as_mnist`` scales each, thickens thin strokes, and centres it in 28x28.
4. ``recognize`` runs the model on it.

Legend: H, W height and width; rows count down, columns to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import checks
from .augment import floats, grayscale, invert
from .data import pad_images
from .data.picture_file import pillow, read_image, read_photo
from .layers import Layer
from .names import answer_wrong_names
from .segment import Part, find
from .segment.form import as_mnist
from .trust import calibrated

__all__ = [
    *("Digit", "Recognition", "find_digits", "fitted", "picture", "prepare"),
    *("main_digit", "recognize", "with_boxes"),
]
answer_wrong_names(__name__)

__all__ += ["read_image", "read_photo"]

MIN_DIGIT_SIDE = 8  # pixels; a smaller part is a speck, not a digit
RAMP = " .:-=+*#%@"
BOX_COLOUR = (220, 0, 120)  # seldom a colour of ink


# --- from an image to MNIST's form ----------------------------------------------------------------


class Digit(NamedTuple):
    """A digit in a picture.

    Attributes
    ----------
    box : tuple of int
        Left, top, right and bottom in the picture's pixels, the last two exclusive.
    image : uint8 (32, 32)
        The digit in the form of MNIST's: white ink on black, its longer side some 20 pixels, its
        centre of mass in the middle.
    """

    box: tuple[int, int, int, int]
    image: npt.NDArray[np.uint8]


def find_digits(picture: npt.NDArray[np.uint8]) -> list[Digit]:
    """Find the digits in a picture, in reading order: line by line, each from left to right.

    Dark ink on light paper or light ink on dark, on plain, ruled or squared paper, under any light.
    What is much smaller than the digit that stands out most is not taken for a digit; nor are
    frames, lines and what touches the border of the picture.

    Parameters
    ----------
    picture : uint8 (H, W) or (H, W, 3)
        Grey levels or colours, upright, such as the pixels that ``read_photo`` returns.

    Returns
    -------
    list of Digit
        At least one.

    Raises
    ------
    TypeError
        When the picture is not a uint8 array.
    ValueError
        When it has another rank, no pixels, or no digit.
    ImportError
        When Pillow is not installed.
    """
    _, digits, scale = _found(picture)
    return [_digit(part, scale) for part in digits]


def prepare(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Find the digit that stands out most in a picture; return its ``Digit.image``.

    Parameters and errors are as in ``find_digits``.
    """
    return main_digit(picture).image


def main_digit(picture: npt.NDArray[np.uint8]) -> Digit:
    """Find the digit that stands out most; parameters and errors as in ``find_digits``."""
    ranked, _, scale = _found(picture)
    return _digit(ranked[0], scale)


def _digit(part: Part, scale: float) -> Digit:
    sides = (part.left, part.top, part.right, part.bottom)
    left, top, right, bottom = (round(side / scale) for side in sides)
    box = left, top, max(right, left + 1), max(bottom, top + 1)
    return Digit(box, pad_images(as_mnist(part.mask())[None])[0, 0])


def _found(picture: npt.NDArray[np.uint8]) -> tuple[list[Part], list[Part], float]:
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        found = getattr(picture, "dtype", type(picture).__name__)
        raise TypeError(f"expected a picture as a uint8 array, got {found}; see read_photo")
    if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)) or not picture.size:
        raise ValueError(
            f"expected shape (H, W) or (H, W, 3), H and W at least 1, got {picture.shape}"
        )
    ranked, digits, scale = find(picture.reshape(*picture.shape[:2], -1))
    if not ranked:
        raise ValueError(
            "no digit in the image: no ink stands out from the paper; "
            "write with a darker pen or take the picture in better light"
        )
    height, width = picture.shape[:2]
    if ranked[0].longer / scale < min(MIN_DIGIT_SIDE, max(height, width) / 2) - 0.5:
        raise ValueError(
            f"no digit in the image: every part of the ink is smaller than {MIN_DIGIT_SIDE} pixels "
            f"in {height}x{width}; take the picture from nearer by"
        )
    return ranked, digits, scale


def with_boxes(
    picture: npt.NDArray[np.uint8], boxes: Sequence[Sequence[int]], names: Sequence[str]
) -> Any:
    """Return a picture, uint8 (H, W, 3), as a Pillow image with boxes and a name at each box."""
    pillow()
    from PIL import Image, ImageDraw, ImageFont

    drawn = Image.fromarray(picture)
    draw = ImageDraw.Draw(drawn)
    thick = max(1, max(drawn.size) // 300)
    heights = [bottom - top for _, top, _, bottom in boxes]
    size = max(10, int(np.median(heights)) // 4) if heights else 10
    for (left, top, right, bottom), name in zip(boxes, names, strict=True):
        box = (left - 2 * thick, top - 2 * thick, right + 2 * thick, bottom + 2 * thick)
        draw.rectangle(box, outline=BOX_COLOUR, width=thick)
        font = ImageFont.load_default(size)
        above = box[1] >= 1.3 * size  # otherwise within the box
        place = (box[0], box[1] - thick) if above else (box[0] + 3 * thick, box[1] + 3 * thick)
        draw.text(place, name, BOX_COLOUR, font=font, anchor="lb" if above else "lt")
    return drawn


def fitted(image: npt.NDArray[np.uint8], input_shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return an image of ``prepare`` in the size that a model takes: 32x32, or 28x28 as MNIST's.

    Parameters
    ----------
    image : uint8 (32, 32)
    input_shape : tuple of int
        (1, 1, H, W), with H and W at least 28.

    Raises
    ------
    ValueError
        When the model takes other things than one grey image of such a size.
    """
    if len(input_shape) != 4 or input_shape[1] != 1 or min(input_shape[2:]) < 28:
        raise ValueError(
            f"a digit becomes a grey image of 28x28 or more, (1, 28, 28); this model takes "
            f"{input_shape[1:]}"
        )
    return pad_images(image[None, 2:30, 2:30], (input_shape[2], input_shape[3]))[0, 0]


# --- the prediction -------------------------------------------------------------------------------


class Recognition(NamedTuple):
    """The prediction of a model for an image.

    Attributes
    ----------
    probabilities, inverted : float (classes,)
        Probability of each class, for the image and for the inverted image, black on white;
        calibrated if the model's trust was measured: ``nplenet.trust.judged`` says more.
    """

    probabilities: npt.NDArray[np.floating[Any]]
    inverted: npt.NDArray[np.floating[Any]]


def recognize(model: Layer, image: npt.NDArray[np.uint8]) -> Recognition:
    """Run a model, in eval mode, on an image and on the inverted image.

    Parameters
    ----------
    model : Layer
        Maps float32 (N, C, H, W) to logits (N, classes). The mode of each layer is restored
        afterwards. ``model.preprocessing`` and ``model.trust`` are applied.
    image : uint8 (H, W) or (C, H, W)
        Such as ``prepare`` or ``nplenet.data.Pictures.read`` return.
    """
    image = checks.images(image, "recognize: image")
    batch = image.reshape(1, -1, *image.shape[-2:])
    both = np.concatenate([batch, invert(batch)])
    with model.evaluating():
        logits = model(model.backend.asarray(floats(model.preprocessing, both)))
    return Recognition(*model.backend.to_numpy(calibrated(logits, model.trust)))


def picture(image: npt.NDArray[np.uint8]) -> str:
    """Draw an image in characters, two rows of pixels per line; denser means brighter.

    Parameters
    ----------
    image : uint8 (H, W) or (C, H, W)

    Returns
    -------
    str
        H // 2 lines of W characters of ASCII: 16 lines of 32 for 32x32.
    """
    if image.ndim == 3:
        image = grayscale(image[None])[0, 0]
    height, width = image.shape
    mean = image[: height // 2 * 2].reshape(height // 2, 2, width).mean(axis=1)
    levels = np.rint(mean * (len(RAMP) - 1) / 255).astype(int)
    return "\n".join("".join(RAMP[level] for level in row) for row in levels)
