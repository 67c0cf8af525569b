"""What the host decides for each step: keys of dropout, numbers of the update, the schedule.

The steps of a graph run without the host. So it rehearses them: it does its own part of each step
in advance and writes down what it would have passed to the kernels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...layers import Dropout
from ...layers.dropout import draw_keys
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

    def rehearse(self, steps: int) -> tuple[npt.NDArray[np.uint64], list[tuple[float, ...]]]:
        """Do the host's part of the next steps.

        Returns
        -------
        keys : uint64 array (steps, dropouts)
        numbers : list of tuples
            One per step.
        """
        numbers, optimizer, schedule = [], self.optimizer, self.schedule
        for _ in range(steps):
            optimizer.step_count += 1
            numbers.append(optimizer.numbers())
            if schedule is not None:
                schedule.step()
        keys = self._draw_keys(steps)
        self.steps += steps
        return keys, numbers

    def _draw_keys(self, steps: int) -> npt.NDArray[np.uint64]:
        """Draw what ``Dropout.draw_key`` would, step after step, for all steps at once."""
        rngs = [dropout.rng for dropout in self.dropouts]
        keys = np.empty((steps, len(rngs)), np.uint64)
        for rng in {id(rng): rng for rng in rngs}.values():
            columns = [i for i, each in enumerate(rngs) if each is rng]
            keys[:, columns] = draw_keys(rng, (steps, len(columns)))
        return keys

    def settle(self, steps: int) -> None:
        """Bring everything to where it is after so many steps from the start."""
        if steps == self.steps:
            return
        if steps < self.steps:
            self.undo()
        self.rehearse(steps - self.steps)

    def undo(self) -> None:
        """Bring everything back to the start, also after a rehearsal that ended with an error."""
        settings, schedule, generators = self._start
        if self.schedule is not None:
            vars(self.schedule).update(self._copy(schedule))
        vars(self.optimizer).update(settings)
        for rng, state in generators:
            rng.bit_generator.state = state
        self.steps = 0

    def _state(self) -> tuple[Any, ...]:
        optimizer = self.optimizer
        names = ("step_count", *optimizer.hyper_parameters)
        generators = {id(d.rng): d.rng for d in self.dropouts}
        return (
            {name: getattr(optimizer, name) for name in names},
            # Not its state_dict, which it takes back only if all are plain numbers.
            None if self.schedule is None else self._copy(vars(self.schedule)),
            [(rng, copy.deepcopy(rng.bit_generator.state)) for rng in generators.values()],
        )

    def _copy(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of the schedule's settings, with the optimizer itself."""
        return copy.deepcopy(settings, {id(self.optimizer): self.optimizer})
