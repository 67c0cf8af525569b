"""The base of all loaders: the order of an epoch, the sizes of its batches, each rank's part.

Legend: M images of the data set, N of a batch; C channels, H height, W width.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import checks
from ..attributes import Attributes, is_ours
from ..augment.transforms import Transform, flattened
from ..group import ALONE
from ..names import OF_A_LOADER
from ..seeds import generator_state, restore_generator

MakeBatch = Callable[[slice, slice], tuple[Any, Any]]
"""Takes the positions of a batch in the order of its epoch, and the positions of this rank's part;
returns the images and labels of that part."""


def _generator(value: Any, name: str) -> np.random.Generator | None:
    return None if value is None else checks.generator(value, name)


class Batches(Attributes):
    """An iterable over images and labels, batch by batch; one ``for`` loop is one epoch.

    A subclass writes ``epoch``: how a batch is made.

    Attributes
    ----------
    images : array (M, C, H, W)
    labels : integer array (M,)
    batch_size : int
        Images per batch, on all ranks together.
    shuffle, drop_last : bool
        Whether each epoch has a new order, and whether an incomplete last batch is left out.
    rng, transform_rng : numpy.random.Generator or None
        Draw the order, and the random numbers of the transforms.
    group : Group
        The ranks that share a batch, a part each; ``nplenet.train.fit`` sets it.
    """

    settings: ClassVar[checks.Checks] = {
        "images": checks.images,
        "labels": checks.labels,
        "batch_size": checks.count,
        "shuffle": checks.flag,
        "drop_last": checks.flag,
        "rng": _generator,
        "transform_rng": _generator,
    }
    ours: ClassVar[Mapping[str, str]] = OF_A_LOADER
    images: npt.NDArray[Any]
    labels: npt.NDArray[np.integer[Any]]
    batch_size: int
    shuffle: bool
    drop_last: bool
    rng: np.random.Generator | None
    transform_rng: np.random.Generator | None
    transform: Transform | None = None
    group = ALONE

    def __init__(
        self,
        images: npt.NDArray[Any],
        labels: npt.NDArray[np.integer[Any]],
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        rng: np.random.Generator | int | None,
        transform_rng: np.random.Generator | int | None,
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.shuffle, self.drop_last = shuffle, drop_last
        self.rng, self.transform_rng = rng, transform_rng  # type: ignore[assignment]  # a seed
        self.check()

    def check(self) -> None:
        """Raise a ValueError if the settings, which may have been assigned, do not fit."""
        owner = type(self).__name__
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"{owner}: got {len(self.images)} images but {len(self.labels)} labels; "
                "each image needs one label"
            )
        if self.drop_last and self.batch_size > len(self.images):
            raise ValueError(
                f"{owner}: drop_last leaves no batch, as batch_size is {self.batch_size} and there "
                f"are {len(self.images)} images; use a smaller batch_size"
            )
        if self.shuffle and self.rng is None:
            raise ValueError(
                f"{owner}: shuffle needs a generator; pass rng=numpy.random.default_rng(seed)"
            )

    def _check_not_random(self) -> None:
        """Refuse a random transform of the library, which would only name its own argument."""
        for part in flattened(self.transform):
            if is_ours(type(part)) and getattr(part, "random", False):
                raise ValueError(
                    f"{type(self).__name__}: {type(part).__name__} needs a generator; pass "
                    "transform_rng=numpy.random.default_rng(seed)"
                )

    def epoch(self, order: npt.NDArray[np.int64]) -> MakeBatch:
        """Prepare an epoch with its images in this order; return the function for its batches."""
        raise NotImplementedError(f"{type(self).__name__} has no epoch")

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Start an epoch."""
        make, begin = self.epoch(self.draw_order()), 0
        for size in self.sizes():
            rows = self.group.part(size)
            yield make(slice(begin, begin + size), slice(begin + rows.start, begin + rows.stop))
            begin += size

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(len(self.images), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def sizes(self) -> list[int]:
        """Return the number of images in each batch of an epoch, on all ranks together."""
        full, rest = divmod(len(self.images), self.batch_size)
        return [self.batch_size] * full + [rest] * (len(self) - full)

    def draw_order(self) -> npt.NDArray[np.int64]:
        """Draw the order of an epoch: the indexes of its images, batch after batch."""
        self.check()
        if self.transform_rng is None:
            self._check_not_random()
        order = np.arange(len(self.images))
        if self.shuffle and self.rng is not None:
            self.rng.shuffle(order)
        return order[: sum(self.sizes())]

    def fingerprint(self) -> str:
        """Return the SHA-256 of images and labels, which identifies the data set."""
        digest = hashlib.sha256()
        for array in (self.images, self.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the generators, ready for JSON; call it between epochs.

        To resume within an epoch, restore the state of its start, iterate again, and skip the
        finished batches.
        """
        return {name: generator_state(rng) for name, rng in self.generators().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned; call it between epochs.

        Raises
        ------
        ValueError
            When the state is from a loader with other generators; nothing is changed then.
        """
        own = self.generators()
        checks.state(state, {}, own, f"{type(self).__name__}.load_state_dict")
        for rng in (copy.deepcopy(own), own):  # the copy shows whether all states fit
            for name, generator in rng.items():
                restore_generator(generator, state[name])

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the random generators that the loader draws from, by name."""
        both = {"rng": self.rng, "transform_rng": self.transform_rng}
        return {name: rng for name, rng in both.items() if rng is not None}
