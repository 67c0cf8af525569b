"""Parameters that layers share: noted by their paths in a file, and shared again when it is read.

A file holds the values of such a parameter under each of its paths, as a ``state_dict`` does:

    second.weight = first.weight        ->        {"1.weight": "0.weight"}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from .layers import Layer, Parameter

Place = tuple[Layer, str, Parameter]


def ties(model: Layer) -> dict[str, str]:
    """Return the further paths of each parameter that layers share, with its first path."""
    first: dict[int, str] = {}
    return {
        path: first[id(parameter)]
        for path, (_, _, parameter) in _places(model)
        if first.setdefault(id(parameter), path) != path
    }


def tie(model: Layer, noted: Mapping[str, str]) -> None:
    """Let the layers of ``model``, which has its weights, share parameters as ``ties`` noted them.

    Raises
    ------
    ValueError
        When a path is not the path of a parameter, or two parameters differ, as in a file that was
        forged; the message names them.
    """
    places = dict(_places(model))
    for path, first in noted.items():
        if path not in places or first not in places or first in noted:
            raise ValueError(f"{path} can't be {first}: the model has no such shared parameter")
        (layer, name, own), (_, _, shared) = places[path], places[first]
        if own is shared:
            continue
        if vars(layer).get(name) is not own:
            raise ValueError(f"{path} is shared, so it must be an attribute, not lie in a list")
        if not np.array_equal(own.data, shared.data, equal_nan=True):
            raise ValueError(f"{path} and {first} are one parameter, but their weights differ")
        setattr(layer, name, shared)


def _places(model: Layer) -> Iterator[tuple[str, Place]]:
    """Yield the path of each parameter, with the layer that holds it and its name there."""
    for path, layer in model.modules():
        for name, parameter in layer._held(Parameter).items():
            yield path + name, (layer, name, parameter)
