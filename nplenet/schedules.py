"""Schedules: how the learning rate changes over a run. Names and values are PyTorch's.

A schedule sets its optimizer's ``lr`` when it is made and at each ``step()``. Call ``step()`` once
per batch or once per epoch, in the unit of the schedule's arguments. The rate is a function of the
number of steps only: a change of ``optimizer.lr`` from elsewhere lasts until the next step.

Legend: k steps done, counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import checks
from .checks import count, fraction, number
from .optim import Optimizer


class Schedule:
    """Base of all schedules. A subclass writes ``rate``, its formula.

    Parameters
    ----------
    optimizer : Optimizer
        Its ``lr`` is the base rate of the schedule.

    Attributes
    ----------
    step_count : int
        k, steps done.
    base_lr, last_lr : float
        The rate at k = 0, and the rate set last.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: optimizer must be from nplenet.optim, got "
                f"{type(optimizer).__name__}"
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
            Naming the missing and unknown keys, or the values of another type.
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
        vars(self).update(new)
        self._apply()


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

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = count(step_size, "StepLR: step_size")
        self.gamma = number(gamma, "StepLR: gamma", "[0, inf)")
        super().__init__(optimizer)

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

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max = count(T_max, "CosineLR: T_max")
        self.eta_min = number(eta_min, "CosineLR: eta_min", "[0, inf)")
        super().__init__(optimizer)

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
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        if cycle_momentum and not (hasattr(optimizer, "betas") or hasattr(optimizer, "momentum")):
            raise ValueError(
                f"OneCycleLR: {type(optimizer).__name__} has neither betas nor momentum to cycle; "
                "pass cycle_momentum=False"
            )
        self.total_steps = count(total_steps, "OneCycleLR: total_steps")
        self.max_lr = number(max_lr, "OneCycleLR: max_lr", "(0, inf)")
        self.pct_start = fraction(pct_start, "OneCycleLR: pct_start")
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum, self.three_phase = bool(cycle_momentum), bool(three_phase)
        self.base_momentum = number(base_momentum, "OneCycleLR: base_momentum", "[0, 1)")
        self.max_momentum = number(max_momentum, "OneCycleLR: max_momentum", "[0, 1)")
        self.div_factor = number(div_factor, "OneCycleLR: div_factor", "(0, inf)")
        self.final_div_factor = number(final_div_factor, "OneCycleLR: final_div_factor", "(0, inf)")
        super().__init__(optimizer)

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


def _cosine(begin: float, end: float, done: float) -> float:
    return end + (begin - end) * (1.0 + math.cos(math.pi * done)) / 2.0


def _linear(begin: float, end: float, done: float) -> float:
    return begin + (end - begin) * done
