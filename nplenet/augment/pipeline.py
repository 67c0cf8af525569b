"""The transforms as one operation: gather, map, invert, grey, scale and normalise a batch.

On a GPU that is one kernel. The random numbers of an epoch are drawn on the host, from the same
generator and in the same order as the transforms draw them batch by batch, so both ways give the
same images.

Legend: M images of the data set, N of a batch, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import checks
from ..backend import Array, Backend, backend_of
from .gather import apply_affine
from .pixels import grayscale, invert
from .random_affine import RandomAffine
from .transforms import (
    Compose,
    Normalize,
    RandomGrayscale,
    RandomInvert,
    RandomRotation,
    ToFloat,
    Transform,
    flattened,
)

ORDER: tuple[Any, ...] = (
    RandomRotation,
    RandomAffine,
    RandomInvert,
    RandomGrayscale,
    ToFloat,
    Normalize,
)
"""The transforms that can be fused, in the only order in which they can; of the first two, one."""


def augment_batch(
    xp: Any,
    images: Array,
    indexes: Array,
    coefficients: Array | None,
    inverted: Array | None,
    gray: Array | None,
    fill: int,
    dtype: npt.DTypeLike,
    normal: Array | None = None,
) -> Array:
    """Gather images from a data set, map, invert, turn to gray and scale to 0 ... 1, as drawn.

    Then normalise: subtract a mean and divide by a standard deviation.

    Parameters
    ----------
    images : uint8 array (M, C, H, W)
        The whole data set; C is 1 or 3.
    indexes : int32 array (N,)
        Indexes of the N images, each 0 ... M - 1 (the kernel does not check them).
    coefficients : int32 array (N, 6) or None
        See ``affine_coefficients``; None: every pixel stays in its place.
    inverted, gray : uint8 array (N,) or None
        1 for the images to change, 0 for the others; None: no change.
    fill : int
        0 ... 255, given to pixels whose source lies outside the image, before inversion.
    dtype : float32 or float64
    normal : array (2, C) of ``dtype``, or None
        Mean and standard deviation of each channel; None: 0 and 1.

    Returns
    -------
    array (N, C, H, W) of ``dtype``
    """
    batch = images[indexes]
    if coefficients is not None:
        batch = apply_affine(batch, coefficients, fill)
    if inverted is not None:
        batch = xp.where(inverted[:, None, None, None] != 0, invert(batch), batch)
    if gray is not None:
        batch = xp.where(gray[:, None, None, None] != 0, grayscale(batch), batch)
    floats = xp.divide(batch, np.dtype(dtype).type(255), dtype=dtype)
    if normal is None:
        return floats
    mean, std = normal[:, :, None, None]
    return (floats - mean) / std


class Draws(NamedTuple):
    """Random numbers of a ``FusedPipeline`` for N images: arguments of ``augment_batch``.

    Attributes
    ----------
    coefficients : int32 array (N, 6) or None
    inverted, gray : uint8 array (N,) or None
        None where the pipeline does not have the transform.
    """

    coefficients: Array | None
    inverted: Array | None
    gray: Array | None

    def to(self, backend: Backend) -> Draws:
        """Return the draws as arrays of ``backend``; each is copied, so call it once per epoch."""
        return Draws(*(None if a is None else backend.asarray(a) for a in self))

    def part(self, images: slice) -> Draws:
        """Return the draws of some of the images, as views."""
        return Draws(*(None if a is None else a[images] for a in self))


@dataclass(frozen=True)
class FusedPipeline:
    """An affine map, inversion, grayscale, ToFloat and Normalize as one operation; see ``fuse``."""

    affine: RandomRotation | RandomAffine | None
    inversion: RandomInvert | None
    grayscale: RandomGrayscale | None
    to_float: ToFloat
    normalize: Normalize | None = None

    @property
    def transform(self) -> Compose:
        """The same, one transform after the other."""
        return Compose([part for part in vars(self).values() if part is not None])

    @property
    def fill(self) -> int:
        """The value of pixels whose source lies outside the image."""
        return 0 if self.affine is None else self.affine.fill

    def normal(self, channels: int) -> npt.NDArray[Any] | None:
        """Return mean and standard deviation of each channel, (2, C), if it normalises."""
        if self.normalize is None:
            return None
        return self.normalize.per_channel(channels, self.to_float.dtype)

    def normal_on(self, backend: Backend, channels: int) -> Array | None:
        """Return what ``normal`` returns as an array of ``backend``."""
        normal = self.normal(channels)
        return None if normal is None else backend.asarray(normal)

    def draw(
        self, counts: Iterable[int], rng: np.random.Generator | None, height: int, width: int
    ) -> Draws:
        """Draw for batches of ``counts`` images each, as the transforms would one after the other.

        Parameters
        ----------
        counts : iterable of int
            The sizes of the batches, in order; their sum is N.
        rng : numpy.random.Generator
            May be None if no transform is random.
        height, width : int
            Of the images.

        Returns
        -------
        Draws
            NumPy arrays for all N images.
        """
        random = [t for t in (self.affine, self.inversion, self.grayscale) if t is not None]
        if not random:
            return Draws(None, None, None)
        rng = checks.generator(rng, "FusedPipeline.draw: rng")
        total = sum(t.numbers for t in random)  # per image
        uniform = [np.empty((total, 0))]
        for count, equal in groupby(counts):  # (batches, numbers, images): the order of drawing
            shape = (len(list(equal)), total, count)
            uniform.append(rng.random(shape).swapaxes(0, 1).reshape(total, -1))
        rows = np.concatenate(uniform, axis=1)
        first = 0 if self.affine is None else self.affine.numbers
        coins = iter(rows[first:])
        return Draws(
            None if self.affine is None else self.affine.coefficients(rows[:first], height, width),
            *(
                None if t is None else t.decide(next(coins)).astype(np.uint8)
                for t in (self.inversion, self.grayscale)
            ),
        )

    def apply(
        self, images: Array, indexes: Array, draws: Draws, normal: Array | None = None
    ) -> Array:
        """Return the batch ``images[indexes]``, changed as drawn: one launch on a GPU.

        Parameters
        ----------
        images : uint8 array (M, C, H, W)
        indexes : int32 array (N,)
        draws : Draws
            For N images, on the backend of ``images``.
        normal : array (2, C), optional
            What ``normal`` returns, if it lies on that backend already.

        Returns
        -------
        float array (N, C, H, W)
        """
        backend = backend_of(images)
        if normal is None:
            normal = self.normal_on(backend, images.shape[1])
        numbers = (self.fill, self.to_float.dtype, normal)
        return backend.primitive(augment_batch, images, indexes, *draws, *numbers)


def fuse(transform: Transform | None) -> FusedPipeline | None:
    """Return ``transform`` as one operation, or None if it can't be fused.

    A pipeline can be fused if it is any of RandomRotation or RandomAffine, RandomInvert and
    RandomGrayscale, in this order, followed by ToFloat to float32 or float64, and by Normalize or
    nothing. ``standard_augmentation`` and ``affine_augmentation`` are.
    """
    parts = flattened(transform)
    kinds = [type(part) for part in parts]
    wanted = [k for k in ORDER if k in kinds]
    twice = RandomRotation in kinds and RandomAffine in kinds
    found = dict(zip(kinds, parts, strict=True))
    if (
        kinds != wanted
        or twice
        or ToFloat not in found
        or found[ToFloat].dtype.itemsize not in (4, 8)
    ):
        return None
    return FusedPipeline(
        found.get(RandomRotation, found.get(RandomAffine)),
        found.get(RandomInvert),
        found.get(RandomGrayscale),
        found[ToFloat],
        found.get(Normalize),
    )
