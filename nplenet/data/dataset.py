"""A data set ready for a network: training and test images of one size, with their labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import Pair, pair
from ..terminal import printable
from .digits import load_digits
from .emnist import EMNIST_CLASSES, PARTS, emnist_set, load_emnist
from .idx import DataError, MissingDataError
from .image_set import ImageSet
from .mnist import load_mnist, mnist_folder
from .mnist_like import (
    FASHION,
    FASHION_CLASSES,
    KMNIST,
    KMNIST_CLASSES,
    QMNIST,
    load_fashion_mnist,
    load_kmnist,
    load_qmnist,
)
from .own import FORMS, Halves, is_own, load_own
from .pad import pad_images
from .pictures import LIGHT, Pictures

SIDE = 32
"""The height and width of the images that LeNet-5 takes."""

_EMNIST = tuple(f"emnist-{split}" for split in EMNIST_CLASSES)

DATASETS = ("auto", "mnist", "digits", "fashion", "kmnist", "qmnist", *_EMNIST)
"""The names of ``load_dataset``, besides those of data of the user's own."""

_TEN = tuple("0123456789")
_PUBLIC_SIZE = (28, 28)  # of the images of all public data sets
_DIGITS = Pictures("digit", _PUBLIC_SIZE, LIGHT, _TEN)

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Dataset:
    """Images at rest.

    Attributes
    ----------
    name : str
        One of ``DATASETS`` except "auto", or the name of data of the user's own.
    train_images, test_images : uint8 (N, C, H, W)
    train_labels, test_labels : int (N,)
    notice : str
        One line that says why the data set is not MNIST, or "".
    source : str
        Where the images come from: a folder, or "the package nplenet" for the bundled digits.
    classes : tuple of str
        The names of the K classes, whose labels are 0 to K - 1.
    pictures : Pictures
        How pictures became these images: for a model, ``model.pictures``.
    """

    name: str
    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.integer[Any]]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.integer[Any]]
    notice: str = ""
    source: str = ""
    classes: tuple[str, ...] = _TEN
    pictures: Pictures = _DIGITS

    def limited(self, count: int) -> Dataset:
        """Return the first ``count`` training and test images, for a short run."""
        return replace(
            self,
            train_images=self.train_images[:count],
            train_labels=self.train_labels[:count],
            test_images=self.test_images[:count],
            test_labels=self.test_labels[:count],
        )


def check_dataset(value: Any, name: str) -> None:
    """Check the name of a data set: the form of this field in files."""
    right = isinstance(value, str) and len(value) < 4096
    if not (right and (value in DATASETS or is_own(value))):
        shown = printable(repr(value), 60)
        raise ValueError(f"{name} must be one of {', '.join(DATASETS)}, {FORMS}, got {shown}")


def load_dataset(
    name: str = "auto",
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    *,
    size: int | Pair = (SIDE, SIDE),
    channels: int | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Load a public data set, the bundled digits, or images of your own.

    Parameters
    ----------
    name : str
        One of ``DATASETS``; "auto" is MNIST if it is available, otherwise the bundled digits. For
        images of your own ``csv:FILE``, ``npz:FILE`` or ``folder:DIR``, which ``from_csv``,
        ``from_npz`` and ``from_folder`` read. Their test images are those of ``csv:DIR`` with
        ``train.csv`` and ``test.csv``, of an ``.npz`` file with a test split, and of ``folder:DIR``
        with the folders ``train`` and ``test``; otherwise a tenth is held out, class by class.
    root, download
        Folder of a public data set, and whether to download it: see ``load_mnist``.
    size : int or (height, width)
        Of the images: smaller ones are centred on black, those of ``folder:`` are
        shrunk to it if they are larger.
    channels : 1, 3 or None
        What the images of ``folder:`` are converted to: grey or colour.
    classes : sequence of str, optional
        The classes of ``folder:`` in the order of a model's labels; None takes the folders.

    Raises
    ------
    MissingDataError
        When the data set can be neither found nor downloaded, unless ``name`` is "auto" and
        ``root`` is not given: the digits never replace a folder that was named.
    DataError
        When it is found but damaged: the digits never replace damaged files.
    """
    check_dataset(name, "load_dataset: name")
    size = pair(size, "load_dataset: size", 1)
    if is_own(name):
        if root is not None:
            raise DataError(f"{name}: is read where its name says; omit the folder {root}")
        return _own(name, load_own(name, size, channels, classes), size)
    if name == "digits":
        return _digits(size)
    if name == "auto":
        try:
            return _public("mnist", root, download, size)
        except MissingDataError as error:
            if root is not None:
                raise
            reason = "; ".join(line.strip().rstrip(":") for line in str(error).splitlines())
            notice = f"MNIST is not available; using the bundled digits instead: {reason}"
            return replace(_digits(size), notice=notice)
    return _public(name, root, download, size)


def _public(
    name: str, root: str | os.PathLike[str] | None, download: bool, size: tuple[int, int]
) -> Dataset:
    loaders: dict[str, tuple[Callable[..., Any], Any, tuple[str, ...]]] = {
        "mnist": (load_mnist, mnist_folder, _TEN),
        "fashion": (load_fashion_mnist, FASHION.folder, FASHION_CLASSES),
        "kmnist": (load_kmnist, KMNIST.folder, KMNIST_CLASSES),
        "qmnist": (load_qmnist, QMNIST.folder, _TEN),
    }
    if name in loaders:
        load, folder, classes = loaders[name]
        train, test = (_padded(load(root, split, download), size) for split in ("train", "test"))
    else:
        split = name.removeprefix("emnist-")
        folder, classes = emnist_set(split).folder, EMNIST_CLASSES[split]
        train, test = (_padded(load_emnist(split, root, part, download), size) for part in PARTS)
    pictures = Pictures("whole" if name == "fashion" else "digit", _PUBLIC_SIZE, LIGHT, classes)
    return Dataset(
        name, *train, *test, source=str(folder(root)), classes=classes, pictures=pictures
    )


def _padded(split: tuple[Any, Any], size: tuple[int, int]) -> tuple[Images, Images]:
    """Pad the images of one split; only then the next one is read, so memory is at most twice."""
    return pad_images(split[0], size), split[1]


def _own(name: str, halves: Halves, size: tuple[int, int]) -> Dataset:
    def padded(part: ImageSet) -> npt.NDArray[np.uint8]:
        try:
            return pad_images(part.images, size)
        except ValueError as error:
            raise DataError(f"{halves.source}: {error}") from error

    train, test, source, pictures = halves
    images = padded(train), train.labels, padded(test), test.labels
    return Dataset(name, *images, source=source, classes=train.classes, pictures=pictures)


def _digits(size: tuple[int, int]) -> Dataset:
    train, test = load_digits("train"), load_digits("test")
    images = _fitted(train[0], size), train[1], _fitted(test[0], size), test[1]
    return Dataset("digits", *images, source="the package nplenet")


def _fitted(digits: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the bundled digits on a canvas of ``size``: without their black border if need be."""
    height, width = (min(have, want) for have, want in zip(digits.shape[1:], size, strict=True))
    top, left = (digits.shape[1] - height) // 2, (digits.shape[2] - width) // 2
    inner = digits[:, top : top + height, left : left + width]
    if inner.sum(dtype=np.int64) < digits.sum(dtype=np.int64):
        raise DataError(f"the bundled digits do not fit into {size[0]} x {size[1]} pixels")
    return pad_images(inner, size)
