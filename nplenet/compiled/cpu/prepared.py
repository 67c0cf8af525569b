"""A plan with its memory: what a step on NumPy makes once, and then runs.

``Prepared`` plans (see ``plan``), allocates the arena, and binds the calls of each pass for each
number of images that a batch may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ...layers import Layer
from ...losses import CrossEntropyLoss
from ...machine import tracing
from ...rounding import ceil_div
from ..passes import Pass, between_barriers
from ..plan import make_plan
from .arena import Arena
from .choose import AnyLane, features_follow_a_barrier, has_lanes
from .chunks import Calls, Chunk, Cutting
from .executor import LanesExecutor
from .lanes.lane import LaneValue, Limits
from .lanes.loss import CrossEntropyLanes
from .memory import Memory
from .processes import Crew
from .program import Inlet, Program, Stage
from .trace import AT_BARRIER, Trace
from .tuning import Tunables

STAGING_PADDING = 16  # numbers between images: their distance is then not a power of two


class Prepared:
    """The plan of a step on NumPy, its memory, and the program for each number of images.

    Parameters
    ----------
    layers : dict of str to Layer
        By their paths.
    image_shape : tuple of int
        Of the input, without the batch axis.
    dtype : float32 or float64
    batch_size : int
        Largest number of images.
    tunables : Tunables
    why_threads : str
        Why processes cannot share its steps; an empty string if they may.
    loss : CrossEntropyLoss, optional
        None for inference.

    Attributes
    ----------
    crew : Crew or None
        The processes that share its steps, once they were needed.
    refusals : int
        How often the system has refused them since they last began.
    """

    def __init__(
        self,
        layers: Mapping[str, Layer],
        image_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        batch_size: int,
        tunables: Tunables,
        why_threads: str,
        loss: CrossEntropyLoss | None = None,
    ) -> None:
        chain = [*layers.values()]
        min_images = tunables.min_images(loss is not None, features_follow_a_barrier(chain))
        self.batch_size, self.image_shape = batch_size, image_shape
        self.cutting = Cutting(batch_size, tunables, min_images)
        cut = self.cutting.capacity
        if not why_threads and not all(map(has_lanes, chain)):
            why_threads = "a layer without lanes keeps its state in one process"
        self.why_threads, self.refusals = why_threads, 0
        self.crew: Crew | None = None
        self.memory = Memory(shared=cut.workers > 1 and not why_threads)
        limits = Limits(
            batch_size,
            ceil_div(batch_size, cut.lanes),
            cut.workers,
            tunables.gemm_limit,
            tunables.transpose,
            tunables.tile_channels,
            self.memory,
            {id(layer): path for path, layer in layers.items()},
        )
        x = LaneValue(image_shape, dtype)
        self.plan = make_plan(chain, x, LanesExecutor(limits, self.cutting), loss)
        self.arena = Arena(self.plan.placement, self.cutting, self.memory)
        row = prod(image_shape) + STAGING_PADDING
        self._staging = np.empty((cut.workers, cut.lanes_of(x.features), row), dtype)
        self._trace = Trace(tracing())
        self._begin = [call for operation in self.operations for call in operation.begin()]
        self._programs: dict[int, Program] = {}

    @property
    def loss(self) -> CrossEntropyLanes:
        """The loss of a training plan."""
        assert isinstance(self.plan.loss, CrossEntropyLanes)
        return self.plan.loss

    @property
    def operations(self) -> Sequence[AnyLane]:
        """The operations of the plan, which are all in lanes."""
        return cast("list[AnyLane]", self.plan.operations)

    @property
    def marks(self) -> list[Any]:
        """The marks of the trace."""
        return self._trace.marks

    def program(self, images: int) -> Program:
        """Return the program for a batch of ``images``; bound once for each number."""
        if images not in self._programs:
            self._programs[images] = self._bind(images)
        return self._programs[images]

    def chunks(self, images: int, features: bool) -> list[Chunk]:
        """Return the chunks of a batch, with their arrays in the arena."""
        return self.cutting.chunks(images, features=features, array_of=self.arena.array)

    def _bind(self, images: int) -> Program:
        chunks = {features: self.chunks(images, features) for features in (False, True)}
        workers = 1 + max((chunk.worker for chunk in chunks[False]), default=0)
        single = self.cutting.division(images).one_worker_for_features
        stages: list[Stage] = []
        for passes in between_barriers(self.plan.passes):
            one_does_all = single and any(each.kind for each in passes)
            calls: list[Calls] = [[] for _ in range(workers)]
            for each in passes:
                self._add_calls(calls, each, chunks[bool(each.kind)], one_does_all)
            last = passes[-1]
            once: Calls = []
            if last.barrier is not None:
                operation, part = last.barrier
                once = operation.calls_at_barrier(part, chunks[bool(last.kind)])
            if one_does_all:  # while the others wait at the barrier before, which there always is
                stages[-1].once += calls[0] + once
            else:
                stages.append(Stage(calls, once))
        return Program(
            workers,
            begin=[*self._trace.begin(images), *self._begin],
            inputs=self._inputs(chunks, workers),
            stages=stages,
            end=[*self._end(chunks), *self._trace.end()],
            outputs=self._outputs(chunks),
        )

    def _add_calls(
        self, calls: list[Calls], each: Pass, chunks: list[Chunk], one_does_all: bool
    ) -> None:
        """Add the calls of a pass to those of each worker, or of worker 0 if it does all."""
        for chunk in chunks:
            own = calls[0 if one_does_all else chunk.worker]
            for work in each.works:
                own += work.operation.calls(work.part, chunk)
        name = f"pass {1 + [id(p) for p in self.plan.passes].index(id(each))}: {each}"
        if one_does_all:
            calls[0] += self._trace.mark(AT_BARRIER, name)
            return
        for worker, own in enumerate(calls):
            own += self._trace.mark(worker, name)

    def _end(self, chunks: dict[bool, list[Chunk]]) -> Calls:
        """Return the calls that complete the gradients; inference has none."""
        if self.plan.loss is None:
            return []
        trained = [o for o in self.operations if o.trained]
        return [call for o in trained for call in o.end(chunks[o.x.features])]

    def _inputs(self, chunks: dict[bool, list[Chunk]], workers: int) -> list[list[Inlet]]:
        x = self.plan.x
        inputs: list[list[Inlet]] = [[] for _ in range(workers)]
        for chunk in chunks[x.features]:
            staging = self._staging[chunk.worker, : chunk.lanes, : prod(x.shape)]
            inlet = Inlet(chunk.images, chunk[x], staging.reshape(-1, *x.shape))
            inputs[chunk.worker].append(inlet)
        return inputs

    def _outputs(self, chunks: dict[bool, list[Chunk]]) -> list[tuple[slice, np.ndarray]]:
        y = self.plan.y
        if self.plan.loss is not None:
            return []
        return [(chunk.images, np.moveaxis(chunk[y], -1, 0)) for chunk in chunks[y.features]]

    def describe(self) -> str:
        """Return how a batch is cut, the passes, the operations, and the arena, as text."""
        cut, x = self.cutting.capacity, self.plan.x
        kind = "threads" if self.why_threads else "processes"
        because = f" ({self.why_threads})" * bool(self.why_threads)
        workers = f"{cut.workers} {kind}{because}" if cut.workers > 1 else "1 thread"
        single = ", one of which does the dense layers" * cut.one_worker_for_features
        work = sum(map(self.plan.megaflops, self.plan.operations))
        lines = [
            f"up to {self.batch_size} images {x.shape} of {x.dtype}, in chunks of {cut.lanes}, "
            f"of {cut.feature_lanes} for features, on {workers}{single}",
            *self.plan.describe(self.cutting.copies),
            f"{work:.3f} MFLOP per image in matrix products; an arena of "
            f"{self.arena.size / 1e6:.1f} MB, of which the chunks of a worker share "
            f"{self.plan.placement.shared / 1e6:.1f} MB",
        ]
        return "\n".join(lines)
