"""The checks of the book's exercises: right answers pass, wrong ones fail with a reason.

Each check runs alone, with nothing but the imports and the functions of its chapter: so it does not
depend on the checks before it.
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import answers
import chapters
import pytest
from chapters import CHAPTERS, Exercise

pytest.importorskip("matplotlib", reason="the book's pictures need `pip install matplotlib`")
pytest.importorskip("matplotlib_inline")
pytest.importorskip("PIL")

EXERCISES = [
    pytest.param(chapter, exercise, id=f"{chapter.stem}-{exercise.number}")
    for chapter in CHAPTERS
    for exercise in chapters.exercises(chapter)
]
every_exercise = pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)


def namespace_of(chapter: Path, exercise: Exercise) -> dict[str, Any]:
    code = exercise.solution + exercise.check
    if "gpusim" in code and shutil.which("g++") is None:
        pytest.skip("kernels are compiled for the host with g++")
    return chapters.definitions(chapter, exercise.number, also=code)


def outcome(chapter: Path, exercise: Exercise, answer: str) -> str:
    """Return the words of the check for an answer; empty if it passes."""
    namespace = namespace_of(chapter, exercise)
    chapters.run(answer, namespace, f"{chapter.stem}-answer")
    try:
        chapters.run(exercise.check, namespace, f"{chapter.stem}-check")
    except AssertionError as error:
        return str(error)
    return ""


def outcome_of(answer: answers.Answer) -> str:
    return outcome(chapters.DOCS / f"{answer.chapter}.md", answer.exercise, answer.code)


@every_exercise
def test_the_solution_passes_alone(
    chapter: Path, exercise: Exercise, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(chapter, exercise, exercise.solution) == ""
    assert capsys.readouterr().out.splitlines()[-1].startswith("Right.")


@every_exercise
def test_a_check_leaves_the_readers_names_alone(chapter: Path, exercise: Exercise) -> None:
    tree = ast.parse(exercise.check).body
    assert isinstance(tree[0], ast.Import)
    assert tree[0].names[0].name == "exercises"
    assert len(tree) == 2
    assert isinstance(tree[1], ast.FunctionDef)
    assert tree[1].name == f"exercise_{exercise.number}"
    assert ast.unparse(tree[1].decorator_list[0]) == "exercises.check"
    defined = {getattr(node, "name", None) for node in ast.walk(ast.parse(exercise.solution))}
    assert tree[1].name not in defined


@every_exercise
def test_without_an_answer_the_check_says_what_to_define(chapter: Path, exercise: Exercise) -> None:
    assert re.fullmatch(r"define \w+ first, in the cell above", outcome(chapter, exercise, ""))


def test_in_a_browser_a_check_says_it_without_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JupyterLite ends "Run All Cells" at any error, also in a cell tagged raises-exception."""
    namespace: dict[str, Any] = {}
    chapters.run("import exercises", namespace, "import")
    monkeypatch.setattr(namespace["exercises"], "IN_BROWSER", True)
    check = "@exercises.check\ndef exercise(x):\n    exercises.true(x > 2, 'x is small')\n"
    for answer in ("", "x = 1\n", "x = 3\n"):
        chapters.run(answer + check, namespace, "check")
    assert capsys.readouterr().out.splitlines() == [
        "Not yet: define x first, in the cell above",
        "Not yet: x is small",
        "Right.",
    ]


@pytest.mark.parametrize("answer", answers.WRONG, ids=str)
def test_a_wrong_answer_fails_with_a_reason(answer: answers.Answer) -> None:
    words = outcome_of(answer)
    assert answer.words in words, words or "it passes"


@pytest.mark.parametrize("answer", answers.RIGHT, ids=str)
def test_an_unusual_right_answer_passes(answer: answers.Answer) -> None:
    assert outcome_of(answer) == ""


def test_every_exercise_has_a_wrong_answer() -> None:
    having = {(answer.chapter, answer.exercise.number) for answer in answers.WRONG}
    all_of_them = {(p.values[0].stem, p.values[1].number) for p in EXERCISES}
    assert having == all_of_them
