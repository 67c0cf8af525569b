"""What every system of gpu.py trains: the same LeNet-5, from the same weights, on the same batch.

A system is a class with three methods; ``gpu_work`` measures it through them:

    steps(n)    start n training steps; the GPU may still be working when it returns
    wait()      return when all of them are done
    last()      the loss of the last step, its gradients, and the state after it (weights, running
                statistics), both by the names that nplenet and PyTorch give them
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nplenet.models import LeNet5

Values = dict[str, np.ndarray]

# With these images, no input of a ReLU comes nearer to 0 than 2.6e-6 in 5 steps of 7 or 32 images.
# Where one does, rounding may change its sign, and the gradients of right systems differ by 1 %.
SEED = 38


@dataclass(frozen=True)
class Case:
    """One training task. ``device`` is where PyTorch and JAX compute: "cuda" or "cpu"."""

    batch: int
    dropout: float = 0.1
    device: str = "cuda"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


class System(Protocol):
    """A library that trains; see above."""

    about: str  # its version, and what runs

    def steps(self, n: int) -> None: ...

    def wait(self) -> None: ...

    def last(self) -> tuple[float, Values, Values]: ...


def network(case: Case) -> LeNet5:
    """Return the model with its initial weights, on NumPy, in float32."""
    return LeNet5(dropout=case.dropout, seed=0)


def bytes_and_labels(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images, uint8 (N, 1, 32, 32), and random labels, int64 (N,)."""
    rng = np.random.default_rng(SEED)
    return rng.integers(0, 256, (images, 1, 32, 32), np.uint8), rng.integers(0, 10, images)


def floats_and_labels(images: int, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Return the same images as floats from 0 to 1, with the same values in any ``dtype``."""
    x, y = bytes_and_labels(images)
    return (x / np.float32(255)).astype(dtype), y
