"""A step on arrays at hand: the kernels of a step in a graph, launched one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...backend import Array
from ...layers import Dropout
from ...losses import CrossEntropyLoss
from ..step import check_count
from .feed import Feed, rows
from .fused import FusedStep


class SingleSteps:
    """Runs fused kernels on a batch, through a feed with a single row.

    Parameters
    ----------
    fused : FusedStep
    dropouts : list of Dropout
        Those that are active, in the order in which they run.
    loss : CrossEntropyLoss
    batch_size : int
        Largest number of images.
    """

    def __init__(
        self,
        fused: FusedStep,
        dropouts: Sequence[Dropout],
        loss: CrossEntropyLoss,
        batch_size: int,
    ) -> None:
        self.fused, self.dropouts, self.loss = fused, dropouts, loss
        self.feed = Feed(
            fused.backend,
            None,
            loss.fault_on(fused.backend, fused.classes),
            entries=batch_size,
            steps=1,
            keys=len(dropouts),
            numbers=0,
        )
        self.feed.order[:] = fused.backend.xp.arange(batch_size)

    def gradients(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Set the gradients; return the loss and the number of correct predictions.

        Parameters
        ----------
        x : float or uint8 array (N, ...)
        y : integer array (N,)
        """
        feed, n = self.feed, len(x)
        self._check(y, n)
        feed.fault = self.loss.fault_on(feed.backend, self.fused.classes)
        feed.images = feed.backend.xp.ascontiguousarray(x)
        feed.labels[:n] = y
        keys = [[dropout.draw_key() for dropout in self.dropouts]]
        row: Any = rows([0], [self.loss.count_forward()], keys, [[]])
        feed.table[:] = feed.backend.asarray(row)
        self.rewind()
        self.fused.gradients(feed, n)
        if feed.backend.reading_interval == 0.0:
            self.loss.check()
        return feed.losses[0].astype(self.fused.dtype), feed.correct[0].copy()

    def rewind(self) -> None:
        """Let the step begin that has just ended: the feed has no other."""
        self.feed.step.fill(0)

    def _check(self, y: Array, n: int) -> None:
        if not self.feed.backend.owns(y):
            raise TypeError(
                f"the compiled step: its labels must be on the device, got {type(y).__name__}"
            )
        if y.dtype.kind not in "iu" or y.shape != (n,):
            raise ValueError(
                f"the compiled step: expected {n} integer labels, got {y.dtype} {y.shape}"
            )
        check_count(n, len(self.feed.order))
