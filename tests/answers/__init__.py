"""Answers that readers give to the book's exercises, one module per chapter.

Those in ``WRONG`` must fail with a reason; those in ``RIGHT`` must pass, unlike the solution as
they are.
"""

from __future__ import annotations

from importlib import import_module

from chapters import CHAPTERS, exercises

from .chapter import Answer

_CHAPTERS = [
    import_module(f".{path.stem.replace('-', '_')}", __name__).chapter
    for path in CHAPTERS
    if exercises(path)
]
RIGHT: list[Answer] = [answer for chapter in _CHAPTERS for answer in chapter.rights]
WRONG: list[Answer] = [answer for chapter in _CHAPTERS for answer in chapter.wrongs]
