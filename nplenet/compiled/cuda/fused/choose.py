"""Which operation a layer becomes, and why a chain does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ....layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2d,
)
from ....losses import CrossEntropyLoss
from ...operation import DType, Value
from ...passes import Work
from ...plan import Plan, make_plan
from .code import aligned
from .conv import SUMS_BYTES, FusedConv
from .dense import FusedDense
from .elementwise import ACTIVATIONS, FusedActivation, FusedDropout, FusedFlatten
from .first import FirstConv, FirstNorm, can_be_first
from .loss import FusedLoss
from .norm import FusedFrozenNorm, FusedNorm, Normalise
from .operation import Head, Source
from .pooling import FusedAveragePool, FusedMaxPool
from .program import MAX_ARGUMENT_BYTES, Device, Program, threads_of_block
from .update import Update

NORMS = (BatchNorm1d, BatchNorm2d)
PLAIN: dict[type[Layer], Any] = {
    Dense: FusedDense,
    Flatten: FusedFlatten,
    AvgPool2d: FusedAveragePool,
    MaxPool2d: FusedMaxPool,
} | dict.fromkeys(ACTIVATIONS, FusedActivation)
OTHER_WORKS = {
    "moments": "sums over the windows of the images, for all steps of a graph",
    "join_moments": "mean and covariance of the pixels of a window",
    "finish": "loss and correct predictions of the step",
}
LAYERS = (Source, *PLAIN, *NORMS, Conv2d, Dropout)
"""The layers that have device code."""


class FusedExecutor:
    """What a plan needs of the executor on a GPU; see ``plan.Executor``.

    ``max_sums_bytes`` and ``threads`` are for convolutions; see ``FusedConv``. ``moments`` says
    whether a first convolution and its batch norm may take moments, as images of bytes have them.
    """

    def __init__(self, max_sums_bytes: int, threads: int, moments: bool) -> None:
        self.max_sums_bytes, self.threads, self.moments = max_sums_bytes, threads, moments
        self._dropouts = 0
        self._images: Value | None = None
        self._first: FirstConv | None = None

    def operation(self, layers: Sequence[Layer], x: Value, training: bool) -> tuple[Any, int]:
        layer = layers[0]
        if isinstance(layer, NORMS):
            first = self._first if self._first is not None and self._first.y is x else None
            return normalise(layers, x, training, first)
        if isinstance(layer, Source):
            head = Head(layer, x, training)
            self._images = head.y
            return head, 1
        may_be_first = self.moments and training and x is self._images
        if isinstance(layer, Conv2d) and may_be_first and can_be_first(layers, x.shape):
            self._first = FirstConv(layer, x, self.max_sums_bytes, self.threads)
            return self._first, 1
        if isinstance(layer, Conv2d):
            lasts = self._first is None  # otherwise a pass has two convolutions, and little room
            return FusedConv(layer, x, training, self.max_sums_bytes, self.threads, lasts), 1
        if isinstance(layer, Dropout):
            self._dropouts += 1
            return FusedDropout(layer, x, training, self._dropouts - 1), 1
        return PLAIN[type(layer)](layer, x, training), 1

    def loss(self, loss: CrossEntropyLoss, logits: Value) -> FusedLoss:
        return FusedLoss(loss, logits)

    def kind(self, value: Value) -> None:
        """Only barriers end a pass."""

    def uses(self, work: Work, at_barrier: bool) -> Iterable[Value]:
        return [value for value in work.operation.uses(work.part) if value is not None]

    def room(self, value: Value) -> int:
        """Return the bytes of one image: a block takes several, each of which has as much."""
        return aligned(value.nbytes(1))


def normalise(
    layers: Sequence[Layer], x: Value, training: bool, first: FirstConv | None
) -> tuple[Normalise, int]:
    """Return a batch norm with the nonlinearity and average pool that follow it."""
    norm, rest = layers[0], list(layers[1:])
    assert isinstance(norm, NORMS)
    activation = rest.pop(0) if rest and isinstance(rest[0], ACTIVATIONS) else None
    pool = rest[0] if rest and isinstance(rest[0], AvgPool2d) and tiles(rest[0], x) else None
    used = 1 + (activation is not None) + (pool is not None)
    if first is not None:
        assert isinstance(norm, BatchNorm2d)
        return FirstNorm(norm, first, activation, pool), used
    kind = FusedNorm if training and norm.training else FusedFrozenNorm
    return kind(norm, x, training, activation, pool), used


def tiles(pool: AvgPool2d, x: Value) -> bool:
    """Return whether no pixel lies in two windows, and no window hangs over the border."""
    window = pool.window
    if len(x.shape) != 3 or window.stride != window.size or window.padding != (0, 0):
        return False
    out = window.output_size(*x.shape[1:])
    return all(
        o * size <= length for o, size, length in zip(out, window.size, x.shape[1:], strict=True)
    )


def make_program(
    layers: Sequence[Layer],
    image_shape: Sequence[int],
    dtype: DType,
    loss: CrossEntropyLoss | None,
    batch_size: int,
    device: Device,
    update: Update | None = None,
    moments: bool = False,
) -> Program:
    """Return the kernels of a training step, or of inference if the loss is None.

    With an update the step ends with it, otherwise with the gradients. With ``moments`` a first
    convolution and its batch norm take them, if they can: the images must then be bytes.

    They may need more shared memory than the device has; see ``Program.too_large``.
    """
    programs = []
    for max_sums_bytes in SUMS_BYTES:
        x = Value(image_shape, dtype)
        executor = FusedExecutor(max_sums_bytes, threads_of_block(batch_size, device), moments)
        plan: Plan = make_plan([Source(), *layers], x, executor, loss)
        programs.append(Program(plan, device, batch_size, dtype, loss is not None, update))
        if programs[-1].has_room and max_sums_bytes:
            return programs[-1]
    return next((program for program in programs if program.too_large() is None), programs[-1])


def why_not_fused(
    layers: Sequence[Layer],
    image_shape: Sequence[int],
    dtype: DType,
    loss: CrossEntropyLoss,
    batch_size: int,
    device: Device,
) -> str:
    """Return why a chain cannot run as fused kernels on a device; an empty string if it can.

    The loss can be compiled, and all parameters are of ``dtype``: ``why_not_in_a_graph`` was asked.
    """
    for layer in layers:
        if type(layer) not in LAYERS or (isinstance(layer, Conv2d) and not layer.is_plain):
            return f"{layer!r} has no device code"
        group = getattr(layer, "group", None)
        if group is not None and group.size > 1:
            return f"{layer!r} shares its batch with other ranks"
    for each in (loss, None):
        program = make_program(layers, image_shape, dtype, each, batch_size, device)
        if len(program.plan.y.shape) != 1:
            return f"the output has the shape {program.plan.y.shape}, not one number per class"
        nbytes = program.argument_bytes
        if nbytes > MAX_ARGUMENT_BYTES:
            return f"the kernels need arguments of {nbytes} bytes, of at most {MAX_ARGUMENT_BYTES}"
        kernel = program.too_large()
        if kernel is not None:
            return (
                f"{kernel.name} ({works_of(program, kernel.name)}) needs {kernel.shared} bytes of "
                f"shared memory for a block, and the device has {device.shared}"
            )
    return ""


def works_of(program: Program, kernel: str) -> str:
    """Return what a kernel does: the works of its pass."""
    if kernel in OTHER_WORKS:
        return OTHER_WORKS[kernel]
    return str(program.plan.passes[int(kernel.removeprefix("pass")) - 1])
