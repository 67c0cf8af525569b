"""Affine maps of images, applied: every output pixel is read from the source pixel it asks for.

      output (x, y)              xi = (A0 x + A1 y + A2) >> 16            source, with its border
     . . . . . . . .             yi = (A3 x + A4 y + A5) >> 16            f f f f f f f f f f
     . . . o . . . . ------------------------------------------------->   f . . . . . . . . f
     . . . . . . . .       the six integers of ``affine_coefficients``    f . . . . o . . . f
     . . . . . . . .                                                      f . . . . . . . . f
                                                                          f f f f f f f f f f
Legend: N images, C channels (1 or 3), H W height and width; x counts columns, y counts rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..backend import Array, Backend, backend_of

CHUNK_PIXELS = 1 << 16
"""Pixels (border included) mapped at a time: some 40 images of 32x32, whose 2 MB of scratch memory
stay in L2 cache. A quarter of that is some 10 % slower, twice that takes the same time (Zen 4)."""


def apply_affine(images: Array, coefficients: Array, fill: int) -> Array:
    """Read every output pixel from the source pixel that the coefficients name.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
    coefficients : int32 (N, 6)
        See ``affine_coefficients`` and ``rotation_coefficients``.
    fill : int
        Value of pixels whose source lies outside the image.

    Returns
    -------
    uint8 array (N, C, H, W)
    """
    backend = backend_of(images)
    if len(images) == 0:
        return images.copy()
    return AffineMaps(backend, backend.to_numpy(coefficients), images.shape[1:], fill)(images)


class AffineMaps:
    """Affine maps of many images, prepared together and applied to some images at a time.

    An affine map is a matrix product, and nothing runs faster than matrix products: the rows
    [A0 A1 A2] and [A3 A4 A5] times the columns [x y 1] of all output pixels give all source
    coordinates. They are exact, because every term and every partial sum is a multiple of
    2**-16 that fits the mantissa. A border of ``fill``, as wide as the farthest coordinate of all
    images, stands around each, so no coordinate needs a test and none is negative: the conversion
    to integers is the floor that ``>> 16`` means. Only where a coordinate is farther away than the
    image is long, it is moved back into the border.

    Parameters
    ----------
    backend : Backend
    coefficients : int32 NumPy array (M, 6)
        At least one row.
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
        reach, widest = _reach(matrices, height, width), max(height, width)
        self.far = max(reach) > widest  # else no coordinate lies outside the border
        self.left, self.top, right, bottom = (min(r, widest) for r in reach)
        self.rows, self.columns = self.top + height + bottom, self.left + width + right
        matrices[:, :, 2] += [[self.left], [self.top]]

        # float32 holds integers below 2**24 exactly, which is 256 pixels in 16.16; else float64.
        largest = (np.abs(matrices) @ [width - 1, height - 1, 1]).max()  # of any partial sum
        self.dtype = np.dtype(np.float32 if largest < 256 else np.float64)
        self.matrices = backend.asarray(np.ascontiguousarray(matrices, dtype=self.dtype))
        pixels = xp.ones((3, height, width), dtype=self.dtype)
        pixels[0] = xp.arange(width)
        pixels[1] = xp.arange(height)[:, None]
        self.pixels = pixels.reshape(3, -1)
        self.chunk = max(1, CHUNK_PIXELS // (self.rows * self.columns))
        self._idle: list[_WorkSpace] = []  # one per thread that has been here at the same time

    def __call__(self, images: Array, first: int = 0) -> Array:
        """Return image i through map ``first`` + i, uint8 (N, C, H, W) like ``images``."""
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
            if self.far:
                for axis, side in enumerate((self.columns, self.rows)):
                    coordinates = work.coordinates[axis, :n]
                    xp.clip(coordinates, 0, side - 1, out=coordinates)
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
    """Scratch arrays of ``AffineMaps``.

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


def _reach(matrices: npt.NDArray[np.float64], height: int, width: int) -> tuple[int, int, int, int]:
    """Return how far source coordinates reach beyond the image: left, top, right, bottom.

    An affine map takes its extremes in the corners.
    """
    corners = np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]])
    reach = np.floor(matrices @ corners)
    before = np.maximum(0, -reach.min(axis=(1, 2)))
    after = np.maximum(0, reach.max(axis=(1, 2)) - [width - 1, height - 1])
    return int(before[0]), int(before[1]), int(after[0]), int(after[1])
