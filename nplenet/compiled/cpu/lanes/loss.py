"""Softmax cross entropy in lanes: an image is a column of logits."""

from __future__ import annotations

from functools import partial

import numpy as np

from ....checks import unmasked
from ....losses import CrossEntropyLoss, one_hot_hint
from ...operation import LossOperation
from ...passes import Part
from ..chunks import Calls, Chunk
from .lane import LaneValue, Limits, bind


class CrossEntropyLanes(LossOperation):
    """Loss, gradient and prediction of each image; see ``losses.py``.

    Attributes
    ----------
    targets : int64 array (batch_size,)
        What the caller fills in.
    losses : array (batch_size,)
    correct : bool array (batch_size,)
    """

    name = "CrossEntropyLoss"

    def __init__(self, loss: CrossEntropyLoss, logits: LaneValue, limits: Limits) -> None:
        self.loss, self.x = loss, logits
        if len(logits.shape) != 1:
            raise ValueError(
                "CrossEntropyLoss: expected logits (N, K), but the model's output is (N, "
                f"{', '.join(map(str, logits.shape))}); put a Flatten before its last layer"
            )
        (classes,) = logits.shape
        self.classes = np.arange(classes)[:, None]
        batch, memory = (limits.images,), limits.memory
        self.targets = memory.zeros(batch, np.int64)
        self.losses = memory.zeros(batch, logits.dtype)
        self.correct = memory.zeros(batch, bool)
        self.dx = LaneValue(logits.shape, logits.dtype)
        self.shifted, self.wanted = (LaneValue(logits.shape, logits.dtype) for _ in range(2))
        self.is_target = LaneValue(logits.shape, bool)
        self.peak, self.total = (LaneValue((), logits.dtype) for _ in range(2))
        self.prediction = LaneValue((), np.intp)

    def scale(self, images: int) -> float:
        """Return the factor of the sum of the losses, and of its gradient."""
        return 1.0 / images if self.loss.reduction == "mean" else 1.0

    def calls(self, part: Part, chunk: Chunk) -> Calls:
        """Return the calls for one chunk. With z shifted by its maximum, t one-hot or smoothed:

        loss = log(sum of exp(z)) - sum of t * z        dz = exp(z) / sum of exp(z) - t
        """
        z, dz, shifted, t = (chunk[v] for v in (self.x, self.dx, self.shifted, self.wanted))
        is_target, peak, total = (chunk[v] for v in (self.is_target, self.peak, self.total))
        prediction = chunk[self.prediction]
        targets, losses = self.targets[chunk.images], self.losses[chunk.images]
        number, smoothing = z.dtype.type, self.loss.label_smoothing
        calls: Calls = [
            partial(z.argmax, axis=0, out=prediction),
            bind(np.equal, prediction, targets, out=self.correct[chunk.images]),
            bind(np.equal, self.classes, targets, out=is_target),
            partial(np.copyto, t, is_target),
            partial(np.maximum.reduce, z, axis=0, out=peak),
            bind(np.subtract, z, peak, out=shifted),
            bind(np.exp, shifted, out=dz),
            partial(np.add.reduce, dz, axis=0, out=total),
            bind(np.divide, dz, total, out=dz),
            bind(np.log, total, out=losses),
        ]
        if smoothing:
            calls += [
                bind(np.multiply, t, number(1.0 - smoothing), out=t),
                bind(np.add, t, number(smoothing / len(z)), out=t),
            ]
        return [
            *calls,
            bind(np.subtract, dz, t, out=dz),
            bind(np.multiply, dz, number(self.scale(chunk.batch)), out=dz),
            *self.sum_of_wanted(shifted, t, is_target, peak),
            bind(np.subtract, losses, peak, out=losses),
        ]

    def sum_of_wanted(
        self, shifted: np.ndarray, t: np.ndarray, is_target: np.ndarray, out: np.ndarray
    ) -> Calls:
        """Return the calls that sum t * z; one-hot without a product, as 0 * -inf is NaN."""
        if not self.loss.label_smoothing:
            return [partial(np.add.reduce, shifted, axis=0, out=out, where=is_target)]
        return [
            bind(np.multiply, shifted, t, out=shifted),
            partial(np.add.reduce, shifted, axis=0, out=out),
        ]

    def result(self, images: int) -> tuple[np.generic, int]:
        """Return the loss of the batch and the number of correct predictions."""
        total = self.losses[:images].sum(dtype=np.float64) * self.scale(images)
        return self.losses.dtype.type(total), int(np.count_nonzero(self.correct[:images]))

    def take_targets(self, targets: np.ndarray, images: int) -> None:
        """Copy the labels of a batch, once they are known to fit.

        Raises
        ------
        TypeError, ValueError
            As ``CrossEntropyLoss.forward`` does.
        """
        if not isinstance(targets, np.ndarray) or targets.dtype.kind not in "iu":
            found = getattr(targets, "dtype", type(targets).__name__)
            raise TypeError(
                f"CrossEntropyLoss: targets must be an array of integers, got {found}; "
                "numpy.asarray makes one of a list"
            )
        unmasked(targets, "CrossEntropyLoss: targets")
        if targets.shape != (images,):
            raise ValueError(
                f"CrossEntropyLoss: expected one target for each of {images} images, got targets "
                f"of shape {targets.shape}{one_hot_hint(targets, (images, len(self.classes)))}"
            )
        own, classes = self.targets[:images], len(self.classes)
        own[...] = targets
        if own.view(np.uint64).max() >= classes:  # so a negative label is a large one
            sample = int(((targets < 0) | (targets >= classes)).argmax())
            raise ValueError(
                f"CrossEntropyLoss: label {targets[sample]} of sample {sample} lies outside "
                f"0..{classes - 1}"
            )
