"""The file format: tensors and one JSON text under a SHA-256; no code in it is executed."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from .. import checks
from ..architecture import build, describe
from ..augment import Transform, UnknownPreprocessing, described, from_description
from ..checks import for_json, sizes
from ..data import Pictures
from ..deprecated import model_first
from ..files import atomic_write, open_regular
from ..input_shape import CHANNELS, takes
from ..input_shape import input_shape as known_shape
from ..layers import Layer
from ..machine import environment
from ..schema import shown
from ..terminal import printable
from ..tied import ties
from ..trust import from_record
from .record import check_record, class_names
from .record import input_shape as check_input_shape

FORMAT = 1
KEY = "nplenet"  # of digest and JSON text in the metadata of the file
HEX = 64  # characters of a SHA-256

LATEST, BEST = "checkpoint.safetensors", "best.safetensors"


OTHER_FORMATS = {
    ".pth": "weights for PyTorch with nplenet.interop.pytorch.save(model, path)",
    ".pt": "weights for PyTorch with nplenet.interop.pytorch.save(model, path)",
    ".tar": "weights for PyTorch with nplenet.interop.pytorch.save(model, path)",
    ".onnx": "ONNX with nplenet.interop.onnx.export(model, path, input_shape)",
}
"""Suffixes that promise another program another format, and how to write it."""


DEFAULT_MODEL = Path(__file__).parents[1] / "data" / "bundled" / "lenet5-mnist.safetensors"
"""LeNet-5 trained on MNIST and on drawn digits, by ``tools/make_model.py``."""


class CheckpointError(ValueError):
    """A checkpoint can't be read or belongs to another run; the message names it and the reason."""


class CheckpointWarning(UserWarning):
    """A damaged checkpoint is replaced by its backup, or a checkpoint could not be written."""


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file.

    Attributes
    ----------
    path : Path
        The file that was read.
    tensors : dict of str to array
    record : dict
        The JSON text; see ``nplenet.checkpoint``.
    """

    path: Path
    tensors: dict[str, np.ndarray]
    record: dict[str, Any]

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """Return the tensors whose names begin with ``prefix``, without it."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of an input without the batch axis, if the file says it."""
        shape = self.record.get("input_shape")
        return None if shape is None else tuple(shape)

    def model(self, *, allow_non_finite: bool = False) -> Layer:
        """Return the model, newly built, in eval mode, with what else its file says of it.

        Raises
        ------
        CheckpointError
            When the model has layers that are not the library's, or does not fit its weights, or
            when some of these are NaN or infinite, unless ``allow_non_finite``.
        """
        if self.record["model"] is None:
            raise CheckpointError(
                f"{self.path} holds a model with layers that are not the library's: build it and "
                'call model.load_state_dict(load(path).part("model."))'
            )
        weights = self.part("model.") if "progress" in self.record else self.tensors
        try:
            tied = self.record.get("tied")
            model = build(self.record["model"], weights, self.input_shape, tied)
            if not allow_non_finite:
                checks.finite(model.state_dict(), "refused")
            model.preprocessing = self._preprocessing()
            model.pictures = self._pictures()
            model.trust = from_record(self.record.get("trust"))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.path}: {error}") from None
        return model

    def _pictures(self) -> Pictures | None:
        """Return how pictures became the model's images; of a file of nplenet before 0.1 too."""
        if (record := self.record.get("pictures")) is not None:
            return Pictures.from_record(record)
        arguments = self.record.get("arguments") or {}
        names, of_a_folder = arguments.get("class_names"), str(arguments.get("dataset"))[:7]
        if names is None and of_a_folder != "folder:":
            return None
        class_names(names or [], "arguments.class_names")
        return Pictures("whole" if of_a_folder == "folder:" else "digit", classes=names or ())

    def _preprocessing(self) -> Transform | None:
        parts = self.record.get("preprocessing", [])
        if parts is None:
            return UnknownPreprocessing(
                f"the model of {self.path} was trained with a transform that a file can't hold"
            )
        return from_description(parts)


