"""Rotation about the centre, every image by its own angle, equal to Pillow's in every pixel.

Legend: N images, C channels (1 or 3), H W height and width; x counts columns, y counts rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..backend import Array, Backend, backend_of
from ..checks import count
from .pixels import check_images

MAX_SIDE = 4096
"""Longest supported image side. Pillow leaves its fixed-point rule a little above 16384; this limit
stays below, and keeps flat pixel numbers inside int32 and the scratch memory small."""


CHUNK_PIXELS = 1 << 16
"""Pixels (border included) rotated at a time: some 40 images of 32x32, whose 2 MB of scratch memory
stay in L2 cache. A quarter of that is some 10 % slower, twice that is no faster (Zen 4)."""


def rotate(images: Array, angles: npt.ArrayLike, fill: int = 0) -> Array:
    """Rotate each image about its centre by its own angle, nearest neighbour, size unchanged.

    Equal to ``PIL.Image.rotate(angle, resample=NEAREST, fillcolor=fill)`` in every pixel.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
        C is 1 or 3; H and W are at most ``MAX_SIDE``.
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
    return apply_rotation(images, rotation_coefficients(angles, height, width), fill)


def rotation_coefficients(angles: npt.ArrayLike, height: int, width: int) -> npt.NDArray[np.int32]:
    """Return the six 16.16 fixed-point numbers of each rotation, computed on the host.

    Output pixel (x, y) takes its value from source pixel

        xi = (A0 x + A1 y + A2) >> 16        yi = (A3 x + A4 y + A5) >> 16

    or is filled where (xi, yi) lies outside the image. This is the rule of Pillow (``rotate`` in
    PIL/Image.py, ``affine_fixed`` in libImaging/Geometry.c), which ``_coefficients_of`` states for
    one angle. Here it is vectorised, ten times as fast, without Pillow's decimal rounding and with
    NumPy's cosine, which may differ from the C library's in the last bit. That matters only where a
    number lies within rounding of a step of the quantisation (none of a million angles at 32x32,
    one at 4096x3001), and there the one-angle rule decides: the result is exact for every angle.

    Parameters
    ----------
    angles : float (N,)
        Degrees, any finite value.
    height, width : int
        1 ... ``MAX_SIDE``.

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
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"rotate: images must have sides of 1 to {MAX_SIDE}, got {height}x{width}")
    radians = -np.radians(angles % 360.0)
    cos, sin = np.cos(radians), np.sin(radians)
    # Rotation about (width/2, height/2), applied to pixel centres: hence the halves.
    x, y = 0.5 - width / 2, 0.5 - height / 2
    column = cos * x + sin * y + width / 2
    row = cos * y - sin * x + height / 2
    steps = np.stack([cos, sin, column, row])
    steps *= 65536.0
    steps += 0.5
    whole = np.floor(steps)
    c, s, a2, a5 = whole.astype(np.int32)
    # -sin is rounded to -s, but for a tie, which is doubtful.
    coefficients: npt.NDArray[np.int32] = np.stack([c, s, a2, -s, c, a5], axis=1)
    # The short cuts move a step by less than 65536 * 1e-15 * (height + width), a tenth of this.
    steps -= whole
    steps -= 0.5
    doubtful = np.abs(steps, out=steps).max(axis=0) > 0.5 - 1e-9 * (height + width)
    for i in np.flatnonzero(doubtful):
        coefficients[i] = _coefficients_of(float(angles[i]), height, width)
    return coefficients


def _coefficients_of(angle: float, height: int, width: int) -> list[int]:
    """Return A0 ... A5 for one angle, in the very operations and order of Pillow."""
    radians = -math.radians(angle % 360.0)
    a = e = round(math.cos(radians), 15)
    b, d = round(math.sin(radians), 15), round(-math.sin(radians), 15)
    c = a * (-width / 2) + b * (-height / 2) + width / 2
    f = d * (-width / 2) + e * (-height / 2) + height / 2
    c += a * 0.5 + b * 0.5
    f += d * 0.5 + e * 0.5
    return [math.floor(v * 65536.0 + 0.5) for v in (a, b, c, d, e, f)]


def apply_rotation(images: Array, coefficients: Array, fill: int) -> Array:
    """Read every output pixel from the source pixel that ``rotation_coefficients`` names.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
    coefficients : int32 (N, 6)
    fill : int

    Returns
    -------
    uint8 array (N, C, H, W)
    """
    backend = backend_of(images)
    if len(images) == 0:
        return images.copy()
    return Rotations(backend, backend.to_numpy(coefficients), images.shape[1:], fill)(images)


class Rotations:
    """Rotations of many images, prepared together and applied to some images at a time.

    An affine map is a matrix product, and nothing runs faster than matrix products: the rows
    [A0 A1 A2] and [A3 A4 A5] times the columns [x y 1] of all output pixels give all source
    coordinates. They are exact, because every term and every partial sum is a multiple of
    2**-16 that fits the mantissa. A border of ``fill``, as wide as the farthest coordinate of all
    images, stands around each, so no coordinate needs a test and none is negative: the conversion
    to integers is the floor that ``>> 16`` means.

    Parameters
    ----------
    backend : Backend
    coefficients : int32 NumPy array (M, 6)
        See ``rotation_coefficients``; at least one.
    shape : (C, H, W)
        Of an image.
    fill : int
    """

    def __init__(
        self,
        backend: Backend,
        coefficients: npt.NDArray[np.int32],
        shape: tuple[int, ...],
        fill: int,
    ) -> None:
        self.backend, self.shape, self.fill = backend, shape, fill
        xp, (_, height, width) = backend.xp, shape
        matrices = coefficients.reshape(-1, 2, 3).transpose(1, 0, 2) / 65536.0  # (xi or yi, M, 3)
        self.left, self.top, right, bottom = _border(matrices, height, width)
        self.rows, self.columns = self.top + height + bottom, self.left + width + right
        matrices[:, :, 2] += [[self.left], [self.top]]

        # float32 holds integers below 2**24 exactly, which is 256 pixels in 16.16; else float64.
        small = max(self.rows, self.columns) + height + width < 256
        self.dtype = np.dtype(np.float32 if small else np.float64)
        self.matrices = backend.asarray(np.ascontiguousarray(matrices, dtype=self.dtype))
        pixels = xp.ones((3, height, width), dtype=self.dtype)
        pixels[0] = xp.arange(width)
        pixels[1] = xp.arange(height)[:, None]
        self.pixels = pixels.reshape(3, -1)
        self.chunk = max(1, CHUNK_PIXELS // (self.rows * self.columns))
        self._idle: list[_WorkSpace] = []  # one per thread that has been here at the same time

    def __call__(self, images: Array, first: int = 0) -> Array:
        """Return image i turned by rotation ``first`` + i, uint8 (N, C, H, W) like ``images``."""
        xp, (_, height, width) = self.backend.xp, self.shape
        out = xp.empty(images.shape, dtype=np.uint8)
        if len(images) == 0:
            return out
        chunk = min(len(images), self.chunk)
        work = self._idle.pop() if self._idle else self._work_space(chunk)
        if len(work.index) < chunk:  # made for fewer images
            work = self._work_space(chunk)
        for start in range(0, len(images), chunk):
            n = min(chunk, len(images) - start)
            batch = slice(start, start + n)
            matrices = self.matrices[:, first + start : first + start + n]
            work.inside[:, :n] = images[batch].swapaxes(0, 1)
            xp.matmul(matrices, self.pixels, out=work.coordinates[:, :n])
            xp.copyto(work.whole[:, :n], work.coordinates[:, :n], casting="unsafe")
            xi, yi = work.whole[0, :n], work.whole[1, :n]
            yi *= self.columns
            yi += xi
            yi += work.first[:n]
            work.index[:n] = yi
            for c, padded in enumerate(work.padded):
                pixels = padded.reshape(-1)[work.index[:n]]
                out[batch, c] = pixels.reshape(n, height, width)
        self._idle.append(work)
        return out

    def _work_space(self, chunk: int) -> _WorkSpace:
        """Return arrays for ``chunk`` images at a time."""
        xp, (channels, height, width) = self.backend.xp, self.shape
        padded = xp.full((channels, chunk, self.rows, self.columns), self.fill, dtype=np.uint8)
        pixels = height * width
        # The extra 32 keep rows from lying a multiple of 4096 bytes apart, where they would compete
        # for the same cache lines: it saves a third of the product's time at 32x32.
        coordinates = xp.empty((2, chunk, pixels + 32), dtype=self.dtype)[:, :, :pixels]
        first = xp.empty((chunk, pixels), dtype=np.int32)
        first[:] = xp.arange(chunk, dtype=np.int32)[:, None] * (self.rows * self.columns)
        return _WorkSpace(
            padded,
            padded[:, :, self.top : self.top + height, self.left : self.left + width],
            coordinates,
            whole=xp.empty((2, chunk, pixels), dtype=np.int32),
            index=xp.empty((chunk, pixels), dtype=np.intp),
            first=first,
        )


class _WorkSpace(NamedTuple):
    """Scratch arrays of ``Rotations``.

    Attributes
    ----------
    padded, inside : uint8 arrays (C, n, rows, columns), (C, n, H, W)
        Images with their border, and the view of them without.
    coordinates, whole : arrays (2, n, H*W)
        The source coordinates of each output pixel, as floats and as integers.
    index, first : integer arrays (n, H*W)
        The source as an index into the pixels of ``padded``, and the index of an image's first.
    """

    padded: Array
    inside: Array
    coordinates: Array
    whole: Array
    index: Array
    first: Array


def _border(
    matrices: npt.NDArray[np.float64], height: int, width: int
) -> tuple[int, int, int, int]:
    """Return how far source coordinates reach beyond the image: left, top, right, bottom.

    An affine map takes its extremes in the corners.
    """
    corners = np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]])
    reach = np.floor(matrices @ corners)
    before = np.maximum(0, -reach.min(axis=(1, 2)))
    after = np.maximum(0, reach.max(axis=(1, 2)) - [width - 1, height - 1])
    return int(before[0]), int(before[1]), int(after[0]), int(after[1])
