"""What an ONNX file says of its input: the graph begins with the model's preprocessing.

A model may have been trained on ``Normalize(mean, std)`` of its pixels. So that a program that runs
the file need not know it, the graph subtracts and divides first, and its input is pixels from 0 to
1. The names of the classes, and how pictures became images, stand in the metadata.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..augment import Normalize, described, in_words
from ..layers import Layer


def dtype_of(model: Layer) -> np.dtype:
    """Return the dtype of the parameters and buffers; float32 for a model without parameters."""
    floats = (a.dtype for a in model.state_dict().values() if a.dtype.kind == "f")
    dtypes = {dtype.newbyteorder("=") for dtype in floats}
    if len(dtypes) > 1:
        raise ValueError(
            "ONNX needs one dtype throughout, but this model's parameters are "
            f"{' and '.join(sorted(map(str, dtypes)))}; convert it with model.astype('float32')"
        )
    return dtypes.pop() if dtypes else np.dtype(np.float32)


def normalising(
    model: Layer, shape: tuple[int, ...], dtype: np.dtype
) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Return the operators, with their constants, that do what ``model.preprocessing`` does.

    Raises
    ------
    ValueError
        For a transform of your own, which ONNX has no operators for.
    """
    parts = described(model.preprocessing)
    if parts is None:
        raise ValueError(
            f"no ONNX operators do what the model's preprocessing does, {model.preprocessing!r}: "
            "export with preprocessing=False, and prepare x so in the program that runs the file"
        )
    operators = []
    for part in parts:
        if part["type"] == "Normalize":
            both = Normalize(part["mean"], part["std"]).per_channel(shape[1], dtype)
            mean, std = both.reshape(2, 1, -1, *(1,) * (len(shape) - 2))
            operators += [("Sub", {"mean": mean}), ("Div", {"std": std})]
    return operators


def metadata(model: Layer, preprocessing: bool) -> dict[str, str]:
    """Return what the file says beside the graph, in words and in JSON."""
    found: dict[str, Any] = {"input": sentence(model, preprocessing)}
    if model.preprocessing is not None:
        parts = described(model.preprocessing)
        found["preprocessing"] = {"in_graph": preprocessing, "parts": parts}
    if model.pictures is not None:
        found["pictures"] = model.pictures.as_record()
        if model.pictures.classes:
            found["classes"] = list(model.pictures.classes)
    return {key: v if isinstance(v, str) else json.dumps(v) for key, v in found.items()}


def sentence(model: Layer, preprocessing: bool) -> str:
    """Return what the input ``x`` holds, in words."""
    words = in_words(model.preprocessing)
    pixels, comma, normalised = words.partition(", ")
    if preprocessing and comma:
        return f"x: {pixels}; the graph normalises them: {normalised}"
    return f"x: {words}"
