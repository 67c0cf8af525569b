"""Stochastic gradient descent with momentum.

Legend: p parameter, g its gradient, m momentum buffer, s and t scratch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ..backend import Array
from ..checks import Checks, flag, not_negative, number
from .flat import Block
from .group import ParameterGroup
from .optimizer import Optimizer


def sgd(
    xp: Any,
    p: Array,
    g: Array,
    m: Array,
    s: Array | None,
    t: Array | None,
    numbers: Sequence[float],
) -> None:
    """Do a step of ``SGD`` on p and m, in place.

    ``numbers`` are lr, momentum, gain, weight_decay and nesterov (0 or 1); gain is 1 - dampening,
    1 at the first step. On a GPU a float64 array (5,) will do: the kernel reads them there.
    With s and t no temporary array is made; without, pass None.
    """
    lr, momentum, gain, weight_decay, nesterov = numbers
    if weight_decay:
        g = xp.add(g, xp.multiply(p, weight_decay, out=t), out=t)
    if momentum:
        m *= momentum
        m += xp.multiply(g, gain, out=s)
        g = xp.add(g, xp.multiply(m, momentum, out=s), out=s) if nesterov else m
    p -= xp.multiply(g, lr, out=s)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (rule and names of ``torch.optim.SGD``).

        g = g + weight_decay * p
        m = momentum * m + (1 - dampening) * g        (m = g at the first step)
        p = p - lr * m                                (Nesterov: p - lr * (g + momentum * m))

    m is a decaying sum of gradients, not an average: at a constant gradient g it tends to
    g * (1 - dampening) / (1 - momentum). Sutskever et al., 2013, "On the importance of
    initialization and momentum", have lr inside of that sum; here it is outside, as in PyTorch.

    Parameters
    ----------
    params : list of Parameter or of dict
        See ``Optimizer``.
    lr, momentum, dampening, weight_decay : float
        All >= 0, except for dampening, which may be any number.
    nesterov : bool
        Needs momentum > 0 and dampening = 0.
    """

    moment_names = ("momentum_buffer",)
    hyper_parameters: ClassVar[Checks] = {
        "lr": not_negative,
        "momentum": not_negative,
        "dampening": number,
        "weight_decay": not_negative,
        "nesterov": flag,
    }
    momentum: float
    dampening: float
    nesterov: bool

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        found = super()._checked(values)
        check_nesterov(found["nesterov"], found["momentum"], found["dampening"])
        return found

    def rule(self, group: ParameterGroup) -> tuple[float, ...]:
        # Not when one is assigned: the other may follow.
        check_nesterov(group.nesterov, group.momentum, group.dampening)
        gain = 1.0 if self.step_count == 1 else 1.0 - group.dampening
        nesterov = float(group.nesterov)
        return (group.lr, group.momentum, gain, group.weight_decay, nesterov)

    def _update(self, block: Block, numbers: Sequence[float] | Array) -> None:
        self.backend.primitive(sgd, *block, numbers)


def check_nesterov(nesterov: bool, momentum: float, dampening: float) -> None:
    """Raise a ValueError if Nesterov's step would be without momentum, and so without effect."""
    if nesterov and (momentum == 0 or dampening != 0):
        raise ValueError(
            "SGD: nesterov needs momentum > 0 and dampening = 0, got "
            f"momentum={momentum}, dampening={dampening}"
        )
