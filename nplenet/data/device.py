"""Batches made on the device of the model: the data set is stored there, a batch is one launch.

Legend: M images of the data set, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..augment import Draws, FusedPipeline
from ..backend import Array, Backend, backend_of
from .batches import Batches, MakeBatch


class Deal(NamedTuple):
    """All that is random in an epoch, drawn at once: n images in batches.

    Attributes
    ----------
    images : uint8 array (M, C, H, W)
        The data set, on the device.
    order : int32 array (n,)
        Which images, batch after batch.
    labels : int64 array (n,)
    draws : Draws
    sizes : list of int
        Images of each batch.
    fill : int
        The value of pixels from outside of a rotated image.
    pipeline : FusedPipeline
    """

    images: Array
    order: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int64]
    draws: Draws
    sizes: list[int]
    fill: int
    pipeline: FusedPipeline

    def normal(self, dtype: npt.DTypeLike) -> npt.NDArray[Any] | None:
        """Return mean and standard deviation of each channel, (2, C), if it normalises."""
        normalize = self.pipeline.normalize
        if normalize is None:
            return None
        return normalize.per_channel(self.images.shape[1], dtype)

    def floats(self, part: slice) -> Array:
        """Return some of the images of the epoch, augmented, as floats (N, C, H, W)."""
        backend = backend_of(self.images)
        draws = self.draws.part(part).to(backend)
        return self.pipeline.apply(self.images, backend.asarray(self.order[part]), draws)


class DeviceLoader(Batches):
    """The batches of a ``DataLoader``, gathered and augmented on a device.

    The images are uploaded once, as uint8. Random numbers are drawn on the host, by the generators
    of the host's loader in the same order, and uploaded once per epoch. So both loaders give the
    same images, and within an epoch nothing is copied and host and device do not wait for each
    other. After an epoch left early the generators are where a whole epoch leaves them; restore
    them with the host's ``loader.state_dict()`` from before the epoch.

    Parameters
    ----------
    loader : Batches
        A ``DataLoader`` of uint8 images (M, C, H, W). Its generators are used, not copied:
        iterating over both draws from the same ones. Its `prefetch` is ignored.
    pipeline : FusedPipeline
        The transform of ``loader``, as ``nplenet.augment.fuse`` returns it.
    backend : Backend
        Where the batches are made; it may be NumPy.

    Yields
    ------
    x : float array (batch, C, H, W) on ``backend``
    y : int64 array (batch,) on ``backend``

    Raises
    ------
    TypeError
        When the images are not uint8 (M, C, H, W).
    MemoryError
        When they do not fit into the memory of the device.
    """

    def __init__(self, loader: Batches, pipeline: FusedPipeline, backend: Backend) -> None:
        images = loader.images
        if images.dtype != np.uint8 or images.ndim != 4:
            raise TypeError(
                f"DeviceLoader: images must be uint8 (M, C, H, W), got {images.dtype} "
                f"{images.shape}; see nplenet.data.pad_images"
            )
        super().__init__(
            images,
            loader.labels,
            loader.batch_size,
            loader.shuffle,
            loader.drop_last,
            loader.rng,
            loader.transform_rng,
        )
        self.pipeline, self.backend, self.group = pipeline, backend, loader.group
        self.transform = pipeline.transform
        self._normal = pipeline.normal_on(backend, images.shape[1])
        try:
            self.images_there = backend.asarray(images)
        except MemoryError as error:
            raise MemoryError(
                f"DeviceLoader: {len(images):,} images of {images.nbytes / 1e6:,.0f} MB do not fit "
                f"into the memory of the {backend.name} backend ({error}); use fewer, or a plain "
                "DataLoader, whose batches are uploaded one by one"
            ) from error

    def deal(self) -> Deal:
        """Start an epoch whose batches are made elsewhere, by a step that takes them all."""
        order, sizes = self.draw_order(), self.sizes()
        draws = self.pipeline.draw(sizes, self.transform_rng, *self.images.shape[2:])
        labels = self.labels[order].astype(np.int64)
        fill = 0 if self.pipeline.rotation is None else self.pipeline.rotation.fill
        return Deal(
            self.images_there, order.astype(np.int32), labels, draws, sizes, fill, self.pipeline
        )

    def epoch(self, order: npt.NDArray[np.int64]) -> MakeBatch:
        height, width = self.images.shape[2:]
        draws = self.pipeline.draw(self.sizes(), self.transform_rng, height, width)
        draws = draws.to(self.backend)
        indexes = self.backend.asarray(order.astype(np.int32))
        labels = self.backend.asarray(self.labels[order].astype(np.int64))
        return lambda whole, part: (
            self.pipeline.apply(self.images_there, indexes[part], draws.part(part), self._normal),
            labels[part],
        )
