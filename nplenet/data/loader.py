"""From arrays of images and labels to batches: pad, split, shuffle, transform, prefetch.

Legend: N images, C channels, H height, W width. Images at rest are uint8.
"""

from __future__ import annotations

import copy
import hashlib
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..augment import FusedPipeline, before_float, fuse
from ..backend import Array, Backend, generator_state, get_backend, restore_generator
from ..parallel import ALONE
from .lazy import AugmentedImages, LazyImages

if TYPE_CHECKING:
    from .device import DeviceLoader

Batch = tuple[npt.NDArray[Any], npt.NDArray[np.int64]]
Transform = Callable[[npt.NDArray[Any], np.random.Generator | None], npt.NDArray[Any]]


def pad_images(images: npt.NDArray[np.uint8], size: int = 32) -> npt.NDArray[np.uint8]:
    """Centre images on a black square, and give them a channel axis if they lack one.

    Done once, when a data set is loaded and before it is augmented, so that an inverted image is
    inverted up to its border.

    Parameters
    ----------
    images
        uint8 (N, H, W) or (N, C, H, W).
    size
        Height and width of the result, in pixels. An odd border is wider at the bottom and right.

    Returns
    -------
    numpy.ndarray
        uint8 (N, C, size, size), C = 1 for images without a channel axis. Always a copy.

    Raises
    ------
    TypeError
        When the images are not a uint8 array.
    ValueError
        When they have another rank or are larger than `size`.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = getattr(images, "dtype", type(images).__name__)
        raise TypeError(f"pad_images: expected a uint8 array, got {found}; pad before ToFloat")
    if images.ndim not in (3, 4):
        raise ValueError(
            f"pad_images: expected shape (N, H, W) or (N, C, H, W), got {images.shape}"
        )
    if images.ndim == 3:
        images = images[:, None]
    n, c, h, w = images.shape
    if h > size or w > size:
        raise ValueError(f"pad_images: images of {h} x {w} do not fit into {size} x {size}")
    top, left = (size - h) // 2, (size - w) // 2
    padded = np.zeros((n, c, size, size), np.uint8)
    padded[:, :, top : top + h, left : left + w] = images
    return padded


def train_validation_split(
    labels: npt.NDArray[np.integer[Any]], validation: int | float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Part a data set in two at random, each class in the proportion it has in the whole.

    The classes share the validation count by the method of largest remainders, so its total is
    exact and no class is off its proportion by a whole sample.

    Parameters
    ----------
    labels
        Integers (N,).
    validation
        Samples to hold out: an int from 0 to N - 1, or a fraction of N, a float in (0, 1).
    rng
        Draws the samples; the same generator state gives the same split.

    Returns
    -------
    train_indexes, validation_indexes : numpy.ndarray
        int64, each in ascending order; together they are every index from 0 to N - 1 once.

    Raises
    ------
    TypeError, ValueError
        When an argument is not as above.
    """
    labels = _checked_labels("train_validation_split", labels)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            "train_validation_split: rng must be a numpy.random.Generator, "
            f"got {type(rng).__name__}; make one with numpy.random.default_rng(seed)"
        )
    held_out = _held_out_count(validation, len(labels))
    classes, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quotas, remainders = np.divmod(counts * held_out, len(labels))
    missing = held_out - int(quotas.sum())
    quotas[np.argsort(-remainders, kind="stable")[:missing]] += 1

    in_validation = np.zeros(len(labels), bool)
    for index in range(len(classes)):
        members = np.flatnonzero(class_of == index)
        in_validation[rng.permutation(members)[: quotas[index]]] = True
    return np.flatnonzero(~in_validation), np.flatnonzero(in_validation)


