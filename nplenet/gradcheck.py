"""Finite differences against every backward: ``dx`` must be the derivative of ``y``.

For a random upstream gradient dy, L = sum(dy * y) is a number, and ``backward`` returns its
gradient. Moving a tensor t (the input or a parameter) by a small h along a direction v measures it:

    (L(t + h v) - L(t - h v)) / 2h  =  sum(gradient * v)

Small tensors are checked element by element (v has a single 1), large tensors along random
directions, each of which a single wrong element changes.

Error. Let a be the derivatives from backward and n those from differences. The relative error of a
tensor, over all elements or directions, is

    max|a - n| / max(max|a|, max|n|, tiny)        tiny = 1e6 * rounding

so an element is measured by the tensor's largest. Differences cannot resolve less than
rounding = 16 eps |dy * y| / h, with |.| the root of the sum of squares, eps = 2.2e-16 and in the
factor 16 a margin of 4 over the rounding of LeNet5; so where the true gradient is zero (a bias
before a batch norm) this much is not an error. h is 1e-6 times the tensor's largest absolute value,
or 1e-9 if that value is below 1e-3.

Kinks. Where a ReLU or a maximum switches between t - hv and t + hv, L has no derivative. With steps
h and h/2, a smooth L has equal central differences, and its second differences
(L(t + hv) - 2 L(t) + L(t - hv)) / h are in the ratio 2 : 1. A switch breaks the first rule if it
lies off t and the second if it lies on t; no switch that matters is missed. An element near a kink
is left out, a direction across one is drawn again.
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
from .layers.hints import floats_returned, warn_of_plain_arrays
from .losses import CrossEntropyLoss
from .names import answer_wrong_names

__all__ = ["Report", "TensorCheck", "check_case", "check_layer", "check_loss"]
answer_wrong_names(__name__)

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-6
STEP = 1e-6  # of a tensor whose largest value is 1; rounding then costs 1e-10, curvature 1e-12
MAX_SIZE_FOR_ELEMENTS = 256  # of a tensor that is checked element by element
DIRECTIONS = 8
MAX_DRAWS = 3 * DIRECTIONS
MIN_COMPARED = 0.9  # a check that leaves out more (and more than one) proves too little

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
        As defined above; NaN if a gradient or an output is not finite.
    compared, wanted, kinks : int
        Number of derivatives compared, to compare, and left out or drawn again because of a kink.
    unit : str
        ``elements`` or ``directions``.
    tolerance : float
    fault : str
        Another error, such as a gradient of the wrong shape; empty without one.
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
        """Whether enough was compared and the error is within the tolerance (NaN is not)."""
        return not self.fault and self.enough and self.max_relative_error <= self.tolerance

    @property
    def enough(self) -> bool:
        """Whether nine tenths of the derivatives, or all but one, were compared."""
        return 0 < self.compared >= min(MIN_COMPARED * self.wanted, self.wanted - 1)

    @property
    def verdict(self) -> str:
        """``ok``, or ``FAIL`` and why."""
        if self.ok:
            return "ok"
        if self.fault:
            return f"FAIL: {self.fault}"
        if not self.enough:
            return (
                f"FAIL: only {self.compared} of {self.wanted} clear of kinks; move x off the kinks "
                "(or does forward round to float32?)"
            )
        return "FAIL"

    def __str__(self) -> str:
        """Return one row of the table under ``HEADER``."""
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
        """The largest error of all tensors; NaN if one is NaN."""
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

    The check runs in float64 on a copy: the layer, its gradients, running statistics and random
    generators are not changed. Before each forward the generators are reset, so that dropout draws
    the same mask. The mode, training or evaluation, is the layer's own.

    A second forward and backward must return the same ``dx`` and twice the gradients of the
    parameters, because gradients of parameters accumulate.

    Parameters
    ----------
    layer : Layer
        On any backend; may be a whole network.
    x : array of float32 or float64
        An input of the layer, on any backend.
    tolerance : float
        The largest relative error that passes.
    seed : int or None
        Random seed for the upstream gradient and the directions.

    Raises
    ------
    TypeError
        When ``layer`` is not a layer, or ``x`` is not an array of floats.
    ValueError
        When ``x`` is empty, forward changes it, or two forwards on the same input differ.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"check_layer: layer must be a layer, not a class, got {layer!r}")
    warn_of_plain_arrays(layer)
    twin = _Twin(layer, x)
    rng = np.random.default_rng(seed)
    dy = rng.standard_normal(twin.checked_forward().shape)
    twin.layer.zero_grad()
    first, second = twin.backward(dy), twin.backward(dy)
    largest = max(float(np.abs(np.nan_to_num(g)).max(initial=0)) for g in first.values())
    classes = {path: type(module).__name__ for path, module in twin.layer.modules()}
    checks = []
    for name, tensor in twin.tensors().items():
        path, _, short = name.rpartition(".")
        factor = 1 if name == "x" else 2
        fault = _repetition_fault(first[name], second[name], factor, 1e-9 * largest)
        differences = _Differences(twin.forward, tensor, twin.backend, dy)
        label = f"{path} {classes[f'{path}.' if path else '']}".strip()
        checks.append(_check_tensor(label, short, first[name], differences, tolerance, rng, fault))
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
        Or any object with ``forward(logits, targets)`` and ``backward()``. A copy is checked.
    logits : array of float32 or float64 (N, K)
    targets : integer array (N,), on the backend of ``logits``
    tolerance : float
        The largest relative error that passes.
    seed : int or None
        Random seed for the directions of large ``logits``.
    """
    twin, backend = copy.deepcopy(loss), backend_of(logits)
    logits = _float64_array(logits, backend, "check_loss: logits")

    def forward() -> Floats:
        return np.array(backend.to_numpy(twin.forward(logits, targets)))

    losses, rng = forward(), np.random.default_rng(seed)
    dy = rng.standard_normal(losses.shape) if losses.ndim else np.ones(())
    given = [backend.asarray(dy)] if losses.ndim else []
    dlogits = np.array(backend.to_numpy(twin.backward(*given)))
    differences = _Differences(forward, logits, backend, dy)
    name = type(loss).__name__
    return Report((_check_tensor(name, "logits", dlogits, differences, tolerance, rng),))


