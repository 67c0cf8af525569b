"""MNIST: find its files, or download them, and return checked arrays.

Files of the user's own are checked for their structure only, so that data sets of the same form
work too; a download must be MNIST byte for byte.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .idx import MissingDataError
from .idx_set import Fetching, IdxSet, read_labelled
from .known import KnownFile

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
    ``MNIST/raw`` below it, where torchvision keeps its copy; both splits come from one folder.
    Files may be plain or end in ``.gz``, be named ``train-images.idx3-ubyte``, and lie in a folder
    of their name.

    Missing files are downloaded into this place, and a line on standard error says so. A named
    folder is never replaced by another one, and never mixed: one that holds other things is
    refused, and so is one with files that aren't MNIST's beside the missing ones.

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
    fetching = Fetching(download, mirrors, timeout, progress)
    images, labels = mnist_set().paths(split, root, fetching)
    return read_labelled(images, labels)


def find_mnist(root: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the folder in which ``load_mnist`` finds all four files, or None."""
    mnist = mnist_set()
    try:
        found = [path for split in _FILES for path in mnist.find(split, root)]
    except MissingDataError:
        return None
    return mnist.folder(root) if len(found) == 4 else None


def mnist_folder(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the files that ``load_mnist`` reads, or downloads to."""
    return mnist_set().folder(root)


def mnist_set() -> IdxSet:
    """Return MNIST's files, where they are looked for, and its mirrors."""
    files = {split: tuple(KnownFile(*row) for row in rows) for split, rows in _FILES.items()}
    return IdxSet("MNIST", "", "MNIST/raw", files, _MIRRORS, at_base=True)
