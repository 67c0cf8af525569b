"""Pad images of any size to the square input of the network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..checks import count


def pad_images(images: npt.NDArray[np.uint8], size: int = 32) -> npt.NDArray[np.uint8]:
    """Centre images on a black square, and add a channel axis if there is none.

    Pad once, when a data set is loaded and before it is augmented, so that an inverted image is
    inverted up to its border.

    Parameters
    ----------
    images
        uint8 (N, H, W) or (N, C, H, W).
    size
        Height and width of the result, in pixels. An odd border is wider at the bottom and right.

    Returns
    -------
    numpy.ndarray
        uint8 (N, C, size, size), C = 1 for images without a channel axis. Always a copy.

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
    if images.ndim not in (3, 4):
        raise ValueError(
            f"pad_images: expected shape (N, H, W) or (N, C, H, W), got {images.shape}"
        )
    if images.ndim == 3:
        images = images[:, None]
    size = count(size, "pad_images: size")
    n, c, h, w = images.shape
    if h > size or w > size:
        raise ValueError(f"pad_images: images of {h} x {w} do not fit into {size} x {size}")
    top, left = (size - h) // 2, (size - w) // 2
    padded = np.zeros((n, c, size, size), np.uint8)
    padded[:, :, top : top + h, left : left + w] = images
    return padded
