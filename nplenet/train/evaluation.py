"""Loss, accuracy and confusion matrix of a model on labelled images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from .. import checks
from ..architecture import largest_output
from ..attributes import is_ours
from ..augment import ToFloat, Transform, floats, fuse
from ..backend import Array, Backend
from ..compiled import Step
from ..data import DataLoader, DeviceLoader
from ..group import ALONE, Group
from ..layers import Layer
from ..layers.sequential import leaves
from ..losses import CrossEntropyLoss
from ..machine import one_blas_thread
from ..rounding import ceil_div

MAX_BYTES_ON_GPU = 1 << 23
"""Of the floats of a batch of validation images. A batch takes the host 0.2 ms, whatever its size,
and meanwhile the GPU is idle: 5,000 images of 32x32 are 3 batches instead of 20."""
MAX_NUMBERS = 1 << 26
"""That a layer makes of a batch in ``evaluate``: 256 MiB."""


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
    transform: Transform | None = None,
    classes: int | None = None,
    batch_size: int = 256,
    group: Group = ALONE,
) -> Evaluation:
    """Run ``model`` in eval mode over images.

    Parameters
    ----------
    model : Layer
        Maps floats (N, C, H, W) to logits (N, K). The mode of each layer is restored afterwards.
    images : array (N, C, H, W)
        Bytes or floats; after the transform, bytes are divided by 255.
    labels : int (N,)
        0..K-1.
    transform : transform(images, None) -> images, optional
        By default ``model.preprocessing``: the parts of its training transform that are not random.
    classes : int, optional
        Smallest number of rows of the confusion matrix (default K).
    batch_size : int
        Most images at once: fewer if a layer makes more than 262,144 numbers of each.
    group : Group
        Its ranks share the batches; each gets the result that a single process would get.

    Raises
    ------
    ValueError
        When a label lies outside 0..K-1, or the model's preprocessing is not known.
    """
    if not isinstance(model, Layer):
        raise TypeError(
            "evaluate: model must be a Layer, such as a Sequential, got "
            f"{type(model).__name__}; for a step there is evaluate_with(step.predict, ...)"
        )
    images = checks.images(images, "evaluate: images")
    most = max(1, MAX_NUMBERS // largest_output(model, (1, *np.shape(images)[1:])))
    size = min(checks.count(batch_size, "evaluate: batch_size"), most)
    held_out = LabelledImages(
        model.backend, images, labels, classes, size, group, transform or model.preprocessing
    )
    check_labels(model, images, held_out.labels, "evaluate: label {} of image {}")
    with model.evaluating():
        return held_out.evaluate(model)


def evaluate_with(
    predict: Callable[[Array], Array],
    backend: Backend,
    images: np.ndarray,
    labels: np.ndarray,
    classes: int | None = None,
    batch_size: int = 256,
    group: Group = ALONE,
    transform: Transform | None = None,
) -> Evaluation:
    """Evaluate any function from floats to logits on ``backend``; see ``evaluate``."""
    held_out = LabelledImages(backend, images, labels, classes, batch_size, group, transform)
    return held_out.evaluate(predict)


class LabelledImages:
    """Images to evaluate, once or after each epoch: they are moved to the backend only once.

    The parameters are those of ``evaluate_with``.
    """

    def __init__(
        self,
        backend: Backend,
        images: np.ndarray,
        labels: np.ndarray,
        classes: int | None = None,
        batch_size: int = 256,
        group: Group = ALONE,
        transform: Transform | None = None,
    ) -> None:
        images = checks.images(images, "evaluate: images")
        self.labels = labels = checks.labels(labels, "evaluate: labels")
        if len(images) != len(labels):
            raise ValueError(f"evaluate: got {len(images)} images but {len(labels)} labels")
        self.classes = 0 if classes is None else checks.count(classes, "evaluate: classes")
        size = checks.count(batch_size, "evaluate: batch_size")
        self.backend, self.group = backend, group
        batches = ceil_div(len(labels), size)
        self._batches, self._mine = batches, group.part(batches)
        # Whole batches, so that no sum depends on the number of ranks.
        self._part = slice(self._mine.start * size, self._mine.stop * size)
        self._loader: DataLoader | DeviceLoader | None = None
        if self._mine.start < self._mine.stop or group.size == 1:
            mine = images[self._part], labels[self._part]
            whole = transform if fuse(transform) else partial(as_floats, transform)
            if transform is None and images.dtype == np.uint8:
                whole = ToFloat()
            self._loader = DataLoader(*mine, size, transform=whole).to(backend)

    def evaluate(self, predict: Callable[[Array], Array]) -> Evaluation:
        """Return the result of a function from floats (N, C, H, W) to logits (N, K)."""
        losses, labels, classes = np.zeros(self._batches), self.labels, self.classes
        predictions = np.zeros(len(labels), np.int64)
        if self._loader is not None:
            losses[self._mine], predictions[self._part], found = _losses_and_predictions(
                predict, self._loader, self.backend
            )
            classes = max(classes, found)
        self.group.sum(losses)
        self.group.sum(predictions)
        (classes,) = self.group.largest(classes)
        confusion = np.zeros((classes, classes), np.int64)
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
        bytes_each = 4 * math.prod(np.shape(images)[1:])
        size = max(size, MAX_BYTES_ON_GPU // max(bytes_each, 1))
    return LabelledImages(
        backend,
        images,
        labels,
        batch_size=size,
        group=group,
        transform=step.model.preprocessing,
    )


def as_floats(
    transform: Transform | None, images: np.ndarray, rng: np.random.Generator | None
) -> Array:
    """Do what ``floats`` does, as a transform."""
    return floats(transform, images)


def _losses_and_predictions(
    predict: Callable[[Array], Array], loader: DataLoader | DeviceLoader, backend: Backend
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the summed loss of each batch (batches,), the predictions (N,), and K."""
    loss_function, classes = CrossEntropyLoss(reduction="sum"), 0
    losses = backend.xp.zeros(len(loader))
    predictions = backend.xp.zeros(len(loader.labels), np.int64)
    with naming_batch_size(loader, "evaluation"):
        for i, (ready, targets) in enumerate(loader):
            logits = predict(backend.asarray(ready))
            losses[i] = loss_function(logits, backend.asarray(targets))
            start, classes = i * loader.batch_size, logits.shape[1]
            predictions[start : start + len(targets)] = logits.argmax(axis=1)
    loss_function.check()
    return backend.to_numpy(losses), backend.to_numpy(predictions), classes


