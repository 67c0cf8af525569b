"""Weights from PyTorch and back, without PyTorch: ``.safetensors``, ``.pth`` and ``.pt`` files.

A file is known by its contents, so ``.pth.tar``, ``.bin`` and ``.ckpt`` are read too.

    pytorch.load(model, "lenet5.pth")          # by torch.save(model.state_dict(), "lenet5.pth")
    pytorch.save(model, "lenet5.safetensors")  # for safetensors.torch.load_file

Layers number and name their parameters like PyTorch's layers, so a file fits a model that is built
in the same order; for another order there is ``names``.
"""

from __future__ import annotations

import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from .. import checks
from ..data import DataError
from ..files import atomic_write, open_regular
from ..layers import Layer
from . import torch_zip
from .torch_pickle import Convert
from .torch_states import Weights

Names = Mapping[str, str] | Callable[[str], str]

ZIP_SUFFIXES = (".pth", ".pt", ".pth.tar", ".bin", ".ckpt")
PREFIXES = ("module.", "_orig_mod.", "model.")
_COUNT = "num_batches_tracked"
_SAFETENSORS = ".safetensors"
_SAFETENSORS_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
_DAMAGE = (
    ValueError,
    EOFError,
    OverflowError,
    RuntimeError,  # of zipfile: encrypted, or an unknown version
    struct.error,
    zipfile.BadZipFile,
    safetensors.SafetensorError,
)


def load(
    model: Layer,
    path: str | os.PathLike[str],
    names: Names | None = None,
    key: str | None = None,
    *,
    allow_non_finite: bool = False,
) -> None:
    """Load the weights of a PyTorch model; nothing is changed unless all of them fit.

    Parameters
    ----------
    model : Layer
        On any backend, of either dtype: weights are converted to the dtype of the model.
    path
        A file for ``load_state_dict``. It may lack ``num_batches_tracked``, as files by old
        versions of PyTorch do: the model then keeps its own value.
    names : dict or function, optional
        From PyTorch's names to the model's names. A key of a dict is the name of a tensor or of a
        layer: ``{"conv1": "features.0"}`` also renames ``conv1.weight`` to ``features.0.weight``.
        Other names are not changed. Without ``names``, what a wrapper put before all names is
        stripped, with a warning: see ``common_prefix``.
    key : str, optional
        As in ``load_state_dict``.
    allow_non_finite : bool
        Whether weights may be NaN or infinite.

    Raises
    ------
    DataError
        When the file is damaged or does not hold tensors.
    ValueError
        When the names, shapes or dtypes do not fit the model; it names them. Also for weights that
        are not finite.

    Warns
    -----
    UserWarning
        When it strips a prefix.

    Examples
    --------
    >>> load(LeNet5(), "parallel.pth", names=lambda name: name.removeprefix("module."))
    """
    state, own = load_state_dict(path, key), model.state_dict()
    try:
        if names is not None:
            state = _renamed(state, names)
        elif prefix := common_prefix(state, own):
            warnings.warn(
                f"{os.fspath(path)}: stripped {prefix!r} from the names of the weights",
                stacklevel=2,
            )
            state = {name.removeprefix(prefix): array for name, array in state.items()}
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    if not allow_non_finite:
        checks.finite(state, os.fspath(path))
    try:
        assign(model, state)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def assign(model: Layer, state: Mapping[str, npt.NDArray[Any]]) -> None:
    """Copy weights into a model, whose own counts of batches may be missing among them."""
    own = model.state_dict()
    counts = {k: array for k, array in own.items() if k.endswith(_COUNT)}
    model.load_state_dict(counts | dict(state))


