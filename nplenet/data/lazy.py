"""Images that are made on access, by the thread that needs them.

Legend: M images of the data set, N of a batch, n of a part of it; C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..augment import AffineMaps, FusedPipeline, check_images, grayscale
from ..backend import get_backend


class AugmentedImages:
    """The images of an epoch in their order, augmented as drawn, made part by part.

    Parameters
    ----------
    images : uint8 array (M, C, H, W)
    order : integer array (N,)
        Which images, in which order.
    pipeline : FusedPipeline
    sizes : sequence of int
        The sizes of the batches, whose sum is N: random numbers are drawn batch after batch.
    rng : numpy.random.Generator, optional

    Raises
    ------
    TypeError, ValueError
        When the images are not as above, with C 1 or 3.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        order: npt.NDArray[np.integer[Any]],
        pipeline: FusedPipeline,
        sizes: Sequence[int],
        rng: np.random.Generator | None,
    ) -> None:
        check_images("AugmentedImages", images)
        self.images, self.order = images, order
        draws = pipeline.draw(sizes, rng, *images.shape[2:])
        self.normal = pipeline.normal(images.shape[1])
        self.maps: AffineMaps | None = None
        if draws.coefficients is not None and len(order):
            shape, numpy = images.shape[1:], get_backend("numpy")
            self.maps = AffineMaps(numpy, draws.coefficients, shape, pipeline.fill)
        inverted, self.gray = draws.inverted, draws.gray
        # v ^ 255 = 255 - v, v ^ 0 = v
        self.flips = None if inverted is None else (inverted * np.uint8(255))[:, None, None, None]

    def batch(self, part: slice, made: npt.NDArray[np.uint8] | None = None) -> LazyImages:
        """Return some of the images, to be made on access unless they have been ``made``."""
        return LazyImages(self, part, made)

    def make(self, part: slice) -> npt.NDArray[np.uint8]:
        """Return some of the images, uint8 (n, C, H, W); workers may do so at the same time."""
        found = self.images[self.order[part]]
        if self.maps is not None:
            found = self.maps(found, part.start)
        if self.flips is not None:
            found ^= self.flips[part]
        if self.gray is not None and found.shape[1] == 3:
            chosen = np.flatnonzero(self.gray[part])
            found[chosen] = grayscale(found[chosen])
        return found


class LazyImages:
    """A batch of uint8 images (N, C, H, W); ``lazy[rows]`` makes some of them, as an array.

    Whoever turns them into floats also subtracts and divides by ``normal``, (2, C), unless it is
    None: mean and standard deviation of each channel.

    Parameters
    ----------
    source : AugmentedImages
    part : slice
        Which of its images these are.
    made : uint8 array (N, C, H, W), optional
        The images, where they have been made in advance.

    Attributes
    ----------
    source : AugmentedImages
    start : int
        The first image, of those of the source.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, source: AugmentedImages, part: slice, made: npt.NDArray[np.uint8] | None = None
    ) -> None:
        self.source, self.start, self.normal = source, part.start, source.normal
        self.shape = (part.stop - part.start, *source.images.shape[1:])
        self.ndim, self._made = len(self.shape), made

    def __len__(self) -> int:
        return self.shape[0]

    def following(self) -> int:
        """Return how many images the source has behind these."""
        return len(self.source.order) - self.start - len(self)

    def __getitem__(self, rows: slice) -> npt.NDArray[np.uint8]:
        if self._made is not None:
            return self._made[rows]
        first, last, step = rows.indices(len(self))
        found = self.source.make(slice(self.start + first, self.start + max(first, last)))
        return found[::step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)
