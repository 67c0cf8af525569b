"""The schema of a JSON file: which fields it has, and the type and the limits of each.

A file may be a stranger's, and its digest says nothing about its sense. A form is a function that
takes a value and the name of its field, and raises a ValueError that names the field:

    EPOCH = fields({"epoch": whole(1), "seconds": real(0)})
    EPOCH({"epoch": 1, "seconds": "x"}, "epochs[0]")
        ValueError: epochs[0].seconds must be a number of at least 0, got 'x'

A value that passes has exactly the types that ``json.loads`` returns: an integer is never a bool.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .terminal import printable

Form = Callable[[Any, str], None]

MAX_DEPTH = 100  # of nested lists and objects: far below the depth at which Python gives up
MAX_WHOLE = 2**63 - 1
MAX_TEXT = 10_000  # characters


def shown(value: Any) -> str:
    """Return a value as the message of an error shows it."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and abs(value) > MAX_WHOLE:
        return f"an integer of {value.bit_length()} bits"
    return "null" if value is None else printable(repr(value), 60)


def _expect(right: bool, name: str, expected: str, value: Any) -> None:
    if not right:
        raise ValueError(f"{name or 'it'} must be {expected}, got {shown(value)}")


def whole(low: int = 0, high: int = MAX_WHOLE) -> Form:
    """Return the form of an integer from ``low`` to ``high``."""

    def check(value: Any, name: str) -> None:
        limits = f"of at least {low}" if high == MAX_WHOLE else f"from {low} to {high}"
        _expect(type(value) is int and low <= value <= high, name, f"an integer {limits}", value)

    return check


def real(low: float = -math.inf, high: float = math.inf, *, finite: bool = True) -> Form:
    """Return the form of a number from ``low`` to ``high``; unless ``finite``, NaN passes too."""
    limits = "" if low == -math.inf else f" of at least {low:g}"
    limits = limits if high == math.inf else f" from {low:g} to {high:g}"

    def check(value: Any, name: str) -> None:
        right = type(value) in (int, float)
        if right and finite:
            right = abs(value) < 1e300 and low <= value <= high
        elif right and type(value) is int:
            right = abs(value) < 1e300
        _expect(right, name, f"a number{limits}", value)

    return check


def text(value: Any, name: str) -> None:
    """Check a text."""
    right = isinstance(value, str) and len(value) <= MAX_TEXT
    _expect(right, name, f"a text of at most {MAX_TEXT} characters", value)


def flag(value: Any, name: str) -> None:
    """Check a boolean."""
    _expect(isinstance(value, bool), name, "true or false", value)


def choice(*values: str) -> Form:
    """Return the form of a text that is one of ``values``."""

    def check(value: Any, name: str) -> None:
        _expect(isinstance(value, str) and value in values, name, f"one of {values}", value)

    return check


def plain(value: Any, name: str) -> None:
    """Check any value of JSON, nested at most ``MAX_DEPTH`` deep."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError(f"{name or 'it'} is nested more than {MAX_DEPTH} deep")
        containers = [v for v in level if isinstance(v, (list, dict))]
        level = [v for c in containers for v in (c.values() if isinstance(c, dict) else c)]
        depth += 1


def optional(form: Form) -> Form:
    """Return a form that null passes too."""

    def check(value: Any, name: str) -> None:
        if value is not None:
            form(value, name)

    return check


def listing(form: Form, minimum: int = 0) -> Form:
    """Return the form of a list."""

    def check(value: Any, name: str) -> None:
        right = isinstance(value, list) and len(value) >= minimum
        _expect(
            right, name, f"a list of at least {minimum} entries" if minimum else "a list", value
        )
        for i, entry in enumerate(value):
            form(entry, f"{name}[{i}]")

    return check


def mapping(form: Form) -> Form:
    """Return the form of an object whose names are free."""

    def check(value: Any, name: str) -> None:
        _expect(isinstance(value, dict), name, "an object", value)
        for key, entry in value.items():
            form(entry, _inner(name, key))

    return check


def fields(
    required: Mapping[str, Form],
    more: Mapping[str, Form] | None = None,
    *,
    others: Form | None = None,
) -> Form:
    """Return the form of an object with fixed names.

    Parameters
    ----------
    required, more : mapping of str to form
        The fields that must be there, and those that may.
    others : form, optional
        Of every other field; None refuses other fields.
    """
    forms = {**(more or {}), **required}

    def check(value: Any, name: str) -> None:
        _expect(isinstance(value, dict), name, "an object", value)
        for key in required:
            if key not in value:
                raise ValueError(f"{name or 'it'} has no {key}")
        for key, entry in value.items():
            form = forms.get(key, others)
            if form is None:
                raise ValueError(f"{name or 'it'} has an unknown field {printable(key, 60)}")
            form(entry, _inner(name, key))

    return check


def _inner(name: str, key: str) -> str:
    return f"{name}.{printable(key, 60)}" if name else printable(key, 60)
