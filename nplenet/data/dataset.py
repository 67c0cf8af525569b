"""A data set ready for LeNet-5: training and test images of 32x32 with their labels."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .digits import load_digits
from .idx import MissingDataError
from .mnist import load_mnist, mnist_folder
from .pad import pad_images

DATASETS = ("auto", "mnist", "digits")

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Dataset:
    """Images at rest.

    Attributes
    ----------
    name : {"mnist", "digits"}
    train_images, test_images : uint8 (N, 1, 32, 32)
    train_labels, test_labels : uint8 (N,)
    notice : str
        One line that says why the data set is not MNIST, or "".
    source : str
        Where the images come from: a folder, or "the package nplenet" for the bundled digits.
    """

    name: str
    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.uint8]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.uint8]
    notice: str = ""
    source: str = ""

    def limited(self, count: int) -> Dataset:
        """Return the first ``count`` training and test images, for a short run."""
        return replace(
            self,
            train_images=self.train_images[:count],
            train_labels=self.train_labels[:count],
            test_images=self.test_images[:count],
            test_labels=self.test_labels[:count],
        )


def load_dataset(
    name: str = "auto", root: str | os.PathLike[str] | None = None, download: bool = True
) -> Dataset:
    """Load MNIST, the bundled digits, or the first of the two that is available.

    Parameters
    ----------
    name : {"auto", "mnist", "digits"}
    root, download
        Folder of MNIST, and whether to download it: see ``load_mnist``.

    Raises
    ------
    MissingDataError
        When MNIST can be neither found nor downloaded, and ``name`` is "mnist" or ``root`` is
        given: the digits never replace what was asked for.
    DataError
        When MNIST is found but damaged: the digits never replace damaged files.
    """
    if name not in DATASETS:
        raise ValueError(f"load_dataset: name must be one of {DATASETS}, got {name!r}")
    if name == "digits":
        return _digits()
    try:
        train, test = (_padded(*load_mnist(root, split, download)) for split in ("train", "test"))
    except MissingDataError as error:
        if name == "mnist" or root is not None:
            raise
        reason = "; ".join(line.strip().rstrip(":") for line in str(error).splitlines())
        return _digits(f"MNIST is not available; using the bundled digits instead: {reason}")
    return Dataset("mnist", *train, *test, source=str(mnist_folder(root)))


def _digits(notice: str = "") -> Dataset:
    train, test = (_padded(*load_digits(split)) for split in ("train", "test"))
    return Dataset("digits", *train, *test, notice, source="the package nplenet")


def _padded(images: Images, labels: Images) -> tuple[Images, Images]:
    """Pad the images of one split; only then the next one is read, so memory is at most twice."""
    return pad_images(images), labels
