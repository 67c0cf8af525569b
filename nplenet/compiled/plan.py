"""The plan of a step: its operations, its passes, and which value lies where.

An executor runs a plan: ``cpu`` binds it to NumPy calls, ``cuda/fused`` writes a kernel per pass.
A plan is made once for a model and a shape of images, and holds what both have in common:

    layers      --> executor.operation, executor.loss  --> operations   (some layers are fused)
    operations  --> passes, cut by executor.kind       --> passes       (see passes.py)
    passes      --> executor.uses, executor.room       --> lifetimes    (see placement.py)
    lifetimes   --> Lifetimes.place                    --> placement

What an executor does once per step, before the first pass (bring weights into order, draw a key)
and after the last pass (add the gradients of its parts), is its own business and not in the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..layers import Dropout, Layer
from ..layers.sequential import is_patched
from ..losses import CrossEntropyLoss
from .operation import Buffer, LossOperation, Value
from .passes import AnyOperation, Pass, Work, forward_passes, training_passes
from .placement import Lifetimes, Placement


class Executor(Protocol):
    """What a plan needs of the executor that will run it."""

    def operation(self, layers: Sequence[Layer], x: Any, training: bool) -> tuple[Any, int]:
        """Return the operation of the first layer, or of the first few, and how many they are.

        ``training`` is False for a plan of inference, whatever the layers' own flags say.
        """

    def loss(self, loss: CrossEntropyLoss, logits: Any) -> LossOperation:
        """Return the operation of the loss."""

    def kind(self, value: Value) -> Hashable:
        """Return how the batch is cut for this value; where it changes, a new pass begins.

        An executor that returns None for every value cuts at barriers only.
        """

    def uses(self, work: Work, at_barrier: bool) -> Iterable[Value]:
        """Return the values in use during this work, or in joining its sums at the barrier."""

    def room(self, value: Any) -> int:
        """Return the bytes of a value for one part of the batch."""


@dataclass(frozen=True)
class Plan:
    """What an executor runs.

    Attributes
    ----------
    x, y : Value
        Input and output of the model.
    operations : list of Operation
    loss : LossOperation or None
        None for inference.
    passes : list of Pass
    placement : Placement
    """

    x: Value
    y: Value
    operations: list[AnyOperation]
    loss: LossOperation | None
    passes: list[Pass]
    placement: Placement

    def megaflops(self, operation: AnyOperation) -> float:
        """Return the millions of floating-point operations per image in matrix products."""
        products = 1
        if self.loss is not None and operation.trained:
            products += 1 + (operation.dx is not None)
        return 2e-6 * products * operation.layer.multiply_adds((1, *operation.x.shape))

    def describe(self, copies: Callable[[Buffer], int]) -> list[str]:
        """Return a line per pass, and a table of the operations with their work and memory.

        ``copies`` says how many copies of a kept buffer there are. Scratch overlaps, so its sum is
        more than the memory it takes.
        """
        lines = [f"pass {number}: {each}" for number, each in enumerate(self.passes, 1)]
        lines.append(
            f"{'operation':<32} {'output':<14} {'MFLOP/image':>11} {'kept':>8} {'scratch':>8}"
        )
        counted: set[Buffer] = set()
        for operation in self.operations:
            kept, scratch = self._memory(operation, counted, copies)
            lines.append(
                f"{operation.name:<32} {operation.y.shape!s:<14} "
                f"{self.megaflops(operation):>11.3f} {kept / 1e3:>5.0f} kB {scratch / 1e3:>5.0f} kB"
            )
        if self.loss is not None:
            kept, scratch = self._memory(self.loss, counted, copies)
            lines.append(
                f"{self.loss.name:<32} {'()':<14} {0.0:>11.3f} {kept / 1e3:>5.0f} kB "
                f"{scratch / 1e3:>5.0f} kB"
            )
        return lines

    def _memory(
        self,
        operation: AnyOperation | LossOperation,
        counted: set[Buffer],
        copies: Callable[[Buffer], int],
    ) -> tuple[int, int]:
        """Return the bytes of kept and of shared buffers, without those in ``counted``."""
        own = {value.buffer for value in operation.values()} & self.placement.sizes.keys()
        sizes, offsets = self.placement.sizes, self.placement.offsets
        kept = sum(sizes[b] * copies(b) for b in own - counted if b not in offsets)
        shared = sum(sizes[b] for b in own - counted if b in offsets)
        counted |= own
        return kept, shared


def make_plan(
    layers: Sequence[Layer], x: Value, executor: Executor, loss: CrossEntropyLoss | None = None
) -> Plan:
    """Return the plan of a training step, or of inference if ``loss`` is None.

    Parameters
    ----------
    layers : list of Layer
        The chain, flat; see ``leaves``. Those that pass everything through are left out.
    x : Value
        The input.
    executor : Executor
    loss : CrossEntropyLoss, optional
    """
    training = loss is not None
    operations = plan_operations(layers, x, executor, training)
    y = operations[-1].y if operations else x
    if loss is None:
        last, passes = None, forward_passes(operations, executor.kind)
    else:
        last = executor.loss(loss, y)
        passes = training_passes(operations, last, executor.kind)
    return Plan(x, y, operations, last, passes, place(x, y, passes, executor))


def is_idle(layer: Layer, training: bool) -> bool:
    """Say whether a layer passes on its input: dropout, but no subclass, which may do anything."""
    if type(layer) is not Dropout or is_patched(layer):
        return False
    return not (training and layer.training and layer.p != 0.0)


def plan_operations(
    layers: Sequence[Layer], x: Value, executor: Executor, training: bool
) -> list[AnyOperation]:
    """Return the operations of a chain; each layer's own ``training`` flag counts in training."""
    waiting = [layer for layer in layers if not is_idle(layer, training)]
    operations: list[AnyOperation] = []
    while waiting:
        operation, used = executor.operation(waiting, x, training)
        operations.append(operation)
        waiting, x = waiting[used:], operation.y
    return operations


def place(x: Value, y: Value, passes: Sequence[Pass], executor: Executor) -> Placement:
    """Return the placement: the input is there before the first pass, the output after the last."""
    lifetimes = Lifetimes()
    lifetimes.note(x.buffer, executor.room(x), (-1, 0))
    for number, each in enumerate(passes):
        works = [(work, False) for work in each.works]
        if each.barrier is not None:
            works.append((each.barrier, True))
        for moment, (work, at_barrier) in enumerate(works):
            for value in executor.uses(work, at_barrier):
                lifetimes.note(value.buffer, executor.room(value), (number, moment))
    lifetimes.note(y.buffer, executor.room(y), (len(passes), 0))
    return lifetimes.place()
