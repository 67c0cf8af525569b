"""The notebooks of the book: no solution in them, an empty cell for each, and checks that judge."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import chapters
import pytest

ROOT = Path(__file__).parents[1]
QUICK = ("first-network", "convolution")
RUN = """
import nbclient, nbformat, pathlib, sys
for name in sys.argv[1:]:
    file = pathlib.Path(name)
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    place = {"metadata": {"path": file.parent}}
    client = nbclient.NotebookClient(notebook, timeout=300, startup_timeout=300, resources=place)
    client.execute()
    nbformat.write(notebook, file)
"""


def load_tool() -> Any:
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools" / "make_notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


tool = load_tool()


def cells_of(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8"))["cells"]


def text_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def checks_of(file: Path) -> list[dict[str, Any]]:
    return [cell for cell in cells_of(file) if "check" in cell["metadata"].get("tags", ())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebooks")
    tool.write(folder)
    return folder


@pytest.mark.parametrize("chapter", chapters.CHAPTERS, ids=lambda page: page.stem)
def test_a_notebook_has_an_empty_cell_for_each_solution(folder: Path, chapter: Path) -> None:
    cells = cells_of(folder / tool.file_name(chapter.stem))
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    everything = "\n".join(map(text_of, cells))
    exercises = chapters.exercises(chapter)
    for cell, check in itertools.pairwise(code):
        if "check" in check["metadata"].get("tags", ()):
            assert text_of(cell) == tool.EMPTY
    assert sum(text_of(cell) == tool.EMPTY for cell in code) == len(exercises)
    solutions = folder / "solutions" / f"{Path(tool.file_name(chapter.stem)).stem}.py"
    for exercise in exercises:
        assert exercise.solution.strip() not in everything
        assert exercise.solution.strip() in solutions.read_text(encoding="utf-8")
        assert exercise.check.strip() in everything


@pytest.mark.parametrize("chapter", chapters.CHAPTERS, ids=lambda page: page.stem)
def test_a_notebook_is_what_jupyter_shows(folder: Path, chapter: Path) -> None:
    """No directive of Sphinx is left, and links lead to files that are there."""
    text = [
        text_of(cell)
        for cell in cells_of(folder / tool.file_name(chapter.stem))
        if cell["cell_type"] == "markdown"
    ]
    assert not re.search(r"^(```|:::)\{|^\([\w-]+\)=$", "\n".join(text), re.M)
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", "\n".join(text)):
        assert (folder / target).exists(), target


def test_the_excerpts_are_lines_of_the_library() -> None:
    for chapter in chapters.CHAPTERS:
        for piece in tool.pieces(chapter.stem):
            for source in re.findall(r"\A```python\n(.*)\n```\n\Z", piece.source, re.S):
                assert source.strip(), chapter.stem


@pytest.mark.parametrize("solved", [False, True], ids=["empty", "solved"])
def test_notebooks_run_and_the_checks_tell_solved_from_empty(tmp_path: Path, solved: bool) -> None:
    pytest.importorskip(
        "nbclient", reason="notebooks are run with `pip install nbclient ipykernel`"
    )
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    tool.write(tmp_path, solved)
    files = [tmp_path / tool.file_name(chapter) for chapter in QUICK]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    }
    subprocess.run(
        [sys.executable, "-c", RUN, *map(str, files)], check=True, timeout=900, env=environment
    )
    for file in files:
        checks = checks_of(file)
        assert len(checks) == 3
        for check in checks:
            (output,) = check["outputs"]
            if solved:
                assert text_of({"source": output["text"]}).startswith("Right.")
            else:
                assert output["ename"] == "NotYet"
                assert re.fullmatch(r"Not yet: define \w+ first.*", "".join(output["traceback"]))
