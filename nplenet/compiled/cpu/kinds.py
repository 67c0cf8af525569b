"""Which kind of workers a program may have: ``NPLENET_WORKERS``, the system, the Python."""

from __future__ import annotations

import os
import sys

VARIABLE = "NPLENET_WORKERS"


def wanted() -> str:
    """Return what ``NPLENET_WORKERS`` asks for; an empty string if the choice is free.

    Raises
    ------
    ValueError
        When it is something else.
    """
    kind = os.environ.get(VARIABLE, "")
    if kind not in ("", "processes", "threads"):
        raise ValueError(f"{VARIABLE} is {kind!r}, expected 'processes' or 'threads'")
    return kind


def has_lock() -> bool:
    """Say whether only one thread at a time runs Python code, as in any Python but 3.13t, 3.14t ...

    There, too, it may: an extension module that is not made for it brings the lock back.
    """
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def why_threads() -> str:
    """Return why this program has threads and never processes; an empty string if it may."""
    if wanted() == "threads":
        return f"{VARIABLE}=threads"
    if sys.platform != "linux":
        return f"processes share a step on Linux only, not on {sys.platform}"
    if not has_lock() and wanted() != "processes":
        return "this Python has no lock"
    return ""
