"""MNIST: find its files, or download them, and return checked arrays.

Files of the user's own are checked for their structure only, so that data sets of the same form
work too; a download must be MNIST byte for byte.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..files import expanded, user_cache
from .idx import DataError, MissingDataError, find_idx, read_idx

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# Images and labels of each split: name, bytes when unpacked, their SHA-256.
_FILES = {
    "train": (
        (
            "train-images-idx3-ubyte",
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        (
            "train-labels-idx1-ubyte",
            60_008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
    ),
    "test": (
        (
            "t10k-images-idx3-ubyte",
            7_840_016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        (
            "t10k-labels-idx1-ubyte",
            10_008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
}


def load_mnist(
    root: str | os.PathLike[str] | None = None,
    split: str = "train",
    download: bool = True,
    *,
    mirrors: Sequence[str] | None = None,
    timeout: float = 10.0,
    progress: bool = True,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read MNIST's images and labels, downloading them once if they are not found.

    They are looked for in one place: in `root`, otherwise in the folder that the environment
    variable ``NPLENET_DATA`` names, otherwise in the user's cache folder. There, or in
    ``MNIST/raw`` below it, where torchvision keeps its copy. Files may be plain or end in ``.gz``.
    Missing files are downloaded into this place: a folder that was named is never replaced by
    another one.

    Parameters
    ----------
    root
        Folder of the files.
    split
        "train" (60,000 images) or "test" (10,000).
    download
        Whether missing files may be downloaded.
    mirrors
        http or https addresses of folders to download from, in order. None reads them from the
        environment variable ``NPLENET_MIRRORS`` (separated by blanks), otherwise two public ones.
    timeout
        Seconds that a mirror may take to begin its answer, and may pause within it.
    progress
        Show a bar while downloading, if standard error is a terminal.

    Returns
    -------
    images : numpy.ndarray
        uint8 (N, 28, 28), white ink (255) on black (0).
    labels : numpy.ndarray
        uint8 (N,), 0 to 9.

    Raises
    ------
    ValueError
        When ``split`` is not one of these.
    MissingDataError
        When the files are missing and cannot be downloaded.
    DataError
        When they are damaged or do not belong together.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied to Document
    Recognition, Proceedings of the IEEE 86(11), 1998.
    """
    if split not in _FILES:
        raise ValueError(f"load_mnist: split must be one of {list(_FILES)}, got {split!r}")
    folder, paths = _locate(split, _place(root))
    if len(paths) < 2:
        if not download:
            raise MissingDataError(_describe_missing(split, folder, paths))
        paths = _fetch(split, folder, mirrors, timeout, progress)
    images_path, labels_path = paths
    images = read_idx(images_path, dtype=np.uint8, shape=(None, 28, 28))
    labels = read_idx(labels_path, dtype=np.uint8, shape=(None,))
    if len(images) != len(labels):
        raise DataError(
            f"{images_path}: holds {len(images):,} images, but {labels_path} holds "
            f"{len(labels):,} labels; put both files of one data set there"
        )
    if labels.max() > 9:
        index = int(np.argmax(labels > 9))
        raise DataError(
            f"{labels_path}: label {index} is {labels[index]}, expected 0 to 9; "
            "is it the labels file of a data set with ten classes?"
        )
    return images, labels


def find_mnist(root: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the folder in which ``load_mnist`` finds all four files, or None."""
    try:
        folder, paths = _locate("train", _place(root))
    except MissingDataError:
        return None
    found = len(paths) == 2 and len(_locate("test", folder)[1]) == 2
    return folder if found else None


def mnist_folder(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the training files that ``load_mnist`` reads, or downloads to."""
    return _locate("train", _place(root))[0]


def _place(root: str | os.PathLike[str] | None) -> Path:
    named = os.environ.get("NPLENET_DATA") if root is None else root
    if named:
        return expanded(named)
    if folder := user_cache():
        return folder
    raise MissingDataError(
        "this user has no home folder for MNIST: name a folder with root=... or the "
        "environment variable NPLENET_DATA"
    )


def _locate(split: str, place: Path) -> tuple[Path, list[Path]]:
    """Return the folder in ``place`` that holds a file of the split, with those files."""
    for folder in (place, place / "MNIST" / "raw"):
        found = [find_idx(folder, name) for name, _, _ in _FILES[split]]
        if any(found):
            return folder, [path for path in found if path is not None]
    return place, []


def _fetch(
    split: str, folder: Path, mirrors: Sequence[str] | None, timeout: float, progress: bool
) -> list[Path]:
    from .fetch import KnownFile, fetch_missing  # 100 ms of network modules

    if mirrors is None:
        mirrors = os.environ.get("NPLENET_MIRRORS", "").split() or _MIRRORS
    files = [KnownFile(*row) for row in _FILES[split]]
    return fetch_missing(files, folder, mirrors, timeout=timeout, progress=progress)


def _describe_missing(split: str, folder: Path, found: Sequence[Path]) -> str:
    names = " and ".join(name for name, _, _ in _FILES[split])
    remedy = "add the files there (plain or .gz), name another folder, or allow download"
    if found:
        return f"{folder}: needs {names}, holds only {found[0].name}; {remedy}"
    return f"{names} are not in {folder}, nor in MNIST/raw below it; {remedy}"