@model_first
def save_model(
    model: Layer, path: str | os.PathLike[str], *, input_shape: Sequence[int] | None = None
) -> None:
    """Write a model, its architecture and its weights, to a ``.safetensors`` file.

    Also ``model.preprocessing`` and ``model.pictures``, by which the commands read pictures as
    training did and name the classes. What is written can be read: the model is built again from
    its description before.

    Parameters
    ----------
    model : Layer
    path : path
    input_shape : sequence of int, optional
        The shape of an input without the batch axis, such as (1, 28, 28); at most 3 axes. The
        commands need it for a model that takes neither images of 32x32 nor of 28x28. By default
        the shape in ``model.pictures``, if the model takes such images.

    Raises
    ------
    TypeError
        When a layer is not one of the library's, or ``model.pictures`` is not ``Pictures``.
    ValueError
        When ``load_model`` would refuse the model, such as a layer that makes far more numbers of
        an image than a file may request, or when the name has another format's suffix.
    OSError
        When the file can't be written; an existing file is unchanged then.
    """
    checks.parts("save_model", model=model)
    path, state = Path(path), native(model.state_dict())
    if path.suffix.lower() in OTHER_FORMATS:
        raise ValueError(
            f"save_model: {path} has the name of another format; name it .safetensors, or write "
            f"{OTHER_FORMATS[path.suffix.lower()]}"
        )
    description, tied = describe(model), ties(model)
    if input_shape is None and model.pictures is not None:
        input_shape = _shape_of_pictures(model)
    if input_shape is not None:
        input_shape = sizes(input_shape, "save_model: input_shape")
        check_input_shape([*input_shape], "save_model: input_shape")
    try:
        build(description, state, input_shape, tied)
    except ValueError as error:
        raise ValueError(f"save_model: no file can hold this model: {error}") from None
    record: dict[str, Any] = {**stamp(), "model": description, "tied": tied}
    if input_shape is not None:
        record["input_shape"] = list(known_shape(model, input_shape)[1:])
    if model.preprocessing is not None:
        record["preprocessing"] = described(model.preprocessing)
    if model.pictures is not None:
        if not isinstance(model.pictures, Pictures):
            raise TypeError(
                f"save_model: model.pictures must be nplenet.data.Pictures, got {model.pictures!r}"
            )
        record["pictures"] = model.pictures.as_record()
    if model.trust is not None:
        record["trust"] = model.trust.as_record()
    write_file(path, state, record)


def _shape_of_pictures(model: Layer) -> tuple[int, ...] | None:
    """Return the shape of the images that a model knows, if it takes such."""
    size = getattr(model.pictures, "size", None)
    shapes = [(channels, *size) for channels in CHANNELS] if size else []
    return next((shape for shape in shapes if takes(model, shape)), None)


