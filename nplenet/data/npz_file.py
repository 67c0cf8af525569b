"""Images and labels in the arrays of an ``.npz`` file, as Keras and MedMNIST give them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..files import NotRegularError, open_regular
from ..terminal import printable
from .idx import DataError
from .image_set import ImageSet, numbered

NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
"""The names of images and labels of a split: Keras', MedMNIST's."""

WHOLE_NAMES = (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels"), ("arr_0", "arr_1"))
"""Their names in a file without splits."""

_MAX_DEFLATE_RATIO = 1032


def from_npz(
    path: str | os.PathLike[str],
    split: str = "train",
    *,
    images: str | None = None,
    labels: str | None = None,
    max_bytes: int = 4 * 2**30,
) -> ImageSet:
    """Read images and labels from an ``.npz`` file of NumPy. No code in it is run.

    Parameters
    ----------
    path
        The file.
    split
        "train" or "test"; a file without splits has only "train".
    images, labels
        The names of the two arrays. None looks for the usual ones: ``x_train`` and ``y_train``,
        ``train_images`` and ``train_labels``, otherwise ``images`` and ``labels``, ``x`` and ``y``,
        ``data`` and ``labels``, ``arr_0`` and ``arr_1``.
    max_bytes
        Most memory an array may take.

    Returns
    -------
    ImageSet
        images uint8 (N, C, H, W): channels on the last axis are moved, grey images get theirs.
        labels int64 (N,). classes: the names "0" to the largest label.

    Raises
    ------
    ValueError
        When ``split`` is not one of these.
    DataError
        When the file or an array is missing, damaged, or not what is expected; the message names
        file and array.
    """
    path = Path(path)
    if split not in NAMES:
        raise ValueError(f"from_npz: split must be one of {list(NAMES)}, got {split!r}")
    arrays = Arrays(path)
    usual = _usual(arrays, split) if images is None or labels is None else ("", "")
    image_name, label_name = images or usual[0], labels or usual[1]
    found = _images(arrays.read(image_name, max_bytes), f"{path}: {image_name}")
    given = _labels(arrays.read(label_name, max_bytes), f"{path}: {label_name}")
    if len(found) != len(given):
        raise DataError(
            f"{path}: {image_name} holds {len(found):,} images, but {label_name} {len(given):,} "
            "labels"
        )
    return numbered(found, given, f"{path}: {label_name}")


def has_test_split(path: Path) -> bool:
    """Say whether a file has the arrays of a test split."""
    names = Arrays(path).names
    return any(set(pair) <= set(names) for pair in NAMES["test"])


def arrays_beside_splits(path: Path) -> set[str]:
    """Return the names of the arrays in a file that are of neither split."""
    return set(Arrays(path).names) - {name for pairs in NAMES.values() for name in sum(pairs, ())}


class Arrays:
    """The arrays in an ``.npz`` file; each is checked before memory is taken for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as archive:
            self._entries = {name.removesuffix(".npy"): name for name in archive.namelist()}
        self.names = list(self._entries)

    def read(self, name: str, max_bytes: int) -> npt.NDArray[Any]:
        """Return the array of a name."""
        if name not in self.names:
            raise DataError(f"{self.path}: has no array {name!r}; it has {_some(self.names)}")
        where = f"{self.path}: {name}"
        with self._opened() as archive:
            entry = archive.getinfo(self._entries[name])
            if entry.file_size > max_bytes:
                raise DataError(
                    f"{where} has {entry.file_size:,} bytes, the limit is {max_bytes:,}"
                )
            if entry.file_size > _MAX_DEFLATE_RATIO * max(1, entry.compress_size):
                raise DataError(f"{where} announces more bytes than it has")
            with archive.open(entry) as member:
                self._check_header(member, entry.file_size, where)
            with archive.open(entry) as member:
                array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
                return array

    @staticmethod
    def _check_header(member: Any, size: int, where: str) -> None:
        version = np.lib.format.read_magic(member)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise DataError(f"{where} is in version {version} of the format; expected 1 or 2")
        shape, _, dtype = read(member)
        if dtype.hasobject:
            raise DataError(f"{where} holds Python objects, not numbers")
        if math.prod(shape) * dtype.itemsize > size:
            raise DataError(f"{where} is cut short: its shape is {shape}")

    def _opened(self) -> _Archive:
        return _Archive(self.path)


class _Archive:
    """A zip archive in a ``with``; every failure is a DataError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        import zipfile  # which ``import nplenet`` need not wait for

        self._file: Any = None
        try:
            self._file = open_regular(self.path)
            return zipfile.ZipFile(self._file)
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: no such file; check the path") from error
        except NotRegularError as error:
            raise DataError(f"{error}; give the path of an .npz file") from error
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror or error})") from error
        except zipfile.BadZipFile as error:
            self._file.close()
            raise DataError(f"{self.path}: is not an .npz file, or damaged ({error})") from error

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._file.close()
        if isinstance(error, Exception) and not isinstance(error, (DataError, MemoryError)):
            # On damage the decoders and NumPy's reader of headers raise errors of any type.
            reason = str(error) or type(error).__name__
            raise DataError(f"{self.path}: is damaged ({reason})") from error


def _usual(arrays: Arrays, split: str) -> tuple[str, str]:
    pairs = NAMES[split] + (WHOLE_NAMES if split == "train" else ())
    for pair in pairs:
        if set(pair) <= set(arrays.names):
            return pair
    expected = ", ".join("/".join(pair) for pair in pairs)
    raise DataError(
        f"{arrays.path}: has the arrays {_some(arrays.names)}; expected images and labels named "
        f"{expected}, or say images= and labels="
    )


def _images(array: npt.NDArray[Any], where: str) -> npt.NDArray[np.uint8]:
    """Return images as uint8 (N, C, H, W)."""
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = np.moveaxis(array, 3, 1)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or not array.size:
        raise DataError(
            f"{where} has shape {array.shape}; expected images (N, H, W), (N, C, H, W) or "
            "(N, H, W, C) with C of 1 or 3"
        )
    if array.dtype.kind not in "iu":
        hint = "; multiply pixels of 0 to 1 by 255 and save them as uint8"
        raise DataError(f"{where} holds {array.dtype}, expected integers of 0 to 255{hint}")
    if array.dtype != np.uint8 and (array.min() < 0 or array.max() > 255):
        raise DataError(f"{where} holds {array.min()} to {array.max()}, expected 0 to 255")
    return np.ascontiguousarray(array, np.uint8)


def _labels(array: npt.NDArray[Any], where: str) -> npt.NDArray[np.integer[Any]]:
    """Return labels (N,), of a table with one column too."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        raise DataError(f"{where} has shape {array.shape}; of one-hot labels save argmax(axis=1)")
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise DataError(f"{where} is {array.dtype} of shape {array.shape}; expected integers (N,)")
    return array


def _some(names: list[str]) -> str:
    shown = ", ".join(printable(name, 40) for name in names[:8])
    return (shown or "none") + (", ..." if len(names) > 8 else "")
