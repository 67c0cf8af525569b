"""Batches made on the device of the model: the data set is stored there, a batch is one launch.

Legend: M images of the data set, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..augment import Draws, FusedPipeline, Transform
from ..backend import Array, Backend
from .batches import Batches, MakeBatch


class Deal(NamedTuple):
    """All that is random in an epoch, drawn at once: n images in batches. Arrays are on the device.

    Attributes
    ----------
    images : uint8 array (M, C, H, W)
        The data set.
    order : int32 array (n,)
        Which images, batch after batch.
    labels : int64 array (n,)
    draws : Draws
    sizes : list of int
        Images of each batch.
    fill : int
        The value of pixels whose source lies outside the image.
    pipeline : FusedPipeline
    """

    images: Array
    order: Array
    labels: Array
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

    def floats(self, part: slice, normal: Array | None = None) -> Array:
        """Return some of the images of the epoch, augmented, as floats (N, C, H, W).

        ``normal`` is for ``FusedPipeline.apply``.
        """
        return self.pipeline.apply(self.images, self.order[part], self.draws.part(part), normal)


class PreparedDeal(NamedTuple):
    """The deal of an epoch that may come.

    Attributes
    ----------
    begin : tuple
        The states of the loader's generators before it, and all else on which it depends.
    end : dict
        The states after it.
    """

    deal: Deal
    begin: tuple[dict[str, Any], tuple[Any, ...]]
    end: dict[str, Any]


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

    read_once = ("images", "transform")  # they are on the device
    pipeline: FusedPipeline
    backend: Backend
    transform: Transform | None
    images_there: Array
    _prepared: PreparedDeal | None = None

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
            self.images_there = backend.asarray(np.ascontiguousarray(images))
        except MemoryError as error:
            raise MemoryError(
                f"DeviceLoader: {len(images):,} images of {images.nbytes / 1e6:,.0f} MB do not fit "
                f"into the memory of the {backend.name} backend ({error}); use fewer, or a plain "
                "DataLoader, whose batches are uploaded one by one"
            ) from error

    def deal(self) -> Deal:
        """Start an epoch whose batches are made elsewhere, by a step that takes them all."""
        prepared, self._prepared = self._prepared, None
        if prepared and prepared.begin == (self.state_dict(), self._settings()):
            self.load_state_dict(prepared.end)
            return prepared.deal
        return self._draw(self.draw_order())

    def prepare(self) -> None:
        """Make the next deal while the device is at work; ``deal`` returns it.

        The generators stay where they are until then. If by then they are elsewhere, or if labels,
        sizes or transforms were changed, ``deal`` draws again.
        """
        state, settings = self.state_dict(), self._settings()
        try:
            deal = self._draw(self.draw_order())
            self._prepared = PreparedDeal(deal, (state, settings), self.state_dict())
        except Exception:  # belongs to the epoch that meets it: ``deal`` raises it again
            self._prepared = None
        finally:
            self.load_state_dict(state)

    def _draw(self, order: npt.NDArray[np.int64]) -> Deal:
        sizes, asarray = self.sizes(), self.backend.asarray
        draws = self.pipeline.draw(sizes, self.transform_rng, *self.images.shape[2:])
        return Deal(
            self.images_there,
            asarray(order.astype(np.int32)),
            asarray(self.labels[order].astype(np.int64)),
            draws.to(self.backend),
            sizes,
            self.pipeline.fill,
            self.pipeline,
        )

    def _settings(self) -> tuple[Any, ...]:
        labels = self.labels.dtype, self.labels.tobytes()  # which may be changed in place
        return self.shuffle, self.sizes(), labels, repr(self.pipeline), id(self.images_there)

    def epoch(self, order: npt.NDArray[np.int64]) -> MakeBatch:
        deal = self._draw(order)
        return lambda whole, part: (deal.floats(part, self._normal), deal.labels[part])
