"""Make Jupyter notebooks of the book's chapters, without solutions: an empty cell stands for each.

    python tools/make_notebooks.py notebooks
    python tools/make_notebooks.py notebooks --solved    # with the solutions put in

Beside the notebooks it writes what their cells import (``pictures.py``, ``exercises.py``) and
``solutions/``, a file for each chapter. The folder should lie in the checkout, because the chapters
on GPUs read ``../kernels`` and ``../tests``. Needs no package but Python.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
HELPERS = ("pictures.py", "exercises.py")
EMPTY = "# Your answer:\n"
BLOCK = re.compile(r"^```\{([\w-]+)\}(?: (\S+))?\n(.*?)^```\n", re.M | re.S)
OPTIONS = re.compile(r"---\n(.*?)^---\n|((?::[\w-]+:[^\n]*\n)*)", re.M | re.S)


class Piece(NamedTuple):
    """A piece of a chapter: text, or code with the tags of its cell."""

    kind: str  # markdown or code
    source: str
    tags: tuple[str, ...] = ()
    alt: str = ""  # of the picture that the cell draws

    @property
    def solution(self) -> bool:
        return "solution" in self.tags


def chapters() -> list[str]:
    """Return the names of the chapters in the order of the table of contents."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    contents = index.split(":caption: Chapters\n")[1].split("```")[0]
    return contents.split()


def file_name(chapter: str) -> str:
    """Return the name of a chapter's notebook, which begins with its number."""
    return f"{chapters().index(chapter) + 1:02d}-{chapter}.ipynb"


def pieces(chapter: str) -> list[Piece]:
    """Return the text and cells of a chapter in order, without what only the build needs."""
    text = (DOCS / f"{chapter}.md").read_text(encoding="utf-8")
    text = text.split("\n---\n", 1)[1]  # behind the front matter
    found, end = [], 0
    for block in BLOCK.finditer(text):
        found.append(Piece("markdown", text[end : block.start()]))
        end = block.end()
        kind, argument, content = block.groups()
        options = OPTIONS.match(content)
        assert options is not None
        head, body = options[0], content[options.end() :]
        if kind == "code-cell":
            tags = re.findall(r"[\w-]+", "".join(re.findall(r"tags: \[(.*)\]", head)))
            if "Show a solution" in head:
                tags.append("solution")
            if "remove-cell" not in tags:
                alt = re.search(r"alt: (.*?)\n(?!      )", head, re.S)
                words = " ".join(alt[1].split()) if alt else ""
                found.append(Piece("code", body, tuple(tags), words))
        elif kind == "literalinclude":
            source = excerpt(DOCS / argument, dict(re.findall(r"^:([\w-]+): (.*)$", head, re.M)))
            found.append(Piece("markdown", f"```python\n{source}\n```\n"))
        else:
            raise ValueError(f"{chapter}: a notebook can't show the directive {kind}")
    return [*found, Piece("markdown", text[end:])]


def excerpt(file: Path, options: dict[str, str]) -> str:
    """Return the lines of a source file that a literalinclude shows."""
    text = file.read_text(encoding="utf-8")
    if "pyobject" not in options:
        begin = text.index(options["start-at"]) if "start-at" in options else 0
        end = text.index(options["end-before"]) if "end-before" in options else len(text)
        if "start-after" in options:
            begin = text.index("\n", text.index(options["start-after"])) + 1
        if "end-at" in options:
            end = text.index("\n", text.index(options["end-at"], begin))
        return text[begin:end].strip("\n")
    nodes: list[Any] = [ast.parse(text)]
    for name in options["pyobject"].split("."):
        nodes = [n for node in nodes for n in node.body if getattr(n, "name", None) == name]
    lines = text.splitlines()
    first = min([nodes[0].lineno, *(d.lineno for d in nodes[0].decorator_list)])
    return "\n".join(lines[first - 1 : nodes[0].end_lineno])


def as_markdown(text: str) -> str:
    """Return the text of a page for a notebook: links lead to notebooks, labels are left out."""
    text = re.sub(r"^\([\w-]+\)=\n", "", text, flags=re.M)
    text = re.sub(r"\]\(([\w-]+)\.md(#[\w-]+)?\)", link, text)
    return text.strip("\n")


def link(match: re.Match[str]) -> str:
    if match[1] == "index":
        return "](README.md)"
    return f"]({file_name(match[1])})"


def notebook(chapter: str, solved: bool) -> dict[str, Any]:
    """Return a chapter in Jupyter's format 4.5."""
    cells: list[dict[str, Any]] = []
    for piece in pieces(chapter):
        source = (
            as_markdown(piece.source) if piece.kind == "markdown" else piece.source.rstrip("\n")
        )
        if not source:
            continue
        if piece.solution and not solved:
            source = EMPTY
        last = cells[-1] if cells else None
        if last and piece.kind == last["cell_type"] == "markdown":
            last["source"] += "\n\n" + source
            continue
        cell: dict[str, Any] = {"cell_type": piece.kind, "id": f"{chapter}-{len(cells)}"}
        cell["metadata"] = {"tags": list(piece.tags)} if piece.tags else {}
        if "hide-input" in piece.tags and not piece.solution:
            cell["metadata"]["jupyter"] = {"source_hidden": True}
        if "check" in piece.tags:  # so that "Run All Cells" passes an exercise that is not done yet
            cell["metadata"]["tags"].append("raises-exception")
        if piece.kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append({**cell, "source": source})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def solutions(chapter: str) -> str:
    """Return a Python file with the solution of each exercise under its heading."""
    parts, heading = [f'"""Solutions to the exercises of the chapter {chapter}."""\n'], ""
    for piece in pieces(chapter):
        headings = re.findall(r"^### (Exercise .*)$", piece.source, re.M)
        heading = headings[-1] if piece.kind == "markdown" and headings else heading
        if piece.solution:
            parts.append(f"# {heading}\n\n{piece.source}")
    return "\n".join(parts)


def readme() -> str:
    """Return the page that names the notebooks."""
    lines = ["# nplenet: the book as notebooks", ""]
    for chapter in chapters():
        title = re.search(r"^# (.*)$", (DOCS / f"{chapter}.md").read_text(encoding="utf-8"), re.M)
        assert title is not None
        lines.append(f"- [{title[1]}]({file_name(chapter)})")
    lines += [
        "",
        "Run the cells from the top. Where an exercise asks for something, write it into the empty",
        "cell and run the check below it: it prints `Right.`, or says what is wrong.",
        "Solutions are in the folder [solutions](solutions).",
    ]
    return "\n".join(lines) + "\n"


def write(folder: Path, solved: bool = False) -> None:
    """Write all notebooks, what they import, and the solutions."""
    (folder / "solutions").mkdir(parents=True, exist_ok=True)
    for chapter in chapters():
        text = json.dumps(notebook(chapter, solved), indent=1, ensure_ascii=False)
        (folder / file_name(chapter)).write_text(text + "\n", encoding="utf-8")
        file = folder / "solutions" / f"{Path(file_name(chapter)).stem}.py"
        file.write_text(solutions(chapter), encoding="utf-8")
    for helper in HELPERS:
        shutil.copy(DOCS / helper, folder)
    (folder / "README.md").write_text(readme(), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="make notebooks of the book's chapters")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--solved", action="store_true", help="put the solutions in")
    arguments = parser.parse_args()
    write(arguments.folder, arguments.solved)
    print(f"{len(chapters())} notebooks in {arguments.folder}")


if __name__ == "__main__":
    main()
