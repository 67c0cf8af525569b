"""How good a model is on labelled images: loss, accuracy, confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from .augment import ToFloat
from .backend import one_blas_thread
from .data import DataLoader, DeviceLoader
from .layers import Layer
from .losses import CrossEntropyLoss


@dataclass(frozen=True)
class Evaluation:
    """The result of a model on labelled images.

    Attributes
    ----------
    loss : float
        Mean cross entropy.
    accuracy : float
        Share of right answers, 0 to 1.
    confusion : list of lists of int
        ``confusion[label][answer]`` counts images.
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
) -> Evaluation:
    """Run ``model`` in eval mode over images converted to floats, and nothing else.

    Parameters
    ----------
    model : Layer
        Maps floats (N, C, H, W) to logits (N, classes). Its mode is restored afterwards.
    images : uint8 (N, C, H, W)
    labels : int (N,)
    """
    return evaluate_batches(model, plain_batches(model, images, labels, batch_size), classes)


def plain_batches(
    model: Layer, images: np.ndarray, labels: np.ndarray, batch_size: int = 256
) -> DataLoader | DeviceLoader:
    """Return a loader of images as they are, in their order, on the backend of ``model``."""
    return DataLoader(images, labels, batch_size, transform=ToFloat()).to(model.backend)


def evaluate_batches(
    model: Layer, loader: DataLoader | DeviceLoader, classes: int = 10
) -> Evaluation:
    backend, labels = model.backend, loader.labels
    loss_function = CrossEntropyLoss(reduction="sum")
    losses = backend.xp.zeros(len(loader))
    answers = backend.xp.zeros(len(labels), np.int64)
    was_training = model.training
    model.eval()
    try:
        with naming_batch_size(loader, "evaluation"):
            for i, (images, targets) in enumerate(loader):
                logits = model(backend.asarray(images))
                losses[i] = loss_function(logits, backend.asarray(targets))
                start = i * loader.batch_size
                answers[start : start + len(targets)] = logits.argmax(axis=1)
        loss_function.check()
    finally:
        model.train(was_training)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, backend.to_numpy(answers)), 1)
    return Evaluation(
        loss=float(backend.to_numpy(losses).sum()) / len(labels),
        accuracy=float(np.trace(confusion)) / len(labels),
        confusion=confusion.tolist(),
    )


@contextmanager
def naming_batch_size(loader: DataLoader | DeviceLoader, where: str) -> Iterator[None]:
    """Add to a MemoryError, NumPy's or CuPy's, what can be done about it."""
    try:
        yield
    except MemoryError as error:
        raise MemoryError(
            f"no memory left for batches of {loader.batch_size} images in {where} ({error}); "
            "a smaller batch size needs less"
        ) from error


def confusion_table(confusion: list[list[int]]) -> str:
    """Return a confusion matrix as text: a row a label, a column an answer, dots for zeros."""
    classes = range(len(confusion))
    width = max(len(str(count)) for row in confusion for count in row) + 1
    head = "label".ljust(7) + "".join(f"{k:>{width}}" for k in classes) + "   recall"
    rows = [head]
    for k, row in enumerate(confusion):
        cells = "".join(f"{count or '.':>{width}}" for count in row)
        recall = f"{row[k] / sum(row):8.2%}" if sum(row) else "       -"
        rows.append(f"{k:<7}{cells} {recall}")
    return "\n".join(rows)
