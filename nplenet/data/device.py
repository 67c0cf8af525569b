"""Batches made on the device of the model: the data set is stored there, a batch is one launch.

Legend: M images of the data set, C channels, H height, W width.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..augment import FusedPipeline
from ..backend import Backend
from .batches import Batches, MakeBatch


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
        try:
            self.images_there = backend.asarray(images)
        except MemoryError as error:
            raise MemoryError(
                f"DeviceLoader: {len(images):,} images of {images.nbytes / 1e6:,.0f} MB do not fit "
                f"into the memory of the {backend.name} backend ({error}); use fewer, or a plain "
                "DataLoader, whose batches are uploaded one by one"
            ) from error

    def epoch(self, order: npt.NDArray[np.int64]) -> MakeBatch:
        height, width = self.images.shape[2:]
        draws = self.pipeline.draw(self.sizes(), self.transform_rng, height, width)
        draws = draws.to(self.backend)
        indexes = self.backend.asarray(order.astype(np.int32))
        labels = self.backend.asarray(self.labels[order].astype(np.int64))
        return lambda whole, part: (
            self.pipeline.apply(self.images_there, indexes[part], draws.part(part)),
            labels[part],
        )