def in_order(
    state: Mapping[str, npt.NDArray[Any]], own: Mapping[str, npt.NDArray[Any]]
) -> dict[str, str]:
    """Return the names of ``own`` by those of ``state``, where only the layers' names differ.

    Both list their tensors in the order of the layers. They match if each has its counterpart's
    last name, such as "weight", and its shape but for the classes; otherwise the answer is empty.
    """
    theirs = [name for name in state if not name.endswith(_COUNT)]
    ours = [name for name in own if not name.endswith(_COUNT)]
    if len(theirs) != len(ours) or set(theirs) & set(ours):
        return {}
    for their, our in zip(theirs, ours, strict=True):
        same = state[their].shape[1:] == own[our].shape[1:] or state[their].ndim == 4
        if their.rpartition(".")[2] != our.rpartition(".")[2] or not same:
            return {}
    found = dict(zip(theirs, ours, strict=True))
    layers = {name.rpartition(".")[0]: new.rpartition(".")[0] for name, new in found.items()}
    counts = [name for name in state if name.endswith(_COUNT)]
    found |= {name: f"{layers.get(name.rpartition('.')[0], '')}.{_COUNT}" for name in counts}
    return found


def _renamed(state: Mapping[str, npt.NDArray[Any]], names: Names) -> dict[str, npt.NDArray[Any]]:
    rename = _by_table(names, state) if isinstance(names, Mapping) else names
    renamed: dict[str, npt.NDArray[Any]] = {}
    for old, array in state.items():
        new = rename(old)
        if new in renamed:
            raise ValueError(f"names maps two names to {new!r}; the second is {old!r}")
        renamed[new] = array
    return renamed


def _by_table(table: Mapping[str, str], state: Mapping[str, Any]) -> Callable[[str], str]:
    layers = {name.rpartition(".")[0] for name in state}
    unknown = [name for name in table if name not in state and name not in layers]
    if unknown:
        raise ValueError(f"names has {unknown}, which the file lacks; the file has {list(state)}")

    def rename(name: str) -> str:
        layer, dot, last = name.rpartition(".")
        return table.get(name, table.get(layer, layer) + dot + last)

    return rename


