"""EMNIST: handwritten letters and digits in six selections, turned upright.

All are in one archive of 560 MB, by its SHA-256 as TensorFlow Datasets publishes it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .idx import DataError, find_idx
from .idx_set import Fetching, IdxSet, Labelled, read_labelled
from .known import KnownFile

_DIGITS, _UPPER, _LOWER = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_BOTH_CASES = tuple(_DIGITS + _UPPER + _LOWER)
_MERGED = tuple(_DIGITS + _UPPER + "abdefghnqrt")  # the others look alike

EMNIST_CLASSES = {
    "byclass": _BOTH_CASES,
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": tuple(_UPPER),
    "digits": tuple(_DIGITS),
    "mnist": tuple(_DIGITS),
}
"""The classes of each split, in the order of their labels."""

PARTS = ("train", "test")

_ARCHIVE = KnownFile(
    "gzip.zip",
    561_753_746,
    "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
    archive=True,
)
_MIRRORS = (
    "https://biometrics.nist.gov/cs_links/EMNIST/",
    "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
)
_MAX_MEMBER_BYTES = 1 << 30  # of a file in the archive: the largest has 180 MB
_CHUNK = 1 << 18


def load_emnist(
    split: str,
    root: str | os.PathLike[str] | None = None,
    part: str = "train",
    download: bool = True,
    *,
    mirrors: Sequence[str] | None = None,
    timeout: float = 10.0,
    progress: bool = True,
) -> Labelled:
    """Read a selection of EMNIST, its images turned upright like MNIST's.

    Looked for in `root` or ``EMNIST/raw`` below it, otherwise below ``NPLENET_DATA`` or the cache,
    as the files ``emnist-<split>-train-images-idx3-ubyte`` and so on (plain or .gz), or in the
    archive ``gzip.zip`` as NIST publishes it. A download is this archive, of 560 MB, and must have
    its SHA-256; of files that are there already only the structure is checked. A mirror in
    ``NPLENET_MIRRORS`` has it in its folder ``emnist``.

    In the files rows and columns are exchanged; here they are not.

    Parameters
    ----------
    split
        "letters" (26 classes, upper and lower case together), "balanced" (47: where upper and lower
        case look alike they are one class), "bymerge" (these, unbalanced), "byclass" (62),
        "digits" or "mnist" (10).
    part
        "train" or "test".
    root, download, mirrors, timeout, progress
        As in ``load_mnist``.

    Returns
    -------
    images : numpy.ndarray
        uint8 (N, 28, 28), white ink (255) on black (0).
    labels : numpy.ndarray
        uint8 (N,), from 0: ``EMNIST_CLASSES[split][label]`` is the character. (The file of the
        letters counts them from 1.)

    Raises
    ------
    ValueError
        When ``split`` or ``part`` is not one of these.
    MissingDataError, DataError
        As ``load_mnist``.

    References
    ----------
    G. Cohen, S. Afshar, J. Tapson, A. van Schaik, EMNIST: an extension of MNIST to handwritten
    letters, arXiv:1702.05373, 2017.
    """
    if split not in EMNIST_CLASSES:
        raise ValueError(f"load_emnist: split must be one of {list(EMNIST_CLASSES)}, got {split!r}")
    if part not in PARTS:
        raise ValueError(f"load_emnist: part must be one of {list(PARTS)}, got {part!r}")
    names = [f"emnist-{split}-{part}-{kind}" for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    folder = emnist_set(split).folder(root)
    paths = [find_idx(folder, name) for name in names]
    if all(paths):
        return _upright(split, *(path for path in paths if path is not None))
    fetching = Fetching(download, mirrors, timeout, progress)
    (archive,) = _complete(split, folder, paths, names).paths("all", root, fetching)
    with tempfile.TemporaryDirectory() as unpacked:
        return _upright(split, *(_unpack(archive, name, Path(unpacked)) for name in names))


def emnist_set(split: str) -> IdxSet:
    """Return the archive, and the names of its files of a split, as a data set that is found."""
    kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
    names = [f"emnist-{split}-{part}-{kind}" for part in PARTS for kind in kinds]
    files = {"all": (_ARCHIVE,), "unpacked": tuple(KnownFile(name, 0, "") for name in names)}
    return IdxSet("EMNIST", "emnist", "EMNIST/raw", files, _MIRRORS)


def _complete(
    split: str, folder: Path, paths: Sequence[Path | None], names: Sequence[str]
) -> IdxSet:
    """Return the archive alone as a data set; refuse a folder that has a part of the files."""
    whole = emnist_set(split)
    unpacked = [find_idx(folder, file.name) for file in whole.files["unpacked"]]
    found = [path for path in unpacked if path is not None]
    if found and find_idx(folder, _ARCHIVE.name) is None:
        missing = [name for name, path in zip(names, paths, strict=True) if path is None]
        raise DataError(
            f"{folder}: needs {' and '.join(missing)}, holds only {found[0].name}; add the files "
            f"there (plain or .gz), or {_ARCHIVE.name}"
        )
    return IdxSet(whole.title, whole.key, whole.below, {"all": (_ARCHIVE,)}, whole.mirrors)


def _upright(split: str, images_path: Path, labels_path: Path) -> Labelled:
    first = 1 if split == "letters" else 0
    images, labels = read_labelled(images_path, labels_path, len(EMNIST_CLASSES[split]), first)
    return np.ascontiguousarray(images.transpose(0, 2, 1)), labels


def _unpack(archive: Path, name: str, folder: Path) -> Path:
    """Write a file of the archive, which is packed by gzip within it, into a folder."""
    import zipfile  # which ``import nplenet`` need not wait for

    path = folder / f"{name}.gz"
    try:
        with zipfile.ZipFile(archive) as members:
            entry = members.getinfo(f"gzip/{name}.gz")
            if entry.file_size > _MAX_MEMBER_BYTES:
                raise DataError(f"{archive}: its {name}.gz has {entry.file_size:,} bytes")
            with members.open(entry) as member, open(path, "wb") as file:
                while chunk := member.read(_CHUNK):
                    file.write(chunk)
    except KeyError as error:
        raise DataError(
            f"{archive}: has no gzip/{name}.gz; is it the archive of EMNIST?"
        ) from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive}: is damaged ({error}); delete it and fetch it again") from error
    return path
