"""Affine maps of images (rotation, shift, zoom, shear), equal to Pillow's in every pixel.

A map is six numbers (a, b, c, d, e, f), as Pillow takes them for
``Image.transform(size, AFFINE, (a, b, c, d, e, f), NEAREST)``. Output pixel (x, y) is the source
pixel in which the point

    a (x + 1/2) + b (y + 1/2) + c,   d (x + 1/2) + e (y + 1/2) + f

lies. Pillow computes that in integers, multiples of 2**-16 (``affine_fixed`` in
libImaging/Geometry.c), and in floats where b = d = 0 (``ImagingScaleAffine``, the same file).
Here six integers say the same for both cases.

Legend: N images, C channels (1 or 3), H W height and width; x counts columns, y counts rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import Array
from ..checks import count
from .gather import apply_affine
from .pixels import check_images

Matrices = npt.NDArray[np.float64]
Coefficients = npt.NDArray[np.int32]

MAX_SIDE = 4096
"""Longest supported image side. Pillow leaves its fixed-point rule a little above 16384; this limit
stays below, and keeps flat pixel numbers inside int32 and the scratch memory small."""

MAX_COORDINATE = 32768
"""Bound of source coordinates, in pixels: 16 bits are left of the fixed point, as in Pillow."""

NEIGHBOURS = sorted(range(-4, 5), key=abs)
"""Slopes tried around the rounded slope of a map without rotation, in steps of 2**-16."""


def affine(images: Array, matrices: npt.ArrayLike, fill: int = 0) -> Array:
    """Map each image by its own affine map, nearest neighbour, size unchanged.

    Equal to ``PIL.Image.transform(size, AFFINE, matrix, NEAREST, fillcolor=fill)`` in every pixel.
    (If b = d = 0, Pillow adds up floats. Where such a sum should be a whole number, as with a zoom
    of exactly 0.9, its rounding may fall to either side from column to column; no integers follow
    that, and this column comes from one of its two neighbours. Random amounts do not meet it.)

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
        C is 1 or 3; H and W are at most ``MAX_SIDE``.
    matrices : float (N, 6), or (6,) for all
        a, b, c, d, e, f: from output to source coordinates.
    fill : int
        0 ... 255, given to pixels whose source lies outside the image.

    Returns
    -------
    uint8 array (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        For images of another dtype or shape, matrices of another shape, not finite or with source
        coordinates beyond ``MAX_COORDINATE``, or a fill outside 0 ... 255.
    """
    check_images("affine", images)
    fill = count(fill, "affine: fill", 0, 255)
    n, _, height, width = images.shape
    matrices = np.asarray(matrices, dtype=np.float64)
    if matrices.shape == (6,):
        matrices = np.broadcast_to(matrices, (n, 6))
    if matrices.shape != (n, 6):
        raise ValueError(
            f"affine: matrices must have shape (6,) or ({n}, 6) for {n} images, got "
            f"{matrices.shape}"
        )
    return apply_affine(images, affine_coefficients(matrices, height, width), fill)


def affine_coefficients(
    matrices: npt.ArrayLike,
    height: int,
    width: int,
    exact: Callable[[int], Sequence[float]] | None = None,
) -> Coefficients:
    """Return the six 16.16 fixed-point numbers of each map, computed on the host.

    Output pixel (x, y) takes its value from source pixel

        xi = (A0 x + A1 y + A2) >> 16        yi = (A3 x + A4 y + A5) >> 16

    or is filled where (xi, yi) lies outside the image.

    Parameters
    ----------
    matrices : float (N, 6)
    height, width : int
        1 ... ``MAX_SIDE``.
    exact : function(i) -> six numbers, optional
        For matrices computed by NumPy: see ``settled``.

    Returns
    -------
    int32 (N, 6)
        A0 ... A5.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    if matrices.ndim != 2 or matrices.shape[1] != 6:
        raise ValueError(
            f"affine_coefficients: matrices must have shape (N, 6), got {matrices.shape}"
        )
    check_sides("affine", height, width)
    # |A0| W + |A1| H + |A2| bounds every partial sum of a coordinate; NaN fails the test as well.
    bounds = np.abs(matrices).reshape(-1, 2, 3) @ [width, height, 1]
    if not (bounds < MAX_COORDINATE).all():
        bad = int(np.flatnonzero(~(bounds < MAX_COORDINATE).all(axis=1))[0])
        raise ValueError(
            f"affine: map {bad} of {len(matrices)} must be finite, with source coordinates below "
            f"{MAX_COORDINATE}, got {matrices[bad].tolist()}"
        )
    coefficients, distance = fixed_point(matrices)
    if exact is not None:
        slopes = np.abs(matrices[:, [0, 1, 3, 4]]).max(axis=1, initial=1.0)
        settled(coefficients, distance, 1e-9 * (height + width) * slopes, exact)
    straight = np.flatnonzero((matrices[:, 1] == 0) & (matrices[:, 3] == 0))
    for slope, offset, size in ((0, 2, width), (4, 5, height)) if len(straight) else ():
        lines = _lines(matrices[straight, slope], matrices[straight, offset], size)
        coefficients[straight, slope], coefficients[straight, offset] = lines
    return coefficients


def check_sides(owner: str, height: int, width: int) -> None:
    """Refuse images too large for the fixed-point rule."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(
            f"{owner}: images must have sides of 1 to {MAX_SIDE}, got {height}x{width}"
        )


def fixed_point(matrices: Matrices) -> tuple[Coefficients, Matrices]:
    """Return each map in fixed point, and how far it is from a tie of the rounding.

    The order of the operations is Pillow's, so floats round as they do there.

    Parameters
    ----------
    matrices : float64 (N, 6)

    Returns
    -------
    coefficients : int32 (N, 6)
    distance : float64 (N,)
        Of the number of a map that is nearest to a tie, in steps of 2**-16: 0 ... 0.5.
    """
    columns = matrices.T.copy()
    a, b, c, d, e, f = columns
    # Maps take the middle of a pixel, hence the halves.
    c += a * 0.5
    c += b * 0.5
    f += d * 0.5
    f += e * 0.5
    columns *= 65536.0
    columns += 0.5
    whole = np.floor(columns)
    columns -= whole
    columns -= 0.5
    coefficients = np.ascontiguousarray(whole.T.astype(np.int32))
    return coefficients, 0.5 - np.abs(columns, out=columns).max(axis=0)


def settled(
    coefficients: Coefficients,
    distance: Matrices,
    tolerance: float | Matrices,
    exact: Callable[[int], Sequence[float]],
) -> Coefficients:
    """Compute again the maps that are nearer to a tie than ``tolerance``, in place.

    Sines and cosines of NumPy may differ from the C library's in the last bit, and from one
    processor to another. That matters near a tie only; there ``exact(i)``, the six numbers of map
    i computed by the C library, decides, so every machine makes the same images.
    """
    for i in np.flatnonzero(distance < tolerance):
        coefficients[i] = fixed_point(np.array([exact(int(i))]))[0][0]
    return coefficients


def _lines(slope: Matrices, offset: Matrices, size: int) -> tuple[Any, Any]:
    """Return integers (A, B) with (A x + B) >> 16 equal to Pillow's source of every column x.

    Without rotation Pillow adds ``slope`` to a float, column after column, and takes the floor. The
    integers must give the same floors s(x) wherever s(x) lies inside the image:

        65536 s(x) <= A x + B < 65536 (s(x) + 1)

    For the A next to 65536 ``slope`` this is an interval of B; where it is empty, the neighbours of
    A are tried. One of them fits up to 128 columns, where the slopes of all lines with these floors
    fill an interval of at least 1 / 128**2 = 4 steps; beyond, nearly always (20,000 of 20,000
    random lines of 200 columns). The exception are floors that are not those of a line, because
    Pillow's sum was rounded across a whole number; then A and B are the rounded ones. (For rows,
    read rows.)

    Parameters
    ----------
    slope, offset : float64 (K,)
    size : int
        Columns of the image.

    Returns
    -------
    A, B : int64 (K,)
    """
    terms = np.repeat(slope[:, None], size, axis=1)
    terms[:, 0] = offset + slope * 0.5
    source = np.floor(np.add.accumulate(terms, axis=1))
    beyond = float(1 << 32)  # any number, as long as the source lies outside
    low = np.where(source < 0, -beyond, 65536 * np.minimum(source, size))
    high = np.where(source >= size, beyond, 65536 * np.maximum(source + 1, 0) - 1)
    x, start = np.arange(size), np.floor(65536 * terms[:, 0] + 0.5)
    nearest = np.floor(65536 * slope + 0.5)
    best_a, best_b, found = nearest.copy(), start.copy(), np.zeros(len(slope), bool)
    for step in NEIGHBOURS:
        open_ = np.flatnonzero(~found)
        a = nearest[open_] + step
        least = (low[open_] - a[:, None] * x).max(axis=1)
        most = (high[open_] - a[:, None] * x).min(axis=1)
        fits, rows = least <= most, open_[least <= most]
        best_a[rows] = a[fits]
        best_b[rows] = np.clip(start[rows], least[fits], most[fits])
        found[rows] = True
    return best_a.astype(np.int64), best_b.astype(np.int64)
