"""What a student gets: the file with blanks, a notebook around it, and the instructions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import atomic_write
from .assignment import Assignment, find
from .source import key

IN_BROWSER = sys.platform == "emscripten"
GRADE = """\
from nplenet.lab import grade

for result in grade("{file}"):
    print(result)
"""


def start(
    names: Sequence[str], folder: str | os.PathLike[str], *, solved: bool = False
) -> list[Path]:
    """Write the files of assignments into a folder and return their paths.

    Parameters
    ----------
    names : sequence of str
        Names of ``ASSIGNMENTS``.
    folder : path
        Made if it is missing.
    solved : bool
        Write the key in place of the skeleton; in the source tree only.

    Raises
    ------
    FileExistsError
        When one of the files is there; nothing is written then.
    FileNotFoundError
        When the key is asked for outside of the source tree.
    """
    home = Path(folder)
    texts: dict[Path, str] = {}
    for name in names:
        assignment = find(name)
        code = key(assignment.file) if solved else assignment.skeleton
        texts[home / assignment.file] = code
        texts[home / f"{name}.md"] = instructions(assignment)
        texts[home / f"{name}.ipynb"] = json.dumps(notebook(assignment, code), indent=1) + "\n"
    if there := [path for path in texts if path.exists()]:
        raise FileExistsError(f"{there[0]} exists and is not overwritten; name another folder")
    home.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        with atomic_write(path) as file:
            file.write(text.encode())
    return list(texts)


def instructions(assignment: Assignment) -> str:
    """Return the instructions, with the table of points and how to be graded."""
    rows = [f"| {part.name} | {part.points} |" for part in assignment.parts]
    command = f"nplenet lab grade {assignment.file}"
    lines = [
        f"# {assignment.title}",
        "",
        assignment.instructions.rstrip(),
        "",
        "| part | points |",
        "|---|---|",
        *rows,
        "",
        f"Fill the blanks of `{assignment.file}`, each of which begins with `Your code:`. Then run",
        "",
        f"    {command}",
        "",
        "which says what is right and what is wrong. "
        + (
            "NumPy is all you need, and all you may use: a layer of nplenet or of another library "
            "is not an answer. What a function is given, leave as it is: work on copies. "
            if assignment.file.endswith(".py")
            else ""
        )
        + f"Each part may take {assignment.seconds:g} seconds.",
        "",
        f"The chapter of the book: `docs/{assignment.chapter}.md`."
        + (
            " What `remember`, `recall`, `.data` and `.grad` are: `docs/arrays.md`."
            if "Layer" in assignment.skeleton
            else ""
        ),
        "",
    ]
    return "\n".join(lines)


def notebook(assignment: Assignment, code: str) -> dict[str, Any]:
    """Return a notebook (nbformat 4.5) that writes the file and grades it.

    In the browser each notebook starts with nothing installed, so its first cell installs nplenet.
    """
    save = f"Run the next cell after each change: it saves your answer as `{assignment.file}`."
    install = [cell("install", "%pip install -q nplenet", code=True)] if IN_BROWSER else []
    cells = [
        *install,
        cell("instructions", instructions(assignment)),
        cell("save", save),
        cell("answer", f"%%writefile {assignment.file}\n{code}", code=True),
        cell("grade", GRADE.format(file=assignment.file), code=True),
        cell("try", "# Try things out here; this cell is not graded.\n", code=True),
    ]
    return {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def cell(name: str, text: str, *, code: bool = False) -> dict[str, Any]:
    """Return a cell of Markdown or of code."""
    made: dict[str, Any] = {
        "cell_type": "code" if code else "markdown",
        "id": name,
        "metadata": {},
        "source": text.rstrip("\n").splitlines(keepends=True),
    }
    return {**made, "execution_count": None, "outputs": []} if code else made
