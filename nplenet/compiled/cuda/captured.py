"""A step of the textbook layers that a graph can repeat: all that changes comes from a feed.

It runs for every chain of the library's layers; a chain that fits into the shared memory of the
device has a faster form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...augment.pipeline import augment_batch
from ...backend import Array
from ...layers import Dropout
from ..step import TextbookStep
from .feed import Feed

THREADS = 256


class CapturedStep:
    """Launches forward, loss and backward of a ``TextbookStep`` with the values of a feed.

    Parameters
    ----------
    textbook : TextbookStep
    dropouts : list of Dropout
        Those that are active, in the order in which they run.
    """

    def __init__(self, textbook: TextbookStep, dropouts: Sequence[Dropout]) -> None:
        self.textbook, self.dropouts = textbook, dropouts
        self.backend: Any = textbook.model.backend
        self.dtype = textbook.model.parameters()[0].data.dtype

    def gradients(self, feed: Feed, images: int) -> None:
        """Enqueue the step ``feed.step``, whose batch has so many images, up to its gradients."""
        textbook = self.textbook
        with self.backend.capturable(), self._fed_by(feed):
            order, draws, labels = self._deal(feed, images)
            x = self.backend.primitive(
                augment_batch, feed.images, order, *draws, feed.fill, self.dtype
            )
            value = textbook.gradients(x, labels)
            arrays = (value, textbook.correct, feed.losses, feed.correct, feed.step)
            self.backend.launch("feed", "finish", 1, *arrays, block=1)

    def _deal(self, feed: Feed, n: int) -> tuple[Array, list[Array | None], Array]:
        """Return the order, the draws and the labels of the batch."""
        epoch = (feed.order, feed.coefficients, feed.inverted, feed.gray, feed.labels)
        batch = [
            None if a is None else self.backend.xp.empty((n, *a.shape[1:]), a.dtype) for a in epoch
        ]
        head = (feed.table, feed.step, feed.now, feed.words)
        blocks = -(-max(6 * n, feed.words) // THREADS)
        self.backend.launch("feed", "deal", blocks, *head, *epoch, *batch, n)
        return batch[0], batch[1:4], batch[4]

    @contextmanager
    def _fed_by(self, feed: Feed) -> Iterator[None]:
        """Let dropout and loss read their numbers from the feed."""
        loss = self.textbook.loss
        for i, dropout in enumerate(self.dropouts):
            dropout.key_there = feed.key(i)
        loss.forward_there = feed.forward
        try:
            yield
        finally:
            for dropout in self.dropouts:
                dropout.key_there = None
            loss.forward_there = None


def active_dropouts(layers: Sequence[Any]) -> list[Dropout]:
    """Return the dropout layers that draw a key in each step."""
    return [a for a in layers if isinstance(a, Dropout) and a.training and a.p > 0.0]

