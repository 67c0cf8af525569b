"""Loss, accuracy and confusion matrix of a model on labelled images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from .. import checks
from ..augment import ToFloat
from ..backend import Array, Backend
from ..compiled import Step
from ..data import DataLoader, DeviceLoader
from ..group import ALONE, Group
from ..layers import Layer
from ..losses import CrossEntropyLoss
from ..machine import one_blas_thread

MAX_BYTES_ON_GPU = 1 << 23
"""Of the floats of a batch of validation images. A batch takes the host 0.2 ms, whatever its size,
and meanwhile the GPU is idle: 5,000 images of 32x32 are 3 batches instead of 20."""


@dataclass(frozen=True)
class Evaluation:
    """The result of a model on labelled images.

    Attributes
    ----------
    loss : float
        Mean cross entropy.
    accuracy : float
        Fraction of correct predictions, 0 to 1.
    confusion : list of lists of int
        ``confusion[label][prediction]`` counts images.
    """

    loss: float
    accuracy: float
    confusion: list[list[int]]


@one_blas_thread()
def evaluate(
    model: Layer,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int = 10,
    batch_size: int = 256,
    group: Group = ALONE,
) -> Evaluation:
    """Run ``model`` in eval mode over images converted to floats, and nothing else.

    Parameters
    ----------
    model : Layer
        Maps floats (N, C, H, W) to logits (N, classes). Its mode is restored afterwards.
    images : uint8 (N, C, H, W)
    labels : int (N,)
    group : Group
        Its ranks share the batches; each gets the result that a single process would get.
    """
    was_training = model.training
    model.eval()
    try:
        return evaluate_with(model, model.backend, images, labels, classes, batch_size, group)
    finally:
        model.train(was_training)


def evaluate_with(
    predict: Callable[[Array], Array],
    backend: Backend,
    images: np.ndarray,
    labels: np.ndarray,
    classes: int = 10,
    batch_size: int = 256,
    group: Group = ALONE,
) -> Evaluation:
    """Evaluate any function from floats to logits on ``backend``; see ``evaluate``."""
    return LabelledImages(backend, images, labels, classes, batch_size, group).evaluate(predict)


class LabelledImages:
    """Images to evaluate, once or after each epoch: they are moved to the backend only once.

    The parameters are those of ``evaluate_with``.
    """

    def __init__(
        self,
        backend: Backend,
        images: np.ndarray,
        labels: np.ndarray,
        classes: int = 10,
        batch_size: int = 256,
        group: Group = ALONE,
    ) -> None:
        self.labels = labels = checks.labels(labels, "evaluate: labels")
        self.classes = checks.count(classes, "evaluate: classes")
        size = checks.count(batch_size, "evaluate: batch_size")
        self.backend, self.group = backend, group
        batches = -(-len(labels) // size)
        self._batches, self._mine = batches, group.part(batches)
        # Whole batches, so that no sum depends on the number of ranks.
        self._part = slice(self._mine.start * size, self._mine.stop * size)
        self._loader: DataLoader | DeviceLoader | None = None
        if self._mine.start < self._mine.stop or group.size == 1:
            mine = images[self._part], labels[self._part]
            self._loader = DataLoader(*mine, size, transform=ToFloat()).to(backend)

    def evaluate(self, predict: Callable[[Array], Array]) -> Evaluation:
        """Return the result of a function from floats (N, C, H, W) to logits (N, classes)."""
        losses, labels = np.zeros(self._batches), self.labels
        predictions = np.zeros(len(labels), np.int64)
        if self._loader is not None:
            losses[self._mine], predictions[self._part] = _losses_and_predictions(
                predict, self._loader, self.backend
            )
        self.group.sum(losses)
        self.group.sum(predictions)
        confusion = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(confusion, (labels, predictions), 1)
        return Evaluation(
            loss=float(losses.sum()) / len(labels),
            accuracy=float(np.trace(confusion)) / len(labels),
            confusion=confusion.tolist(),
        )


def validation_images(
    step: Step, images: np.ndarray, labels: np.ndarray, group: Group = ALONE
) -> LabelledImages:
    """Return images that ``step.predict`` will evaluate, in batches that suit it."""
    backend, size = step.model.backend, 256
    if step.runs_epochs:  # it needs no memory for the layers of the whole batch
        floats = 4 * math.prod(np.shape(images)[1:])
        size = max(size, MAX_BYTES_ON_GPU // max(floats, 1))
    return LabelledImages(backend, images, labels, batch_size=size, group=group)


def _losses_and_predictions(
    predict: Callable[[Array], Array], loader: DataLoader | DeviceLoader, backend: Backend
) -> tuple[np.ndarray, np.ndarray]:
    """Return the summed loss of each batch (batches,) and the predictions (N,)."""
    loss_function = CrossEntropyLoss(reduction="sum")
    losses = backend.xp.zeros(len(loader))
    predictions = backend.xp.zeros(len(loader.labels), np.int64)
    with naming_batch_size(loader, "evaluation"):
        for i, (floats, targets) in enumerate(loader):
            logits = predict(backend.asarray(floats))
            losses[i] = loss_function(logits, backend.asarray(targets))
            start = i * loader.batch_size
            predictions[start : start + len(targets)] = logits.argmax(axis=1)
    loss_function.check()
    return backend.to_numpy(losses), backend.to_numpy(predictions)


@contextmanager
def naming_batch_size(loader: DataLoader | DeviceLoader, where: str) -> Iterator[None]:
    """Add the batch size and a remedy to a MemoryError, NumPy's or CuPy's."""
    try:
        yield
    except MemoryError as error:
        detail = f" ({error})" if str(error) else ""  # Python's own says nothing
        raise MemoryError(
            f"no memory left for batches of {loader.batch_size} images in {where}{detail}; "
            "a smaller batch size needs less"
        ) from error


def confusion_table(confusion: list[list[int]]) -> str:
    """Return a confusion matrix as text: one row per label, one column per prediction."""
    classes = range(len(confusion))
    width = max(len(str(count)) for row in confusion for count in row) + 1
    head = "label".ljust(7) + "".join(f"{k:>{width}}" for k in classes) + "   recall"
    rows = [head]
    for k, row in enumerate(confusion):
        cells = "".join(f"{count or '.':>{width}}" for count in row)
        recall = f"{row[k] / sum(row):8.2%}" if sum(row) else "       -"
        rows.append(f"{k:<7}{cells} {recall}")
    return "\n".join(rows)
