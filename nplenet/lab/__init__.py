"""The lab: assignments that a teacher hands out, and what grades them (``nplenet lab``)."""

from __future__ import annotations

from ..names import answer_wrong_names
from .assignment import ASSIGNMENTS, Assignment
from .grader import PartResult, Result, grade

__all__ = ["ASSIGNMENTS", "Assignment", "PartResult", "Result", "grade"]
answer_wrong_names(__name__)
