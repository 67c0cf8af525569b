"""How weights begin: random, with a variance that keeps signals from growing or fading with depth.

Let fan_in be the number of inputs one output sums over and fan_out the number of outputs one input
reaches. A layer chooses by name:

- ``he``      normal, variance 2 / fan_in: keeps the forward variance through ReLU (He et al., 2015,
  "Delving Deep into Rectifiers", eq. 10); biases zero.
- ``xavier``  uniform, variance 2 / (fan_in + fan_out): a compromise of both directions for tanh and
  sigmoid (Glorot & Bengio, 2010, eq. 16); biases zero.
- ``pytorch`` uniform in +-1 / sqrt(fan_in), weights and biases alike: what PyTorch's layers do.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

INITIALIZATIONS = ("he", "xavier", "pytorch")


def initial_weight(
    shape: tuple[int, ...], init: str, rng: np.random.Generator, dtype: npt.DTypeLike
) -> np.ndarray:
    """Return a weight of ``shape`` (outputs, inputs, ...) drawn by the rule named ``init``.

    Raises
    ------
    ValueError
        For a name that is not in ``INITIALIZATIONS``.
    """
    receptive_field = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * receptive_field, shape[0] * receptive_field
    if init == "he":
        values = rng.normal(0.0, math.sqrt(2.0 / fan_in), shape)
    elif init == "xavier":
        bound = math.sqrt(6.0 / (fan_in + fan_out))
        values = rng.uniform(-bound, bound, shape)
    elif init == "pytorch":
        bound = 1.0 / math.sqrt(fan_in)
        values = rng.uniform(-bound, bound, shape)
    else:
        raise ValueError(f"unknown initialisation {init!r}, expected one of {INITIALIZATIONS}")
    return values.astype(dtype)


def initial_bias(
    size: int, fan_in: int, init: str, rng: np.random.Generator, dtype: npt.DTypeLike
) -> np.ndarray:
    """Return a bias of ``size`` numbers for the rule named ``init``."""
    if init != "pytorch":
        return np.zeros(size, dtype)
    bound = 1.0 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, size).astype(dtype)
