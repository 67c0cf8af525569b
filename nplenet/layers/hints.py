"""The cure for an input that a layer can't take, in the words of its error."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..attributes import is_ours
from ..checks import is_masked
from ..parameter import FLOAT_CHARS, Parameter

Layer = Any  # nplenet.layers.Layer, whose module imports this one


def array_in_words(x: object) -> str:
    """Return what was given in place of an array, or its library, dtype and shape."""
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if shape is None:
        return "None" if x is None else type(x).__name__
    library = "masked" if is_masked(x) else type(x).__module__.split(".")[0]
    return f"{library} {dtype} of shape {tuple(shape)}"


def returned(layer: Layer, array: Any, method: str, shape: tuple[int, ...] | None = None) -> Any:
    """Return what a layer's forward or backward made; what is not an array is a TypeError.

    Another shape than ``shape``, that of its ``output_shape`` or of its input, is a ValueError.
    """
    if array is None:
        end = "return self.remember(y, ...)" if method == "forward" else "return dx"
        raise TypeError(f"{layer._label}: its {method} returned None; end it with `{end}`")
    if not hasattr(array, "shape"):
        alone = "; add the gradients of parameters to their .grad" if method == "backward" else ""
        raise TypeError(
            f"{layer._label}: its {method} returned a {type(array).__name__}, not one array{alone}"
        )
    if shape is not None and array.shape != shape:
        source = "its output_shape says" if method == "forward" else "its input had"
        raise ValueError(
            f"{layer._label}: its {method} returned {array_in_words(array)}, {source} {shape}"
        )
    return array


def floats_returned(
    layer: Layer, array: Any, method: str, shape: tuple[int, ...] | None = None
) -> Any:
    """Do what ``returned`` does, and refuse what the next layer of a chain would refuse.

    For callers that copy the result: the copy would round it, or lose the mask.
    """
    returned(layer, array, method, shape)
    if not layer.backend.owns(array) or array.dtype.char not in FLOAT_CHARS:
        raise TypeError(
            f"{layer._label}: its {method} returned {array_in_words(array)}, expected an array "
            f"of float32 or float64 on the {layer.backend.name} backend"
        )
    return array


def other_kind(x: object, backend: str) -> str:
    """Return how to convert ``x`` to an array of ``backend``."""
    if isinstance(x, (list, tuple, int, float)) and backend == "numpy":
        return "make it an array: numpy.asarray(x, 'float32')"
    if isinstance(x, (list, tuple, int, float)):
        return f"make it an array: get_backend({backend!r}).asarray(x, 'float32')"
    if is_masked(x):
        return "give what is masked a value: x.filled(0)"
    if type(x).__module__.partition(".")[0] == "torch":
        return "pass x.numpy(), an array"
    return f"move the data with get_backend({backend!r}).asarray(x), or the layer with .to(...)"


def other_dtype(dtype: Any) -> str:
    """Return how to make floats of an array of another dtype."""
    if dtype == np.uint8:
        return "turn images into floats with nplenet.augment.ToFloat"
    if dtype.kind in "iu":
        return "convert it: x.astype('float32'), and divide pixels of 0 to 255 by 255"
    if dtype.kind in "bf":
        return "convert it: x.astype('float32')"
    return "make it an array of numbers"


def missing_axis(ranks: tuple[int, ...], channels: int | None, shape: tuple[int, ...]) -> str:
    """Return how an input with the wrong number of axes gets the right one; "" if unknown."""
    one = f"; the batch axis is missing: x[None], of shape {(1, *shape)}"
    if 4 in ranks and len(shape) == 3:
        n, *size = shape
        if channels == n:
            return one
        if channels == 1:
            return f"; the channel axis is missing: x[:, None], of shape {(n, 1, *size)}"
        return "; the axes are (N, C, H, W)"
    if 4 in ranks and len(shape) == 2 and channels in (1, None):
        return f"; make an image a batch: x[None, None], of shape {(1, 1, *shape)}"
    if 2 in ranks and len(shape) == 1:
        return one
    if ranks == (2,) and len(shape) > 2:
        return "; put Flatten() before this layer"
    return ""


def other_channels(channels: int, shape: tuple[int, ...]) -> str:
    """Return what to do with an input of another size on axis 1."""
    if len(shape) == 4 and shape[3] == channels:
        return "; if the channels are last, pass x.transpose(0, 3, 1, 2)"
    return f"; if this input is right, make the layer with {shape[1]} in place of {channels}"


def warn_of_float64(layer: Layer) -> None:
    """Warn of a float64 input before float32 weights: all that follows becomes float64."""
    if any(p.data.dtype.char == "f" for p in layer._held(Parameter).values()):
        warnings.warn(
            "a float64 input before float32 weights makes all that follows float64, at half the "
            "speed: pass x.astype('float32'), or use model.astype('float64')",
            stacklevel=2,  # of one place, so that it comes once
        )


def buffers_of(layer: Layer) -> dict[str, Any]:
    """Return the arrays that a layer names in ``buffers``, without those of its sub-layers.

    A number there would be saved, and no file could bring it back.
    """
    found = {name: getattr(layer, name) for name in layer.buffers}
    for name, array in found.items():
        if not hasattr(array, "dtype"):
            raise TypeError(
                f"{layer._label}: its buffer {name} must be an array, got {array_in_words(array)}; "
                "one that holds a number is numpy.zeros(())"
            )
    return found


def warn_of_plain_arrays(model: Layer) -> None:
    """Warn of arrays in layers of your own that are neither trained nor saved."""
    for path, layer in model.modules():
        if is_ours(type(layer)):
            continue
        for name, value in vars(layer).items():
            plain = getattr(getattr(value, "dtype", None), "kind", "") == "f" and value.shape
            if plain and not name.startswith("_") and name not in layer.buffers:
                warnings.warn(
                    f"{path}{name} of {type(layer).__name__} is a plain array, neither trained nor "
                    "saved: make it a Parameter, name it in `buffers` to save it, or begin its "
                    "name with _",
                    stacklevel=2,
                )
