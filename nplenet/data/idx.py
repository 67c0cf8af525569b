"""Read and write IDX, the format of MNIST, and refuse damaged files before they cost memory.

An IDX file, every number big-endian: two zero bytes, a byte for the element type, a byte for the
number of dimensions, each dimension as uint32, then the elements. It is often packed by gzip.
idx2numpy parses it; this module makes sure that idx2numpy gets a complete file with a true header.
"""

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import idx2numpy
import numpy as np
import numpy.typing as npt

from ..checks import unmasked
from ..files import NotRegularError, atomic_write, open_regular

_ELEMENT_TYPES = {
    0x08: "uint8",
    0x09: "int8",
    0x0B: "int16",
    0x0C: "int32",
    0x0D: "float32",
    0x0E: "float64",
}
_TYPE_CODES = {name: code for code, name in _ELEMENT_TYPES.items()}
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DEFLATE_RATIO = (
    1032  # largest ratio of deflate: 258 bytes from 2 bits. A larger size in the header is false.
)
_MAX_DIMENSIONS = 64  # NumPy's limit
_LARGEST_DIMENSION = 2**31 - 1  # from here on other readers see a negative number
_CHUNK = 1 << 18
_REFETCH = "delete the file and fetch it again"


class DataError(ValueError):
    """A data file or a download cannot be used; the message names it and says what to do."""


class MissingDataError(DataError):
    """A data set was not found and could not be downloaded.

    Unlike damage, this is a reason to use another data set.
    """


class _Header(NamedTuple):
    dtype: str
    shape: tuple[int, ...]

    @property
    def header_bytes(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def total_bytes(self) -> int:
        return self.header_bytes + math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.shape))} elements of {self.dtype}"


def read_idx(
    path: str | os.PathLike[str],
    *,
    dtype: npt.DTypeLike | None = None,
    shape: Sequence[int | None] | None = None,
    max_bytes: int = 4 * 2**30,
) -> npt.NDArray[Any]:
    """Read an IDX file, plain or packed by gzip (detected by its first bytes, not its name).

    The header is checked against the file's size, and against `dtype`, `shape` and `max_bytes`,
    before memory is taken for the data; peak memory is the array and a fixed buffer.

    Parameters
    ----------
    path
        The file.
    dtype
        The element type it must have; None accepts each of IDX's six (uint8, int8, int16, int32,
        float32, float64).
    shape
        The shape it must have, None for a dimension of any length: ``(None, 28, 28)`` for MNIST's
        images.
    max_bytes
        Most memory the array may take, in bytes.

    Returns
    -------
    numpy.ndarray
        Native byte order, C-contiguous, writable.

    Raises
    ------
    DataError
        When the file is missing, empty, not IDX, damaged, cut short, longer than its header says,
        or not what `dtype`, `shape` and `max_bytes` ask for.
    """
    path = Path(path)
    with open_unpacked(path) as stream:
        file_bytes = os.stat(path).st_size
        header = _read_header(stream, path)
        _check_expected(header, path, dtype, shape)
        _check_size(header, path, file_bytes, max_bytes, packed=isinstance(stream, gzip.GzipFile))
        stream.seek(0)
        source = _WritableSource(stream)
        try:
            array: npt.NDArray[Any] = idx2numpy.convert_from_file(source)
        except idx2numpy.FormatError as error:
            raise _wrong_size(header, path, source.bytes_read) from error
        except MemoryError as error:
            raise DataError(
                f"{path}: announces {header}, {header.total_bytes:,} bytes, "
                "more memory than this machine has free"
            ) from error
    if array.dtype.isnative:
        return array
    native: npt.NDArray[Any] = array.byteswap(inplace=True).view(array.dtype.newbyteorder())
    return native


def write_idx(path: str | os.PathLike[str], array: npt.ArrayLike) -> None:
    """Write an array as an IDX file, packed by gzip if the name ends in ``.gz``.

    The same array always gives the same bytes (no time stamp), and the file appears in whole or
    not at all.

    Parameters
    ----------
    path
        The file; an existing one is replaced.
    array
        uint8, int8, int16, int32, float32 or float64, of any byte order, with 1 to 64 dimensions
        and at least one element.

    Raises
    ------
    DataError
        When IDX cannot hold the array or the file cannot be written.
    """
    path = Path(path)
    array = np.asarray(unmasked(array, "write_idx: array"))
    code = _TYPE_CODES.get(array.dtype.name)
    if code is None:
        raise DataError(
            f"{path}: IDX has no element type for {array.dtype}; "
            f"convert the array to one of {', '.join(_TYPE_CODES)}"
        )
    if array.size == 0 or array.ndim == 0 or max(array.shape) > _LARGEST_DIMENSION:
        raise DataError(
            f"{path}: IDX cannot hold an array of shape {array.shape}; "
            "it needs 1 or more dimensions, each from 1 to 2^31 - 1"
        )
    # Not idx2numpy's writer: it turns every element into a Python object (67 bytes for each byte
    # of uint8, 2 s for 1,000 MNIST images). A test holds this one to its bytes.
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    elements = np.ascontiguousarray(array, array.dtype.newbyteorder(">")).reshape(-1)
    try:
        with atomic_write(path) as file:
            if path.suffix == ".gz":
                # Level 6: gzip's default of 9 takes 14 s for MNIST's training images.
                with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                    packed.write(header)
                    packed.write(elements.data)
            else:
                file.write(header)
                file.write(elements.data)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({_reason(error)}); choose a folder you may write to"
        ) from error


