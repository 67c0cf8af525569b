"""Finite differences against every backward: ``dx`` must be the derivative of ``y``.

For a random upstream gradient dy, L = sum(dy * y) is a number, and ``backward`` returns its
gradient. Moving a tensor t (the input or a parameter) by a small h along a direction v checks it:

    (L(t + h v) - L(t - h v)) / 2h  =  sum(gradient * v)

Small tensors are tried element by element (v has a single 1), large ones along random directions,
in which a single wrong element shows too.

Kinks. Where a ReLU or a maximum switches between t - hv and t + hv the derivative does not exist.
With steps h and h/2, a smooth L has equal central differences, and its second differences
(L(t + hv) - 2 L(t) + L(t - hv)) / h are in the ratio 2 : 1. A switch breaks the first rule if it
lies off t and the second if it lies on t, so every switch that matters is found. An element at a
switch is left out; a direction across one is drawn again.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .backend import Array, Backend, backend_of
from .cases import Case
from .layers import Layer
from .losses import CrossEntropyLoss

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-6
STEP = 1e-6  # of a tensor whose largest value is 1; rounding then costs 1e-10, curvature 1e-12
SMALL_TENSOR = 256  # up to this size every element is tried
DIRECTIONS = 8
MOST_DRAWS = 3 * DIRECTIONS
LEAST_COMPARED = 0.9  # a check that leaves out more (and more than one) proves too little

ROW = "{:<22} {:<8} {:>14} {:>5}  {:>14}  {}"
HEADER = ROW.format("layer", "tensor", "compared", "kinks", "relative error", "verdict")


@dataclass(frozen=True)
class TensorCheck:
    """The result for one tensor.

    Attributes
    ----------
    layer, tensor : str
        Path and class of the layer; ``x`` or the name of a parameter.
    max_relative_error : float
        See ``check_layer``; NaN where a gradient or an output is not finite.
    compared, wanted, kinks : int
        Numbers of derivatives that were compared, that should have been, and that were left out or
        drawn again because a kink was near.
    unit : str
        ``elements`` or ``directions``.
    tolerance : float
    fault : str
        Another fault, such as a gradient of the wrong shape, or "".
    """

    layer: str
    tensor: str
    max_relative_error: float
    compared: int
    wanted: int
    kinks: int
    unit: str
    tolerance: float
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance (NaN is not) and enough was compared."""
        return not self.fault and self.enough and self.max_relative_error <= self.tolerance

    @property
    def enough(self) -> bool:
        """Whether nine tenths of the derivatives, or all but one, could be compared."""
        return 0 < self.compared >= min(LEAST_COMPARED * self.wanted, self.wanted - 1)

    @property
    def verdict(self) -> str:
        """``ok``, or ``FAIL`` and why."""
        if self.ok:
            return "ok"
        if self.fault:
            return f"FAIL: {self.fault}"
        if not self.enough:
            return (
                f"FAIL: only {self.compared} of {self.wanted} clear of kinks; move x off them "
                "(or does forward round to float32?)"
            )
        return "FAIL"

    def __str__(self) -> str:
        """Return a row of the table that ``HEADER`` begins."""
        compared = f"{self.compared} {self.unit}"
        return ROW.format(
            self.layer,
            self.tensor,
            compared,
            self.kinks,
            f"{self.max_relative_error:.1e}",
            self.verdict,
        )


@dataclass(frozen=True)
class Report:
    """The result of a gradient check: one ``TensorCheck`` per tensor. ``str`` gives a table."""

    checks: tuple[TensorCheck, ...]

    @property
    def max_relative_error(self) -> float:
        """The worst of all tensors; NaN if one is NaN."""
        return float(np.max([check.max_relative_error for check in self.checks]))

    @property
    def ok(self) -> bool:
        """Whether every tensor passed."""
        return all(check.ok for check in self.checks)

    def __str__(self) -> str:
        return "\n".join([HEADER, *map(str, self.checks)])


