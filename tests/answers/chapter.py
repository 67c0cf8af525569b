"""Where the answers to a chapter's exercises are collected."""

from __future__ import annotations

from textwrap import dedent
from typing import NamedTuple

import chapters
from chapters import DOCS, Exercise


class Answer(NamedTuple):
    """An answer to an exercise: its chapter, what is odd about it, its code, words of the check."""

    chapter: str
    exercise: Exercise
    what: str
    code: str
    words: str = ""

    def __str__(self) -> str:
        return f"{self.chapter}-{self.exercise.number}-{self.what}"


class Chapter:
    """The answers to the exercises of one chapter, which are numbered from 1."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.exercises = chapters.exercises(DOCS / f"{name}.md")
        self.rights: list[Answer] = []
        self.wrongs: list[Answer] = []

    def right(self, number: int, what: str, code: str) -> None:
        """Add an answer that must pass, though it is unlike the solution."""
        exercise = self.exercises[number - 1]
        self.rights.append(Answer(self.name, exercise, what, dedent(code)))

    def wrong(self, number: int, what: str, words: str, code: str) -> None:
        """Add an answer that must fail; ``words`` must be among those of the check."""
        exercise = self.exercises[number - 1]
        self.wrongs.append(Answer(self.name, exercise, what, dedent(code), words))

    def instead(self, number: int, what: str, words: str, old: str, new: str) -> None:
        """Add the solution with one place changed as a wrong answer."""
        solution = self.exercises[number - 1].solution
        assert old in solution, (self.name, number, old)
        self.wrong(number, what, words, solution.replace(old, new))