class DataLoader:
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
        Draws the order; needed if `shuffle`.
    transform
        ``transform(images, transform_rng) -> array``, called on each batch; None gives the
        images as they are.
    transform_rng
        What `transform` gets as its second argument.
    drop_last
        Leave out the last batch of an epoch if it is not full.
    prefetch
        Batches to prepare ahead, in a background thread; 0 prepares each when it is asked for.
        The batches are the same bit for bit, and an error in `transform` surfaces in the loop
        that asks for its batch. Leaving a loop early stops the thread, but by then the
        generators have been used for up to `prefetch` + 1 batches that nobody saw. Until the
        epoch ends the generators belong to the thread: draw nothing else from them.

    Yields
    ------
    x : numpy.ndarray
        What `transform` gives, or a copy (batch, C, H, W) of the images.
    y : numpy.ndarray
        int64 (batch,).

    Raises
    ------
    TypeError, ValueError
        When an argument is not as above, or the arguments leave no batch at all.
    """

    lazy: FusedPipeline | None = None  # see ``in_bytes``
    group = ALONE  # whose ranks each get their part of a batch; ``nplenet.train.fit`` sets it

    def __init__(
        self,
        images: npt.NDArray[Any],
        labels: npt.NDArray[np.integer[Any]],
        batch_size: int,
        *,
        shuffle: bool = False,
        rng: np.random.Generator | None = None,
        transform: Transform | None = None,
        transform_rng: np.random.Generator | None = None,
        drop_last: bool = False,
        prefetch: int = 0,
    ) -> None:
        labels = _checked_labels("DataLoader", labels)
        if not isinstance(images, np.ndarray) or images.ndim == 0:
            raise TypeError(
                f"DataLoader: images must be an array, got {type(images).__name__}; "
                "use numpy.stack on a list of images"
            )
        if len(images) != len(labels):
            raise ValueError(
                f"DataLoader: got {len(images)} images but {len(labels)} labels; "
                "each image needs one label"
            )
        _check_count("batch_size", batch_size, least=1)
        _check_count("prefetch", prefetch, least=0)
        if drop_last and batch_size > len(images):
            raise ValueError(
                f"DataLoader: drop_last leaves no batch, as batch_size is {batch_size} and there "
                f"are {len(images)} images; use a smaller batch_size"
            )
        for name, generator in (("rng", rng), ("transform_rng", transform_rng)):
            if generator is not None and not isinstance(generator, np.random.Generator):
                raise TypeError(
                    f"DataLoader: {name} must be a numpy.random.Generator, "
                    f"got {type(generator).__name__}; make one with numpy.random.default_rng(seed)"
                )
        if shuffle and rng is None:
            raise ValueError(
                "DataLoader: shuffle needs a generator; pass rng=numpy.random.default_rng(seed)"
            )
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.rng = rng
        self.transform = transform
        self.transform_rng = transform_rng
        self.drop_last = drop_last
        self.prefetch = prefetch

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(len(self.images), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Start an epoch."""
        if self.lazy is not None:
            return self._lazy_batches(self.lazy)
        batches = self._batches()
        return _prefetched(batches, self.prefetch) if self.prefetch else batches

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the generators, ready for JSON; to be taken between epochs.

        With the number of batches seen since, it tells which batch comes next: the epoch is begun
        again from this state, and those batches are passed over.
        """
        return {name: generator_state(rng) for name, rng in self._generators().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned; to be done between epochs.

        Raises
        ------
        ValueError
            When it is not of a loader with the same generators; nothing is changed then.
        """
        own = self._generators()
        if own.keys() != state.keys():
            raise ValueError(
                f"DataLoader.load_state_dict: got states of {sorted(state) or 'nothing'}, "
                f"expected those of {sorted(own) or 'nothing'}"
            )
        for rng in (copy.deepcopy(own), own):  # the first to see whether all states fit
            for name, generator in rng.items():
                restore_generator(generator, state[name])

    def _generators(self) -> dict[str, np.random.Generator]:
        both = {"rng": self.rng, "transform_rng": self.transform_rng}
        return {name: rng for name, rng in both.items() if rng is not None}

    def fingerprint(self) -> str:
        """Return the SHA-256 of images and labels, which tells one data set from another."""
        digest = hashlib.sha256()
        for array in (self.images, self.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def to(self, backend: str | Backend) -> DataLoader | DeviceLoader:
        """Return a loader whose batches lie on ``backend``: this one for NumPy, else a new one.

        The batches are the same on both. A `transform` that ``nplenet.augment.fuse`` does not know
        has no kernel, so this loader stays, for the training loop to upload its batches one by one.
        """
        target = get_backend(backend) if isinstance(backend, str) else backend
        pipeline = fuse(self.transform)
        if target.name == "numpy" or pipeline is None:
            return self
        from .device import DeviceLoader

        return DeviceLoader(self, pipeline, target)

    def in_bytes(self, dtype: npt.DTypeLike) -> DataLoader:
        """Return a loader of the same batches, left as bytes where they become floats last.

        For a step that turns bytes into floats of ``dtype`` itself, in the copy it makes anyway.
        Both loaders draw from the same generators. If ``nplenet.augment.fuse`` knows the transform,
        the images are ``LazyImages``, which nobody prefetches, and what is random is drawn for an
        epoch at once: to leave it early then leaves the generators as after a whole one. Without a
        ``ToFloat`` to ``dtype`` at the end of the transform it is this loader.
        """
        transform = before_float(self.transform, dtype)
        if transform is None or self.images.dtype != np.uint8:
            return self
        twin = copy.copy(self)
        twin.lazy = fuse(self.transform) if self.images.ndim == 4 else None
        if twin.lazy is None:
            if self.group.size > 1:
                return self
            twin.transform = transform
        return twin

    def draw_order(self) -> list[npt.NDArray[np.int64]]:
        """Draw the order of an epoch: the indexes of the images of each batch."""
        order = np.arange(len(self.images))
        if self.shuffle and self.rng is not None:
            self.rng.shuffle(order)
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        return [order[start : start + self.batch_size] for start in starts]

    def sizes(self) -> list[int]:
        """Return the number of images in each batch of an epoch, on all ranks together."""
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        return [min(self.batch_size, len(self.images) - start) for start in starts]

    def _lazy_batches(self, pipeline: FusedPipeline) -> Iterator[tuple[LazyImages, Array]]:
        order, sizes = np.concatenate(self.draw_order()), self.sizes()
        images = AugmentedImages(self.images, order, pipeline, sizes, self.transform_rng)
        labels, begin = self.labels[order].astype(np.int64), 0
        for size in sizes:
            rows = self.group.part(size)
            part = slice(begin + rows.start, begin + rows.stop)
            begin += size
            yield LazyImages(images, part), labels[part]

    def _batches(self) -> Iterator[Batch]:
        make = self._whole if self.group.size == 1 else self._part
        for indexes in self.draw_order():
            yield make(indexes)

    def _whole(self, indexes: npt.NDArray[np.int64]) -> Batch:
        """Return a batch."""
        x = self.images[indexes]
        if self.transform is not None:
            x = self.transform(x, self.transform_rng)
        return x, self.labels[indexes].astype(np.int64)

    def _part(self, indexes: npt.NDArray[np.int64]) -> Batch:
        """Return this rank's part of a batch; all ranks draw for the whole of it.

        A transform of unknown kind must be done on the whole.
        """
        rows = self.group.part(len(indexes))
        pipeline = fuse(self.transform)
        if pipeline is None:
            x, y = self._whole(indexes)
            return x[rows], y[rows]
        draws = pipeline.draw([len(indexes)], self.transform_rng, *self.images.shape[2:])
        x = pipeline.apply(self.images, indexes[rows], draws.part(rows))
        return x, self.labels[indexes[rows]].astype(np.int64)


def _prefetched(batches: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Yield the same batches, up to `depth` of them prepared ahead by a thread."""
    ready: queue.SimpleQueue[Batch | BaseException] = queue.SimpleQueue()
    slots = threading.Semaphore(depth)  # how many more batches may be prepared
    stopped = threading.Event()

    def prepare() -> None:
        try:
            while slots.acquire() and not stopped.is_set():
                ready.put(next(batches))
        except BaseException as error:  # StopIteration at the epoch's end, or the transform's
            ready.put(error)

    # A daemon, or an iterator kept at module level would keep the interpreter from ending.
    thread = threading.Thread(target=prepare, name="nplenet-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            batch = ready.get()
            if isinstance(batch, StopIteration):
                return
            if isinstance(batch, BaseException):
                raise batch
            slots.release()
            yield batch
    finally:
        stopped.set()
        slots.release()
        # Wait, since the thread may be drawing from generators that the next epoch will use.
        # While the interpreter ends, daemons stand still and waiting would never end.
        if not sys.is_finalizing():
            thread.join()


def _checked_labels(who: str, labels: npt.ArrayLike) -> npt.NDArray[np.integer[Any]]:
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{who}: labels must have shape (N,) with N >= 1, got {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{who}: labels must be integers, got {array.dtype}")
    return array


def _held_out_count(validation: int | float, total: int) -> int:
    is_fraction = isinstance(validation, (float, np.floating))
    if isinstance(validation, bool) or not (
        is_fraction or isinstance(validation, (int, np.integer))
    ):
        raise TypeError(
            "train_validation_split: validation must be an int (a count) or a float (a fraction), "
            f"got {type(validation).__name__}"
        )
    if is_fraction and not 0 < validation < 1:
        raise ValueError(
            f"train_validation_split: a fraction must lie between 0 and 1, got {validation}; "
            "pass an int for a count"
        )
    count = round(float(validation) * total) if is_fraction else int(validation)
    if not 0 <= count < total:
        raise ValueError(
            f"train_validation_split: cannot hold out {count} of {total} samples; "
            f"expected 0 to {total - 1}"
        )
    return count


def _check_count(name: str, value: int, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"DataLoader: {name} must be an int, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"DataLoader: {name} must be at least {least}, got {value}")
