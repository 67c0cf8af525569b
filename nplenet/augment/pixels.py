"""Inversion and grayscale, pixel by pixel, and the check of images that all transforms share.

Legend: N images, C channels (1 or 3), H W height and width.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, backend_of


def invert(images: Array) -> Array:
    """Return 255 - v for every value v.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)

    Returns
    -------
    uint8 array (N, C, H, W)
    """
    check_images("invert", images)
    return 255 - images


def grayscale(images: Array) -> Array:
    """Replace red, green and blue by their luminance; images of one channel stay as they are.

    L = (19595 R + 38470 G + 7471 B + 32768) >> 16, which is 0.299 R + 0.587 G + 0.114 B rounded:
    ITU-R BT.601 as Pillow computes it for ``convert("L")`` (libImaging/Convert.c).

    Parameters
    ----------
    images : uint8 array (N, C, H, W)

    Returns
    -------
    uint8 array (N, C, H, W)
        The number of channels is kept: L stands in all three.
    """
    check_images("grayscale", images)
    if images.shape[1] == 1:
        return images.copy()
    red, green, blue = (images[:, c].astype(np.uint32) for c in range(3))
    luminance = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    gray = backend_of(images).xp.empty(images.shape, dtype=np.uint8)
    gray[:] = luminance[:, None]
    return gray


def check_images(owner: str, images: Array) -> None:
    """Raise a TypeError or ValueError unless images are uint8 (N, C, H, W) with C 1 or 3."""
    backend_of(images)  # raises TypeError for what is not an array
    if images.dtype != np.uint8:
        raise TypeError(
            f"{owner}: images must be uint8 (0 ... 255), got {images.dtype}; "
            "ToFloat belongs at the end of the transforms"
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise ValueError(
            f"{owner}: images must have shape (N, C, H, W) with C 1 or 3 and H, W >= 1, got "
            f"{images.shape}; add axes with images[:, None] or move channels to the front"
        )
