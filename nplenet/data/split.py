"""The split into training and validation images, class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import checks


def train_validation_split(
    labels: npt.NDArray[np.integer[Any]], validation: int | float, rng: np.random.Generator | int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split a data set in two at random, with each class in the same proportion as in the whole.

    The classes share the validation count by the method of largest remainders, so its total is
    exact and no class is off its proportion by a whole sample.

    Parameters
    ----------
    labels
        Integers (N,).
    validation
        Samples to hold out: an int from 0 to N - 1, or a fraction of N, a float in (0, 1).
    rng
        Draws the split; the same generator state gives the same split.

    Returns
    -------
    train_indexes, validation_indexes : numpy.ndarray
        int64, each in ascending order; together they are every index from 0 to N - 1 once.

    Raises
    ------
    TypeError, ValueError
        When an argument is not as above.
    """
    labels = checks.labels(labels, "train_validation_split: labels")
    rng = checks.generator(rng, "train_validation_split: rng")
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
    name = "train_validation_split: validation"
    if isinstance(validation, (float, np.floating)):
        validation = round(checks.number(validation, name, "(0, 1)") * total)
    return checks.count(validation, name, 0, total - 1)
