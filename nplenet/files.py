"""Write a file completely or not at all: temporary name in the same folder, flush, rename."""

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], *, previous: str | os.PathLike[str] | None = None
) -> Iterator[BinaryIO]:
    """Open a binary file that appears under `path` only if the block ends without an error.

    Parameters
    ----------
    path
        Final name. An existing file is replaced in one step; readers see the old or the new one.
    previous
        A second name under which the existing file is kept. The file gets it before the new file
        replaces `path`, so at every moment one of the two names has a complete file.

    Yields
    ------
    BinaryIO
        The file under its temporary name (`.name`, such as ``.a.idx.4711-9f2c0d5e.nplenet.part``).

    Raises
    ------
    OSError
        When the folder cannot be written. Whatever the error, the temporary file is removed.
    """
    path = Path(path)
    # Not `tempfile`: only the owner may read its files, and a cache may be shared.
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # otherwise a power cut may leave the new name on an empty file
        if previous is not None and path.exists():
            _keep(path, Path(previous))
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path, names: str) -> None:
    """Remove what killed processes left of files that they were writing into `folder`.

    Only files with a temporary name of this module are removed. The caller must know that no other
    process is writing these files: hold their lock.

    Parameters
    ----------
    folder
        An existing folder.
    names
        Regular expression of the final names.
    """
    pattern = re.compile(rf"\.({names})\.[0-9]+-[0-9a-f]{{8}}\.nplenet\.part")
    for path in folder.iterdir():
        if pattern.fullmatch(path.name):
            with suppress(OSError):  # of another user, say: it only takes space
                if stat.S_ISREG(path.lstat().st_mode):
                    path.unlink()


def _temporary(path: Path) -> Path:
    """Return a hidden name beside `path` that no other process and no other program uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.nplenet.part")


def _keep(path: Path, previous: Path) -> None:
    """Give the file at `path` the second name `previous`; without hard links, rename it.

    A new hard link can't replace a file, so it is made under a temporary name and renamed.
    """
    link = _temporary(previous)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        os.replace(path, previous)
        return
    try:
        os.replace(link, previous)
    finally:
        link.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can open a folder."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse; the file is written anyway
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
