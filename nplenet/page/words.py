"""The words of a page that depend on the names of the model's classes."""

from __future__ import annotations

from collections.abc import Sequence

DIGITS = tuple("0123456789")


def noun_of(classes: Sequence[str]) -> str:
    """Return what one draws: a digit, letter, character, or else a picture."""
    if set(classes) <= set(DIGITS):
        return "digit"
    if all(len(name) == 1 and name.isalpha() for name in classes):
        return "letter"
    if all(len(name) == 1 for name in classes):
        return "character"
    return "picture"


def about(numbers: int, classes: Sequence[str]) -> str:
    """Return a sentence about a model with this many learned numbers."""
    if tuple(classes) == DIGITS:
        return f"This one has {numbers:,} learned numbers."
    return f"This one has {numbers:,} learned numbers and tells {len(classes)} classes apart."
