"""The base of all schedules: a rate that depends on the number of steps only.

Legend: k steps done, counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import checks
from ..attributes import Attributes
from ..checks import Checks, count, number
from ..names import OF_A_SCHEDULE, no_attribute
from ..optim import Optimizer

ALWAYS: Checks = {
    "base_lr": partial(number, interval="[0, inf]"),
    "step_count": partial(count, minimum=0),
}
"""The checks of what every schedule saves."""


class Schedule(Attributes):
    """Base of all schedules. A subclass writes ``rate``, its formula.

    Parameters
    ----------
    optimizer : Optimizer
        Its ``lr`` is the base rate of the schedule.

    Attributes
    ----------
    optimizer : Optimizer
    settings : dict of str to function
        The check of each setting by its name (see ``nplenet.checks``).
    step_count : int
        k, steps done.
    base_lr, last_lr : float
        The rate at k = 0, and the rate set last: of the first group of parameters. An assignment to
        ``base_lr`` is for all groups, from the next step on.
    base_lrs : list of float
        The rate at k = 0 of each group.
    """

    ours: ClassVar[Mapping[str, str]] = OF_A_SCHEDULE
    optimizer: Optimizer
    step_count: int
    base_lr: float
    last_lr: float
    base_lrs: list[float]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(no_attribute(type(self).__name__, name, self.ours))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; ``base_lr`` is for all groups."""
        if name == "base_lr":
            value = ALWAYS[name](value, f"{type(self).__name__}: {name}")
            self.base_lrs = [value] * len(vars(self).get("base_lrs", ()))
        super().__setattr__(name, value)

    def __init__(self, optimizer: Optimizer, **settings: Any) -> None:
        owner = type(self).__name__
        for name in self.settings:
            setattr(self, name, settings[name])
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{owner}: optimizer must be from nplenet.optim, got {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.base_lrs = [group.lr for group in optimizer.param_groups]
        self.step_count = 0
        self._apply()

    def rate(self, k: int) -> float:
        """Return the learning rate after ``k`` steps."""
        raise NotImplementedError(f"{type(self).__name__} has no rate")

    def step(self) -> None:
        """Advance by one step and set the optimizer's learning rate."""
        self.step_count += 1
        self._apply()

    def end_epoch(self, loss: float) -> None:
        """Take note of an epoch's loss, on the validation images if there are any.

        ``fit`` calls it after each epoch; only ``PlateauLR`` needs it.
        """

    def _apply(self) -> None:
        groups = zip(self.optimizer.param_groups, self.base_lrs, strict=True)
        for group, base in reversed(list(groups)):  # the first one's stays
            vars(self)["base_lr"] = base  # not ``self.base_lr``, which is of all groups
            self.last_lr = group.lr = self.rate(self.step_count)

    def state_dict(self) -> dict[str, Any]:
        """Return the settings and the step count: numbers, booleans and strings by name."""
        hidden = ("optimizer",) if len(self.base_lrs) > 1 else ("optimizer", "base_lrs")
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned and set the optimizer's rate accordingly.

        Nothing is changed unless all of it fits.

        Raises
        ------
        ValueError
            Naming the missing and unknown keys, the values of another type, or those out of range.
        """
        own, where = self.state_dict(), f"{type(self).__name__}.load_state_dict"
        checks.state(state, {}, own, where)
        new = {name: np.asarray(state[name]).tolist() for name in own}  # plain Python values
        wrong = [
            f"{name} is {new[name]!r}, expected a {type(value).__name__}"
            for name, value in own.items()
            if type(new[name]) is not type(value)
        ]
        if wrong:
            raise ValueError(f"{where}: {'; '.join(wrong)}")
        for name, check in {**ALWAYS, **self.settings}.items():
            check(new[name], f"{where}: {name}")
        rates = new.setdefault("base_lrs", [new["base_lr"]])
        if len(rates) != len(self.base_lrs):
            raise ValueError(f"{where}: base_lrs must be {len(self.base_lrs)} rates, got {rates}")
        rates[:] = [ALWAYS["base_lr"](rate, f"{where}: base_lrs") for rate in rates]
        before = dict(vars(self))
        vars(self).update(new)
        try:
            self._apply()
        except (OverflowError, ValueError) as error:
            vars(self).update(before)
            raise ValueError(f"{where}: the rate is too large ({error})") from None


def cosine(begin: float, end: float, done: float) -> float:
    return end + (begin - end) * (1.0 + math.cos(math.pi * done)) / 2.0


def linear(begin: float, end: float, done: float) -> float:
    return begin + (end - begin) * done
