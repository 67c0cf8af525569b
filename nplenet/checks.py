"""One check for each kind of argument, with one wording."""

from __future__ import annotations

import operator

Pair = tuple[int, int]


def count(value: int, name: str, minimum: int = 1) -> int:
    """Return ``value`` as an int (NumPy's integers too) of at least ``minimum``.

    Raises
    ------
    TypeError
        When it is not an integer.
    ValueError
        When it is below ``minimum``.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, got {value!r}")
    number = operator.index(value)
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return number


def pair(value: int | Pair, name: str, minimum: int) -> Pair:
    """Return ``value`` as (height, width); an integer stands for both.

    Raises
    ------
    TypeError
        When ``value`` is neither an integer nor a pair of integers.
    ValueError
        When a number is below ``minimum``.
    """
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise TypeError(f"{name} must be an int or a pair (height, width) of ints, got {value!r}")
    return count(both[0], name, minimum), count(both[1], name, minimum)