def find_idx(folder: Path, name: str) -> Path | None:
    """Return the path of a file in a folder, by whatever name programs give it, or None.

    These are, for ``train-images-idx3-ubyte``: this name; ``train-images.idx3-ubyte``, as some
    programs unpack it; each of them with ``.gz``; and each in a folder of its own name, as on
    Kaggle. Among several the first that is not empty counts.
    """
    found = []
    for path in _spellings(folder, name):
        if os.path.isfile(path) and os.path.getsize(path) > 0:
            return path
        if os.path.exists(path):  # False, where Path.exists raises, in a folder one may not enter
            found.append(path)
    # What is empty, or a folder or a pipe, is read in vain: the error names it.
    return min(found, key=os.path.isdir, default=None)


def _spellings(folder: Path, name: str) -> Iterator[Path]:
    for spelling in dict.fromkeys((name, re.sub(r"-idx(\d)-", r".idx\1-", name))):
        for file in (spelling, f"{spelling}.gz"):
            yield folder / file
            yield folder / spelling / file


@contextmanager
def open_unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file, plain or gzip, to read it unpacked; every failure is a DataError."""
    try:
        with open_regular(path) as file:
            packed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked  # type: ignore[misc]  # a BinaryIO in all but name
            else:
                yield file
    except NotRegularError as error:
        raise DataError(f"{error}; give the path of a file") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except EOFError as error:
        raise DataError(f"{path}: gzip archive is cut short; {_REFETCH}") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: gzip archive is damaged ({error}); {_REFETCH}") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({_reason(error)}); check the path and its permissions"
        ) from error


def describe_start(start: bytes) -> str:
    """Say what a file that begins with these bytes looks like, for an error message."""
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return f"an HTML or XML page ({start!r}), as a server sends to report an error"
    return f"the bytes {start.hex(' ')}"


class _WritableSource:
    """The file that idx2numpy reads: its arrays keep this buffer, so it is exact and writable.

    An ordinary `read` would give `bytes`, which NumPy keeps read-only: a copy, twice the memory.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.bytes_read = 0

    def read(self, size: int) -> npt.NDArray[np.uint8]:
        buffer = np.empty(size, np.uint8)
        view = buffer.data
        filled = 0
        # In chunks, because gzip's `readinto` unpacks the whole request before it copies.
        while filled < size:
            count = self._stream.readinto(view[filled : filled + _CHUNK])  # type: ignore[attr-defined]
            if not count:
                break
            filled += count
        self.bytes_read += filled
        return buffer[:filled]


def _read_header(stream: BinaryIO, path: Path) -> _Header:
    magic = stream.read(4)
    if not magic:
        raise DataError(f"{path}: is empty; {_REFETCH}")
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(
            f"{path}: is not an IDX file: expected two zero bytes at its start, an element type "
            f"and the number of dimensions, found {describe_start(magic)}; {_REFETCH}"
        )
    code, ndim = magic[2], magic[3]
    if code not in _ELEMENT_TYPES:
        known = ", ".join(f"0x{code:02x} {name}" for code, name in _ELEMENT_TYPES.items())
        raise DataError(
            f"{path}: has the unknown element type 0x{code:02x}; IDX knows {known}; {_REFETCH}"
        )
    if not 1 <= ndim <= _MAX_DIMENSIONS:
        raise DataError(
            f"{path}: announces {ndim} dimensions, expected 1 to {_MAX_DIMENSIONS}; {_REFETCH}"
        )
    lengths = stream.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise DataError(
            f"{path}: is cut short: ends inside its header, after {4 + len(lengths)} of "
            f"{4 + 4 * ndim} bytes; {_REFETCH}"
        )
    shape = struct.unpack(f">{ndim}I", lengths)
    for axis, length in enumerate(shape):
        if not 1 <= length <= _LARGEST_DIMENSION:
            sign = "zero" if length == 0 else f"negative ({length - 2**32} as a signed number)"
            raise DataError(f"{path}: dimension {axis} of its shape {shape} is {sign}; {_REFETCH}")
    return _Header(_ELEMENT_TYPES[code], shape)


def _check_expected(
    header: _Header,
    path: Path,
    dtype: npt.DTypeLike | None,
    shape: Sequence[int | None] | None,
) -> None:
    if dtype is not None and np.dtype(dtype) != header.dtype:
        raise DataError(
            f"{path}: holds {header.dtype}, expected {np.dtype(dtype)}; is it the right file?"
        )
    if shape is None:
        return
    fits = len(shape) == len(header.shape) and all(
        want in (None, got) for want, got in zip(shape, header.shape, strict=True)
    )
    if not fits:
        expected = ", ".join("any" if length is None else str(length) for length in shape)
        raise DataError(
            f"{path}: has shape {header.shape}, expected ({expected}); is it the right file?"
        )


def _check_size(
    header: _Header, path: Path, file_bytes: int, max_bytes: int, *, packed: bool
) -> None:
    """Refuse, before memory is taken, a header that the file's size shows to be wrong."""
    if not packed and header.total_bytes != file_bytes:
        raise _wrong_size(header, path, file_bytes)
    if packed and header.total_bytes > _MAX_DEFLATE_RATIO * file_bytes:
        raise DataError(
            f"{path}: announces {header}, {header.total_bytes:,} bytes, more than a gzip archive "
            f"of {file_bytes:,} bytes can hold; {_REFETCH}"
        )
    if header.total_bytes - header.header_bytes > max_bytes:
        raise DataError(
            f"{path}: announces {header}, {header.total_bytes:,} bytes, more than the limit of "
            f"{max_bytes:,}; raise max_bytes if you trust the file"
        )


def _wrong_size(header: _Header, path: Path, found: int) -> DataError:
    announced = f"its header announces {header}, {header.total_bytes:,} bytes in all"
    if found < header.total_bytes:
        return DataError(f"{path}: is cut short at {found:,} bytes: {announced}; {_REFETCH}")
    return DataError(f"{path}: has bytes past the end of its data: {announced}; {_REFETCH}")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
