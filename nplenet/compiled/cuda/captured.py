"""A step of the textbook layers that a graph can repeat: all that changes comes from a feed.

It runs for every chain of the library's layers; a chain that fits into the shared memory of the
device has a faster form.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...augment.pipeline import augment_batch
from ...backend import Array
from ...layers import Dropout
from ...optim import Optimizer
from ..step import TextbookStep
from .feed import Feed, deal, finish
from .graphs import Graphs


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
        """Enqueue the step ``feed.step``, whose batch has ``images``, up to its gradients."""
        textbook, run = self.textbook, self.backend.primitive
        with self.backend.capturable(), self._fed_by(feed):
            order, *draws, labels = run(deal, *feed.dealt, images)
            x = run(augment_batch, feed.images, order, *draws, feed.fill, self.dtype, feed.normal)
            value = textbook.gradients(x, labels)
            run(finish, value, textbook.correct, feed.losses, feed.correct, feed.step)

    def step(self, feed: Feed, images: int, optimizer: Optimizer, times: int) -> None:
        """Enqueue ``gradients`` and the update, ``times`` times."""
        for _ in range(times):
            self.gradients(feed, images)
            optimizer.update(feed.numbers)

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


class CapturedInference:
    """The textbook layers in ``eval`` mode, in a graph for each size of a batch that comes again.

    Parameters
    ----------
    textbook : TextbookStep
    """

    MAX_SIZES = 4  # of which graphs are kept; others are launched layer by layer

    def __init__(self, textbook: TextbookStep) -> None:
        self.textbook = textbook
        self.backend: Any = textbook.model.backend
        self._graphs = Graphs(self.backend)
        self._seen: set[Hashable] = set()
        self._places: dict[Hashable, tuple[Array, Array]] = {}

    def predict(self, x: Array, settings: Hashable = ()) -> Array:
        """Return the logits (N, K) of floats or bytes (N, ...).

        ``settings`` are those of the layers; a graph keeps the ones with which it was recorded.
        """
        size = (x.shape, x.dtype.str, settings)
        if self.backend.traced or (size not in self._seen and len(self._seen) == self.MAX_SIZES):
            return self.textbook.predict(x)
        if size not in self._seen:
            with self._graphs.apart():
                logits = self._logits(x)
            self._seen.add(size)
            xp = self.backend.xp
            self._places[size] = xp.empty(x.shape, x.dtype), xp.empty_like(logits)
            return logits.copy()  # out of the memory of the graphs, which the next one overwrites
        there, out = self._places[size]

        def enqueue(times: int) -> None:
            out[...] = self._logits(there)

        there[...] = x
        self._graphs.launch(size, enqueue, 1)
        return out.copy()

    def _logits(self, x: Array) -> Array:
        with self.backend.capturable():
            return self.textbook.predict(x)


def active_dropouts(layers: Sequence[Any]) -> list[Dropout]:
    """Return the dropout layers that draw a key in each step."""
    return [a for a in layers if isinstance(a, Dropout) and a.training and a.p != 0.0]
