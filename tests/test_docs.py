"""The book's text: what it includes exists, what it asks can be checked. Needs no Sphinx.

The build itself, which runs every cell, is `sphinx-build -W --keep-going docs docs/_build/html`.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from chapters import CHAPTERS, DOCS, PAGES, blocks, cells, sections

from nplenet import layers

REFERENCE = sorted((DOCS / "api").glob("*.md"))
DRAWS = re.compile(r"\b(pictures\.(matrices|images)|plt\.subplots|plots\.\w+)\(")

every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda page: page.stem)


def includes(page: Path) -> list[tuple[Path, dict[str, str]]]:
    """Return the file and the options of each literalinclude of a page."""
    prefix = "{literalinclude} "
    return [
        (
            (page.parent / block.head.removeprefix(prefix)).resolve(),
            dict(re.findall(r"^:([\w-]+): (.*)$", block.options, re.M)),
        )
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.head.startswith(prefix)
    ]


def names(file: Path) -> set[str]:
    """Return the functions and classes of a module, and the methods, as ``Class.method``."""
    found = set()
    kinds = (ast.FunctionDef, ast.ClassDef)
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, kinds):
            found.add(node.name)
            found |= {
                f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, kinds)
            }
    return found


# ------------------------------------------------------------------ chapters


def test_the_book_has_chapters() -> None:
    assert len(CHAPTERS) >= 13


@every_chapter
def test_a_chapter_is_in_the_table_of_contents_and_in_the_index(chapter: Path) -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    title = next(
        line for line in chapter.read_text(encoding="utf-8").splitlines() if line.startswith("# ")
    )
    assert f"[{title.removeprefix('# ')}]({chapter.name})" in index
    assert re.search(rf"^{chapter.stem}$", index, re.M)


@every_chapter
def test_a_chapter_ends_with_lines_of_the_library(chapter: Path) -> None:
    last = chapter.read_text(encoding="utf-8").split("\n## ")[-1]
    assert last.startswith("In the library\n")
    assert "```{literalinclude}" in last
    assert "```{code-cell}" not in last


@every_chapter
def test_what_a_chapter_includes_exists(chapter: Path) -> None:
    for file, options in includes(chapter):
        assert file.is_file(), file
        if "pyobject" in options:
            assert options["pyobject"] in names(file), f"{file.name} has no {options['pyobject']}"
            continue
        text, marks = file.read_text(encoding="utf-8"), []
        for option in ("start-at", "start-after", "end-at", "end-before"):
            if option in options:
                marks.append(text.find(options[option]))
        assert marks, f"{file.name} is included whole"
        assert min(marks) >= 0, f"{file.name} lacks a line that marks {options}"
        assert marks == sorted(marks)


@every_chapter
def test_every_exercise_has_a_solution_and_then_a_check(chapter: Path) -> None:
    assert sections(chapter)
    for number, exercise in enumerate(sections(chapter), start=1):
        assert exercise.startswith(f"Exercise {number}: ")
        *_, solution, check = cells(exercise)
        assert "hide-input" in solution.options
        assert "Show a solution" in solution.options
        assert "check" in check.options
        assert re.search(r"^    +exercises\.(same|true|gradients)\(", check.body, re.M)


@every_chapter
def test_the_code_of_a_chapter_parses(chapter: Path) -> None:
    for cell in cells(chapter.read_text(encoding="utf-8")):
        ast.parse(cell.body)


@every_chapter
def test_every_picture_says_in_words_what_it_shows(chapter: Path) -> None:
    for cell in cells(chapter.read_text(encoding="utf-8")):
        if DRAWS.search(cell.body):
            assert re.search(r"\balt: \S", cell.options), cell.body


# ------------------------------------------------------------------ reference and pages


@pytest.mark.parametrize("name", layers.__all__)
def test_every_layer_is_in_the_reference(name: str) -> None:
    text = (DOCS / "api" / "layers.md").read_text(encoding="utf-8")
    in_base = getattr(layers, name).__module__ == "nplenet.layers.base"
    assert in_base or f"autoclass:: nplenet.layers.{name}\n" in text


def test_every_module_of_the_reference_exists() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in REFERENCE)
    modules = re.findall(r"automodule:: (\S+)", text)
    assert len(modules) > 10
    for module in modules:
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("page", [*PAGES, *REFERENCE], ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([\w./-]+\.md)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file(), target


def test_nothing_on_a_page_comes_from_the_network() -> None:
    for file in [*PAGES, *REFERENCE, *(DOCS / "_static").glob("*.css"), DOCS / "conf.py"]:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(src=|url\(|!\[[^]]*\]\(|<link[^>]*)[\"']?(https?:)?//", text), file
        assert "intersphinx" not in text


def test_formulas_in_docstrings_stay_as_they_are_written() -> None:
    spec = importlib.util.spec_from_file_location("docs_conf", DOCS / "conf.py")
    assert spec is not None
    assert spec.loader is not None
    conf: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    lines = ["Do |it|.", "", "    y = |x|", "    z = 1", "", "Parameters", "----------", "x : int"]
    lines += ["    The input:", "", "        |x| > 0", "    y : int"]
    conf.keep_formulas(None, "function", "f", None, None, lines)
    expected = [r"Do \|it\|.", "", ".. code-block:: text", "", "    y = |x|", "    z = 1", ""]
    expected += ["Parameters", "----------", "x : int", "    The input:", ""]
    expected += ["    .. code-block:: text", "", "        |x| > 0", "    y : int"]
    assert lines == expected
