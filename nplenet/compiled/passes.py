"""The passes of a plan: what lies between two barriers.

A *pass* runs all its work on one part of the batch (a chunk on a CPU, a block of threads on a GPU)
before the next part, so that what one operation writes is still in fast memory when the next one
reads it. Layer by layer over the whole batch takes 1.4 times as long on a CPU for 256 images of
LeNet-5, and 2.3 times for 1024.

Batch norm is the *barrier*: its statistics end a pass, its normalisation begins the next one, and
backward the same way. The loss of an image needs no other image, so forward turns into backward
within one pass. LeNet-5:

    pass 1   Conv2d, BatchNorm2d sums of x
    ================================================== barrier: mean and variance of the batch
    pass 2   BatchNorm2d, ReLU, AvgPool2d, Conv2d, BatchNorm2d sums of x
    ================================================== barrier
    pass 3   BatchNorm2d, ReLU, AvgPool2d, Flatten, Dense, ReLU, ... Dense, loss;
             backward: Dense, ... ReLU, Dense, Flatten, AvgPool2d, ReLU, BatchNorm2d sums of dy
    ================================================== barrier: mean of dy and of dy * xhat
    pass 4   backward: BatchNorm2d, Conv2d, AvgPool2d, ReLU, BatchNorm2d sums of dy
    ================================================== barrier
    pass 5   backward: BatchNorm2d, Conv2d

An executor may cut finer: where ``kind`` of the values changes, a new pass begins. The executor on
NumPy also cuts where images become features, so ``describe`` shows 7 passes for LeNet-5.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from .operation import LossOperation, Operation, Value

AnyOperation = Operation[Any]
Kind = Callable[[Value], Hashable]
"""An executor's own rule: where it gives another answer for the input, a pass ends."""


class Part(Enum):
    """What of an operation is done; the value is how ``describe`` puts it."""

    FORWARD = "forward"
    STATISTICS = "statistics"
    """Sums over x of an operation that is a barrier; joined at the end of the pass."""
    LOSS = "forward and backward"
    GRADIENT_SUMS = "sums of gradient"
    """Sums over dy of an operation that is a barrier; joined at the end of the pass."""
    BACKWARD = "backward"


class Work(NamedTuple):
    """One part of one operation.

    Attributes
    ----------
    operation : Operation or LossOperation
        Of the executor's own class. The kind of its ``x`` decides the pass.
    part : Part
    """

    operation: Any
    part: Part

    def __str__(self) -> str:
        return f"{self.operation.name} {self.part.value}"


@dataclass
class Pass:
    """What is done with each part of the batch in turn, and then once for all of them.

    Attributes
    ----------
    kind : hashable
        The answer of the executor's rule, the same for all its work.
    works : list of Work
    barrier : Work or None
        The last work of the pass, whose sums must be joined before the next pass begins.
    """

    kind: Hashable
    works: list[Work] = field(default_factory=list)
    barrier: Work | None = None

    def __str__(self) -> str:
        return ", ".join(map(str, self.works)) + ("; then the barrier" if self.barrier else "")


def forward_passes(operations: Sequence[AnyOperation], kind: Kind) -> list[Pass]:
    """Cut forward into passes: at barriers, and where ``kind`` changes."""
    passes: list[Pass] = []
    for operation in operations:
        if operation.barrier:
            add(passes, kind, Work(operation, Part.STATISTICS), barrier=True)
        add(passes, kind, Work(operation, Part.FORWARD))
    return passes


def training_passes(
    operations: Sequence[AnyOperation], loss: LossOperation, kind: Kind
) -> list[Pass]:
    """Cut forward, loss and backward into passes, and give each operation its gradients.

    Operations before the first one with trained parameters have no backward, and that one has no
    ``dx``: a network with frozen features and a new head trains as fast as its head.
    """
    passes = forward_passes(operations, kind)
    add(passes, kind, Work(loss, Part.LOSS))
    trained = [i for i, operation in enumerate(operations) if operation.trained]
    first = trained[0] if trained else len(operations)
    dy = loss.dx
    for i in reversed(range(first, len(operations))):
        operation = operations[i]
        operation.take_gradient(dy, wanted=i > first)
        if operation.dx is not None:
            dy = operation.dx
        if operation.barrier:
            add(passes, kind, Work(operation, Part.GRADIENT_SUMS), barrier=True)
        add(passes, kind, Work(operation, Part.BACKWARD))
    return passes


def add(passes: list[Pass], kind: Kind, work: Work, barrier: bool = False) -> None:
    """Add work to the last pass, or to a new one where the last one has ended."""
    own = kind(work.operation.x)
    if not passes or passes[-1].barrier is not None or passes[-1].kind != own:
        passes.append(Pass(own))
    passes[-1].works.append(work)
    if barrier:
        passes[-1].barrier = work


def between_barriers(passes: Sequence[Pass]) -> list[list[Pass]]:
    """Group the passes: every group except the last ends with a barrier."""
    found: list[list[Pass]] = [[]]
    for each in passes:
        found[-1].append(each)
        if each.barrier:
            found.append([])
    return found
