"""What the host decides for each step: keys of dropout, numbers of the update, the schedule.

The steps of a graph run without the host. So it rehearses them: it does its own part of each step
in advance and writes down what it would have passed to the kernels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

from ...layers import Dropout
from ...optim import Optimizer


class Schedule(Protocol):
    """Of ``nplenet.schedules``; it sets the optimizer's learning rate after each step."""

    def step(self) -> None: ...


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
        self._start = self._state()

    def rehearse(self, steps: int) -> tuple[list[list[int]], list[tuple[float, ...]]]:
        """Do the host's part of the next steps; return the keys and the numbers of each."""
        keys, numbers = [], []
        for _ in range(steps):
            keys.append([dropout.draw_key() for dropout in self.dropouts])
            self.optimizer.step_count += 1
            numbers.append(self.optimizer.numbers())
            if self.schedule is not None:
                self.schedule.step()
        self.steps += steps
        return keys, numbers

    def settle(self, steps: int) -> None:
        """Bring everything to where it is after so many steps from the start."""
        if steps == self.steps:
            return
        if steps < self.steps:
            self.undo()
        self.rehearse(steps - self.steps)

    def undo(self) -> None:
        """Bring everything back to the start, also after a rehearsal that ended with an error."""
        step_count, settings, schedule, generators = self._start
        if self.schedule is not None:
            vars(self.schedule).update(self._copy(schedule))
        self.optimizer.step_count = step_count
        for group, values in zip(self.optimizer.param_groups, settings, strict=True):
            vars(group).update(values)
        for rng, state in generators:
            rng.bit_generator.state = state
        self.steps = 0

    def _state(self) -> tuple[Any, ...]:
        optimizer = self.optimizer
        generators = {id(d.rng): d.rng for d in self.dropouts}
        return (
            optimizer.step_count,
            [group.values() for group in optimizer.param_groups],
            # Not its state_dict, which it takes back only if all are plain numbers.
            None if self.schedule is None else self._copy(vars(self.schedule)),
            [(rng, copy.deepcopy(rng.bit_generator.state)) for rng in generators.values()],
        )

    def _copy(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of the schedule's settings, with the optimizer itself."""
        return copy.deepcopy(settings, {id(self.optimizer): self.optimizer})
