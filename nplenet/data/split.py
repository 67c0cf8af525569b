"""Which images are held out for validation, class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def train_validation_split(
    labels: npt.NDArray[np.integer[Any]], validation: int | float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Part a data set in two at random, each class in the proportion it has in the whole.

    The classes share the validation count by the method of largest remainders, so its total is
    exact and no class is off its proportion by a whole sample.

    Parameters
    ----------
    labels
        Integers (N,).
    validation
        Samples to hold out: an int from 0 to N - 1, or a fraction of N, a float in (0, 1).
    rng
        Draws the samples; the same generator state gives the same split.

    Returns
    -------
    train_indexes, validation_indexes : numpy.ndarray
        int64, each in ascending order; together they are every index from 0 to N - 1 once.

    Raises
    ------
    TypeError, ValueError
        When an argument is not as above.
    """
    labels = checked_labels("train_validation_split", labels)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            "train_validation_split: rng must be a numpy.random.Generator, "
            f"got {type(rng).__name__}; make one with numpy.random.default_rng(seed)"
        )
    held_out = _held_out_count(validation, len(labels))
    classes, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quotas, remainders = np.divmod(counts * held_out, len(labels))
    missing = held_out - int(quotas.sum())
    quotas[np.argsort(-remainders, kind="stable")[:missing]] += 1

    in_validation = np.zeros(len(labels), bool)
    for index in range(len(classes)):
        members = np.flatnonzero(class_of == index)
        in_validation[rng.permutation(members)[: quotas[index]]] = True
    return np.flatnonzero(~in_validation), np.flatnonzero(in_validation)


def _held_out_count(validation: int | float, total: int) -> int:
    is_fraction = isinstance(validation, (float, np.floating))
    if isinstance(validation, bool) or not (
        is_fraction or isinstance(validation, (int, np.integer))
    ):
        raise TypeError(
            "train_validation_split: validation must be an int (a count) or a float (a fraction), "
            f"got {type(validation).__name__}"
        )
    if is_fraction and not 0 < validation < 1:
        raise ValueError(
            f"train_validation_split: a fraction must lie between 0 and 1, got {validation}; "
            "pass an int for a count"
        )
    count = round(float(validation) * total) if is_fraction else int(validation)
    if not 0 <= count < total:
        raise ValueError(
            f"train_validation_split: cannot hold out {count} of {total} samples; "
            f"expected 0 to {total - 1}"
        )
    return count


def checked_labels(who: str, labels: npt.ArrayLike) -> npt.NDArray[np.integer[Any]]:
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{who}: labels must have shape (N,) with N >= 1, got {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{who}: labels must be integers, got {array.dtype}")
    return array
