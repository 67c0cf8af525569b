"""Recognise a photograph or drawing of a digit: bring it into MNIST's form, run a model.

MNIST's digits were scans in black and white, scaled to fit 20x20, with their centre of mass in the
middle of 28x28 (LeCun et al., 1998, section III.A). ``prepare`` does the same to any image:

1. ``data.picture_file.read_image`` reads it, ``_at_most`` shrinks it to 512 pixels at most.
2. ``_ink``: fit the paper, find whether ink is darker or lighter, and the threshold between.
3. ``_digit``: remove specks and parts that reach the edge of the image; crop.
4. ``_as_mnist``: scale, thicken thin strokes, centre.

Legend: H, W height and width; rows count down, columns to the right. Ink is True in a mask.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.polynomial.polynomial import polygrid2d, polyvander2d

from .augment import floats, grayscale, invert
from .data import pad_images
from .data.picture_file import fewer_pixels, pillow, read_colours, read_image
from .layers import Layer
from .names import present
from .trust import calibrated

__all__ = ["Recognition", "fitted", "picture", "prepare", "read_plain", "recognize"]
present(__name__)

__all__ = ["Recognition", "fitted", "picture", "prepare", "read_image", "read_plain", "recognize"]

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]

MAX_SIDE = 512  # pixels of the analysed image: a digit of 1/20 of its height has 25 rows
PAPER_GRID = 32  # the paper is fitted to 32x32 averages, in which thin strokes nearly vanish
PAPER_NOISE = 10  # grey levels of 255 between the paper and the surface fitted to it
MIN_INK = 0.08  # fraction of the paper's brightness removed; noise alone reached 0.05
MIN_DIGIT_SIDE = 8  # pixels; a smaller part is a speck, not a digit
SCALE = 4  # pixels per pixel of MNIST: strokes and centre are exact to a quarter pixel
MIN_STROKE = 2.0  # pixels of MNIST; over four fifths of its digits have thicker strokes
MIN_ASPECT = 0.45  # width / height; in MNIST hardly any digit except 1 is narrower
RAMP = " .:-=+*#%@"


# --- from an image to MNIST's form ----------------------------------------------------------------


def prepare(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Find the digit in an image and bring it into the form of MNIST's.

    Dark ink on light paper or light ink on dark, anywhere in the image, evenly lit or not.

    Parameters
    ----------
    grey : uint8 (H, W)
        One digit, upright, with some paper around it, such as ``read_image`` returns.

    Returns
    -------
    uint8 (32, 32)
        White ink on black, its longer side some 20 pixels, its centre of mass in the middle.

    Raises
    ------
    TypeError
        When the image is not a uint8 array.
    ValueError
        When it has another rank, no pixels, or no ink.
    ImportError
        When Pillow is not installed.
    """
    if not isinstance(grey, np.ndarray) or grey.dtype != np.uint8:
        found = getattr(grey, "dtype", type(grey).__name__)
        raise TypeError(f"prepare: expected a uint8 array, got {found}; see read_image")
    if grey.ndim != 2 or not grey.size:
        raise ValueError(f"prepare: expected shape (H, W), H and W at least 1, got {grey.shape}")
    return pad_images(_as_mnist(_digit(_ink(_at_most(grey, MAX_SIDE))))[None])[0, 0]


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