def load_state_dict(
    path: str | os.PathLike[str], key: str | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Read the tensors of a file that PyTorch wrote; see ``read``, which also returns their key.

    Returns
    -------
    dict of str to array
    """
    return read(path, key).tensors


def read(path: str | os.PathLike[str], key: str | None = None) -> Weights:
    """Read the tensors of a file that PyTorch wrote, and the key under which they lie in it.

    No code in the file is run: see ``torch_zip``. Reading a ``.pth`` takes memory of the file's
    size plus at most 100 MB, and twice the size more for bfloat16, which becomes float32; reading a
    ``.safetensors`` takes twice its size.

    Parameters
    ----------
    path
        By ``torch.save`` of PyTorch 1.6 or newer, or in the format of safetensors, whatever its
        name.
    key : str, optional
        The key of the state_dict in a ``.pth`` that holds several dictionaries of tensors, such
        as "model_state_dict" or, nested, "models.ema". Where it holds one, the key is found.

    Returns
    -------
    Weights
        ``key``, "" for the top of the file, and ``tensors``, a dict of str to array in the file's
        order. Tensors that share memory in the file share it in the result.

    Raises
    ------
    DataError
        When the file is damaged, holds something other than tensors, or lacks the key. Where
        PyTorch can make a file of it that can be read, the message has the line for that.
    OSError
        When the file cannot be opened.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            if not _is_safetensors(file.read(9)):
                return torch_zip.read(file, key)
            if key is None:
                file.seek(0)
                return Weights("", _read_safetensors(file))
    except Convert as error:
        new = path.with_name(f"{path.stem}-weights.pth")
        line = error.line.replace("OLD", repr(str(path))).replace("NEW", repr(str(new)))
        trust = ", if you trust the file, which may run code," if error.runs_code else ""
        raise DataError(
            f"{path} cannot be read: {error}; in Python with PyTorch{trust} type: import torch; "
            f"{line}"
        ) from error
    except _DAMAGE as error:
        raise DataError(f"{path} cannot be read: {str(error) or 'it is cut short'}") from error
    raise ValueError(f"key={key!r} is for .pth files: {path} holds only tensors")


def _is_safetensors(start: bytes) -> bool:
    """Say whether a file begins with the size of a header and a header in JSON."""
    return start[8:9] == b"{" and start[:4] != b"PK\3\4"


def _read_safetensors(file: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    state, data = {}, file.read()
    for name, dtype in _dtypes(data):
        if dtype not in _SAFETENSORS_DTYPES:
            kind = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}.get(dtype)
            raise Convert(
                f"its tensor {name!r} is {kind or dtype}, which NumPy does not have",
                "from safetensors.torch import load_file; "
                "torch.save({k: v.float() if v.is_floating_point() else v "
                "for k, v in load_file(OLD).items()}, NEW)",
            )
    tensors = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    for name, tensor in tensors:
        array = np.frombuffer(tensor["data"], _SAFETENSORS_DTYPES[tensor["dtype"]])
        if tensor["dtype"] == "BF16":
            array = torch_zip.bfloat16_to_float32(array)
        state[name] = array.reshape(tensor["shape"])
    return state


def _dtypes(data: bytes) -> list[tuple[str, str]]:
    """Return names and dtypes of the header of a safetensors file; none of a damaged one.

    The lowest safetensors calls a header damaged if it does not know a dtype.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return [
            (name, str(tensor["dtype"]))
            for name, tensor in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def common_prefix(names: Iterable[str], own: Iterable[str] = ()) -> str:
    """Return what PyTorch's wrappers put before all names, such as "module."; "" if nothing.

    ``nn.DataParallel`` names its model ``module``, ``torch.compile`` ``_orig_mod``; a wrapper by
    hand is often called ``model``. They may be nested: "_orig_mod.module.". With the names of a
    model, ``own``, any prefix is found without which they are these, and none where they are.
    """
    names, own, prefix = list(names), list(own), ""
    if own and names:
        if set(names) & set(own):
            return ""
        found = [names[0].removesuffix(name) for name in own if names[0].endswith(f".{name}")]
        bare = {name.removeprefix(p) for p in found[:1] for name in names if name.startswith(p)}
        if len(bare) == len(names) and bare <= set(own):
            return found[0]
    while names:
        found = [p for p in PREFIXES if all(name.startswith(prefix + p) for name in names)]
        if not found:
            break
        prefix += found[0]
    return prefix


def save(model: Layer, path: str | os.PathLike[str]) -> None:
    """Write the weights of a model for PyTorch; the same bytes for the same weights.

    Parameters
    ----------
    model : Layer
        On any backend.
    path
        ``.pth``, ``.pt``, ``.pth.tar``, ``.bin`` or ``.ckpt`` for
        ``torch.load(path, weights_only=True)``, ``.safetensors`` for
        ``safetensors.torch.load_file(path)``. An existing file is replaced in one step.

    Raises
    ------
    ValueError
        When the file name has another ending.
    """
    path = Path(path)
    is_zip, state = _is_zip(path), model.state_dict()
    with atomic_write(path) as file:
        if is_zip:
            torch_zip.write(file, state)
        else:  # safetensors writes the memory of an array as it lies there
            rows = {
                name: np.array(array, array.dtype.newbyteorder("="), order="C")
                for name, array in state.items()
            }
            file.write(safetensors.numpy.save(rows, {"format": "pt"}))


def _is_zip(path: Path) -> bool:
    """Say whether a name is that of a file by ``torch.save``; the other one is safetensors."""
    name = path.name.lower()
    if name.endswith((*ZIP_SUFFIXES, _SAFETENSORS)):
        return not name.endswith(_SAFETENSORS)
    known = ", ".join((*ZIP_SUFFIXES, _SAFETENSORS))
    raise ValueError(f"{path}: expected a file name that ends with one of {known}")
