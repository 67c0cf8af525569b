"""PyTorch's zip format of tensors, ``.pth``, ``.pt``, ``.ckpt``, read and written without PyTorch.

The archive holds one folder: ``data.pkl``, a pickle that lists the tensors (see ``torch_pickle``),
and ``data/0``, ``data/1`` ..., the bytes of their storages, none of them compressed. A tensor is a
storage, an offset, a shape and strides, the last three counted in elements. Before memory is
allocated for a record, its size is checked against the tensors and against the file.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from . import torch_dump, torch_pickle
from .torch_pickle import Convert, Storage, Tensor
from .torch_states import Weights, weights

_MAX_DIRECTORY_BYTES = 2 << 20  # 15 MB as objects of `zipfile`; enough for 20,000 tensors
_ALIGNMENT = 64  # of a storage in the file, as PyTorch writes it so that it can be mapped
_OLD_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # pickled first, before 1.6
_CHUNK = 1 << 20
_OTHERS = {  # how files of other programs begin
    b"\x89HDF": (
        "an HDF5 file, such as Keras writes: save its weights as arrays, and give them to "
        "model.load_state_dict"
    ),
    b"GGUF": "a GGUF file, whose weights are quantised: import the weights it was made from",
    b"\x1f\x8b": "compressed with gzip: unpack it first with gunzip",
    b"<!DOCTYPE": "a web page, not a file of weights: download the file that the page links to",
    b"<html": "a web page, not a file of weights: download the file that the page links to",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself with git lfs pull",
}


def read(file: BinaryIO, key: str | None = None) -> Weights:
    """Read the dictionary of tensors of a file.

    Parameters
    ----------
    file
        Open for reading, at any position.
    key
        The key of the tensors in the file's dictionary; None if there is one dictionary of them.

    Returns
    -------
    Weights
        Of arrays; tensors of one storage share memory.

    Raises
    ------
    ValueError, and what ``zipfile`` raises
        When the file is damaged or does not hold tensors.
    """
    size = file.seek(0, os.SEEK_END)
    _check_ends(file, size)
    with zipfile.ZipFile(file) as archive:
        _refuse_others(archive.namelist())
        if sum(entry.file_size for entry in archive.infolist()) > size:
            raise ValueError("its records claim more bytes than the file has")
        folder = _folder(archive)
        if f"{folder}/byteorder" in archive.namelist():
            order = _bytes(archive, _entry(archive, f"{folder}/byteorder"))
            if order != b"little":
                raise ValueError("it was written by a big-endian machine, which is not supported")
        pickle = _entry(archive, f"{folder}/data.pkl")
        if pickle.file_size > torch_pickle.MAX_BYTES:
            raise ValueError(f"its pickle of {pickle.file_size:,} bytes is too large")
        content, foreign = torch_pickle.loads(bytes(_bytes(archive, pickle)))
        found, tensors = weights(content, key, foreign)
        storages: dict[str, tuple[Storage, npt.NDArray[Any]]] = {}
        for storage in (tensor.storage for tensor in tensors.values()):
            if storage.record not in storages:
                elements = _elements(archive, f"{folder}/data/{storage.record}", storage)
                storages[storage.record] = storage, elements
            elif storages[storage.record][0] != storage:
                raise ValueError(f"its tensors disagree about record {storage.record[:40]!r}")
    arrays = {name: _array(t, storages[t.storage.record][1]) for name, t in tensors.items()}
    return Weights(found, arrays)


def _check_ends(file: BinaryIO, size: int) -> None:
    """Refuse a file that is not an archive by PyTorch, or whose directory would take much memory.

    ``zipfile`` builds an object per entry before it can report their number, so the check reads the
    record at the end of the file, and the 64-bit record before it, which takes precedence.
    """
    file.seek(0)
    if not size:
        raise ValueError("it is empty")
    magic = file.read(2)
    if magic[:1] == b"\x80":  # a bare pickle
        file.seek(0)
        if _OLD_MAGIC not in file.read(64):
            raise Convert(
                "it is a pickle, but not by torch.save",
                'import pickle; torch.save(pickle.load(open(OLD, "rb")), NEW)',
                runs_code=True,
            )
        raise Convert(
            "it is in PyTorch's format from before 1.6",
            "torch.save(torch.load(OLD, weights_only=True), NEW)",
        )
    for start, kind in _OTHERS.items():
        if magic == start[:2]:
            file.seek(0)
            if file.read(len(start)) == start:
                raise ValueError(f"it is {kind}")
    file.seek(max(0, size - 98))
    tail = file.read().rjust(98)
    wide, locator, end = tail[:56], tail[56:76], tail[76:]
    if magic != b"PK" or not end.startswith(b"PK\5\6"):
        raise ValueError(
            "it is not a complete zip archive: truncated, or not written by torch.save"
        )
    length, start = struct.unpack_from("<LL", end, 12)
    stop = size - 22
    if locator.startswith(b"PK\6\7"):
        (stop,) = struct.unpack_from("<Q", locator, 8)
        length, start = struct.unpack_from("<QQ", wide, 40)
        if stop != size - 98 or not wide.startswith(b"PK\6\6"):
            raise ValueError("the end of its zip directory is damaged")
    if start + length != stop:
        raise ValueError("its zip directory is not where its end says")
    if length > _MAX_DIRECTORY_BYTES:
        raise ValueError(f"its zip directory of {length:,} bytes is too large for a state_dict")


def _folder(archive: zipfile.ZipFile) -> str:
    """Return the name of the archive's one folder."""
    for name in archive.namelist():
        folder, _, rest = name.partition("/")
        if rest == "data.pkl":
            return folder
    raise ValueError("it has no data.pkl: not written by torch.save")


