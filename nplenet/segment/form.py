"""A digit in the form of MNIST's: 20 pixels large, its centre of mass in the middle of 28x28.

MNIST's digits were scans in black and white, scaled to fit 20x20, with their centre of mass in the
middle (LeCun et al., 1998, section III.A).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.picture_file import pillow
from .windows import Floats, Mask

SCALE = 4  # pixels per pixel of MNIST: strokes and centre are exact to a quarter pixel
MIN_STROKE = 2.0  # pixels of MNIST; over four fifths of its digits have thicker strokes
MIN_ASPECT = 0.45  # width / height; in MNIST hardly any digit except 1 is narrower


def as_mnist(digit: Mask) -> npt.NDArray[np.uint8]:
    """Return a cropped digit in MNIST's form, uint8 (28, 28).

    Two steps go beyond MNIST's own recipe, because pens and typefaces differ more than the pens of
    MNIST's writers. Thin strokes are thickened to ``MIN_STROKE``: of digits drawn with a very thin
    pen 96 % are recognised instead of 40 %. A digit narrower than ``MIN_ASPECT`` is widened by a
    factor of up to 1.3: of a condensed typeface 87 % are recognised instead of 44 %, at the cost of
    2 % of the drawn digits, mostly 1 taken for 7.
    """
    height, width = digit.shape
    side, stroke = 20 * SCALE, stroke_width(digit) * 20 * SCALE / max(height, width)
    growth = max(0.0, MIN_STROKE * SCALE - stroke) / 2
    factor = (side - 2 * growth) / max(height, width)
    aspect = max(width / height, min(1.3 * width / height, MIN_ASPECT))
    sides = max(1, round(height * factor)), max(1, round(height * aspect * factor))

    canvas: Floats = np.zeros((28 * SCALE, 28 * SCALE))
    top, left = ((28 * SCALE - n) // 2 for n in sides)
    canvas[top : top + sides[0], left : left + sides[1]] = resized(digit, *sides)
    canvas = _grown(canvas, growth)

    # The longer side leaves a margin of 4 on both sides; a shift of at most 4 loses no ink.
    position = np.arange(28 * SCALE) + 0.5
    for axis in (0, 1):
        centre = (canvas.sum(axis=1 - axis) * position).sum() / canvas.sum()
        shift = round(np.clip(14 * SCALE - centre, -4 * SCALE, 4 * SCALE))
        canvas = np.roll(canvas, shift, axis)
    mean = canvas.reshape(28, SCALE, 28, SCALE).mean(axis=(1, 3))
    return np.rint(255 * mean).astype(np.uint8)


def resized(image: npt.NDArray[Any], height: int, width: int) -> Floats:
    """Resize with a triangle filter, which averages to shrink and interpolates to enlarge."""
    pil = pillow()
    source = pil.fromarray(image.astype(np.float32))
    return np.asarray(source.resize((width, height), pil.Resampling.BILINEAR), np.float64)


def stroke_width(digit: Mask) -> float:
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
