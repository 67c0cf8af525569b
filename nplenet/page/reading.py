"""How a drawing or photo becomes the image that a model takes, as the model's file says it."""

from __future__ import annotations

from typing import Any

from ..augment import described
from ..layers import Layer


def reading_of(model: Layer, side: int) -> dict[str, Any]:
    """Return how a drawing becomes the model's image, as its file says: ``nplenet.data.Pictures``.

    Without such, the model takes digits in MNIST's form.
    """
    pictures = getattr(model, "pictures", None)
    kind = getattr(pictures, "kind", "digit")
    size = getattr(pictures, "size", None) or (side, side)
    mean, std = _normalization(model)
    form = (
        f"shrunk to {size[0]}x{size[1]}" if kind == "whole" else "scaled to 20 pixels and centred"
    )
    return {
        "kind": kind,
        "size": [min(side, length) for length in size],
        "polarity": getattr(pictures, "polarity", None),
        "mean": mean,
        "std": std,
        "seen": form,
    }


def _normalization(model: Layer) -> tuple[float, float]:
    """Return mean and std by which pixels of 0 ... 1 are normalised."""
    parts = described(model.preprocessing)
    if parts is None:
        raise ValueError(
            "the page gives a model pixels from 0 to 1, or normalised ones; this one takes "
            f"{model.preprocessing!r}"
        )
    mean, std = 0.0, 1.0
    for part in parts:
        if part["type"] == "Normalize":
            mean, std = mean + std * part["mean"][0], std * part["std"][0]
    return mean, std
