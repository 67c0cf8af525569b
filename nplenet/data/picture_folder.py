"""Images in one folder per class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import checks
from ..augment import grayscale
from ..checks import Pair
from ..files import expanded
from ..terminal import printable
from .idx import DataError
from .image_set import MAX_CLASSES, ImageSet
from .pad import pad_images
from .picture_file import read_colours

# What Windows and macOS put beside images, besides hidden files.
_OF_SYSTEMS = ("thumbs.db", "desktop.ini", "__macosx", "icon\r")
_OF_IMAGES = (
    *("", ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib"),
    *(".gif", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif"),
)
"""Endings that promise an image: such a file is never passed over."""


def from_folder(
    folder: str | os.PathLike[str],
    *,
    size: int | Pair = 32,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
) -> ImageSet:
    """Read the images in ``folder/<class>/<any name>``, such as PNG, one folder per class.

    Parameters
    ----------
    folder
        Its folders are the classes, in alphabetic order; folders named by numbers in the order of
        the numbers. Files beside the folders and hidden names are passed over, and so is, with a
        warning, a file in them that is not an image and does not have the name of one.
    size
        Height and width of the result. A larger image is shrunk to exactly this size, and a smaller
        one is centred on black like MNIST's.
    channels
        1 converts to grey, 3 to colour; None takes 1 if all images are grey.
    classes
        The names of the classes in their order, such as those of a training set; None takes the
        folders.

    Returns
    -------
    ImageSet
        images uint8 (N, C, H, W), in the order of their classes and names; labels int64 (N,);
        classes, the names of the folders.

    Raises
    ------
    DataError
        For a missing folder, a folder without classes, a class without images, or a file with the
        name of an image that can't be read as one; the message names it.
    ImportError
        When Pillow is not installed.

    Warns
    -----
    UserWarning
        When files were passed over.
    """
    folder, shape = expanded(folder), checks.pair(size, "from_folder: size", 1)
    if channels not in (None, 1, 3):
        raise ValueError(f"from_folder: channels must be 1, 3 or None, got {channels!r}")
    names = tuple(_classes(folder))
    if classes is not None:
        unknown = [name for name in names if name not in classes]
        if unknown:
            raise DataError(
                f"{folder}: has the folder {printable(repr(unknown[0]), 60)}, which is none of the "
                f"{len(classes)} classes"
            )
        names = tuple(classes)
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    strays: list[Path] = []
    for label, name in enumerate(names):
        if not (folder / name).is_dir():
            continue
        found = _images(folder / name, shape, strays)
        images += found
        labels += [label] * len(found)
    if strays:
        warnings.warn(
            f"{folder}: passed over {len(strays)} files that are not images, such as "
            f"{printable(strays[0].relative_to(folder))}",
            stacklevel=2,
        )
    return ImageSet(_in_channels(np.stack(images), channels), np.array(labels), names)


def class_folders(folder: Path) -> list[str]:
    """Return the names of the visible folders in a folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir() and _visible(entry.name)]
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no such folder; check the path") from error
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error


def _classes(folder: Path) -> list[str]:
    names = class_folders(folder)
    if not names:
        raise DataError(f"{folder}: has no folders; expected one folder of images per class")
    if len(names) > MAX_CLASSES:
        raise DataError(f"{folder}: has {len(names)} folders, expected at most {MAX_CLASSES}")
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name) if numbers else 0, name))


def _visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _OF_SYSTEMS


def _images(
    folder: Path, shape: tuple[int, int], strays: list[Path]
) -> list[npt.NDArray[np.uint8]]:
    """Return the images of a class (3, H, W); add the files that are not images to ``strays``."""
    images = []
    for path in _files(folder):
        try:
            images.append(pad_images(read_colours(path, shape)[None], shape)[0])
        except DataError:
            if path.suffix.lower() in _OF_IMAGES:
                raise
            strays.append(path)
    if not images:
        raise DataError(f"{folder}: has no images; add some, or remove the folder")
    return images


def _files(folder: Path) -> list[Path]:
    names = sorted(filter(_visible, os.listdir(folder)))
    for name in names:
        if (folder / name).is_dir():
            raise DataError(
                f"{folder / name}: is a folder within a class; images lie directly in the "
                "folder of their class"
            )
    return [folder / name for name in names]


def _in_channels(images: npt.NDArray[np.uint8], channels: int | None) -> npt.NDArray[np.uint8]:
    """Return colour images (N, 3, H, W) with the channels asked for."""
    if channels is None:
        grey = (images == images[:, :1]).all()
        return np.ascontiguousarray(images[:, :1]) if grey else images
    if channels == 3:
        return images
    one: npt.NDArray[np.uint8] = np.ascontiguousarray(grayscale(images)[:, :1])
    return one
