"""RMSprop: a step in units of the recent size of each gradient.

Legend: p parameter, g its gradient, a average of the gradient, v average of its square, m momentum
buffer, s and t scratch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from ..backend import Array
from ..checks import Checks, flag, not_negative, number
from .flat import Block
from .group import ParameterGroup
from .optimizer import Optimizer


def rmsprop(
    xp: Any,
    p: Array,
    g: Array,
    v: Array,
    a: Array,
    m: Array,
    s: Array | None,
    t: Array | None,
    numbers: Sequence[float],
) -> None:
    """Do a step of ``RMSprop`` on p, v, a and m, in place.

    ``numbers`` are lr, alpha, eps, weight_decay, momentum and centered (0 or 1). With s and t no
    temporary array is made; without, pass None.
    """
    lr, alpha, eps, weight_decay, momentum, centered = numbers
    if weight_decay:
        g = xp.add(g, xp.multiply(p, weight_decay, out=t), out=t)
    v *= alpha
    v += xp.multiply(xp.multiply(g, g, out=s), 1.0 - alpha, out=s)
    if centered:
        a += xp.multiply(xp.subtract(g, a, out=s), 1.0 - alpha, out=s)
        square = xp.multiply(a, a, out=s)
        root = xp.sqrt(xp.subtract(v, square, out=s), out=s)
    else:
        root = xp.sqrt(v, out=s)
    root += eps
    g = xp.divide(g, root, out=s)
    if momentum:
        m *= momentum
        m += g
        g = m
    p -= xp.multiply(g, lr, out=s)


class RMSprop(Optimizer):
    """Divide each step by a running average of the gradient's size.

    Tieleman & Hinton, 2012, lecture 6e; rule and names of ``torch.optim.RMSprop``.

        g = g + weight_decay * p
        v = alpha * v + (1 - alpha) * g^2
        p = p - lr * g / (sqrt(v) + eps)

    centered: sqrt(v - a^2), with a = alpha * a + (1 - alpha) * g, an estimate of the variance.
    momentum: m = momentum * m + g / (sqrt(v) + eps),  p = p - lr * m.

    On a GPU it has no kernel of its own: it runs operation by operation.

    Parameters
    ----------
    params : list of Parameter or of dict
        See ``Optimizer``.
    lr, eps, weight_decay, momentum : float
        >= 0.
    alpha : float
        0 <= alpha < 1.
    centered : bool
    """

    moment_names = ("square_avg", "grad_avg", "momentum_buffer")
    hyper_parameters: ClassVar[Checks] = {
        "lr": not_negative,
        "alpha": partial(number, interval="[0, 1)"),
        "eps": not_negative,
        "weight_decay": not_negative,
        "momentum": not_negative,
        "centered": flag,
    }
    alpha: float
    eps: float
    momentum: float
    centered: bool

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    def rule(self, group: ParameterGroup) -> tuple[float, ...]:
        decay, centered = group.weight_decay, float(group.centered)
        return (group.lr, group.alpha, group.eps, decay, group.momentum, centered)

    def _update(self, block: Block, numbers: Sequence[float] | Array) -> None:
        self.backend.primitive(rmsprop, *block, numbers)
