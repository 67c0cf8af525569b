"""What the host decides for each step: keys of dropout, numbers of the update, the schedule.

The steps of a graph run without the host. So it rehearses them: it does its own part of each step
in advance and writes down what it would have passed to the kernels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ...layers import Dropout
from ...layers.dropout import draw_keys
from ...optim import Optimizer
from ...schedules import CosineLR, ExponentialLR, OneCycleLR, StepLR
from ...seeds import generator_state

SCHEDULES = (type(None), StepLR, CosineLR, ExponentialLR, OneCycleLR)
"""Schedules whose rates depend on their attributes only. A schedule of your own may depend on
anything, also on what changes between epochs."""


class Schedule(Protocol):
    """Of ``nplenet.schedules``; it sets the optimizer's learning rate after each step."""

    def step(self) -> None: ...


class Rehearsal(NamedTuple):
    """The host's part of the steps of an epoch.

    Attributes
    ----------
    begin, end : tuple
        The state of the host before and after them; see ``HostSide.state``.
    keys : uint64 array (steps, dropouts)
    numbers : list of tuples
        Of the update, one per step.
    """

    begin: tuple[Any, ...]
    end: tuple[Any, ...]
    keys: npt.NDArray[np.uint64]
    numbers: list[tuple[float, ...]]


class HostSide:
    """The random generators, the optimizer and the schedule, which advance with each step.

    Parameters
    ----------
    dropouts : list of Dropout
        In the order in which they run.
    optimizer : Optimizer
    schedule : Schedule or None
    """

    def __init__(
        self, dropouts: Sequence[Dropout], optimizer: Optimizer, schedule: Schedule | None
    ) -> None:
        self.dropouts, self.optimizer, self.schedule = dropouts, optimizer, schedule
        self.steps = 0
        self._start = self.state()

    def rehearse(self, steps: int) -> Rehearsal:
        """Do the host's part of the next steps."""
        begin = self._start if self.steps == 0 else self.state()
        numbers, optimizer, schedule = [], self.optimizer, self.schedule
        for _ in range(steps):
            optimizer.step_count += 1
            numbers.append(optimizer.numbers())
            if schedule is not None:
                schedule.step()
        keys = self._draw_keys(steps)
        self.steps += steps
        return Rehearsal(begin, self.state(), keys, numbers)

    def rehearse_ahead(self, steps: int) -> Rehearsal | None:
        """Rehearse steps that may come, and bring everything back; None if that is not safe."""
        if type(self.schedule) not in SCHEDULES:
            return None
        try:
            return self.rehearse(steps)
        except Exception:  # a rate beyond all numbers, say: an error if the steps do come
            return None
        finally:
            self.undo()

    def perform(self, steps: int, rehearsed: Rehearsal | None) -> Rehearsal:
        """Do the host's part of the next steps, as rehearsed if nothing has changed since."""
        if rehearsed is None or len(rehearsed.keys) != steps or rehearsed.begin != self._start:
            return self.rehearse(steps)
        self._restore(rehearsed.end)
        self.steps = steps
        return rehearsed

    def _draw_keys(self, steps: int) -> npt.NDArray[np.uint64]:
        """Draw what ``Dropout.draw_key`` would, step after step, for all steps at once."""
        rngs = [dropout.rng for dropout in self.dropouts]
        keys = np.empty((steps, len(rngs)), np.uint64)
        for rng in {id(rng): rng for rng in rngs}.values():
            columns = [i for i, each in enumerate(rngs) if each is rng]
            keys[:, columns] = draw_keys(rng, (steps, len(columns)))
        return keys

    def settle(self, steps: int) -> None:
        """Bring everything to where it is after ``steps`` steps from the start."""
        if steps == self.steps:
            return
        if steps < self.steps:
            self.undo()
        self.rehearse(steps - self.steps)

    def undo(self) -> None:
        """Bring everything back to the start, also after a rehearsal that ended with an error."""
        self._restore(self._start)
        self.steps = 0

    def state(self) -> tuple[Any, ...]:
        """Return a copy of all that a step changes or depends on."""
        optimizer, schedule = self.optimizer, self.schedule
        generators = {id(d.rng): d.rng for d in self.dropouts}
        return (
            (optimizer, schedule, *self.dropouts),
            optimizer.step_count,
            [group.values() for group in optimizer.param_groups],
            # Not its state_dict, which it takes back only if all are plain numbers.
            None if schedule is None else self._copy(vars(schedule)),
            [(rng, generator_state(rng)) for rng in generators.values()],
        )

    def _restore(self, state: tuple[Any, ...]) -> None:
        _, step_count, settings, schedule, generators = state
        if self.schedule is not None:
            vars(self.schedule).update(self._copy(schedule))
        self.optimizer.step_count = step_count
        for group, values in zip(self.optimizer.param_groups, settings, strict=True):
            vars(group).update(values)
        for rng, its_state in generators:
            rng.bit_generator.state = its_state

    def _copy(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of the schedule's settings, with the optimizer itself."""
        return copy.deepcopy(settings, {id(self.optimizer): self.optimizer})
