"""Adam, and Adam with decoupled weight decay.

Legend: p parameter, g its gradient, m and v moments (running averages), s and t scratch, k steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..backend import Array
from ..checks import Checks, not_negative, number
from .flat import Block
from .group import ParameterGroup
from .optimizer import Optimizer


def adam(
    xp: Any,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    s: Array | None,
    t: Array | None,
    numbers: Sequence[float],
) -> None:
    """Do a step of ``Adam`` or ``AdamW`` on p, m and v, in place.

    p = p * shrink,  g = g + weight_decay * p
    m = m + (1 - beta1) * (g - m),  v = beta2 * v + (1 - beta2) * g^2
    p = p - rate * m / (sqrt(v) + eps)

    ``numbers`` are rate, beta1, beta2, eps, weight_decay and shrink. On a GPU a float64 array (6,)
    will do: the kernel reads them there. With s and t no temporary array is made; without, pass
    None.
    """
    rate, beta1, beta2, eps, weight_decay, shrink = numbers
    if shrink != 1.0:
        p *= shrink
    if weight_decay:
        g = xp.add(g, xp.multiply(p, weight_decay, out=t), out=t)
    m += xp.multiply(xp.subtract(g, m, out=s), 1.0 - beta1, out=s)
    v *= beta2
    v += xp.multiply(xp.multiply(g, g, out=s), 1.0 - beta2, out=s)
    root = xp.sqrt(v, out=s)
    root += eps
    p -= xp.multiply(xp.divide(m, root, out=s), rate, out=s)


def two_betas(value: Any, name: str) -> tuple[float, float]:
    """Return beta1 and beta2 as floats."""
    if np.shape(value) != (2,):
        raise TypeError(f"{name} must be two numbers, got {value!r}")
    beta1, beta2 = (number(beta, f"{name}[{i}]", "[0, 1)") for i, beta in enumerate(value))
    return beta1, beta2


class Adam(Optimizer):
    """Adaptive moments (Kingma & Ba, 2015, algorithm 1; names of ``torch.optim.Adam``).

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * (m / (1 - beta1^k)) / (sqrt(v / (1 - beta2^k)) + eps)

    Parameters
    ----------
    params : list of Parameter or of dict
        See ``Optimizer``.
    lr : float
        >= 0.
    betas : (float, float)
        beta1 and beta2, each 0 <= beta < 1.
    eps, weight_decay : float
        >= 0.
    """

    moment_names = ("exp_avg", "exp_avg_sq")
    hyper_parameters: ClassVar[Checks] = {
        "lr": not_negative,
        "betas": two_betas,
        "eps": not_negative,
        "weight_decay": not_negative,
    }
    betas: tuple[float, float]
    eps: float

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def rule(self, group: ParameterGroup) -> tuple[float, ...]:
        return self._descent(group, group.weight_decay, 1.0)

    def _update(self, block: Block, numbers: Sequence[float] | Array) -> None:
        self.backend.primitive(adam, *block, numbers)

    def _descent(
        self, group: ParameterGroup, weight_decay: float, shrink: float
    ) -> tuple[float, ...]:
        """Return the numbers of the formula above, with the bias corrections out of the arrays.

        m / sqrt(v / c) is computed as m * sqrt(c) / sqrt(v), which turns the correction
        c = 1 - beta2^k from a pass over the arrays into two scalars.
        """
        beta1, beta2 = group.betas
        correction = math.sqrt(1.0 - beta2**self.step_count)
        rate = group.lr * correction / (1.0 - beta1**self.step_count)
        return (rate, beta1, beta2, group.eps * correction, weight_decay, shrink)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019; names of ``torch.optim.AdamW``).

        p = p * (1 - lr * weight_decay)        then Adam's step on the plain gradient

    The decay does not pass through the moments, so it is the same for each weight, whatever the
    size of its gradients.

    Parameters
    ----------
    params : list of Parameter or of dict
        See ``Optimizer``.
    lr, betas, eps
        As for ``Adam``.
    weight_decay : float
        >= 0.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def rule(self, group: ParameterGroup) -> tuple[float, ...]:
        return self._descent(group, 0.0, 1.0 - group.lr * group.weight_decay)
