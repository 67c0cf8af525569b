"""Data of the user's own, named in one word: ``csv:FILE``, ``npz:FILE``, ``folder:DIR``.

Without test images a tenth is held out, class by class, the same at each call. Images
are returned in an order drawn once, as files are often in the order of their classes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import expanded
from ..seeds import generator
from ..terminal import printable
from .csv_file import from_csv
from .idx import DataError
from .image_set import ImageSet
from .npz_file import arrays_beside_splits, from_npz, has_test_split
from .picture_folder import class_folders, from_folder
from .pictures import Pictures
from .split import train_validation_split

KINDS = ("csv", "npz", "folder")
FORMS = "csv:FILE, csv:DIR with train.csv and test.csv, npz:FILE, folder:DIR"
FEWEST = 5  # images, of which one is held out
TEST_FRACTION = 0.1

_SEED = 0  # of the images held out
_SPLITS = ("train", "test")


class Halves(NamedTuple):
    """Training and test images, where they come from, and how they were made of pictures."""

    train: ImageSet
    test: ImageSet
    source: str
    pictures: Pictures


def is_own(name: str) -> bool:
    """Say whether a name is of data of the user's own."""
    kind, colon, path = name.partition(":")
    return kind in KINDS and bool(colon and path)


def load_own(
    name: str, size: tuple[int, int], channels: int | None, classes: Sequence[str] | None = None
) -> Halves:
    """Read the training and the test images of ``csv:FILE``, ``npz:FILE`` or ``folder:DIR``.

    Parameters
    ----------
    name : str
    size : (int, int)
        Height and width of the images of ``folder:``; others keep theirs.
    channels : 1, 3 or None
        Of the images of ``folder:``.
    classes : sequence of str, optional
        Of ``folder:``, in the order of a model's; None takes the folders.
    """
    kind, _, given = name.partition(":")
    path = expanded(given)
    parts: list[ImageSet]
    if kind == "csv" and path.is_dir():
        parts = [from_csv(path / f"{split}.csv") for split in _SPLITS]
        _warn_of_others(path, {file.stem for file in path.glob("*.csv")} - {*_SPLITS})
    elif kind == "npz" and has_test_split(path):
        parts = [from_npz(path, split) for split in _SPLITS]
        _warn_of_others(path, arrays_beside_splits(path))
    elif kind == "folder" and set(_SPLITS) <= (folders := set(class_folders(path))):
        _warn_of_others(path, folders - {*_SPLITS})
        train = from_folder(path / "train", size=size, channels=channels, classes=classes)
        own = train.images.shape[1]
        test = from_folder(path / "test", size=size, channels=own, classes=train.classes)
        parts = [train, test]
    elif kind == "folder":
        every = from_folder(path, size=size, channels=channels, classes=classes)
        return _held_out(every, path, "whole")
    else:
        return _held_out(from_csv(path) if kind == "csv" else from_npz(path), path)
    train, test = map(_shuffled, parts)
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{path}: its training images are {train.images.shape[1:]}, its test images "
            f"{test.images.shape[1:]}"
        )
    classes = max(train.classes, test.classes, key=len)
    pictures = Pictures.of(train.images, classes, "whole" if kind == "folder" else None)
    train, test = train._replace(classes=classes), test._replace(classes=classes)
    return Halves(train, test, os.fspath(path), pictures)


def _warn_of_others(path: Path, others: set[str]) -> None:
    if others:
        warnings.warn(
            f"{path}: passed over {', '.join(map(printable, sorted(others)))}; the images are "
            "those of train and test, and --validation holds out some of train",
            stacklevel=3,
        )


def _held_out(every: ImageSet, path: Path, kind: str | None = None) -> Halves:
    count = len(every.labels)
    if count < FEWEST:
        raise DataError(f"{path}: has {count} images; at least {FEWEST} are needed")
    held_out = max(1, round(TEST_FRACTION * count))
    chosen, rest = train_validation_split(every.labels, held_out, generator(_SEED, "test"))
    order = np.concatenate([part[_random_order(len(part))] for part in (chosen, rest)])
    images, labels = _in_order(every.images, order), every.labels[order]
    cut = len(chosen)
    train = ImageSet(images[:cut], labels[:cut], every.classes)
    test = ImageSet(images[cut:], labels[cut:], every.classes)
    pictures = Pictures.of(train.images, every.classes, kind)
    return Halves(train, test, f"{path}, a tenth held out as test images", pictures)


def _shuffled(data: ImageSet) -> ImageSet:
    order = _random_order(len(data.labels))
    return ImageSet(_in_order(data.images, order), data.labels[order], data.classes)


def _random_order(count: int) -> np.ndarray:
    return generator(_SEED, "shuffle").permutation(count)


def _in_order(images: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return ``images[order]``, in the memory of ``images``: they are moved along the cycles."""
    images = np.require(images, requirements="W")
    moved = np.zeros(len(order), bool)
    for start in np.flatnonzero(order != np.arange(len(order))).tolist():
        if moved[start]:
            continue
        first, place = images[start].copy(), start
        while (source := int(order[place])) != start:
            images[place], moved[place] = images[source], True
            place = source
        images[place], moved[place] = first, True
    return images
