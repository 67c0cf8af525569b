"""The pickle in a ``.pth`` file, which lists the tensors, written for ``torch.load``."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from .torch_pickle import STORAGES

_STORAGE_NAMES = {dtype: name for name, dtype in STORAGES.items()}
_EMPTY = b"ccollections\nOrderedDict\n)R"  # the opcodes of an empty OrderedDict


def dumps(state: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the pickle, in protocol 2, of an OrderedDict of tensors."""
    items = (_text(key) + _item(record, state[key]) for record, key in enumerate(state))
    return b"\x80\2" + _EMPTY + b"(" + b"".join(items) + b"u."


def _item(record: int, array: npt.NDArray[Any]) -> bytes:
    """Return the opcodes of one tensor, in C order at the start of a storage of its own."""
    if array.dtype.str not in _STORAGE_NAMES:
        raise TypeError(f"an array of {array.dtype} cannot be written to a .pth file")
    kind, size = _name(_STORAGE_NAMES[array.dtype.str]), _integer(array.size)
    storage = _tuple(_text("storage"), kind, _text(str(record)), _text("cpu"), size) + b"Q"
    strides = [math.prod(max(n, 1) for n in array.shape[i + 1 :]) for i in range(array.ndim)]
    geometry = _integer(0), _tuple(*map(_integer, array.shape)), _tuple(*map(_integer, strides))
    requires_grad, hooks = b"\x89", _EMPTY
    arguments = _tuple(storage, *geometry, requires_grad, hooks)
    return _name("torch._utils _rebuild_tensor_v2") + arguments + b"R"


def _name(name: str) -> bytes:
    return b"c%b\n%b\n" % tuple(name.encode().split())


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<L", len(text.encode())) + text.encode()


def _integer(number: int) -> bytes:
    short = number < 1 << 31
    return b"J" + struct.pack("<L", number) if short else b"\x8a\x08" + struct.pack("<q", number)


def _tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"
