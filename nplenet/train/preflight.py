"""What a run is refused for before its first step, rather than after the first epoch."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import numpy as np

from ..augment import Transform, floats, preprocessing, without_randomness
from ..checkpoint import CheckpointFolder
from ..checks import count, number
from ..checks import images as images_of
from ..checks import labels as labels_of
from ..data import DataLoader, DeviceLoader, Pictures
from ..data.pictures import LIGHT
from ..layers import BatchNorm1d, BatchNorm2d, Layer, Softmax
from ..layers.hints import warn_of_plain_arrays
from ..layers.sequential import leaves
from ..losses import CrossEntropyLoss
from ..optim import Optimizer
from ..schedules import Schedule
from .evaluation import check_labels, shapes_of

Validation = tuple[np.ndarray, np.ndarray]


def check_numbers(
    epochs: int,
    patience: int | None,
    clip_norm: float | None,
    validation: Validation | None,
    checkpoints: CheckpointFolder | None,
) -> None:
    """Raise a TypeError or ValueError for a number of ``fit`` that makes no sense."""
    count(epochs, "fit: epochs", 0)
    if patience is not None:
        count(patience, "fit: patience")
    if clip_norm is not None:
        number(clip_norm, "fit: clip_norm", "(0, inf)")
    best = patience is not None or (checkpoints is not None and checkpoints.keep == "best")
    if best and validation is None:
        raise ValueError("fit: patience and keep='best' need validation images")


def check_parts(
    model: Layer,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    loader: DataLoader | DeviceLoader,
    validation: Validation | None,
    schedule: Schedule | None = None,
) -> None:
    """Raise a ValueError if the parts of a run do not fit each other."""
    if getattr(schedule, "optimizer", optimizer) is not optimizer:
        raise ValueError("fit: the schedule sets the rate of another optimizer; make one of this")
    if loss.reduction == "none":
        raise ValueError("fit: the loss needs reduction='mean' or 'sum', one number per batch")
    own = {id(p) for p in model.parameters()}
    updated = [p for flat in optimizer.flats for p in flat.parameters]
    trained = [p for p in updated if getattr(p, "requires_grad", True)]
    if updated and not trained:
        raise ValueError("fit: every parameter of the optimizer is frozen (requires_grad=False)")
    if not any(id(p) in own for p in updated):
        raise ValueError(
            "fit: the optimizer has no parameter of this model: make it with model.parameters()"
        )
    known = set(map(id, updated))
    left = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    others = [p for p in updated if id(p) not in own]
    if left and others:
        warnings.warn(
            f"fit: the optimizer does not train {left[0]} of the model, but {others[0]}, which is "
            "not the model's: was a layer replaced since? make the optimizer anew",
            stacklevel=4,
        )
    check_labels(
        *(model, loader.images, loader.labels, "fit: label {} of training image {}"),
        ignored=loss.ignore_index,
    )
    if validation is not None:
        check_validation_labels(model, validation)
    _check_last_batch(model, loader)
    warn_of_plain_arrays(model)
    last = [layer for _, layer in leaves(model)][-1:]
    if last and isinstance(last[0], Softmax):
        warnings.warn(
            "fit: the model ends with a Softmax, and CrossEntropyLoss has one of its own, so it "
            "learns slowly: train the model without this layer",
            stacklevel=4,
        )


def check_validation_labels(model: Layer, validation: Validation) -> None:
    """Raise a TypeError or ValueError unless ``validation`` is images and a label for each."""
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError(f"fit: validation must be (images, labels), got {type(validation)}")
    images = images_of(validation[0], "fit: validation images")
    labels = labels_of(validation[1], "fit: validation labels")
    if len(images) != len(labels):
        raise ValueError(f"fit: got {len(images)} validation images but {len(labels)} labels")
    check_labels(model, images, labels, "fit: label {} of validation image {}")


def _check_last_batch(model: Layer, loader: DataLoader | DeviceLoader) -> None:
    """Refuse a batch that gives a batch norm one value per channel, whose variance is 0."""
    smallest = min(loader.sizes())
    if smallest > 1:
        return
    all_train = not model.training  # then ``fit`` switches every layer to training
    for layer, shape, _ in shapes_of(model, loader.images.shape[1:]):
        norm = isinstance(layer, (BatchNorm1d, BatchNorm2d)) and (all_train or layer.training)
        if norm and prod(shape[2:]) == 1:
            raise ValueError(
                f"fit: a batch has 1 image, but {layer!r} needs more than one value per channel "
                f"to train: {len(loader.images)} images in batches of {loader.batch_size}; "
                "pass drop_last=True to the loader, or another batch_size"
            )


def _check_validation(
    model: Layer, loader: Any, validation: Validation, transform: Transform | None
) -> None:
    """Raise a ValueError if the validation images do not become what the model takes."""
    images = np.asarray(validation[0])
    try:
        shape = floats(transform, images[:1]).shape[1:]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"fit: the validation images ({images.dtype} {images.shape}) can't be preprocessed: "
            f"{error}; pass validation_transform=, or images like those of the loader "
            f"({loader.images.dtype} {loader.images.shape})"
        ) from error
    plain = loader.images.shape[1:] == images.shape[1:]
    if not plain and shapes_of(model, loader.images.shape[1:]) and not shapes_of(model, shape):
        raise ValueError(
            f"fit: the model takes the training images {loader.images.shape}, but not the "
            f"validation images {images.shape}"
        )
    if loader.transform is None and transform is None:
        _warn_of_another_range(loader.images, images)


def _warn_of_another_range(training: np.ndarray, validation: np.ndarray) -> None:
    """Warn of bytes, which become 0 ... 1, beside floats of another range."""
    if (training.dtype == np.uint8) == (validation.dtype == np.uint8):
        return
    which, others = ["training", "validation"], validation
    if validation.dtype == np.uint8:
        which, others = which[::-1], training
    low, high = float(others.min()), float(others.max())
    if low < 0 or high > 1:
        warnings.warn(
            f"fit: the {which[0]} images are uint8, which the model sees divided by 255, but the "
            f"{which[1]} images are {others.dtype} from {low:g} to {high:g}: make them alike",
            stacklevel=6,
        )


def preprocessing_of(
    model: Layer, loader: Any, validation: Validation | None, given: Transform | None
) -> Transform | None:
    """Return what images get before the model when they are evaluated.

    Raises
    ------
    ValueError
        For validation images that do not fit the model, or a transform without ``random``.
    """
    if validation is None:
        return preprocessing(loader.transform) if given is None else given
    if given is None:
        try:
            given = without_randomness(loader.transform)
        except ValueError as error:
            raise ValueError(f"fit: {error}") from None
    _check_validation(model, loader, validation, given)
    return given


def pictures_of(model: Layer, loader: Any) -> Pictures | None:
    """Return how the images of a model were made: as it says, otherwise as far as is certain.

    Digits in MNIST's form are known by it. Images in colour, or dark on light, can't have been
    brought into that form; of other images None says nothing.
    """
    images = loader.images
    if model.pictures is not None or images.dtype != np.uint8 or images.ndim not in (3, 4):
        known: Pictures | None = model.pictures
        return known
    found = Pictures.of(images)
    return found if found.kind == "digit" or found.polarity != LIGHT else None