def read_plain(path: str | os.PathLike[str], input_shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Read an image as ``nplenet.data.from_folder`` does, for a model trained on such images.

    Parameters
    ----------
    path : path
    input_shape : tuple of int
        (1, C, H, W), C of 1 or 3.

    Returns
    -------
    uint8 (C, H, W)

    Raises
    ------
    DataError
        As ``read_image``.
    ValueError
        When the model takes other things than an image.
    """
    if len(input_shape) != 4 or input_shape[1] not in (1, 3):
        raise ValueError(f"an image is (1, H, W) or (3, H, W); this model takes {input_shape[1:]}")
    _, channels, height, width = input_shape
    image = pad_images(read_colours(path, (height, width))[None], (height, width))
    grey: npt.NDArray[np.uint8] = grayscale(image)[0, :1]
    return grey if channels == 1 else image[0]


def _at_most(grey: npt.NDArray[np.uint8], side: int) -> Floats:
    """Shrink an image by averaging until no side is longer than ``side``."""
    grey = fewer_pixels(grey)
    factor = min(1.0, side / max(grey.shape))
    return _resize(grey, *(max(1, round(n * factor)) for n in grey.shape))


def _resize(image: npt.NDArray[Any], height: int, width: int) -> Floats:
    """Resize with a triangle filter, which averages to shrink and interpolates to enlarge."""
    pil = pillow()
    source = pil.fromarray(image.astype(np.float32))
    return np.asarray(source.resize((width, height), pil.Resampling.BILINEAR), np.float64)


def _ink(grey: Floats) -> Mask:
    """Return the mask of the ink: pixels that differ from the paper by more than Otsu's threshold.

    Brightness is proportional to the light: under half the light, paper and ink are both half as
    bright. So ink is measured by the fraction of the paper's brightness that it removes. Light ink
    is inverted first.
    """
    paper = _paper(grey)
    if ((grey - paper) ** 3).sum() > 0:  # light ink on dark paper
        grey, paper = 255 - grey, 255 - paper
    darkness = np.clip((paper - grey) / np.maximum(paper, 1), 0, 1)
    ink = darkness > _threshold(darkness)
    if not ink.any() or darkness[ink].mean() < MIN_INK:
        raise ValueError(
            "no digit in the image: no ink stands out from the paper; "
            "write with a darker pen or take the picture in better light"
        )
    return ink


def _paper(grey: Floats) -> Floats:
    """Return the brightness of the paper in every pixel, also beneath the ink: (H, W).

    A surface is fitted by reweighted least squares (Holland & Welsch, 1977), first linear, then
    quadratic in x and in y. Ink is far from the surface, so its weight is close to zero (Cauchy's
    weights). The rim of the image, where ink is rare, has ten times the weight of the inside. A
    surface quadratic from the start would bend into a thick digit that nearly fills the image.
    """
    values = _resize(grey, PAPER_GRID, PAPER_GRID).ravel()
    along = np.linspace(-1, 1, PAPER_GRID)
    y, x = along.repeat(PAPER_GRID), np.tile(along, PAPER_GRID)
    rim = np.maximum(np.abs(x), np.abs(y)) == 1
    importance = np.where(rim, 1, 0.1)
    error = np.abs(values - np.median(values[rim]))
    for degree in (1, 2):
        terms = polyvander2d(y, x, (degree, degree))
        for _ in range(10):
            weighted = terms * (importance / (1 + (error / PAPER_NOISE) ** 2))[:, None]
            coefficients = np.linalg.solve(weighted.T @ terms, weighted.T @ values)
            error = np.abs(values - terms @ coefficients)
    y, x = (np.linspace(-1, 1, n) for n in grey.shape)
    return polygrid2d(y, x, coefficients.reshape(3, 3))


def _threshold(values: Floats) -> float:
    """Return Otsu's threshold for values of 0 ... 1 (Otsu, 1979).

    It maximises the variance between the two classes, n0 n1 (mean1 - mean0)^2.
    """
    count, edges = np.histogram(values, 256, (0, 1))
    below = np.cumsum(count)[:-1]
    above = values.size - below
    total = np.cumsum(count * (edges[:-1] + edges[1:]) / 2)
    mean_below = total[:-1] / np.maximum(below, 1)
    mean_above = (total[-1] - total[:-1]) / np.maximum(above, 1)
    between = below * above * (mean_above - mean_below) ** 2
    return float(edges[1 + int(between.argmax())])


def _digit(ink: Mask) -> Mask:
    """Return the ink that belongs to the digit, cropped.

    Parts that reach the edge of the image (a shadow, the table, a ruled line) are removed if a part
    inside is large enough to be the digit. Parts with less than a twentieth of the pixels of the
    largest part are removed too.
    """
    height, width = ink.shape
    parts = _parts(ink)
    inside = [
        (rows, columns)
        for rows, columns in parts
        if rows.min() > 0 and columns.min() > 0
        if rows.max() < height - 1 and columns.max() < width - 1
    ]
    if inside and max(map(_longer_side, inside)) >= max(ink.shape) / 8:
        parts = inside
    if max(map(_longer_side, parts)) < MIN_DIGIT_SIDE:
        raise ValueError(
            f"no digit in the image: every part of the ink is smaller than {MIN_DIGIT_SIDE} pixels "
            f"in {height}x{width}; take the picture from nearer by"
        )
    largest = max(len(rows) for rows, _ in parts)
    parts = [(rows, columns) for rows, columns in parts if len(rows) * 20 >= largest]
    rows, columns = (np.concatenate(positions) for positions in zip(*parts, strict=True))
    digit = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1), bool)
    digit[rows - rows.min(), columns - columns.min()] = True
    return digit


def _longer_side(part: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]) -> int:
    return 1 + max(int(np.ptp(positions)) for positions in part)


def _parts(ink: Mask) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Return the rows and columns of each connected part; diagonal neighbours are connected too."""
    width = ink.shape[1] + 2
    left = bytearray(np.pad(ink, 1).tobytes())  # ink that is not in a part yet
    neighbours = (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1)
    parts = []
    seed = -1
    while (seed := left.find(1, seed + 1)) >= 0:
        left[seed] = 0
        part = [seed]
        for pixel in part:  # which grows during the loop
            for step in neighbours:
                if left[pixel + step]:
                    left[pixel + step] = 0
                    part.append(pixel + step)
        rows, columns = np.divmod(part, width)
        parts.append((rows - 1, columns - 1))
    return parts


def _as_mnist(digit: Mask) -> npt.NDArray[np.uint8]:
    """Return a cropped digit in MNIST's form, uint8 (28, 28).

    Two steps go beyond MNIST's own recipe, because pens and typefaces differ more than the pens of
    MNIST's writers. Thin strokes are thickened to ``MIN_STROKE``: of digits drawn with a very thin
    pen 96 % are recognised instead of 40 %. A digit narrower than ``MIN_ASPECT`` is widened by a
    factor of up to 1.3: of a condensed typeface 87 % are recognised instead of 44 %, at the cost of
    2 % of the drawn digits, mostly 1 taken for 7.
    """
    height, width = digit.shape
    side, stroke = 20 * SCALE, _stroke_width(digit) * 20 * SCALE / max(height, width)
    growth = max(0.0, MIN_STROKE * SCALE - stroke) / 2
    factor = (side - 2 * growth) / max(height, width)
    aspect = max(width / height, min(1.3 * width / height, MIN_ASPECT))
    sides = max(1, round(height * factor)), max(1, round(height * aspect * factor))

    canvas: Floats = np.zeros((28 * SCALE, 28 * SCALE))
    top, left = ((28 * SCALE - n) // 2 for n in sides)
    canvas[top : top + sides[0], left : left + sides[1]] = _resize(digit, *sides)
    canvas = _grown(canvas, growth)

    # The longer side leaves a margin of 4 on both sides; a shift of at most 4 loses no ink.
    position = np.arange(28 * SCALE) + 0.5
    for axis in (0, 1):
        centre = (canvas.sum(axis=1 - axis) * position).sum() / canvas.sum()
        shift = round(np.clip(14 * SCALE - centre, -4 * SCALE, 4 * SCALE))
        canvas = np.roll(canvas, shift, axis)
    mean = canvas.reshape(28, SCALE, 28, SCALE).mean(axis=(1, 3))
    return np.rint(255 * mean).astype(np.uint8)


def _stroke_width(digit: Mask) -> float:
    """Return the mean width of the strokes in pixels: twice the area over the outline's length.

    The outline along the sides of the pixels is too long by 4 / pi, averaged over all directions.
    """
    padded = np.pad(digit, 1)
    sides = sum(int(np.count_nonzero(np.diff(padded, axis=axis))) for axis in (0, 1))
    return 2 * int(digit.sum()) / (sides * np.pi / 4)


def _grown(image: Floats, radius: float) -> Floats:
    """Return the maximum over a disc around every pixel; pixels cut by its rim count in part."""
    reach = int(np.ceil(radius))
    height, width = image.shape
    padded = np.pad(image, reach)
    grown = image.copy()
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            cover = min(1.0, radius + 1 - float(np.hypot(dx, dy)))
            if cover > 0:
                row, column = reach + dy, reach + dx
                moved = padded[row : row + height, column : column + width]
                np.maximum(grown, cover * moved, out=grown)
    return grown


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
        Such as ``prepare`` or ``read_plain`` return.
    """
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
