"""The known contents of a public file, by which a download is accepted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from ..files import open_regular
from .idx import DataError, describe_start, open_unpacked

_CHUNK = 1 << 16


class KnownFile(NamedTuple):
    """A file whose digest was published.

    Attributes
    ----------
    name : str
        Without ``.gz``; a name that ends in ``.zip`` is complete.
    size : int
        The most bytes that the digested contents may have.
    digest : str
        In hexadecimal: SHA-256, 64 digits, or MD5, 32 digits. MD5 finds damage, not forgery.
    archive : bool
        Whether size and digest are of the archive as it is sent. Otherwise they are of its unpacked
        contents, so that another packing of the same file is accepted, and the plain file too.
    """

    name: str
    size: int
    digest: str
    archive: bool = False

    @property
    def sent_as(self) -> str:
        """The file's name on a mirror and after a download."""
        return self.name if self.name.endswith(".zip") else f"{self.name}.gz"


def difference(path: Path, file: KnownFile) -> str | None:
    """Say how a file differs from the known one; None if it is the same."""
    digest: Any = hashlib.sha256() if len(file.digest) == 64 else hashlib.md5(usedforsecurity=False)
    size = 0
    try:
        with open_regular(path) if file.archive else open_unpacked(path) as stream:
            start = chunk = stream.read(16)
            while chunk and size <= file.size:  # a gzip bomb is not unpacked any further
                size += len(chunk)
                digest.update(chunk)
                chunk = stream.read(_CHUNK)
    except DataError:
        return "a damaged or truncated gzip archive"
    if digest.hexdigest() == file.digest:
        return None
    kind = "SHA-256" if len(file.digest) == 64 else "MD5"
    of = " of the archive" if file.archive else ""
    return (
        f"not the official {file.name} (its {kind}{of} differs): it begins with "
        + describe_start(start)
    )
