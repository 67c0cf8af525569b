"""What a plan needs of the executor on NumPy: operations in lanes, and what they use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ...layers import Layer
from ...losses import CrossEntropyLoss
from ..operation import Value
from ..passes import Work
from .choose import AnyLane, inference_lane, training_lane
from .chunks import Chunk, Cutting
from .lanes.lane import LaneValue, Limits
from .lanes.loss import CrossEntropyLanes
from .memory import aligned


class LanesExecutor:
    """What a plan needs of the executor on NumPy; see ``plan.Executor``.

    Lifetimes are found by a dry run: every call is bound once to recording arrays.
    """

    def __init__(self, limits: Limits, cutting: Cutting) -> None:
        self.limits, self.cutting = limits, cutting

    def operation(
        self, layers: Sequence[Layer], x: LaneValue, training: bool
    ) -> tuple[AnyLane, int]:
        choose = training_lane if training else inference_lane
        return choose(layers, x, self.limits)

    def loss(self, loss: CrossEntropyLoss, logits: LaneValue) -> CrossEntropyLanes:
        return CrossEntropyLanes(loss, logits, self.limits)

    def kind(self, value: Value) -> bool:
        """Return whether it holds features: their chunks have more images."""
        return value.features

    def uses(self, work: Work, at_barrier: bool) -> Iterable[Value]:
        seen: list[Value] = []

        def record(value: Value, chunk: Chunk) -> np.ndarray:
            seen.append(value)
            assert isinstance(value, LaneValue)
            shape = (*value.stored, chunk.lanes) if value.per_image else value.shape
            return np.empty(shape, value.dtype)

        features = self.kind(work.operation.x)
        first = self.cutting.chunks(self.limits.images, features=features, array_of=record)[0]
        if at_barrier:
            work.operation.calls_at_barrier(work.part, [first])
        else:
            work.operation.calls(work.part, first)
        return seen

    def room(self, value: Value) -> int:
        return aligned(value.nbytes(self.cutting.capacity.lanes_of(value.features)))
