"""Random generators: one per purpose, all derived from one seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .checks import count
from .names import answer_wrong_names

__all__ = ["PURPOSES", "generator", "generator_state", "restore_generator"]
answer_wrong_names(__name__)

PURPOSES = ("init", "shuffle", "dropout", "augment", "split", "test")


def generator(seed: int | None, purpose: str) -> np.random.Generator:
    """Return the random generator for one purpose, derived from the seed of the run.

    Streams of different purposes are independent (``numpy.random.SeedSequence`` with a spawn key),
    so switching off dropout, say, does not change the order of the training images.

    Parameters
    ----------
    seed : int or None
        A non-negative integer; None takes fresh entropy from the operating system.
    purpose : str
        One of ``PURPOSES``.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"generator: purpose must be one of {PURPOSES}, got {purpose!r}")
    if seed is not None:
        count(seed, "generator: seed", 0)
    sequence = np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose),))
    return np.random.Generator(np.random.PCG64(sequence))


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """Return the state of a generator in plain values, ready for JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(inner) for name, inner in value.items()}
        return value.tolist() if isinstance(value, np.ndarray) else value

    state: dict[str, Any] = plain(rng.bit_generator.state)
    return state


def restore_generator(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Set ``rng`` to a ``state`` that ``generator_state`` returned.

    Raises
    ------
    ValueError
        When ``state`` is not the state of such a generator; ``rng`` is then unchanged.
    """
    kind = type(rng.bit_generator)
    try:
        probe: Any = kind()
        probe.state = state
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"not the state of a {kind.__name__} generator: {error}") from None
    rng.bit_generator.state = probe.state
