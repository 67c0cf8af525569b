"""Parameters packed side by side into one array, and the blocks in which an update passes over it.

Legend: p parameter, g its gradient, m and v moments of it, such as Adam's, s and t scratch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..backend import Array, backend_of
from ..parameter import Parameter
from ..rounding import round_up

BLOCK = 32768
"""Elements a block on the CPU: p, g, m, v, s and t of float32 take 768 KiB, which stays in L2.
Smaller ones cost more in calls: Adam on LeNet-5 took 0.10 ms with 32768, 0.35 ms with 2048."""


ALIGNMENT = 4
"""On a GPU a parameter begins at a multiple of four numbers, behind zeros, so that a load may
take four of them."""


class FlatParameters:
    """Parameters of one dtype, packed side by side into one array.

    Each ``parameter.data`` and ``parameter.grad`` becomes a view of its part of the flat arrays, so
    what a layer adds to a gradient, or a checkpoint loads into a weight in place, is visible here
    without a copy. Code that binds a new array to them (``Layer.to``, ``Layer.astype``, a second
    optimizer) detaches them, which ``detached`` detects.

    Parameters
    ----------
    parameters : sequence of Parameter
        Of one dtype, on one backend.

    Attributes
    ----------
    data, grad : array (size,)
        All parameters and all gradients, in the order given.
    starts : list of int
        Where each parameter begins, and the size at the end.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        backend = backend_of(parameters[0].data)
        self.xp, self.parameters = backend.xp, list(parameters)
        alignment = 1 if backend.name == "numpy" else ALIGNMENT
        rooms = [round_up(p.data.size, alignment) for p in parameters]
        self.starts = np.cumsum([0, *rooms]).tolist()
        size, dtype = self.starts[-1], parameters[0].data.dtype
        self.data, self.grad = self.xp.zeros(size, dtype), self.xp.zeros(size, dtype)
        self._data_views, self._grad_views = self.split(self.data), self.split(self.grad)
        for p, data, grad in zip(parameters, self._data_views, self._grad_views, strict=True):
            data[...], grad[...] = p.data, p.grad
            p.data, p.grad = data, grad

    def split(self, flat: Array) -> list[Array]:
        """Return each parameter's part of a flat array, as a view with the parameter's shape."""
        return [
            flat[start : start + p.data.size].reshape(p.data.shape)
            for p, start in zip(self.parameters, self.starts, strict=False)
        ]

    def detached(self) -> Parameter | None:
        """Return the first parameter whose arrays are not views of the flat arrays, or None."""
        for p, data, grad in zip(self.parameters, self._data_views, self._grad_views, strict=True):
            if p.data is not data or p.grad is not grad:
                return p
        return None


Block = tuple[Array, ...]
"""Operands of one update: views of equal length of p, g and the moments, and s and t."""


def checked_parameters(owner: str, params: Iterable[Parameter]) -> list[Parameter]:
    """Return the parameters as a list; raise an error if they can't be packed."""
    parameters = list(params)
    if not parameters:
        raise ValueError(f"{owner}: the list of parameters is empty; pass model.parameters()")
    for p in parameters:
        if not all(hasattr(p, name) for name in ("data", "grad", "name")):  # or like a Parameter
            raise TypeError(
                f"{owner}: params must be a list of Parameter, such as model.parameters(), got one "
                f"of {type(p).__name__}"
            )
    if len({id(p.data) for p in parameters}) != len(parameters):
        raise ValueError(f"{owner}: a parameter appears twice, or two share one array")
    backends = {backend_of(p.data).name for p in parameters}
    if len(backends) > 1:
        raise ValueError(
            f"{owner}: the parameters are on {sorted(backends)}; move all to one of them"
        )
    return parameters


def blocks_of(
    flat: FlatParameters, moments: tuple[Array, ...], trained: Sequence[bool]
) -> list[Block]:
    """Cut the flat arrays into blocks of cache size that share scratch; a GPU gets whole runs.

    Parameters that are not trained are in no block: each run of neighbours that are is cut.

        parameter    weight | bias | weight | bias
        trained        yes    yes     no      yes
        runs         |-------------|        |------|
    """
    arrays = (flat.data, flat.grad, *moments)
    on_gpu = backend_of(flat.data).name != "numpy"
    scratch = None if on_gpu else flat.xp.empty((2, BLOCK), dtype=flat.data.dtype)
    blocks: list[Block] = []
    for first, last in runs_of(flat.starts, trained):
        for start in range(first, last, (last - first) if on_gpu else BLOCK):
            parts = [a[start : last if on_gpu else min(start + BLOCK, last)] for a in arrays]
            room = (None, None) if scratch is None else scratch[:, : len(parts[0])]
            blocks.append((*parts, *room))
    return blocks


def runs_of(starts: Sequence[int], trained: Sequence[bool]) -> list[tuple[int, int]]:
    """Return (first, last + 1) of each run of trained parameters in their flat array."""
    runs: list[tuple[int, int]] = []
    for begin, end, chosen in zip(starts, starts[1:], trained, strict=False):
        if not chosen or begin == end:
            continue
        if runs and runs[-1][1] == begin:
            begin = runs.pop()[0]
        runs.append((begin, end))
    return runs
