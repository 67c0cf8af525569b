"""The chapters of the book as text: their fenced blocks, cells and exercises. Needs no Sphinx."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
CHAPTERS = [page for page in PAGES if "file_format: mystnb" in page.read_text(encoding="utf-8")]
SIMULATED = ("gpusim", "cupy")  # modules that only the exercises on kernels need


class Block(NamedTuple):
    """A fenced block: what stands behind the fence, its options as text, and its body."""

    head: str
    options: str
    body: str


class Exercise(NamedTuple):
    """An exercise of a chapter: its number, the solution's code and the check's."""

    number: int
    solution: str
    check: str


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found = []
    for head, content in re.findall(r"^```(\S.*?)\n(.*?)^```$", text, re.M | re.S):
        fields = re.match(r"---\n(.*?)^---\n|((?::[\w-]+:[^\n]*\n)*)", content, re.M | re.S)
        assert fields is not None
        options = fields[1] or fields[2] or ""
        found.append(Block(head, options, content[fields.end() :]))
    return found


def cells(text: str) -> list[Block]:
    return [block for block in blocks(text) if block.head == "{code-cell}"]


def sections(chapter: Path) -> list[str]:
    """Return the text of each exercise of a chapter, from its heading on."""
    parts = re.split(r"^#{2,3} ", chapter.read_text(encoding="utf-8"), flags=re.M)
    return [part for part in parts if part.startswith("Exercise ")]


def exercises(chapter: Path) -> list[Exercise]:
    found = []
    for number, section in enumerate(sections(chapter), start=1):
        *_, solution, check = cells(section)
        found.append(Exercise(number, solution.body, check.body))
    return found


def definitions(chapter: Path, number: int, also: str = "") -> dict[str, Any]:
    """Return a namespace with what an exercise may use of its chapter.

    These are the imports, the functions and classes, and the constants in capitals of all cells
    but those of exercises; and of the exercise itself what stands before its solution.
    """
    whole = chapter.read_text(encoding="utf-8")
    before = cells(whole.split("\n## Exercises\n")[0]) + cells(sections(chapter)[number - 1])[:-2]
    namespace: dict[str, Any] = {"__name__": "chapter"}
    for cell in before:
        for node in ast.parse(cell.body).body:
            source = ast.unparse(node)
            if any(name in source and name not in also for name in SIMULATED):
                continue
            constant = (
                isinstance(node, ast.Assign)
                and "rng" not in source
                and all(
                    isinstance(target, ast.Name) and target.id.isupper()
                    for each in node.targets
                    for target in (each.elts if isinstance(each, ast.Tuple) else [each])
                )
            )
            kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
            if isinstance(node, kinds) or constant:
                run(source, namespace, f"{chapter.stem}")
    return namespace


def run(code: str, namespace: dict[str, Any], name: str) -> None:
    """Run code of the book, whose helpers lie in its folder."""
    if str(DOCS) not in sys.path:
        sys.path.insert(0, str(DOCS))
    exec(compile(code, name, "exec"), namespace)
