"""Schedules: how the learning rate changes over a run. Names and values are PyTorch's.

A schedule sets its optimizer's ``lr`` when it is made and at each ``step()``. Call ``step()`` once
per batch or once per epoch, in the unit of the schedule's arguments. The rate is a function of the
number of steps only: a change of ``optimizer.lr`` from elsewhere lasts until the next step.

Legend: k steps done, counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from . import checks
from .checks import count, fraction, number
from .optim import Optimizer

Settings = Mapping[str, Callable[[Any, str], Any]]
not_negative = partial(number, interval="[0, inf)")
positive = partial(number, interval="(0, inf)")

ALWAYS: Settings = {
    "base_lr": partial(number, interval="[0, inf]"),
    "step_count": partial(count, minimum=0),
}
"""The checks of what every schedule saves."""


class Schedule:
    """Base of all schedules. A subclass writes ``rate``, its formula.

    Parameters
    ----------
    optimizer : Optimizer
        Its ``lr`` is the base rate of the schedule.

    Attributes
    ----------
    settings : dict of str to function
        The check of each setting by its name (see ``nplenet.checks``).
    step_count : int
        k, steps done.
    base_lr, last_lr : float
        The rate at k = 0, and the rate set last.
    """

    settings: ClassVar[Settings] = {}

    def __init__(self, optimizer: Optimizer, **settings: Any) -> None:
        owner = type(self).__name__
        for name, check in self.settings.items():
            setattr(self, name, check(settings[name], f"{owner}: {name}"))
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{owner}: optimizer must be from nplenet.optim, got {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.base_lr = float(optimizer.lr)
        self.step_count = 0
        self._apply()

    def rate(self, k: int) -> float:
        """Return the learning rate after ``k`` steps."""
        raise NotImplementedError(f"{type(self).__name__} has no rate")

    def step(self) -> None:
        """Advance by one step and set the optimizer's learning rate."""
        self.step_count += 1
        self._apply()

    def _apply(self) -> None:
        self.last_lr = self.optimizer.lr = self.rate(self.step_count)

    def state_dict(self) -> dict[str, Any]:
        """Return the settings and the step count: numbers, booleans and strings by name."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

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
        before = dict(vars(self))
        vars(self).update(new)
        try:
            self._apply()
        except OverflowError as error:
            vars(self).update(before)
            raise ValueError(f"{where}: the rate is too large ({error})") from None


class StepLR(Schedule):
    """Multiply the rate by ``gamma`` every ``step_size`` steps.

        lr = base_lr * gamma ^ floor(k / step_size)

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
        >= 1.
    gamma : float
        >= 0.
    """

    settings: ClassVar[Settings] = {
        "step_size": count,
        "gamma": not_negative,
    }
    step_size: int
    gamma: float

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer, step_size=step_size, gamma=gamma)

    def rate(self, k: int) -> float:
        return self.base_lr * self.gamma ** (k // self.step_size)


class CosineLR(Schedule):
    """Fall along half a cosine in ``T_max`` steps (Loshchilov & Hutter, 2017, eq. 5, no restart).

        lr = eta_min + (base_lr - eta_min) * (1 + cos(pi * k / T_max)) / 2

    Beyond ``T_max`` the rate rises again, as with PyTorch's ``CosineAnnealingLR``.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        >= 1.
    eta_min : float
        >= 0.
    """

    settings: ClassVar[Settings] = {
        "T_max": count,
        "eta_min": not_negative,
    }
    T_max: int
    eta_min: float

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        super().__init__(optimizer, T_max=T_max, eta_min=eta_min)

    def rate(self, k: int) -> float:
        return _cosine(self.base_lr, self.eta_min, k / self.T_max)


class OneCycleLR(Schedule):
    """Rise to ``max_lr``, then fall far below the start (Smith & Topin, 2018, "Super-Convergence").

    With lr from initial = max_lr / div_factor over max_lr to final = initial / final_div_factor:

        rise    k = 0 .. pct_start * total_steps - 1
        fall    .. total_steps - 1
                (three_phase: back to initial in as many steps as the rise, then to final)

    The momentum (``betas[0]`` of Adam) moves in the opposite direction: ``max_momentum`` to
    ``base_momentum`` in the rise and back in the fall. Call ``step()`` after each batch.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float
        > 0.
    total_steps : int
        Of the entire run: epochs * batches per epoch.
    pct_start : float
        Fraction of the run that is the rise, 0 .. 1.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
    base_momentum, max_momentum : float
        Both 0 <= momentum < 1.
    div_factor, final_div_factor : float
        > 0.
    three_phase : bool

    Raises
    ------
    ValueError
        Also from ``step``, past ``total_steps``.
    """

    settings: ClassVar[Settings] = {
        "max_lr": positive,
        "total_steps": count,
        "pct_start": fraction,
        "anneal_strategy": lambda value, name: _one_of(("cos", "linear"), value, name),
        "cycle_momentum": lambda value, name: bool(value),
        "base_momentum": partial(number, interval="[0, 1)"),
        "max_momentum": partial(number, interval="[0, 1)"),
        "div_factor": positive,
        "final_div_factor": positive,
        "three_phase": lambda value, name: bool(value),
    }
    max_lr: float
    total_steps: int
    pct_start: float
    anneal_strategy: str
    cycle_momentum: bool
    base_momentum: float
    max_momentum: float
    div_factor: float
    final_div_factor: float
    three_phase: bool

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        *,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        if cycle_momentum and not (hasattr(optimizer, "betas") or hasattr(optimizer, "momentum")):
            raise ValueError(
                f"OneCycleLR: {type(optimizer).__name__} has neither betas nor momentum to cycle; "
                "pass cycle_momentum=False"
            )
        super().__init__(
            optimizer,
            max_lr=max_lr,
            total_steps=total_steps,
            pct_start=pct_start,
            anneal_strategy=anneal_strategy,
            cycle_momentum=cycle_momentum,
            base_momentum=base_momentum,
            max_momentum=max_momentum,
            div_factor=div_factor,
            final_div_factor=final_div_factor,
            three_phase=three_phase,
        )

    def step(self) -> None:
        if self.step_count >= self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {self.step_count + 1} is past total_steps={self.total_steps}; "
                "total_steps must be epochs * batches per epoch"
            )
        super().step()

    def rate(self, k: int) -> float:
        initial = self.max_lr / self.div_factor
        final = initial / self.final_div_factor
        middle = (self.max_lr, initial) if self.three_phase else (self.max_lr,)
        return self._along((initial, *middle, final), k)

    def momentum(self, k: int) -> float:
        """Return the momentum after ``k`` steps."""
        back = (self.max_momentum,) * (2 if self.three_phase else 1)
        return self._along((self.max_momentum, self.base_momentum, *back), k)

    def _apply(self) -> None:
        super()._apply()
        if not self.cycle_momentum:
            return
        momentum = self.momentum(self.step_count)
        if hasattr(self.optimizer, "betas"):
            self.optimizer.betas = (momentum, *self.optimizer.betas[1:])
        else:
            vars(self.optimizer)["momentum"] = momentum

    def _along(self, corners: tuple[float, ...], k: int) -> float:
        """Return the value at step ``k`` of a curve through ``corners``, the ends of its phases.

        Exactly PyTorch's rule: the ends may be fractions of a step, and k = total_steps, one
        past the end of the last phase, extrapolates.
        """
        rise, last = self.pct_start * self.total_steps - 1.0, self.total_steps - 1.0
        ends = (rise, 2.0 * rise, last) if self.three_phase else (rise, last)
        begin, phase = 0.0, 0
        while k > ends[phase] and phase < len(ends) - 1:
            begin, phase = ends[phase], phase + 1
        done = (k - begin) / (ends[phase] - begin) if ends[phase] != begin else 1.0
        anneal = _cosine if self.anneal_strategy == "cos" else _linear
        return anneal(corners[phase], corners[phase + 1], done)


def _one_of(choices: tuple[str, ...], value: Any, name: str) -> str:
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")
    return str(value)


def _cosine(begin: float, end: float, done: float) -> float:
    return end + (begin - end) * (1.0 + math.cos(math.pi * done)) / 2.0


def _linear(begin: float, end: float, done: float) -> float:
    return begin + (end - begin) * done
