"""What a loss says to mistakes that would otherwise pass without a word, or without the cure."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .backend import Array


def one_hot_hint(targets: Any, shape: tuple[int, ...]) -> str:
    """Return what to do with targets that have a column per class; "" for others."""
    if getattr(targets, "ndim", 0) != 2 or len(targets) != shape[0]:
        return ""
    if targets.shape[1] == 1:
        return "; pass targets[:, 0]"
    return "; for one-hot targets pass targets.argmax(axis=1)"


def warn_of_probabilities(logits: Array) -> None:
    """Warn where all rows look like the output of a softmax, which this loss has in itself."""
    inside = logits.shape[1] > 1 and logits.min() >= 0 and logits.max() < 1
    if inside and np.allclose(logits.sum(axis=1), 1, atol=1e-4):
        warnings.warn(
            "CrossEntropyLoss: the logits look like probabilities, and the loss has a softmax of "
            "its own: pass the output of the last layer before its softmax",
            stacklevel=5,
        )