def check_case(
    case: Case, *, backend: str = "numpy", tolerance: float = TOLERANCE, seed: int = 0
) -> Report:
    """Check one case of ``nplenet.cases``; parameters as in ``check_layer``."""
    subject, x = case.build(seed, backend=backend), case.input(seed, backend=backend)
    if isinstance(subject, Layer):
        return check_layer(subject, x, tolerance=tolerance, seed=seed)
    return check_loss(subject, x, case.targets(seed, backend), tolerance=tolerance, seed=seed)


class _Twin:
    """A copy of a layer in float64 that computes every gradient, and a copy of its input."""

    def __init__(self, layer: Layer, x: Array) -> None:
        backends = {id(module.backend): module.backend for _, module in layer.modules()}
        # A backend itself is never copied.
        self.layer: Any = copy.deepcopy(layer, backends).astype(np.float64)
        self.backend: Backend = self.layer.backend
        self.x = _float64_array(x, self.backend, "check_layer: x")
        self._generators = []
        for _, module in self.layer.modules():
            module.input_gradient = True
        for generator in self.layer.generators().values():
            bits = generator.bit_generator
            self._generators.append((bits, bits.state))

    def tensors(self) -> dict[str, Array]:
        """Return the input and the parameters by name."""
        return {"x": self.x, **{p.name: p.data for p in self.layer.parameters()}}

    def forward(self) -> Floats:
        """Return a copy of the output; the random generators start from their first state."""
        for bit_generator, state in self._generators:
            bit_generator.state = state
        y = floats_returned(self.layer, self.layer.forward(self.x), "forward")  # a view of x?
        return np.array(self.backend.to_numpy(y))

    def checked_forward(self) -> Floats:
        """Return the output, once two forwards agree and neither has changed the input."""
        name = type(self.layer).__name__
        before = np.array(self.backend.to_numpy(self.x))
        y = self.forward()
        if not np.array_equal(self.backend.to_numpy(self.x), before, equal_nan=True):
            raise ValueError(f"check_layer: the forward of {name} changes its input")
        if not np.array_equal(y, self.forward(), equal_nan=True):
            raise ValueError(
                f"check_layer: two forwards of {name} on one input differ; "
                "keep its randomness in a numpy.random.Generator attribute"
            )
        return y

    def backward(self, dy: Floats) -> dict[str, Floats]:
        """Return copies of dx and of the accumulated gradients, after one more forward."""
        self.forward()
        dx = self.layer.backward(self.backend.asarray(dy))
        dx = np.empty(0) if dx is None else floats_returned(self.layer, dx, "backward")
        arrays = {"x": dx, **{p.name: p.grad for p in self.layer.parameters()}}
        return {name: np.array(self.backend.to_numpy(array)) for name, array in arrays.items()}


