"""A model that normalises its pixels, as one whose first layer does: the page computes it."""

from __future__ import annotations

import numpy as np

from ..augment import Normalize, described
from ..layers import BatchNorm2d, Layer, Sequential
from ..layers.sequential import is_chain

NAME = "normalise"
EPS = 1e-12  # added to the variance: far below a rounding in float32


def normalised(model: Layer) -> Layer:
    """Return the model behind a layer that does what its ``preprocessing`` does.

    ``Normalize(mean, std)`` is a batch norm of these statistics in eval mode. The layers are the
    model's own; it is not changed. A model without ``Normalize`` is returned as it is.

    Raises
    ------
    ValueError
        When the preprocessing is a transform of one's own, which the page can't compute.
    """
    if model.preprocessing is None:
        return model
    parts = described(model.preprocessing)
    if parts is None:
        raise ValueError(
            "the page gives a model pixels from 0 to 1; this one was trained with a transform that "
            f"the page does not compute, {model.preprocessing!r}"
        )
    norms = [Normalize(part["mean"], part["std"]) for part in parts if part["type"] == "Normalize"]
    if not norms:
        return model
    layers: dict[str, Layer] = {}
    for k, norm in enumerate(norms):
        mean, std = norm.per_channel(1, np.float64)
        layer = BatchNorm2d(1, eps=EPS)
        layer.load_state_dict(layer.state_dict() | {"running_mean": mean, "running_var": std**2})
        layers[NAME + "_" * k] = layer.eval()
    inner = model.children() if is_chain(model) else {"model": model}
    while layers.keys() & inner.keys():  # a name is the user's own
        layers = {f"{name}_": layer for name, layer in layers.items()}
    chain = Sequential(**layers, **inner)
    chain.pictures = model.pictures
    return chain
