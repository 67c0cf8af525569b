"""What a model is made of, as plain values, and a model made from them.

A description is a dict ready for JSON: ``{"type": "Dense", "in_features": 400, ...}`` for a layer
of the library, ``{"type": "Sequential", "layers": {"0": {...}, "1": {...}}}`` for a chain. It holds
no weights and no code, so a file that carries one can be read without trust.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import layers
from .layers import Layer, Sequential
from .layers.sequential import is_chain

MOST_NESTED = 32
NOT_DESCRIBED = {"self", "dtype", "rng", "init"}  # the weights themselves tell

TYPES: dict[str, type[Layer]] = {
    name: kind
    for name, kind in vars(layers).items()
    if name in layers.__all__ and isinstance(kind, type) and issubclass(kind, Layer)
    if kind not in (Layer, Sequential)
}


def describe(model: Layer, path: str = "") -> dict[str, Any]:
    """Return the description of a model of the library's layers, chained by ``Sequential``.

    Raises
    ------
    TypeError
        Naming the layer that is not the library's, and its path.
    """
    if is_chain(model):
        children = {
            name: describe(layer, f"{path}{name}.") for name, layer in model.children().items()
        }
        return {"type": "Sequential", "layers": children}
    name = type(model).__name__
    if TYPES.get(name) is not type(model):
        raise TypeError(
            f"layer {path.rstrip('.') or 'at the top'} is a {name}, which is not one of the "
            "library's: only its weights can be saved, with state_dict()"
        )
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in model.arguments().items()}
    return {"type": name, **plain}


def build(description: Any, weights: Mapping[str, np.ndarray]) -> Layer:
    """Return a new model of the description, with these weights, in eval mode.

    Parameters
    ----------
    description : dict
        As ``describe`` returned it; it is checked, so it may come from any file.
    weights : mapping of str to array
        Its ``state_dict``. No layer is made larger than the weights that are there for it.

    Raises
    ------
    ValueError
        Naming what in the description is wrong, or does not fit the weights.
    """
    model = _build(description, weights, "")
    dtypes = {a.dtype for a in weights.values() if a.dtype.kind == "f"}
    if len(dtypes) == 1:
        model.astype(dtypes.pop())
    model.load_state_dict(weights)
    return model.eval()


def _build(description: Any, weights: Mapping[str, np.ndarray], path: str) -> Layer:
    where = path.rstrip(".") or "the model"
    if not isinstance(description, dict) or not isinstance(description.get("type"), str):
        raise ValueError(f"the description of {where} is not that of a layer")
    arguments = dict(description)
    kind = arguments.pop("type")
    if path.count(".") > MOST_NESTED:
        raise ValueError(f"the description nests more than {MOST_NESTED} chains")
    if kind == "Sequential":
        children = arguments.pop("layers", None)
        if arguments or not isinstance(children, dict):
            raise ValueError(f"the description of {where} is not that of a Sequential")
        return _chain({name: _build(c, weights, f"{path}{name}.") for name, c in children.items()})
    if kind not in TYPES:
        raise ValueError(f"{where} is of the unknown type {kind!r}")
    known = inspect.signature(TYPES[kind].__init__).parameters.keys() - NOT_DESCRIBED
    if not arguments.keys() <= known:
        raise ValueError(f"{where}: {kind} has no argument {sorted(arguments.keys() - known)}")
    _check_size(kind, arguments, weights, path)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        return TYPES[kind](**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _chain(children: dict[str, Layer]) -> Sequential:
    """Return a Sequential whose positional layers come first, as its constructor has them."""
    positional = [layer for i, (name, layer) in enumerate(children.items()) if name == str(i)]
    named = dict(list(children.items())[len(positional) :])
    return Sequential(*positional, **named)


def _check_size(
    kind: str, arguments: dict[str, Any], weights: Mapping[str, np.ndarray], path: str
) -> None:
    """Refuse a layer whose weight has not the shape that its arguments say."""
    if kind == "Conv2d":
        shape = [arguments.get("out_channels"), arguments.get("in_channels")]
        size = arguments.get("kernel_size")
        shape += size if isinstance(size, list) else [size, size]
    elif kind == "Dense":
        shape = [arguments.get("out_features"), arguments.get("in_features")]
    elif kind in ("BatchNorm1d", "BatchNorm2d"):
        shape = [arguments.get("num_features")]
    else:
        return
    found = weights.get(f"{path}weight")
    if found is None or list(found.shape) != shape:
        got = "none" if found is None else found.shape
        raise ValueError(f"{path}weight should have the shape {tuple(shape)}, there is {got}")
