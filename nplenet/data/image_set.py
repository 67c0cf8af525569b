"""Images of the user's own with their labels, as ``from_csv`` and its neighbours return them."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .idx import DataError

MAX_CLASSES = 1000


class ImageSet(NamedTuple):
    """Images, their labels and the names of the classes.

    Attributes
    ----------
    images : uint8 (N, C, H, W)
    labels : int64 (N,)
        0 to K - 1.
    classes : tuple of str
        The K names; for data without names the numbers.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]


def numbered(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer[Any]], where: str
) -> ImageSet:
    """Return images whose classes have no names, 0 to the largest label."""
    last = int(labels.max())
    if last >= MAX_CLASSES or int(labels.min()) < 0:
        wrong = last if last >= MAX_CLASSES else int(labels.min())
        raise DataError(f"{where}: has the label {wrong}, expected 0 to {MAX_CLASSES - 1}")
    if images.max() == 1:
        warnings.warn(
            f"{where}: all pixels are 0 or 1, of 0 to 255: nearly black; multiply them by 255",
            stacklevel=3,
        )
    return ImageSet(images, labels.astype(np.int64), tuple(map(str, range(last + 1))))


def image_shape(pixels: int, where: str) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of a square image of ``pixels`` numbers: grey or three colours."""
    for channels in (1, 3):
        side = round((pixels / channels) ** 0.5)
        if channels * side * side == pixels and side > 0:
            return channels, side, side
    raise DataError(
        f"{where}: an image of {pixels} numbers is not square, grey or of three colours; "
        "say its shape=(channels, height, width)"
    )
