"""How a batch is cut into chunks, and which worker has which of them.

256 images, 2 workers, chunks of 32 images and of 64 for features:

    images     |  0 |  1 |  2 |  3 |  4 |  5 |  6 |  7 |
    features   |    0    |    1    |    2    |    3    |
    worker     |-------- 0 --------|-------- 1 --------|

Where features are few, one worker does all work between the two barriers around the dense layers,
while the others wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...rounding import ceil_div
from ..operation import Buffer, Value
from .tuning import MinImages, Tunables

Call = Callable[[], object]
Calls = list[Call]


class Chunk:
    """A part of the batch, for which an operation binds its calls: ``chunk[value]`` is an array.

    Attributes
    ----------
    index, start, lanes : int
        Its number, its first image, its number of images.
    worker, first : int, bool
        Its worker, and whether it is that worker's first chunk (see ``Total``).
    batch : int
        Number of images in the whole batch.
    """

    def __init__(
        self,
        index: int,
        start: int,
        lanes: int,
        batch: int,
        worker: int,
        first: bool,
        array_of: Callable[[Value, Chunk], np.ndarray],
    ) -> None:
        self.index, self.start, self.lanes, self.batch = index, start, lanes, batch
        self.worker, self.first = worker, first
        self._array_of = array_of

    def __getitem__(self, value: Value) -> np.ndarray:
        return self._array_of(value, self)

    @property
    def images(self) -> slice:
        return slice(self.start, self.start + self.lanes)


@dataclass(frozen=True)
class Division:
    """How a batch is cut.

    Attributes
    ----------
    workers : int
        How many have a part of the chunks each.
    lanes, feature_lanes : int
        Images in a chunk of images, and in a chunk of features, which is a multiple of it.
    one_worker_for_features : bool
        Whether one of the workers does all that lies between two barriers around the features,
        because these are few.
    """

    workers: int
    lanes: int
    feature_lanes: int
    one_worker_for_features: bool

    def lanes_of(self, features: bool) -> int:
        return self.feature_lanes if features else self.lanes


def divide(
    images: int, threads: int, capacity: Division, min_images: MinImages, head_start: int
) -> Division:
    """Return how to cut a batch: no worker idle, nothing larger than in ``capacity``.

    Whether features are few must not depend on ``capacity``: otherwise a smaller batch could have
    more chunks of them than the arena holds.
    """
    wanted = min(threads, max(1, images // min_images.per_worker))
    single = wanted > 1 and images < wanted * min_images.per_worker_for_features
    workers = min(wanted, capacity.workers)
    fraction = ceil_div(images, workers) + (head_start if workers > 1 else 0)
    lanes = max(1, min(capacity.lanes, fraction))
    chunks = ceil_div(images, lanes)
    per_worker = chunks if single else ceil_div(chunks, workers)
    per_feature_chunk = max(1, min(capacity.feature_lanes // lanes, per_worker))
    busy = max(1, chunks if single else ceil_div(chunks, per_feature_chunk))
    return Division(min(workers, busy), lanes, lanes * per_feature_chunk, single)


class Cutting:
    """The chunks of every batch of up to ``batch_size`` images.

    Parameters
    ----------
    batch_size : int
    tunables : Tunables
    min_images : MinImages
        From how many images on a thread of its own pays.

    Attributes
    ----------
    capacity : Division
        Of the largest batch; no other has larger or more chunks.
    """

    def __init__(self, batch_size: int, tunables: Tunables, min_images: MinImages) -> None:
        self.batch_size, self.min_images = batch_size, min_images
        self.threads, self.head_start = tunables.threads, tunables.head_start
        largest = Division(self.threads, tunables.lanes, tunables.feature_lanes, False)
        self.capacity = divide(batch_size, self.threads, largest, min_images, self.head_start)

    def division(self, images: int) -> Division:
        """Return how to cut a batch of ``images``."""
        return divide(images, self.threads, self.capacity, self.min_images, self.head_start)

    def copies(self, buffer: Buffer) -> int:
        """Return how many copies there are of a buffer that each chunk has for itself."""
        return ceil_div(self.batch_size, self.capacity.lanes_of(buffer.features))

    def chunks(
        self, images: int, *, features: bool, array_of: Callable[[Value, Chunk], np.ndarray]
    ) -> list[Chunk]:
        """Return the chunks of a batch; ``array_of`` says what ``chunk[value]`` is.

        Each worker has neighbouring chunks, of images and of features for the same images; with
        ``one_worker_for_features`` worker 0 has all chunks of features.
        """
        cut = self.division(images)
        lanes, single = cut.lanes_of(features), cut.one_worker_for_features
        starts = range(0, images, lanes)
        unit = cut.lanes if single else cut.feature_lanes  # a worker has a multiple of these images
        parts = 1 if single and features else cut.workers
        owners = [start // unit * parts // ceil_div(images, unit) for start in starts]
        return [
            Chunk(
                i,
                start,
                min(lanes, images - start),
                images,
                worker=owner,
                first=i == 0 or owner != owners[i - 1],
                array_of=array_of,
            )
            for i, (start, owner) in enumerate(zip(starts, owners, strict=True))
        ]


def count_images(chunks: list[Chunk]) -> int:
    """Return the number of images in chunks; a rank's part of a batch may be empty."""
    return sum(chunk.lanes for chunk in chunks)
