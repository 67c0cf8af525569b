"""Pad images of any size to the square input of the network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..checks import Pair, pair, unmasked


def pad_images(images: npt.NDArray[np.uint8], size: int | Pair = 32) -> npt.NDArray[np.uint8]:
    """Centre images on a black square or rectangle, and add a channel axis if it is missing.

    Pad once, when a data set is loaded and before it is augmented, so that an inverted image is
    inverted up to its border.

    Parameters
    ----------
    images
        uint8 (N, H, W) or (N, C, H, W).
    size
        Height and width of the result, in pixels; one number is both. An odd border is wider at the
        bottom and right.

    Returns
    -------
    numpy.ndarray
        uint8 (N, C, H, W) of `size`, C = 1 for images without a channel axis. Always a copy.

    Raises
    ------
    TypeError
        When the images are not a uint8 array.
    ValueError
        When they have another rank or are larger than `size`.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = getattr(images, "dtype", type(images).__name__)
        raise TypeError(f"pad_images: expected a uint8 array, got {found}; pad before ToFloat")
    unmasked(images, "pad_images: images")
    if images.ndim not in (3, 4):
        raise ValueError(
            f"pad_images: expected shape (N, H, W) or (N, C, H, W), got {images.shape}"
        )
    if images.ndim == 3:
        images = images[:, None]
    height, width = pair(size, "pad_images: size", 1)
    n, c, h, w = images.shape
    if h > height or w > width:
        raise ValueError(f"pad_images: images of {h} x {w} do not fit into {height} x {width}")
    top, left = (height - h) // 2, (width - w) // 2
    padded = np.zeros((n, c, height, width), np.uint8)
    padded[:, :, top : top + h, left : left + w] = images
    return padded
