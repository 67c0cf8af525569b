"""The parts of a transform that are not random: evaluation applies them as training did.

training      RandomRotation, RandomInvert, ToFloat, Normalize
evaluation                                  ToFloat, Normalize
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import Array
from .transforms import Compose, Normalize, ToFloat, Transform, flattened

CURE = (
    "pass validation_transform=, or set transform.random = True if it draws random numbers, which "
    "evaluation leaves out, or transform.random = False if it does not"
)


class UnknownPreprocessing:
    """Stands for a transform that a file cannot describe; a call raises a ValueError."""

    random = False

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return f"UnknownPreprocessing({self.why!r})"

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        raise ValueError(f"{self.why}; pass transform=, what the images get before the model")


def without_randomness(transform: Transform | None) -> Transform | None:
    """Return the parts of a transform that are not random; None if all are.

    Raises
    ------
    ValueError
        When a part is neither the library's nor has an attribute ``random``.
    """
    if transform is None:
        return None
    parts = flattened(transform)
    for part in parts:
        if not isinstance(getattr(part, "random", None), bool):
            raise ValueError(f"the transform {part!r} has no attribute random: {CURE}")
    kept = [part for part in parts if not part.random]
    return Compose(kept) if kept else None


def preprocessing(transform: Transform | None) -> Transform | None:
    """Return the parts of a transform that are not random; if unknown, one that raises later."""
    try:
        return without_randomness(transform)
    except ValueError:
        return UnknownPreprocessing(
            "the model was trained with a transform that does not say which of its parts are random"
        )


def floats(transform: Transform | None, images: Array) -> Array:
    """Return images as the model takes them: through the transform, bytes as 0 ... 1.

    Raises
    ------
    ValueError
        When the transform does not take such images.
    """
    try:
        found = images if transform is None else transform(images, None)
    except TypeError as error:
        raise ValueError(f"the model's preprocessing refuses these images: {error}") from error
    return ToFloat()(found) if found.dtype == np.uint8 else found


def described(transform: Transform | None) -> list[dict[str, Any]] | None:
    """Return a preprocessing in plain values; None if it is not all the library's."""
    found: list[dict[str, Any]] = []
    for part in [] if transform is None else flattened(transform):
        if type(part) is ToFloat:
            found.append({"type": "ToFloat", "dtype": part.dtype.name})
        elif type(part) is Normalize:
            found.append({"type": "Normalize", "mean": [*part.mean], "std": [*part.std]})
        else:
            return None
    return found


def in_words(transform: Transform | None) -> str:
    """Return what a preprocessing makes of an image, in words: what the layers take."""
    parts = described(transform)
    if parts is None:
        return f"what a transform that no file can hold makes of them, {transform!r}"
    words = "pixels from 0 to 1"
    for part in parts:
        if part["type"] == "Normalize":
            mean, std = (" ".join(f"{n:g}" for n in part[key]) for key in ("mean", "std"))
            words += f", minus {mean}, divided by {std}"
    return words


def from_description(parts: Sequence[Mapping[str, Any]]) -> Transform | None:
    """Return the preprocessing that ``described`` has described.

    Raises
    ------
    TypeError, ValueError, KeyError
        When it is none.
    """
    kinds: dict[Any, Any] = {"ToFloat": ToFloat, "Normalize": Normalize}
    made = []
    for part in parts:
        arguments = dict(part)
        made.append(kinds[arguments.pop("type")](**arguments))
    return Compose(made) if made else None
