"""Batches made where the model computes: the data set lies there, and a batch is one launch.

Legend: M images of the data set, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..augment import FusedPipeline
from ..backend import Array, Backend
from ..parallel import Group
from .loader import DataLoader


class DeviceLoader:
    """The batches of a ``DataLoader``, gathered and augmented on a device.

    The images are uploaded once, as uint8. What is random is drawn on the host, by the generators
    of the host's loader in the same order, and uploaded once an epoch: so both loaders give the
    same images, and within an epoch nothing is copied and nobody waits. Leaving an epoch early
    leaves the generators as after a whole one; the host's ``loader.state_dict()``, taken before,
    brings them back.

    Parameters
    ----------
    loader : DataLoader
        Holds images (M, C, H, W) of uint8, labels, batch size and generators. It is not copied:
        iterating over both draws from the same generators. Its `prefetch` is of no use here.
    pipeline : FusedPipeline
        The transform of ``loader``, as ``nplenet.augment.fuse`` returns it.
    backend : Backend
        Where the batches are made; NumPy will do too.

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

    def __init__(self, loader: DataLoader, pipeline: FusedPipeline, backend: Backend) -> None:
        images = loader.images
        if images.dtype != np.uint8 or images.ndim != 4:
            raise TypeError(
                f"DeviceLoader: got images {images.dtype} {images.shape}, expected uint8 "
                "(M, C, H, W); see nplenet.data.pad_images"
            )
        self.loader, self.pipeline, self.backend = loader, pipeline, backend
        self.batch_size, self.labels = loader.batch_size, loader.labels
        try:
            self.images = backend.asarray(images)
        except MemoryError as error:
            raise MemoryError(
                f"DeviceLoader: {len(images):,} images of {images.nbytes / 1e6:,.0f} MB do not fit "
                f"into the memory of the {backend.name} backend ({error}); use fewer, or a plain "
                "DataLoader, whose batches are uploaded one by one"
            ) from error

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.loader)

    @property
    def group(self) -> Group:
        """The ranks that share each batch: those of the host's loader."""
        return self.loader.group

    @group.setter
    def group(self, group: Group) -> None:
        self.loader.group = group

    def sizes(self) -> list[int]:
        """Return the number of images in each batch of an epoch, on all ranks."""
        return self.loader.sizes()

    def fingerprint(self) -> str:
        """Return the SHA-256 of images and labels."""
        return self.loader.fingerprint()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the host's generators; see ``DataLoader``."""
        return self.loader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self.loader.load_state_dict(state)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        """Start an epoch."""
        batches = self.loader.draw_order()
        rng, (height, width) = self.loader.transform_rng, self.images.shape[2:]
        draws = self.pipeline.draw(map(len, batches), rng, height, width).to(self.backend)
        order = np.concatenate(batches)
        indexes = self.backend.asarray(order.astype(np.int32))
        labels = self.backend.asarray(self.labels[order].astype(np.int64))
        begin = 0
        for size in self.loader.sizes():
            rows = self.loader.group.part(size)
            part = slice(begin + rows.start, begin + rows.stop)
            begin += size
            yield self.pipeline.apply(self.images, indexes[part], draws.part(part)), labels[part]