def native(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays in C order and in this machine's byte order, which the format has none for."""
    return {
        name: np.array(array, array.dtype.newbyteorder("="), order="C")  # keeps 0 axes
        for name, array in tensors.items()
    }


def load_model(path: str | os.PathLike[str], *, allow_non_finite: bool = False) -> Layer:
    """Return the model in a checkpoint or a file by ``save_model``, newly built, in eval mode.

    ``nplenet.checkpoint.DEFAULT_MODEL`` is the file of the LeNet-5 bundled with the library.

    Raises
    ------
    OSError, CheckpointError
        As ``load``, and for weights that are NaN or infinite, unless ``allow_non_finite``.
    """
    return load(path).model(allow_non_finite=allow_non_finite)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a file by ``save_model``, or a checkpoint; if it is damaged, its backup.

    Raises
    ------
    OSError
        When the file is missing or can't be opened.
    CheckpointError
        When it is damaged, or not a file of this library.

    Warns
    -----
    CheckpointWarning
        When the backup ``<path>.bak`` was read instead.
    """
    path = Path(path)
    try:
        return read_file(path)
    except (CheckpointError, FileNotFoundError) as error:
        if not backup(path).exists():
            raise
        try:
            older = read_file(backup(path))
        except CheckpointError as second:
            raise CheckpointError(f"{error}; and {second}") from None
        warnings.warn(
            f"{error}; reading its backup {backup(path)} instead", CheckpointWarning, stacklevel=2
        )
        return older


def backup(path: Path) -> Path:
    """Return the path of the backup: the checkpoint that the one at ``path`` replaced."""
    return path.with_name(path.name + ".bak")


def stamp() -> dict[str, Any]:
    """Return the fields with which every record begins: the format and who wrote it."""
    return {"format": FORMAT, "nplenet": environment()["nplenet"]}


def write_file(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
    previous: Path | None = None,
) -> None:
    """Write tensors and a record of JSON, with their SHA-256, atomically; see ``atomic_write``."""
    tensors = native(tensors)
    text = json.dumps(record, separators=(",", ":"), default=for_json)
    contents = safetensors.numpy.save(tensors, metadata={KEY: _digest(text, tensors) + text})
    with atomic_write(path, previous=previous) as file:
        file.write(contents)


def read_file(path: Path) -> Checkpoint:
    """Read a file of ``write_file``; a CheckpointError says what of it cannot be read, and why."""
    if path.is_dir():
        raise IsADirectoryError(
            f"{path} is a folder; name a checkpoint in it, such as {path / LATEST}"
        )
    try:
        with open_regular(path), safetensors.safe_open(path, framework="numpy") as file:
            stamped = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys() if stamped}  # noqa: SIM118
    except (safetensors.SafetensorError, TypeError, AttributeError) as error:
        # The last two for a dtype that NumPy lacks.
        _refuse_pytorch(path)
        raise CheckpointError(f"{path} is damaged, or not a safetensors file ({error})") from None
    if not stamped:
        raise CheckpointError(
            f"{path} is a safetensors file, but not by nplenet; type first: {_line_to_import(path)}"
        )
    digest, text = stamped[:HEX], stamped[HEX:]
    if _digest(text, tensors) != digest:
        raise CheckpointError(f"{path} is damaged: its contents do not match its SHA-256")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its record is not JSON ({error})") from None
    if not isinstance(record, dict) or not record.keys() >= {"format", "nplenet", "model"}:
        raise CheckpointError(f"{path}: its record is not a checkpoint's")
    if record["format"] != FORMAT:
        writer = record["nplenet"] if isinstance(record["nplenet"], str) else "of no version"
        raise CheckpointError(
            f"{path} has format {shown(record['format'])}, written by nplenet "
            f"{printable(writer, 60)}; this version reads format {FORMAT}"
        )
    try:
        check_record(record, tensors)
    except ValueError as error:
        raise CheckpointError(f"{path}: in its record {error}") from None
    return Checkpoint(path, tensors, record)


def _refuse_pytorch(path: Path) -> None:
    """Refuse a zip archive or a pickle, whatever its name, with the way to read it."""
    with open_regular(path) as file:
        start = file.read(4)
    if start == b"PK\3\4" and path.suffix.lower() == ".npz":
        raise CheckpointError(
            f"{path} is an .npz file of NumPy, not a model of nplenet: "
            "model.load_state_dict(dict(np.load(path))) loads it, if its names are the model's"
        )
    if start == b"PK\3\4" or start[:1] == b"\x80":
        raise CheckpointError(
            f"{path} is a file of PyTorch, not a model of nplenet; type first: "
            f"{_line_to_import(path)}"
        )


def is_checkpoint(path: Path) -> bool:
    """Say whether a file is a model or a checkpoint of nplenet, by its header alone."""
    try:
        with open_regular(path), safetensors.safe_open(path, framework="numpy") as file:
            return KEY in (file.metadata() or {})
    except safetensors.SafetensorError:
        return False


def _line_to_import(path: Path) -> str:
    """Return the command that makes a model of weights by PyTorch."""
    import shlex

    output = path.with_name(f"{path.stem}-nplenet.safetensors")
    words = ["nplenet", "import", str(path), "--like", "lenet5", "--output", str(output)]
    return shlex.join(words)


def _digest(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
