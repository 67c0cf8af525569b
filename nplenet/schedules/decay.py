"""Schedules that only fall, and the warm-up before them.

Legend: k steps done, counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import checks
from ..attributes import Settings
from ..checks import count, fraction
from ..optim import Optimizer
from .base import Schedule, cosine, linear, not_negative


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
        return cosine(self.base_lr, self.eta_min, k / self.T_max)


class ExponentialLR(Schedule):
    """Multiply the rate by ``gamma`` in each step.

        lr = base_lr * gamma ^ k

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
        >= 0, such as 0.999.
    """

    settings: ClassVar[Settings] = {"gamma": not_negative}
    gamma: float

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        super().__init__(optimizer, gamma=gamma)

    def rate(self, k: int) -> float:
        return self.base_lr * self.gamma**k


class WarmUpLR(Schedule):
    """Rise along a line to the base rate; then stay there, or follow another schedule.

        lr = base_lr * (start_factor + (1 - start_factor) * k / steps)        k < steps
        lr = after.rate(k - steps)                                            k >= steps

    The first line is PyTorch's ``LinearLR``, both are its ``SequentialLR``.

    Parameters
    ----------
    optimizer : Optimizer
    steps : int
        >= 1.
    start_factor : float
        0 to 1.
    after : Schedule, optional
        Of the same optimizer, such as ``CosineLR(optimizer, all_steps - steps)``; one that follows
        the loss or cycles the momentum can't be.
    """

    settings: ClassVar[Settings] = {"steps": count, "start_factor": fraction}
    steps: int
    start_factor: float

    def __init__(
        self,
        optimizer: Optimizer,
        steps: int,
        start_factor: float = 1.0 / 3.0,
        after: Schedule | None = None,
    ) -> None:
        if after is not None:
            if type(after) not in (StepLR, CosineLR, ExponentialLR):
                raise TypeError(
                    "WarmUpLR: after must be a StepLR, CosineLR or ExponentialLR, got "
                    f"{type(after).__name__}"
                )
            if after.optimizer is not optimizer or after.step_count:
                raise ValueError("WarmUpLR: after must be of the same optimizer, and new")
            for group, base in zip(optimizer.param_groups, after.base_lrs, strict=True):
                group.lr = base
        self._after = after
        super().__init__(optimizer, steps=steps, start_factor=start_factor)

    def rate(self, k: int) -> float:
        if k < self.steps:
            return self.base_lr * linear(self.start_factor, 1.0, k / self.steps)
        if self._after is None:
            return self.base_lr
        self._after.base_lr = self.base_lr  # of the group in question
        return self._after.rate(k - self.steps)

    def state_dict(self) -> dict[str, Any]:
        own = super().state_dict()
        after = own.pop("_after")
        if after is not None:
            own |= {f"after_{name}": getattr(after, name) for name in after.settings}
        return own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        after = self._after
        if after is not None:
            where = "WarmUpLR.load_state_dict"
            checks.state(state, {}, self.state_dict(), where)
            found = {
                name: check(state[f"after_{name}"], f"{where}: after_{name}")
                for name, check in after.settings.items()
            }
            before = {name: getattr(after, name) for name in found}
            vars(after).update(found)
        try:
            super().load_state_dict(state)
        except (TypeError, ValueError):
            if after is not None:
                vars(after).update(before)
            raise
        for name in [name for name in vars(self) if name.startswith("after_")]:
            del vars(self)[name]