def _refuse_others(names: list[str]) -> None:
    """Refuse an archive of NumPy, or of a program of PyTorch, with the line that reads it."""
    if any(name.endswith(".npy") for name in names):
        raise ValueError(
            "it is an .npz file of NumPy: model.load_state_dict(dict(np.load(path))) loads it, if "
            "its names are the model's, and nplenet.save_model(model, new) writes a model"
        )
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise Convert(
            "it is a TorchScript program, by torch.jit.save",
            'torch.save(torch.jit.load(OLD, map_location="cpu").state_dict(), NEW)',
        )
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        raise Convert(
            "it is an exported program, by torch.export.save",
            "torch.save(dict(torch.export.load(OLD).state_dict), NEW)",
        )


def _entry(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return the archive's entry of this name; refuse a compressed one."""
    try:
        entry = archive.getinfo(name)
    except KeyError as error:
        raise ValueError(f"its record {name[-80:]!r} is missing") from error
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise ValueError(f"its record {name[-80:]!r} is compressed, which PyTorch never does")
    return entry


def _bytes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytearray:
    """Return the bytes of a record, read to its end, where ``zipfile`` checks their CRC-32."""
    found = bytearray(entry.file_size)
    with archive.open(entry) as record:
        for start in range(0, entry.file_size, _CHUNK):  # in parts: zipfile copies what it reads
            found[start : start + _CHUNK] = record.read(_CHUNK)
    if len(found) != entry.file_size:
        raise ValueError(f"its record {entry.filename[-80:]!r} is cut short")
    return found


def _elements(archive: zipfile.ZipFile, name: str, storage: Storage) -> npt.NDArray[Any]:
    """Return a storage: its elements in one axis."""
    dtype = np.dtype("<u2" if storage.dtype == "bfloat16" else storage.dtype)
    expected = storage.size * dtype.itemsize
    entry = _entry(archive, name)
    if entry.file_size != expected:
        raise ValueError(
            f"its record {name[-80:]!r} has {entry.file_size:,} bytes, not {expected:,}"
        )
    elements = np.frombuffer(_bytes(archive, entry), dtype)
    return bfloat16_to_float32(elements) if storage.dtype == "bfloat16" else elements


def bfloat16_to_float32(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return the values of bfloat16 numbers, which are the upper halves of float32 ones."""
    wide = bits.astype("<u4")
    wide <<= 16
    return wide.view("<f4")


def _array(tensor: Tensor, elements: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a tensor as a view of the elements of its storage."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, elements.dtype)
    width = elements.itemsize
    return np.ndarray(
        tensor.shape,
        elements.dtype,
        buffer=elements,
        offset=tensor.offset * width,
        strides=[stride * width for stride in tensor.strides],
    )


def write(file: BinaryIO, state: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a dictionary of arrays as ``torch.save`` writes a state_dict; the same bytes each time.

    Raises
    ------
    TypeError
        For an array whose dtype PyTorch's storages lack; the message names it.
    """
    little = {k: array.astype(array.dtype.newbyteorder("<")) for k, array in state.items()}
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, "data.pkl", torch_dump.dumps(little))
        _add(archive, "byteorder", b"little")
        for record, array in enumerate(little.values()):
            _add(archive, f"data/{record}", array.tobytes())
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a record, its first byte at a multiple of 64 in the file."""
    entry = zipfile.ZipInfo(f"archive/{name}")  # dated 1980
    entry.create_system = 0
    header = archive.start_dir + 30 + len(entry.filename) + 4
    padding = -header % _ALIGNMENT
    entry.extra = b"FB" + struct.pack("<H", padding) + padding * b"Z"
    archive.writestr(entry, content)
