"""Extend a finished run: ``--resume`` with more ``--epochs`` than were planned.

Its schedule has ended, at the smallest rate. So the epochs beyond have one of their own, from its
start to its end; optimizer, generators and everything else continue from the checkpoint.
"""

from __future__ import annotations

from typing import Any

from ..checkpoint import Checkpoint
from ..optim import Optimizer
from ..recipe import SCHEDULES, Settings


def epochs_before(resume: Checkpoint | None, epochs: int | None) -> int:
    """Return the epochs of a finished run that ``epochs`` extends; 0 if it does not."""
    if resume is None or epochs is None or "progress" not in resume.record:
        return 0
    done, planned = len(resume.record["progress"]["epochs"]), resume.record["arguments"]["epochs"]
    return done if done == planned < epochs else 0


def scheduled(
    settings: Settings, optimizer: Optimizer, steps: int, resume: Checkpoint | None
) -> tuple[Any, Checkpoint | None]:
    """Return the schedule of a run, and the checkpoint from which it resumes.

    ``steps`` is the number of steps per epoch. If the run extends a finished one, the checkpoint
    returned has the new schedule in place of the finished schedule.
    """
    assert settings.epochs is not None
    done = epochs_before(resume, settings.epochs)
    schedule = SCHEDULES[settings.schedule](
        optimizer, settings.lr, (settings.epochs - done) * steps
    )
    if resume is None or not done or schedule is None:
        return schedule, resume
    state = {"type": type(schedule).__name__, **schedule.state_dict()}
    return schedule, Checkpoint(resume.path, resume.tensors, {**resume.record, "schedule": state})
