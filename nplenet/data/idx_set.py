"""A data set in IDX files, such as MNIST: find its files, or download them; read and check them.

All splits come from one folder, and no folder is ever completed with files of another data set.
Files of the user's own are checked for their structure only, so that data sets of the same form
work too; a download must be the published file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..files import expanded, user_cache
from ..terminal import printable
from .idx import DataError, MissingDataError, find_idx, read_idx
from .known import KnownFile

Labelled = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]

_SHOWN_NAMES = 5  # of what lies in a folder, in the message of an error


@dataclass(frozen=True)
class Fetching:
    """The options of a download, as ``load_mnist`` explains them."""

    download: bool = True
    mirrors: Sequence[str] | None = None
    timeout: float = 10.0
    progress: bool = True


@dataclass(frozen=True)
class IdxSet:
    """A data set of 28x28 grey images.

    Attributes
    ----------
    title : str
        Its name in messages.
    key : str
        The folder of the data set on a mirror that ``NPLENET_MIRRORS`` names; "" for the mirror
        itself.
    below : str
        Where torchvision keeps it below its root: ``FashionMNIST/raw``.
    files : mapping of str to (KnownFile, KnownFile)
        Images and labels of each split.
    mirrors : tuple of str
    at_base : bool
        Whether it may lie in ``NPLENET_DATA`` or the cache folder itself, which are MNIST's;
        otherwise it lies below them only, because data sets share the names of their files.
    """

    title: str
    key: str
    below: str
    files: Mapping[str, Sequence[KnownFile]]
    mirrors: tuple[str, ...]
    at_base: bool = False

    def all_files(self) -> list[KnownFile]:
        return [file for files in self.files.values() for file in files]

    def folders(self, root: str | os.PathLike[str] | None) -> list[Path]:
        """Return the folders in which the files are looked for; the first is downloaded to."""
        named = _named(root)
        base = expanded(named) if named else user_cache()
        if base is None:
            raise MissingDataError(
                f"this user has no home folder for {self.title}: name a folder with root=... or "
                "the environment variable NPLENET_DATA"
            )
        below = base / self.below
        return [base, below] if self.at_base or root is not None else [below]

    def folder(self, root: str | os.PathLike[str] | None) -> Path:
        """Return the folder that holds a file of any split, otherwise the one to download to."""
        folders = self.folders(root)
        for folder in folders:
            if any(find_idx(folder, file.name) for file in self.all_files()):
                return folder
        return folders[0]

    def find(self, split: str, root: str | os.PathLike[str] | None) -> list[Path]:
        """Return those paths of a split's files that exist."""
        folder = self.folder(root)
        found = (find_idx(folder, file.name) for file in self.files[split])
        return [path for path in found if path is not None]

    def paths(
        self, split: str, root: str | os.PathLike[str] | None, fetching: Fetching
    ) -> list[Path]:
        """Return the paths of a split's images and labels, downloaded if they are missing.

        Raises
        ------
        MissingDataError
            When they are missing and cannot be downloaded.
        DataError
            When files of another data set lie where files are missing.
        """
        found = self.find(split, root)
        if len(found) == len(self.files[split]):
            return found
        folder = self.folder(root)
        self._check_fillable(split, folder, root, found, fetching.download)
        from .fetch import fetch_missing  # 100 ms of network modules

        return fetch_missing(
            self.files[split],
            folder,
            self._mirrors(fetching.mirrors),
            timeout=fetching.timeout,
            progress=fetching.progress,
            beside=[file for file in self.all_files() if file not in self.files[split]],
        )

    def _mirrors(self, mirrors: Sequence[str] | None) -> Sequence[str]:
        if mirrors is not None:
            return mirrors
        own = os.environ.get("NPLENET_MIRRORS", "").split()
        return [f"{mirror.rstrip('/')}/{self.key}" for mirror in own] or self.mirrors

    def _check_fillable(
        self,
        split: str,
        folder: Path,
        root: str | os.PathLike[str] | None,
        found: list[Path],
        download: bool,
    ) -> None:
        """Refuse to download if it isn't allowed, or into a named folder full of other things."""
        names = " and ".join(file.name for file in self.files[split])
        remedy = "add the files there (plain or .gz), name another folder, or allow download"
        others = [find_idx(folder, file.name) for file in self.all_files()]
        own = found or [path for path in others if path is not None]
        if not download and own:
            raise MissingDataError(f"{folder}: needs {names}, holds only {own[0].name}; {remedy}")
        where = f"{names} are not in {folder}"
        if len(folders := self.folders(root)) > 1:
            where += f", nor in {self.below} below it"
        if not download:
            raise MissingDataError(f"{where}; {remedy}")
        # nplenet keeps other things in its own cache folder, which nobody named.
        things = _visible(folders[0]) if _named(root) and not own else []
        if things:
            shown = ", ".join(printable(name, 60) for name in things[:_SHOWN_NAMES])
            raise MissingDataError(
                f"{where}, which holds {shown}{', ...' * (len(things) > _SHOWN_NAMES)}: "
                f"add the files of {self.title} there, or name a new or empty folder to download "
                "them to"
            )


def read_labelled(
    images_path: Path, labels_path: Path, classes: int = 10, first_class: int = 0
) -> Labelled:
    """Read images (N, 28, 28) and their labels, and check that they belong together.

    Labels may be uint8 (N,), or int32 (N, 8) as in QMNIST, where the class is the first column.
    Labels from ``first_class`` on are returned from 0 on.
    """
    images = read_idx(images_path, dtype=np.uint8, shape=(None, 28, 28))
    stored: npt.NDArray[Any]
    if labels_path.name.removesuffix(".gz").endswith("-int"):
        stored = read_idx(labels_path, dtype=np.int32, shape=(None, 8))[:, 0]
    else:
        stored = read_idx(labels_path, dtype=np.uint8, shape=(None,))
    if len(images) != len(stored):
        raise DataError(
            f"{images_path}: holds {len(images):,} images, but {labels_path} holds "
            f"{len(stored):,} labels; put both files of one data set there"
        )
    last = first_class + classes - 1
    wrong = (stored > last) | (stored < first_class)
    if wrong.any():
        index = int(np.argmax(wrong))
        number = "ten" if classes == 10 else str(classes)
        raise DataError(
            f"{labels_path}: label {index} is {stored[index]}, expected {first_class} to {last}; "
            f"is it the labels file of a data set with {number} classes?"
        )
    return images, (stored - first_class).astype(np.uint8)


def _named(root: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """Return the folder that the caller or ``NPLENET_DATA`` names, if one of them does."""
    return os.environ.get("NPLENET_DATA") if root is None else root


def _visible(folder: Path) -> list[str]:
    """Return the names in a folder, without hidden ones, such as the lock of a download."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:  # a missing or unreadable folder: writing into it says why
        return []
