"""Rotation about the centre, every image by its own angle, equal to Pillow's in every pixel.

A rotation is an affine map: this module states the six numbers of its angle.

Legend: N images, C channels (1 or 3), H W height and width; x counts columns, y counts rows.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..backend import Array
from ..checks import count
from .gather import apply_affine
from .maps import check_sides, fixed_point, settled
from .pixels import check_images


def rotate(images: Array, angles: npt.ArrayLike, fill: int = 0) -> Array:
    """Rotate each image about its centre by its own angle, nearest neighbour, size unchanged.

    Equal to ``PIL.Image.rotate(angle, resample=NEAREST, fillcolor=fill)`` in every pixel.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
        C is 1 or 3; H and W are at most ``maps.MAX_SIDE``.
    angles : float (N,), or one number for all
        Degrees, any finite value; positive is counter-clockwise as displayed (y down).
    fill : int
        0 ... 255, given to pixels whose source lies outside the image.

    Returns
    -------
    uint8 array (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        For images of another dtype or shape, an angle that is not finite, a number of angles other
        than N, or a fill outside 0 ... 255.
    """
    check_images("rotate", images)
    fill = count(fill, "rotate: fill", 0, 255)
    n, _, height, width = images.shape
    angles = np.asarray(angles, dtype=np.float64)
    if angles.ndim == 0:
        angles = np.full(n, angles)
    if angles.shape != (n,):
        raise ValueError(
            f"rotate: angles must be one number or have shape ({n},) for {n} images, got "
            f"{angles.shape}"
        )
    return apply_affine(images, rotation_coefficients(angles, height, width), fill)


def rotation_coefficients(angles: npt.ArrayLike, height: int, width: int) -> npt.NDArray[np.int32]:
    """Return the six 16.16 fixed-point numbers of each rotation, computed on the host.

    They are those of ``affine_coefficients`` for the matrix of Pillow (``rotate`` in PIL/Image.py),
    which ``_matrix_of`` states for one angle. Here it is vectorised, ten times as fast, without
    Pillow's decimal rounding and with NumPy's cosine, which may differ from the C library's in the
    last bit. That matters only where a number lies within rounding of a step of the quantisation
    (none of a million angles at 32x32, one at 4096x3001), and there the one-angle rule decides: the
    result is exact for every angle.

    Parameters
    ----------
    angles : float (N,)
        Degrees, any finite value.
    height, width : int
        1 ... ``maps.MAX_SIDE``.

    Returns
    -------
    int32 (N, 6)
        A0 ... A5.
    """
    angles = np.asarray(angles, dtype=np.float64)
    if angles.ndim != 1:
        raise ValueError(f"rotation_coefficients: angles must have shape (N,), got {angles.shape}")
    if not np.isfinite(angles).all():
        bad = int(np.flatnonzero(~np.isfinite(angles))[0])
        raise ValueError(f"rotate: angle {bad} of {len(angles)} must be finite, got {angles[bad]}")
    check_sides("rotate", height, width)
    radians = -np.radians(angles % 360.0)
    cos, sin = np.cos(radians), np.sin(radians)
    x, y = -width / 2, -height / 2
    matrices = [cos, sin, cos * x + sin * y - x, -sin, cos, cos * y - sin * x - y]
    # The short cuts move a step by less than 65536 * 1e-15 * (height + width), a tenth of this.
    return settled(
        *fixed_point(np.stack(matrices, axis=1)),
        1e-9 * (height + width),
        lambda i: _matrix_of(float(angles[i]), height, width),
    )


def _matrix_of(angle: float, height: int, width: int) -> list[float]:
    """Return the six numbers of one angle, in the very operations and order of Pillow."""
    radians = -math.radians(angle % 360.0)
    a = e = round(math.cos(radians), 15)
    b, d = round(math.sin(radians), 15), round(-math.sin(radians), 15)
    c = a * (-width / 2) + b * (-height / 2) + width / 2
    f = d * (-width / 2) + e * (-height / 2) + height / 2
    return [a, b, c, d, e, f]
