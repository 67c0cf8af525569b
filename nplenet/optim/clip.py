"""Gradient clipping: by the norm of all gradients, or value by value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backend import Array, backend_of
from ..checks import number
from ..parameter import Parameter


def norm(xp: Any, *gradients: Array) -> Array:
    """Return sqrt(sum of g^2 over all arrays), a float64 scalar of the backend."""
    squares = xp.stack([xp.vdot(g.ravel(), g.ravel()) for g in gradients])
    if not xp.isfinite(squares).all():  # float32 ends at (1.8e19)^2; this takes four times as long
        squares = xp.stack([xp.square(g, dtype=np.float64).sum() for g in gradients])
    return xp.sqrt(squares.sum(dtype=np.float64))


def _parameters(params: Iterable[Parameter], owner: str) -> list[Parameter]:
    found = list(params) if isinstance(params, Iterable) else [params]
    if not all(hasattr(p, "grad") for p in found):
        raise TypeError(f"{owner}: params must be a list of Parameter, such as model.parameters()")
    return found


def clip_gradients(params: Iterable[Parameter], max_norm: float) -> Array:
    """Scale all gradients by one factor, so that their common L2 norm is at most ``max_norm``.

        total = sqrt(sum of g^2 over all parameters)
        g = g * min(1, max_norm / (total + 1e-6))

    The rule of ``torch.nn.utils.clip_grad_norm_`` (Pascanu et al., 2013). If the total is not
    finite, neither are the gradients afterwards.

    Parameters
    ----------
    params : list of Parameter
        Those with ``requires_grad`` count.
    max_norm : float
        >= 0.

    Returns
    -------
    float64 scalar of the backend
        The total norm before clipping.
    """
    max_norm = number(max_norm, "clip_gradients: max_norm", "[0, inf]")
    every = _parameters(params, "clip_gradients")
    gradients = [p.grad for p in every if getattr(p, "requires_grad", True)]
    if not gradients:
        raise ValueError("clip_gradients: the list of parameters is empty, or none is trained")
    backend = backend_of(gradients[0])
    total = backend.primitive(norm, *gradients)
    factor = backend.xp.minimum(
        max_norm / (total + 1e-6), 1.0
    )  # no branch: it would wait for the GPU
    for g in gradients:
        g *= factor.astype(g.dtype)
    return total


def clip_gradient_values(params: Iterable[Parameter], clip_value: float) -> None:
    """Clip each element of each gradient to -clip_value .. clip_value, in place.

    The rule of ``torch.nn.utils.clip_grad_value_``.

    Parameters
    ----------
    params : list of Parameter
    clip_value : float
        >= 0.
    """
    clip_value = number(clip_value, "clip_gradient_values: clip_value", "[0, inf]")
    for p in _parameters(params, "clip_gradient_values"):
        backend_of(p.grad).xp.clip(p.grad, -clip_value, clip_value, out=p.grad)