def check_layer(
    layer: Layer, x: Array, *, tolerance: float = TOLERANCE, seed: int | None = 0
) -> Report:
    """Compare ``layer.backward`` with finite differences of ``layer.forward``.

    Everything happens in float64 on a copy: the layer, its gradients, running statistics and random
    generators are unchanged. Generators are restored before each forward, so that dropout keeps its
    mask. The mode, training or evaluation, is the layer's.

    The relative error of a tensor, with its derivatives a from backward and n from differences, is

        max|a - n| / max(max|a|, max|n|, tiny)        tiny = 1e6 * rounding

    over all elements or directions tried: an element is measured by the tensor's largest.
    Differences cannot resolve less than rounding = 16 eps |dy * y| / h, with |.| the root of the
    sum of squares, eps = 2.2e-16 and in the factor 16 a margin of 4 over what LeNet5 shows; so
    where the true gradient is zero (a bias before a batch norm) this much is not an error. h is
    1e-6 times the tensor's largest absolute value, or 1e-9 if that is below 1e-3.

    Beyond that, a second forward and backward must give the same ``dx`` and twice the parameters'
    gradients, because those accumulate.

    Parameters
    ----------
    layer : Layer
        Of either backend, or a whole network.
    x : array of float32 or float64
        An input of the layer, on any backend.
    tolerance : float
    seed : int or None
        Random seed for the upstream gradient and the directions.

    Returns
    -------
    Report

    Raises
    ------
    TypeError
        When ``layer`` is not a layer, or ``x`` not an array of floats.
    ValueError
        When ``x`` is empty, forward changes it, or two forwards on the same input differ.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"check_layer: layer must be a layer, not a class, got {layer!r}")
    twin = _float64_copy(layer)
    x = _float64_array(x, twin.backend, "check_layer: x")
    before = np.array(twin.backend.to_numpy(x))
    rewind = _rewinder(twin)
    rng = np.random.default_rng(seed)

    def forward() -> Floats:
        rewind()
        return np.array(twin.backend.to_numpy(twin.forward(x)))  # a copy: y may be a view of x

    y = forward()
    if not np.array_equal(twin.backend.to_numpy(x), before, equal_nan=True):
        raise ValueError(f"check_layer: the forward of {type(layer).__name__} changes its input")
    if not np.array_equal(y, forward(), equal_nan=True):
        raise ValueError(
            f"check_layer: two forwards of {type(layer).__name__} on one input differ; "
            "keep its randomness in a numpy.random.Generator attribute"
        )
    dy = rng.standard_normal(y.shape)

    def backward() -> dict[str, Floats]:
        """Return copies of dx and all accumulated gradients."""
        forward()
        dx = twin.backward(twin.backend.asarray(dy))
        gradients = {p.name: np.array(twin.backend.to_numpy(p.grad)) for p in twin.parameters()}
        return {
            "x": np.empty(0) if dx is None else np.array(twin.backend.to_numpy(dx)),
            **gradients,
        }

    twin.zero_grad()
    first, second = backward(), backward()
    largest = max(float(np.abs(np.nan_to_num(g)).max(initial=0)) for g in first.values())
    kinds = {path: type(module).__name__ for path, module in twin.modules()}
    tensors = {"x": x, **{p.name: p.data for p in twin.parameters()}}
    checks = []
    for name, tensor in tensors.items():
        path, _, short = name.rpartition(".")
        owner = f"{path} {kinds[f'{path}.' if path else '']}".strip()
        differences = _Differences(forward, tensor, twin.backend, dy)
        factor = 1 if name == "x" else 2  # gradients of parameters accumulate
        fault = _repetition_fault(first[name], second[name], factor, 1e-9 * largest)
        checks.append(_check_tensor(owner, short, first[name], differences, tolerance, rng, fault))
    return Report(tuple(checks))


def check_loss(
    loss: CrossEntropyLoss,
    logits: Array,
    targets: Array,
    *,
    tolerance: float = TOLERANCE,
    seed: int | None = 0,
) -> Report:
    """Compare ``loss.backward`` with finite differences of ``loss.forward``; see ``check_layer``.

    Parameters
    ----------
    loss : CrossEntropyLoss
        Or any object with ``forward(logits, targets)`` and ``backward()``. A copy is used.
    logits : array of float32 or float64 (N, K)
    targets : integer array (N,), on the backend of ``logits``
    tolerance : float
    seed : int or None
        Random seed for the directions, which are needed if ``logits`` is large.
    """
    twin, backend = copy.deepcopy(loss), backend_of(logits)
    logits = _float64_array(logits, backend, "check_loss: logits")

    def forward() -> Floats:
        return np.array(backend.to_numpy(twin.forward(logits, targets)))

    forward()
    dlogits = np.array(backend.to_numpy(twin.backward()))
    differences = _Differences(forward, logits, backend, np.ones(()))
    rng = np.random.default_rng(seed)
    name = type(loss).__name__
    return Report((_check_tensor(name, "logits", dlogits, differences, tolerance, rng),))


def check_case(
    case: Case, *, backend: str = "numpy", tolerance: float = TOLERANCE, seed: int = 0
) -> Report:
    """Check a case of the table of operations; for the parameters see ``check_layer``."""
    subject, x = case.build(seed, backend=backend), case.input(seed, backend=backend)
    if isinstance(subject, Layer):
        return check_layer(subject, x, tolerance=tolerance, seed=seed)
    return check_loss(subject, x, case.targets(seed, backend), tolerance=tolerance, seed=seed)


def _check_tensor(
    layer: str,
    tensor: str,
    gradient: Floats,
    differences: _Differences,
    tolerance: float,
    rng: np.random.Generator,
    fault: str = "",
) -> TensorCheck:
    """Return the row of one tensor; a gradient of the wrong shape is not compared."""
    unit = "elements" if differences.tensor.size <= SMALL_TENSOR else "directions"
    if gradient.shape != differences.tensor.shape:
        fault = f"gradient of shape {gradient.shape} for {differences.tensor.shape}"
        if tensor == "x" and gradient.shape == (0,):
            fault += ": backward returned None, not dx"
        return TensorCheck(layer, tensor, np.nan, 0, 0, 0, unit, tolerance, fault)
    with np.errstate(invalid="ignore", over="ignore"):  # inf and NaN are findings, not warnings
        found = differences.check(gradient, tolerance, rng)
    return TensorCheck(layer, tensor, *found, unit, tolerance, fault)


@dataclass(frozen=True)
class _Differences:
    """Difference quotients of L = sum(dy * forward()) when ``tensor`` is moved, in place."""

    forward: Callable[[], Floats]
    tensor: Array
    backend: Backend
    dy: Floats

    def check(
        self, gradient: Floats, tolerance: float, rng: np.random.Generator
    ) -> tuple[float, int, int, int]:
        """Return the relative error, and the numbers compared, wanted and near a kink."""
        start = np.array(self.backend.to_numpy(self.tensor))
        y = self.forward()
        h = STEP * max(float(np.abs(start).max()), 1e-3)
        rounding = 16 * np.finfo(np.float64).eps * float(np.linalg.norm(self.dy * y)) / h
        wanted = start.size if start.size <= SMALL_TENSOR else DIRECTIONS
        tiny = 1e6 * rounding + np.finfo(np.float64).tiny
        analytic, numeric, breaks = np.empty((3, 0))
        clear = np.empty(0, bool)
        for v in _directions(start.shape, rng):
            slope, broken = self._along(v, start, y, h)
            analytic = np.append(analytic, (gradient * v).sum())
            numeric = np.append(numeric, slope)
            breaks = np.append(breaks, broken)
            scale = np.max([np.abs(analytic).max(), np.abs(numeric).max(), tiny])
            limit = 0.1 * tolerance * scale + 5 * rounding  # rounding breaks the rules by 2 at most
            clear = ~(breaks > limit)  # NaN counts as clear, to be seen below
            if clear.sum() == wanted:
                break
        self.tensor[...] = self.backend.asarray(start)
        a, n = analytic[clear], numeric[clear]
        error = np.nan
        if clear.any():
            error = np.abs(a - n).max() / np.max([np.abs(a).max(), np.abs(n).max(), tiny])
        return float(error), int(clear.sum()), wanted, int((~clear).sum())

    def _along(self, v: Floats, start: Floats, y: Floats, h: float) -> tuple[float, float]:
        """Return the central difference along ``v``, and by how much L fails to be smooth there."""

        def change(step: float) -> float:
            self.tensor[...] = self.backend.asarray(start + step * v)
            # Summing the differences of y, not L, rounds less.
            return float((self.dy * (self.forward() - y)).sum())

        up, down, half_up, half_down = change(h), change(-h), change(h / 2), change(-h / 2)
        central, half_central = (up - down) / (2 * h), (half_up - half_down) / h
        second, half_second = (up + down) / h, (half_up + half_down) / (h / 2)
        breaks = np.maximum(abs(central - half_central), abs(second - 2 * half_second))
        return central, float(breaks)


def _directions(shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[Floats]:
    """Yield one direction for each element of a small tensor, random ones for a large tensor."""
    size = math.prod(shape)
    if size > SMALL_TENSOR:
        for _ in range(MOST_DRAWS):
            yield rng.standard_normal(shape)
        return
    for i in range(size):
        v = np.zeros(size)
        v[i] = 1.0
        yield v.reshape(shape)


def _float64_copy(layer: Layer) -> Any:
    """Return a copy of ``layer`` in float64, on the same backend, that computes every gradient."""
    backends = {id(module.backend): module.backend for _, module in layer.modules()}
    twin = copy.deepcopy(layer, backends).astype(np.float64)  # a backend itself is never copied
    for _, module in twin.modules():
        module.input_gradient = True
    return twin


def _float64_array(x: Array, backend: Backend, name: str) -> Array:
    """Return a copy of ``x`` in float64 on ``backend``."""
    dtype = getattr(x, "dtype", None)
    if dtype is None or dtype.kind != "f":
        raise TypeError(f"{name} must be an array of floats, got {dtype or type(x).__name__}")
    if x.size == 0:
        raise ValueError(f"{name} is empty, of shape {x.shape}; there is nothing to check")
    return backend.asarray(x, dtype=np.float64).copy()


def _rewinder(layer: Layer) -> Callable[[], None]:
    """Return a function that restores the present state of the generators of ``layer``."""
    values = [value for _, module in layer.modules() for value in vars(module).values()]
    states = [
        (value.bit_generator, value.bit_generator.state)
        for value in values
        if isinstance(value, np.random.Generator)
    ]

    def rewind() -> None:
        for bit_generator, state in states:
            bit_generator.state = state

    return rewind


def _repetition_fault(first: Floats, second: Floats, factor: int, rounding: float) -> str:
    """Say what is wrong if a second backward did not give ``factor`` times the first gradient."""
    if first.shape != second.shape or not np.isfinite(first).all():
        return ""  # the comparison with differences says so
    if np.abs(second - factor * first).max(initial=0) <= rounding:
        return ""
    return "a second backward gives another dx" if factor == 1 else "does not accumulate"
