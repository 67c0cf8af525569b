"""From a picture to the grey images in which ink is looked for, at a size that suits strokes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.picture_file import fewer_pixels, pillow
from ..rounding import ceil_div
from .windows import dilated, eroded

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]

MAX_SIDE = 640  # pixels of the analysed image: a digit of 1/20 of its height has 25 rows
SMALL = 96  # pixels of the longer side, below which an image is enlarged
ENLARGED = 160  # to this many pixels, about
MIN_BLOCK = 3  # pixels of the side of a pixel enlarged
MIN_BLOCKS = 8  # pixels enlarged along the longer side
LUMA = np.array([0.299, 0.587, 0.114])  # as Pillow's grey
DIFFERENT = 8  # levels of 255 between a pixel and its surroundings that count
MIN_SHARE = 0.2  # of the contrast in colour, that grey must have to be used


def at_working_size(image: Bytes) -> tuple[Floats, float]:
    """Return an image (H, W, C) as float32 with a longer side of 96 to 640 pixels, and the scale.

    A small image is enlarged by a whole factor, so that strokes are more than two pixels wide.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    scale = ceil_div(ENLARGED, longer) if longer < SMALL else min(1.0, MAX_SIDE / longer)
    sides = max(1, round(height * scale)), max(1, round(width * scale))
    if sides == (height, width):
        return image.astype(np.float32), 1.0
    pil = pillow()
    kind = pil.Resampling.BICUBIC if scale > 1 else pil.Resampling.BILINEAR
    resized = [
        np.asarray(
            pil.fromarray(fewer_pixels(image[:, :, c]).astype(np.float32)).resize(sides[::-1], kind)
        )
        for c in range(image.shape[2])
    ]
    found = np.stack(resized, axis=2)
    if scale > 1:  # a cubic goes beyond the levels at an edge, and would draw light around ink
        for c in range(image.shape[2]):
            bounds = eroded(image[:, :, c], 3), dilated(image[:, :, c], 3)
            low, high = (level.repeat(scale, axis=0).repeat(scale, axis=1) for level in bounds)
            found[:, :, c] = np.clip(found[:, :, c], low, high)
    return found, scale


def block_of(image: Bytes) -> int:
    """Return the side of the squares to which single pixels were enlarged, 1 if there are none.

    Rows and columns of such an image (H, W, C) change at multiples of that side only.
    """
    changes = [
        1 + np.flatnonzero((np.diff(image, axis=axis) != 0).any(axis=(1 - axis, 2)))
        for axis in (0, 1)
    ]
    side = int(np.gcd.reduce(np.concatenate(changes)))  # 0 where nothing changes
    return side if side >= MIN_BLOCK and max(image.shape[:2]) >= MIN_BLOCKS * side else 1


def grey_of(image: Floats) -> Bytes:
    """Return an image (H, W, C) as grey levels, uint8 (H, W), in which ink stands out.

    That is its luma, unless the colours differ much more than luma does, such as red ink on green
    paper: then it is the direction in the space of colours along which pixels differ most from
    their surroundings, the first principal component.
    """
    if image.shape[2] == 1:
        return np.rint(image[:, :, 0]).astype(np.uint8)
    pil = pillow()
    height, width = image.shape[:2]
    cells = max(1, width // 32), max(1, height // 32)
    blurred = [
        np.asarray(pil.fromarray(image[:, :, c]).resize(cells, pil.Resampling.BILINEAR).resize(
            (width, height), pil.Resampling.BILINEAR
        ))
        for c in range(3)
    ]  # fmt: skip
    difference = (image - np.stack(blurred, axis=2)).reshape(-1, 3)
    difference = difference[np.abs(difference).max(axis=1) > DIFFERENT].astype(np.float64)
    axis = LUMA
    if len(difference):
        variances, axes = np.linalg.eigh(difference.T @ difference)
        unit = LUMA / np.linalg.norm(LUMA)
        if np.sum((difference @ unit) ** 2) < MIN_SHARE * variances[-1]:
            axis = axes[:, -1] * np.sign(axes[:, -1] @ LUMA or 1)
    level = image @ axis.astype(np.float32)
    if axis is not LUMA:
        low, high = level.min(), level.max()
        level = (level - low) * (255 / max(high - low, 1))
    return np.clip(np.rint(level), 0, 255).astype(np.uint8)
