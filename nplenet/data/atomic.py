"""Write a file in whole or not at all: temporary name in the same folder, flush, rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that appears under `path` only when the block ends without an error.

    Parameters
    ----------
    path
        Final name. An existing file is replaced in one step; readers see the old or the new one.

    Yields
    ------
    BinaryIO
        The file under its temporary name (`.name` says which, like ``.a.idx.4711-9f2c.part``).

    Raises
    ------
    OSError
        When the folder cannot be written. Whatever the error, the temporary file is removed.
    """
    path = Path(path)
    # Not `tempfile`: it makes files that only their owner may read, and a cache may be shared.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name on an empty file
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise
