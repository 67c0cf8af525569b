"""The conditions by name: each is a function from a ``Hand`` to a ``Picture``."""

from __future__ import annotations

from collections.abc import Callable

from .pieces import Hand, Picture, Sheet

SCENES: dict[str, Callable[[Hand], Picture]] = {}
HELD_OUT: list[str] = []  # names of conditions that are looked at once, at the end
SEVERAL: list[str] = []  # names of conditions with several digits


def scene(make: Callable[[Hand], Picture]) -> Callable[[Hand], Picture]:
    SCENES[make.__name__] = make
    return make


def held_out(make: Callable[[Hand], Picture]) -> Callable[[Hand], Picture]:
    HELD_OUT.append(make.__name__)
    return scene(make)


def several(make: Callable[[Hand], Picture]) -> Callable[[Hand], Picture]:
    SEVERAL.append(make.__name__)
    return scene(make)


def spot(hand: Hand, reach: float = 60) -> tuple[float, float]:
    """Return x and y of a place at most ``reach`` pixels from the middle in each direction."""
    return hand.between(-reach, reach), hand.between(-reach, reach)


def lit(sheet: Sheet) -> Sheet:
    """Return the sheet in light that falls off to one side, a little or much."""
    return sheet.slope(sheet.hand.between(0.1, 0.5))