def _check_tensor(
    layer: str,
    tensor: str,
    gradient: Floats,
    differences: _Differences,
    tolerance: float,
    rng: np.random.Generator,
    fault: str = "",
) -> TensorCheck:
    """Return the result for one tensor; a gradient of the wrong shape is not compared."""
    unit = "elements" if differences.tensor.size <= MAX_SIZE_FOR_ELEMENTS else "directions"
    if gradient.shape != differences.tensor.shape:
        fault = f"gradient of shape {gradient.shape} for {differences.tensor.shape}"
        if tensor == "x" and gradient.shape == (0,):
            fault += ": backward returned None, not dx"
        return TensorCheck(layer, tensor, np.nan, 0, 0, 0, unit, tolerance, fault)
    with np.errstate(invalid="ignore", over="ignore"):  # inf and NaN are results, not warnings
        found = differences.check(gradient, tolerance, rng)
    return TensorCheck(layer, tensor, *found, unit, tolerance, fault)


@dataclass(frozen=True)
class _Differences:
    """Difference quotients of L = sum(dy * forward()) for steps of ``tensor``, made in place."""

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
        wanted = start.size if start.size <= MAX_SIZE_FOR_ELEMENTS else DIRECTIONS
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
        """Return the central difference along ``v``, and how far L is from smooth there."""

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
    """Yield one direction per element of a small tensor, random directions for a large tensor."""
    size = math.prod(shape)
    if size > MAX_SIZE_FOR_ELEMENTS:
        for _ in range(MAX_DRAWS):
            yield rng.standard_normal(shape)
        return
    for i in range(size):
        v = np.zeros(size)
        v[i] = 1.0
        yield v.reshape(shape)


def _float64_array(x: Array, backend: Backend, name: str) -> Array:
    """Return a copy of ``x`` in float64 on ``backend``."""
    dtype = getattr(x, "dtype", None)
    if dtype is None or dtype.kind != "f":
        raise TypeError(f"{name} must be an array of floats, got {dtype or type(x).__name__}")
    if x.size == 0:
        raise ValueError(f"{name} is empty, of shape {x.shape}: nothing to check")
    return backend.asarray(x, dtype=np.float64).copy()


def _repetition_fault(first: Floats, second: Floats, factor: int, rounding: float) -> str:
    """Say what is wrong if a second backward did not give ``factor`` times the first gradient."""
    if first.shape != second.shape or not np.isfinite(first).all():
        return ""  # the comparison with differences reports it
    if np.abs(second - factor * first).max(initial=0) <= rounding:
        return ""
    return "a second backward gives another dx" if factor == 1 else "does not accumulate"
