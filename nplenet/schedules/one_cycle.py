"""One cycle: up, and far down.

Legend: k steps done, counted from 0.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from ..checks import Checks, count, flag, fraction, number, positive
from ..optim import Optimizer
from .base import Schedule, cosine, linear


class OneCycleLR(Schedule):
    """Rise to ``max_lr``, then fall far below the start (Smith & Topin, 2018, "Super-Convergence").

    With lr from initial = max_lr / div_factor over max_lr to final = initial / final_div_factor:

        rise    k = 0 .. pct_start * total_steps - 1
        fall    .. total_steps - 1
                (three_phase: back to initial in as many steps as the rise, then to final)

    The momentum (``betas[0]`` of Adam) moves in the opposite direction: ``max_momentum`` to
    ``base_momentum`` in the rise and back in the fall. Call ``step()`` after each batch. From the
    last step on both stay as they are there. (PyTorch extrapolates in step ``total_steps``, with
    "linear" to a negative rate, and raises an error behind it; it divides by zero where a phase has
    no step, such as pct_start = 1 / total_steps.) All groups of parameters have the
    same ``max_lr``.

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
    """

    settings: ClassVar[Checks] = {
        "max_lr": positive,
        "total_steps": count,
        "pct_start": fraction,
        "anneal_strategy": lambda value, name: _one_of(("cos", "linear"), value, name),
        "cycle_momentum": flag,
        "base_momentum": partial(number, interval="[0, 1)"),
        "max_momentum": partial(number, interval="[0, 1)"),
        "div_factor": positive,
        "final_div_factor": positive,
        "three_phase": flag,
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
        for group in self.optimizer.param_groups:
            if hasattr(group, "betas"):
                group.betas = (momentum, *group.betas[1:])
            else:
                group.momentum = momentum

    def _along(self, corners: tuple[float, ...], k: int) -> float:
        """Return the value at step ``k`` of a curve through ``corners``, the ends of its phases.

        PyTorch's rule: the ends may be fractions of a step. Past the last end the value stays.
        """
        k = min(k, self.total_steps - 1)
        rise, last = self.pct_start * self.total_steps - 1.0, self.total_steps - 1.0
        ends = (rise, 2.0 * rise, last) if self.three_phase else (rise, last)
        begin, phase = 0.0, 0
        while k > ends[phase] and phase < len(ends) - 1:
            begin, phase = ends[phase], phase + 1
        done = (k - begin) / (ends[phase] - begin) if ends[phase] != begin else 1.0
        if done >= 1.0:
            return corners[phase + 1]  # exactly: rounding must not make it negative
        anneal = cosine if self.anneal_strategy == "cos" else linear
        return anneal(corners[phase], corners[phase + 1], done)


def _one_of(choices: tuple[str, ...], value: Any, name: str) -> str:
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")
    return str(value)
