"""Read regular files only; write a file completely or not at all.

A write goes to a temporary name in the same folder, is flushed, and renamed. A file of JSON is read
without trust: it may be a stranger's.
"""

import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


class NotRegularError(OSError):
    """A folder, pipe or device lies where a file was expected; the message names it."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read its bytes: each reader of files that others wrote uses this.

    Opening a pipe waits for its writer, without one for ever, and a device may be endless.

    Raises
    ------
    NotRegularError
        An OSError, for anything else, before it is opened.
    OSError
        When the file is missing or can't be opened.
    """
    _check_regular(path, os.stat(path).st_mode)
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  the caller closes it
    try:
        _check_regular(path, os.fstat(file.fileno()).st_mode)  # it may have been replaced since
    except BaseException:
        file.close()
        raise
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise NotRegularError(f"{os.fspath(path)}: is {kind}")


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], *, previous: str | os.PathLike[str] | None = None
) -> Iterator[BinaryIO]:
    """Open a binary file that appears under `path` only if the block ends without an error.

    Parameters
    ----------
    path
        Final name. An existing file is replaced in one step; readers see the old or the new one.
        Its permissions remain. A symbolic link is replaced, not followed: a folder may be a
        stranger's.
    previous
        A second name under which the existing file is kept. The file gets it before the new file
        replaces `path`, so at every moment one of the two names has a complete file.

    Yields
    ------
    BinaryIO
        The file under its temporary name (`.name`, such as ``.a.idx.4711-9f2c0d5e.nplenet.part``).

    Raises
    ------
    NotRegularError
        An OSError, when a pipe or device has the name: a rename would remove it.
    OSError
        When the folder cannot be written. Whatever the error, the temporary file is removed.
    """
    given, path = os.fspath(path), Path(path)
    mode = None
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if not stat.S_ISDIR(mode):  # which no file replaces
            _check_regular(path, mode)
    # Not `tempfile`: only the owner may read its files, and a cache may be shared.
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())  # otherwise a power cut may leave the new name on an empty file
        if previous is not None and path.exists():
            _keep(path, Path(previous))
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:  # Ctrl-C too
        with suppress(OSError):  # a name too long for a file is too long to be removed
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(error.filename) == os.fspath(temporary):
            # The name that the user knows; a second one cannot be taken from an error.
            raise OSError(error.errno, error.strerror, given) from error
        raise


def read_json(path: str | os.PathLike[str], max_bytes: int) -> Any:
    """Return the contents of a JSON file of at most ``max_bytes``.

    Raises
    ------
    OSError
        When the file is missing, cannot be read, or is not a regular file.
    ValueError
        When it is too large or not JSON.
    """
    with open_regular(path) as file:
        contents = file.read(max_bytes + 1)
    if len(contents) > max_bytes:
        raise ValueError(f"it is larger than {max_bytes:,} bytes")
    try:
        return json.loads(contents.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder in place of ``~``, if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # an unset HOME, and a user whom the system does not know
        return Path(path)


def user_cache() -> Path | None:
    """Return this user's cache folder for nplenet; None for a user without a home."""
    import platformdirs  # 12 ms that `import nplenet` need not wait for

    try:
        folder = expanded(platformdirs.user_cache_dir("nplenet", False))
    except (KeyError, RuntimeError):
        return None
    return folder if folder.is_absolute() else None


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
    """Give the file at `path` the second name `previous`; without hard links, copy it.

    A new hard link can't replace a file, so it is made under a temporary name and renamed.
    """
    link = _temporary(previous)
    try:
        try:
            os.link(path, link)
        except OSError:  # a file system without hard links
            shutil.copy2(path, link)
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
