"""The data sets made in MNIST's form: Fashion-MNIST, Kuzushiji-MNIST, QMNIST.

The digests of Fashion-MNIST and Kuzushiji-MNIST are SHA-256 of the archives, as TensorFlow Datasets
publishes them; QMNIST's are MD5, which find damage but not forgery, as torchvision publishes them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from . import mnist
from .idx import DataError
from .idx_set import Fetching, IdxSet, Labelled, read_labelled
from .known import KnownFile, difference

FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
KMNIST_CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

_IMAGES, _LABELS = "-images-idx3-ubyte", "-labels-idx1-ubyte"

FASHION = IdxSet(
    "Fashion-MNIST",
    "fashion",
    "FashionMNIST/raw",
    {
        "train": (
            KnownFile(
                f"train{_IMAGES}",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                archive=True,
            ),
            KnownFile(
                f"train{_LABELS}",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                archive=True,
            ),
        ),
        "test": (
            KnownFile(
                f"t10k{_IMAGES}",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                archive=True,
            ),
            KnownFile(
                f"t10k{_LABELS}",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                archive=True,
            ),
        ),
    },
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
)

KMNIST = IdxSet(
    "Kuzushiji-MNIST",
    "kmnist",
    "KMNIST/raw",
    {
        "train": (
            KnownFile(
                f"train{_IMAGES}",
                18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
                archive=True,
            ),
            KnownFile(
                f"train{_LABELS}",
                29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
                archive=True,
            ),
        ),
        "test": (
            KnownFile(
                f"t10k{_IMAGES}",
                3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
                archive=True,
            ),
            KnownFile(
                f"t10k{_LABELS}",
                5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
                archive=True,
            ),
        ),
    },
    ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
)

_MOST = 48_000_000  # bytes of 60,000 images, packed or not: the archives' sizes are not published

QMNIST = IdxSet(
    "QMNIST",
    "qmnist",
    "QMNIST/raw",
    {
        "train": (
            KnownFile(
                "qmnist-train-images-idx3-ubyte",
                _MOST,
                "ed72d4157d28c017586c42bc6afe6370",
                archive=True,
            ),
            KnownFile(
                "qmnist-train-labels-idx2-int",
                _MOST,
                "0058f8dd561b90ffdd0f734c6a30e5e4",
                archive=True,
            ),
        ),
        "test": (
            KnownFile(
                "qmnist-test-images-idx3-ubyte",
                _MOST,
                "1394631089c404de565df7b7aeaf9412",
                archive=True,
            ),
            KnownFile(
                "qmnist-test-labels-idx2-int",
                _MOST,
                "5b5b05890a5e13444e108efe57b788aa",
                archive=True,
            ),
        ),
    },
    ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
    at_base=True,
)


def load_fashion_mnist(
    root: str | os.PathLike[str] | None = None,
    split: str = "train",
    download: bool = True,
    *,
    mirrors: Sequence[str] | None = None,
    timeout: float = 10.0,
    progress: bool = True,
) -> Labelled:
    """Read Fashion-MNIST: photographs of clothes in ten classes, in MNIST's form and size.

    As ``load_mnist``, but looked for in `root` or in ``FashionMNIST/raw`` below it; without `root`
    only in that folder below ``NPLENET_DATA`` or the cache, as the files have MNIST's names. Files
    of MNIST in `root` are refused. A download must be the published archive, by its SHA-256; of
    files that are there already only the structure is checked. A mirror in ``NPLENET_MIRRORS`` has
    the files in its folder ``fashion``.

    Returns
    -------
    images : numpy.ndarray
        uint8 (N, 28, 28); 60,000 for training, 10,000 for the test.
    labels : numpy.ndarray
        uint8 (N,), 0 to 9: see ``FASHION_CLASSES`` in this module.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017.
    """
    fetching = Fetching(download, mirrors, timeout, progress)
    return _load("load_fashion_mnist", FASHION, split, root, fetching)


def load_kmnist(
    root: str | os.PathLike[str] | None = None,
    split: str = "train",
    download: bool = True,
    *,
    mirrors: Sequence[str] | None = None,
    timeout: float = 10.0,
    progress: bool = True,
) -> Labelled:
    """Read Kuzushiji-MNIST: ten characters of cursive Japanese, in MNIST's form and size.

    As ``load_fashion_mnist``, in ``KMNIST/raw``; the folder on a mirror is ``kmnist``.

    Returns
    -------
    images : numpy.ndarray
        uint8 (N, 28, 28); 60,000 for training, 10,000 for the test.
    labels : numpy.ndarray
        uint8 (N,), 0 to 9: see ``KMNIST_CLASSES`` in this module.

    References
    ----------
    T. Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv:1812.01718, 2018.
    """
    fetching = Fetching(download, mirrors, timeout, progress)
    return _load("load_kmnist", KMNIST, split, root, fetching)


def load_qmnist(
    root: str | os.PathLike[str] | None = None,
    split: str = "train",
    download: bool = True,
    *,
    mirrors: Sequence[str] | None = None,
    timeout: float = 10.0,
    progress: bool = True,
) -> Labelled:
    """Read QMNIST: MNIST made again from NIST's scans, with all 60,000 test digits.

    As ``load_mnist``, in ``QMNIST/raw`` or the folder itself; the folder on a mirror is ``qmnist``.
    A download must be the published archive by its MD5, which finds damage but not forgery.

    Parameters
    ----------
    split
        "train" (60,000 images), "test" (60,000), or a part of the test images: "test10k", those of
        MNIST, or "test50k", the others.

    Returns
    -------
    images : numpy.ndarray
        uint8 (N, 28, 28).
    labels : numpy.ndarray
        uint8 (N,), 0 to 9; the first of the eight columns in the file, the others of which describe
        the writer.

    References
    ----------
    C. Yadav, L. Bottou, Cold Case: The Lost MNIST Digits, arXiv:1905.10498, 2019.
    """
    parts = {"test10k": slice(None, 10_000), "test50k": slice(10_000, None)}
    whole = "test" if split in parts else split
    fetching = Fetching(download, mirrors, timeout, progress)
    images, labels = _load("load_qmnist", QMNIST, whole, root, fetching, (*QMNIST.files, *parts))
    part = parts.get(split, slice(None))
    return images[part], labels[part]


def _load(
    function: str,
    data: IdxSet,
    split: str,
    root: str | os.PathLike[str] | None,
    fetching: Fetching,
    splits: Sequence[str] = ("train", "test"),
) -> Labelled:
    if split not in data.files:
        raise ValueError(f"{function}: split must be one of {list(splits)}, got {split!r}")
    images, labels = data.paths(split, root, fetching)
    _refuse_mnist(data, split, labels)
    return read_labelled(images, labels)


def _refuse_mnist(data: IdxSet, split: str, labels: Path) -> None:
    """Refuse MNIST's labels: the files of these data sets have the same names."""
    digits = mnist.mnist_set().files[split][1]
    if difference(labels, digits) is None:
        raise DataError(f"{labels}: is of MNIST, not of {data.title}; name another folder")
