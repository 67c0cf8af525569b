"""What changes from step to step, on the device: a step in a graph has no arguments.

The host fills a feed for an epoch before its first step. A step reads which one it is (``step``),
its row of the table, and its images, labels and augmentation, which lie in the order of the epoch:

    table   step 0 |  first  forward  key ... key  number ... number      a word is 8 bytes
            step 1 |  first  forward  key ... key  number ... number
                         |
                         v
    order      | 17  3 42 ...  a batch begins at its ``first``  ...       one entry per image
    labels     |  5  0  4 ...

At its end it writes its loss and its correct predictions to entry ``step``, and adds 1 to ``step``.

Legend: M images of the data set, n of an epoch; C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...backend import Array, Backend

FIRST, FORWARD, KEYS = 0, 1, 2
"""Words of a row: where the batch begins, the number of the forward (see ``CrossEntropyLoss``),
and the first dropout key; the numbers of the update follow the keys."""


MAX_STEPS = 128
"""In a graph: then a launch takes the host 0.1 us per step."""


class Feed:
    """Arrays of fixed addresses on a device; ``load`` fills them.

    Parameters
    ----------
    backend : Backend
    images : array (M, C, H, W), or (M, F)
        uint8 or floats; the batch is ``images[order[first : first + N]]``.
    fault : int64 array (3,)
        See ``nplenet.losses.cross_entropy``.
    entries, steps : int
        Capacity: images of all batches, and batches.
    keys, numbers : int
        Dropout keys and numbers of the update, per step.
    augmented : (bool, bool, bool)
        Whether images are mapped, inverted, turned to gray.
    fill : int
        The value of pixels whose source lies outside the image.
    normal : array (2, C) of the model's dtype, optional
        Mean and standard deviation of each channel; without, bytes are divided by 255 only.

    Attributes
    ----------
    order : int32 array (n,)
    coefficients : int32 array (n, 6) or None
    inverted, gray : uint8 array (n,) or None
    labels : int64 array (n,)
    table : uint64 array (steps, words)
    now : uint64 array (words,)
        The row of the step that runs; ``key``, ``forward`` and ``numbers`` are views of it.
    step : int64 array (1,)
    losses, correct : float64 and int64 array (steps,)
    """

    def __init__(
        self,
        backend: Backend,
        images: Array,
        fault: Array,
        *,
        entries: int,
        steps: int,
        keys: int,
        numbers: int,
        augmented: Sequence[bool] = (False, False, False),
        fill: int = 0,
        normal: npt.NDArray[Any] | None = None,
    ) -> None:
        xp = backend.xp
        self.normal = None if normal is None else backend.asarray(normal)
        self.backend, self.images, self.fault, self.fill = backend, images, fault, fill
        self.keys, self.words = keys, KEYS + keys + numbers
        mapped, inverted, gray = augmented
        self.order = xp.zeros(entries, np.int32)
        self.coefficients = xp.zeros((entries, 6), np.int32) if mapped else None
        self.inverted = xp.zeros(entries, np.uint8) if inverted else None
        self.gray = xp.zeros(entries, np.uint8) if gray else None
        self.labels = xp.zeros(entries, np.int64)
        self.table = xp.zeros((steps, self.words), np.uint64)
        self.now = xp.zeros(self.words, np.uint64)
        self.step = xp.zeros(1, np.int64)
        self.losses, self.correct = xp.zeros(steps), xp.zeros(steps, np.int64)

    @property
    def dealt(self) -> tuple[Array | None, ...]:
        """The arrays that ``deal`` takes."""
        return self.table, self.step, self.now, *self.per_image

    @property
    def per_image(self) -> tuple[Array | None, ...]:
        """The arrays with an entry for each image, in the order in which ``deal`` returns them."""
        return self.order, self.coefficients, self.inverted, self.gray, self.labels

    @property
    def forward(self) -> Array:
        """The number of the forward of the step that runs, int64 ()."""
        return self.now[FORWARD : FORWARD + 1].view(np.int64).reshape(())

    def key(self, i: int) -> Array:
        """The key of the i-th dropout of the step that runs, uint64 ()."""
        return self.now[KEYS + i : KEYS + i + 1].reshape(())

    @property
    def numbers(self) -> Array:
        """The numbers of the update of the step that runs, float64 (K,)."""
        return self.now[KEYS + self.keys :].view(np.float64)

    def load(
        self,
        *,
        order: Array,
        labels: Array,
        table: Array,
        draws: Sequence[Array | None] = (None, None, None),
        first_step: int = 0,
    ) -> None:
        """Copy an epoch here: before its first step, or before a step within it.

        Arrays of the host are uploaded. The copies wait in the queue behind the steps before.

        Parameters
        ----------
        order, labels : integer array (n,)
        table : uint64 array (steps, words)
            See ``rows``.
        draws : coefficients, inverted, gray
        first_step : int
            The step that runs next.
        """
        there = (*self.per_image, self.table)
        for to, values in zip(there, (order, *draws, labels, table), strict=True):
            if to is not None and values is not None:
                to[: len(values)] = self.backend.asarray(values, to.dtype)
        self.step.fill(first_step)


def rows(
    first: Iterable[int],
    forward: Iterable[int],
    keys: npt.ArrayLike,
    numbers: Sequence[Sequence[float]],
) -> npt.NDArray[np.uint64]:
    """Return the table of these steps: uint64 (steps, words), floats as their bits."""
    heads = np.array([[*first], [*forward]], np.uint64).T
    bits = np.array(numbers, np.float64).reshape(len(heads), -1).view(np.uint64)
    return np.hstack([heads, np.array(keys, np.uint64).reshape(len(heads), -1), bits])


def deal(
    xp: Any,
    table: Array,
    step: Array,
    now: Array,
    order: Array,
    coefficients: Array | None,
    inverted: Array | None,
    gray: Array | None,
    labels: Array,
    n: int,
) -> tuple[Array | None, ...]:
    """Copy the row of the step that runs to ``now``; return its share of the epoch.

    Parameters
    ----------
    table, step, now, order, coefficients, inverted, gray, labels : arrays
        Those of a ``Feed``.
    n : int
        Images of the batch.

    Returns
    -------
    order : int32 array (n,)
    coefficients : int32 array (n, 6) or None
    inverted, gray : uint8 array (n,) or None
    labels : int64 array (n,)
    """
    now[:] = table[step[0]]
    first = int(now[FIRST])
    epoch = (order, coefficients, inverted, gray, labels)
    return tuple(None if a is None else a[first : first + n].copy() for a in epoch)


def finish(
    xp: Any, loss: Array, correct: Array, losses: Array, corrects: Array, step: Array
) -> None:
    """Note loss and correct predictions of the step that runs, and go to the next one."""
    losses[step[0]], corrects[step[0]] = loss, correct
    step += 1