def check_labels(
    model: Layer, images: np.ndarray, labels: np.ndarray, text: str, ignored: int | None = None
) -> None:
    """Raise a ValueError for a label beyond the model's classes, where their number is known.

    ``text`` names the label and its place: "fit: label {} of training image {}". A transform that
    changes the shape of the images hides the number; then the loss names the label, in its step.
    """
    shapes = shapes_of(model, images.shape[1:])
    if not shapes or len(shapes[-1][2]) != 2:
        return
    classes = shapes[-1][2][1]
    wrong = (labels < 0) | (labels >= classes)
    if ignored is not None:
        wrong &= labels != ignored
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"{text.format(labels[first], first)} lies outside 0..{classes - 1}: the model has "
            f"{classes} classes"
        )


def shapes_of(
    model: Layer, image_shape: tuple[int, ...]
) -> list[tuple[Layer, tuple[int, ...], tuple[int, ...]]]:
    """Return each layer of a chain with the shapes of its input and output for one image.

    Empty where they are not known: the images do not fit, or a layer of your own says no shape.
    """
    shape, found = (1, *image_shape), []
    for _, layer in leaves(model):
        own = type(layer)
        if own.output_shape is Layer.output_shape and not is_ours(own):
            return []
        try:
            output = layer.output_shape(shape)
        except (TypeError, ValueError, NotImplementedError):
            return []  # the first step says it better, with the layer's path
        found.append((layer, shape, output))
        shape = output
    return found


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


def confusion_table(confusion: list[list[int]], names: Sequence[str] = ()) -> str:
    """Return a confusion matrix as text: one row per label, one column per prediction.

    The columns are headed by the numbers of the classes, which the rows explain by ``names``.
    """
    numbers = [str(k) for k in range(len(confusion))]
    names = [*names, *numbers[len(names) :]]
    labels = [k if k == name else f"{k} {name}" for k, name in zip(numbers, names, strict=True)]
    width = max(len(str(n)) for row in confusion for n in [*row, len(confusion) - 1]) + 1
    left = max(map(len, ["label ", *labels])) + 1
    rows = ["label".ljust(left) + "".join(k.rjust(width) for k in numbers) + "   recall"]
    for k, row in enumerate(confusion):
        cells = "".join(f"{count or '.':>{width}}" for count in row)
        recall = f"{row[k] / sum(row):8.2%}" if sum(row) else "       -"
        rows.append(f"{labels[k]:<{left}}{cells} {recall}")
    return "\n".join(rows)
