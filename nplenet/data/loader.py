"""From arrays of images and labels to batches: shuffle, transform, prefetch.

Legend: N images, C channels, H height, W width. Images at rest are uint8.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import checks
from ..augment import FusedPipeline, Transform, before_float, fuse
from ..backend import Backend, get_backend
from ..machine import HAS_THREADS
from .batches import Batches, MakeBatch
from .lazy import AugmentedImages
from .prefetch import Batch, prefetched

if TYPE_CHECKING:
    from .device import DeviceLoader


def _transform(value: Any, name: str) -> Transform | None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function transform(images, rng), got {value!r:.60}")
    found: Transform | None = value
    return found


class DataLoader(Batches):
    """Batches of images and labels; each ``for x, y in loader`` is one epoch.

    Parameters
    ----------
    images
        (N, C, H, W), usually uint8.
    labels
        Integers (N,).
    batch_size
        Images in a batch, at least 1.
    shuffle
        Draw a new order for each epoch. The order is made on the host, by NumPy, whatever device
        the model is on.
    rng
        A generator, or an int, its seed. Draws the order; needed if `shuffle`.
    transform
        ``transform(images, transform_rng) -> array``, called on each batch; None gives the
        images as they are.
    transform_rng
        The second argument of `transform`: a generator, or an int, its seed.
    drop_last
        Leave out the last batch of an epoch if it is incomplete.
    prefetch
        Batches to prepare ahead, in a background thread; 0 prepares each on access, as does the
        browser, which has no threads. The batches are the same bit for bit, and an error in
        `transform` is raised in the loop, at its batch. Leaving a loop early stops the thread, but
        by then the generators have been used for up to `prefetch` + 1 batches that the loop did not
        see. Until the epoch ends the generators belong to the thread: draw nothing else from them.

    Yields
    ------
    x : numpy.ndarray
        The output of `transform`, or a copy (batch, C, H, W) of the images.
    y : numpy.ndarray
        int64 (batch,).

    Raises
    ------
    TypeError, ValueError
        When an argument is not as above, or the arguments leave no batch at all.
    """

    settings: ClassVar[checks.Checks] = {
        **Batches.settings,
        "transform": _transform,
        "prefetch": partial(checks.count, minimum=0),
    }
    transform: Transform | None
    prefetch: int
    lazy: FusedPipeline | None = None  # see ``in_bytes``

    def __init__(
        self,
        images: npt.NDArray[Any],
        labels: npt.NDArray[np.integer[Any]],
        batch_size: int,
        *,
        shuffle: bool = False,
        rng: np.random.Generator | int | None = None,
        transform: Transform | None = None,
        transform_rng: np.random.Generator | int | None = None,
        drop_last: bool = False,
        prefetch: int = 0,
    ) -> None:
        super().__init__(images, labels, batch_size, shuffle, drop_last, rng, transform_rng)
        self.transform, self.prefetch = transform, prefetch

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Start an epoch."""
        batches = super().__iter__()
        ahead = self.prefetch > 0 and self.lazy is None and HAS_THREADS
        return prefetched(batches, self.prefetch) if ahead else batches

    def epoch(self, order: npt.NDArray[np.int64]) -> MakeBatch:
        if self.lazy is None:
            return lambda whole, part: self._batch(
                order[whole], slice(part.start - whole.start, part.stop - whole.start)
            )
        source = AugmentedImages(self.images, order, self.lazy, self.sizes(), self.transform_rng)
        labels = self.labels[order].astype(np.int64)
        return lambda whole, part: (source.batch(part), labels[part])

    def to(self, backend: str | Backend) -> DataLoader | DeviceLoader:
        """Return a loader with the same batches on ``backend``: for NumPy this one, otherwise new.

        A `transform` that ``nplenet.augment.fuse`` does not know has no kernel, and a subclass may
        make other batches: then this loader is returned, and the training loop uploads its batches
        one by one.
        """
        target = get_backend(backend) if isinstance(backend, str) else backend
        pipeline = fuse(self.transform)
        if target.name == "numpy" or pipeline is None or type(self) is not DataLoader:
            return self
        from .device import DeviceLoader

        return DeviceLoader(self, pipeline, target)

    def in_bytes(self, dtype: npt.DTypeLike) -> DataLoader:
        """Return a loader of the same batches as bytes, without the final conversion to floats.

        For a step that converts bytes to floats of ``dtype`` itself, in the copy it makes anyway,
        and normalises them.
        Both loaders draw from the same generators. If ``nplenet.augment.fuse`` knows the transform,
        the images are ``LazyImages``, which are not prefetched, and the random numbers of an epoch
        are drawn at once: an epoch left early leaves the generators as a whole one does. If the
        transform is another one and does not end with a ``ToFloat`` to ``dtype``, this loader is
        returned; and so is one of a subclass, whose methods expect the floats of its transform.
        """
        if self.images.dtype != np.uint8 or type(self) is not DataLoader:
            return self
        twin = copy.copy(self)
        pipeline = fuse(self.transform) if self.images.ndim == 4 else None
        if pipeline is not None:
            twin.lazy = pipeline
            return twin if pipeline.to_float.dtype == np.dtype(dtype) else self
        transform = before_float(self.transform, dtype)
        if transform is None or self.group.size > 1:
            return self
        twin.transform = transform
        return twin

    def _batch(self, indexes: npt.NDArray[np.int64], part: slice) -> Batch:
        """Return this rank's part of a batch; all ranks draw for the whole batch.

        A transform that ``fuse`` does not know is applied to the whole batch.
        """
        pipeline = None if self.group.size == 1 else fuse(self.transform)
        if pipeline is None:
            x = self.images[indexes]
            if self.transform is not None:
                x = self.transform(x, self.transform_rng)
            return x[part], self.labels[indexes[part]].astype(np.int64)
        draws = pipeline.draw([len(indexes)], self.transform_rng, *self.images.shape[2:])
        x = pipeline.apply(self.images, indexes[part], draws.part(part))
        return x, self.labels[indexes[part]].astype(np.int64)
