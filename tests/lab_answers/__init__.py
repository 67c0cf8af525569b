"""Answers to the assignments of the lab, one module each.

``WRONG`` holds likely mistakes: (text of the key, text in its place, the part that loses its
points, words of the sentence that must name the cause). ``RIGHT`` holds right but unusual answers
by title: text that stands behind the key and replaces its functions; in ``cuda`` the body of the
kernel.
"""

from __future__ import annotations

from importlib import import_module

from nplenet.lab import ASSIGNMENTS

_MODULES = {name: import_module(f".{name.replace('-', '_')}", __name__) for name in ASSIGNMENTS}
RIGHT: dict[str, dict[str, str]] = {name: module.RIGHT for name, module in _MODULES.items()}
WRONG: list[tuple[str, str, str, str, str]] = [
    (name, *entry) for name, module in _MODULES.items() for entry in module.WRONG
]
