"""From a plan to lists of NumPy calls: one program per number of images in a batch.

``Programs`` plans once (see ``plan``) and allocates the memory; ``Programs.of`` binds the calls for
a number of images. Running a program is then:

    load the images into lanes
    for stage in stages:          # what lies between two barriers
        each worker makes its calls, chunk by chunk
        the last worker to arrive makes the calls ``once``
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from ...layers import Layer
from ...losses import CrossEntropyLoss
from ..operation import Value
from ..passes import Pass, Work, between_barriers
from ..plan import Plan, make_plan
from .arena import Arena, aligned
from .choose import AnyLane, features_follow_a_barrier, inference_lane, training_lane
from .chunks import Calls, Chunk, Cutting
from .lanes.lane import LaneValue, Limits
from .lanes.loss import CrossEntropyLanes
from .trace import Trace
from .tuning import (
    MIN_IMAGES_PER_THREAD,
    MIN_IMAGES_PER_THREAD_IN_INFERENCE,
    MIN_IMAGES_PER_THREAD_WITHOUT_BARRIER,
    Tunables,
)
from .workers import Barrier

ROW_PADDING = 16  # numbers between two rows of pixels: their distance is no power of two then


class Images(Protocol):
    """A batch of images (N, ...): an array, or images that are made when a slice is taken."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


@dataclass
class Inlet:
    """Where some images of a batch go.

    Attributes
    ----------
    images : slice
        Which images.
    lanes : array (..., n)
    staging : array (n, ...)
        Room for floats on their way. The distance of its rows is no power of two, as it is for
        images of 32x32: the same pixel of all images then does not fall into one set of the cache.
        A copy to here and one to the lanes take 0.54 us per image, a single copy takes 2.3.
    """

    images: slice
    lanes: np.ndarray
    staging: np.ndarray

    def __post_init__(self) -> None:
        self.axes = (*range(1, self.lanes.ndim), 0)
        self.turned = self.staging.transpose(self.axes)

    def load(self, images: np.ndarray) -> None:
        """Copy the images; uint8 is divided by 255, as ``ToFloat`` does it."""
        if images.dtype.kind == "f":
            np.copyto(self.staging, images, casting="same_kind")
            np.copyto(self.lanes, self.turned)
        else:
            np.copyto(self.lanes, images.transpose(self.axes))
            np.divide(self.lanes, self.lanes.dtype.type(255), out=self.lanes)


@dataclass
class Stage:
    """The calls of each worker up to a barrier, and the calls made there once for all."""

    calls: list[Calls]
    once: Calls


@dataclass
class Program:
    """The calls for one number of images, and where their inputs and outputs lie.

    ``inputs`` and ``outputs`` are per worker; outputs are pairs of images and their array (n, ...).
    """

    workers: int
    begin: Calls
    inputs: list[list[Inlet]]
    stages: list[Stage]
    end: Calls
    outputs: list[list[tuple[slice, np.ndarray]]]

    def load(self, x: Images, worker: int) -> None:
        """Copy a worker's images into their lanes; lazy images are made here."""
        inputs = self.inputs[worker]
        if not inputs:
            return
        first, last = inputs[0].images.start, inputs[-1].images.stop
        own = x[first:last]
        for inlet in inputs:
            inlet.load(own[inlet.images.start - first : inlet.images.stop - first])

    def work(self, x: Images, worker: int, barrier: Barrier) -> None:
        """Do a worker's part of a step."""
        self.load(x, worker)
        for stage in self.stages[:-1]:
            execute(stage.calls[worker])
            barrier.wait(worker, stage.once)
        execute(self.stages[-1].calls[worker])

    def unload(self, out: np.ndarray, worker: int) -> None:
        """Copy a worker's part of the output to ``out``."""
        for rows, array in self.outputs[worker]:
            out[rows] = array


def execute(calls: Calls) -> None:
    for call in calls:
        call()


class LanesExecutor:
    """What a plan asks of the executor on NumPy; see ``plan.Executor``.

    Lifetimes are found by a dry run: every call is bound once to recording arrays.
    """

    def __init__(self, limits: Limits, cutting: Cutting) -> None:
        self.limits, self.cutting = limits, cutting

    def operation(self, layers: Sequence[Layer], x: Value, training: bool) -> tuple[AnyLane, int]:
        choose = training_lane if training else inference_lane
        return choose(layers, cast(LaneValue, x), self.limits)

    def loss(self, loss: CrossEntropyLoss, logits: Value) -> CrossEntropyLanes:
        return CrossEntropyLanes(loss, cast(LaneValue, logits), self.limits.images)

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

        features = self.kind(work.input)
        chunks = self.cutting.chunks(self.limits.images, features=features, array_of=record)[:1]
        calls_at_barrier(work, chunks) if at_barrier else calls_of(work, chunks[0])
        return seen

    def room(self, value: Value) -> int:
        return aligned(value.nbytes(self.cutting.capacity.lanes_of(value.features)))


def calls_of(work: Work, chunk: Chunk) -> Calls:
    """Return the calls of some work for one chunk."""
    return cast("AnyLane | CrossEntropyLanes", work.operation).calls(work.part, chunk)


def calls_at_barrier(work: Work, chunks: list[Chunk]) -> Calls:
    """Return the calls that join the sums of all chunks."""
    return cast(AnyLane, work.operation).calls_at_barrier(work.part, chunks)


class Programs:
    """The plan of a step on NumPy, its memory, and its program for each number of images.

    Parameters
    ----------
    layers : list of Layer
    image_shape : tuple of int
        Of the input, without the batch axis.
    dtype : float32 or float64
    batch_size : int
        Largest number of images.
    tunables : Tunables
    loss : CrossEntropyLoss, optional
        None for inference.
    """

    plan: Plan

    def __init__(
        self,
        layers: Sequence[Layer],
        image_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        batch_size: int,
        tunables: Tunables,
        loss: CrossEntropyLoss | None = None,
    ) -> None:
        if loss is None:
            min_images = MIN_IMAGES_PER_THREAD_IN_INFERENCE
        elif features_follow_a_barrier(layers):
            min_images = MIN_IMAGES_PER_THREAD
        else:
            min_images = MIN_IMAGES_PER_THREAD_WITHOUT_BARRIER
        self.batch_size, self.image_shape = batch_size, image_shape
        self.cutting = Cutting(batch_size, tunables, min_images)
        cut = self.cutting.capacity
        limits = Limits(
            batch_size,
            -(-batch_size // cut.lanes),
            cut.workers,
            tunables.gemm_limit,
            tunables.transpose,
        )
        x = LaneValue(image_shape, dtype)
        self.plan = make_plan(layers, x, LanesExecutor(limits, self.cutting), loss)
        self.arena = Arena(self.plan.placement, self.cutting)
        row = prod(image_shape) + ROW_PADDING
        self._staging = np.empty((cut.workers, cut.lanes_of(x.features), row), dtype)
        self._programs: dict[int, Program] = {}

    @property
    def loss(self) -> CrossEntropyLanes:
        """The loss of a training plan."""
        assert isinstance(self.plan.loss, CrossEntropyLanes)
        return self.plan.loss

    @property
    def operations(self) -> list[AnyLane]:
        return cast("list[AnyLane]", self.plan.operations)

    def of(self, images: int) -> Program:
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
        trace = Trace.of_environment()
        stages: list[Stage] = []
        for passes in between_barriers(self.plan.passes):
            one_does_all = single and any(each.kind for each in passes)
            calls = self._calls(passes, chunks, workers, one_does_all, trace)
            barrier = passes[-1].barrier
            once = calls_at_barrier(barrier, chunks[bool(passes[-1].kind)]) if barrier else []
            if one_does_all:  # while the others wait at the barrier before
                stages[-1].once += calls[0] + once
            else:
                stages.append(Stage(calls, once))
        return Program(
            workers,
            begin=[*trace.begin(images), *(call for o in self.operations for call in o.begin())],
            inputs=self._inputs(chunks, workers),
            stages=stages,
            end=[*self._end(chunks), *trace.end()],
            outputs=self._outputs(chunks, workers),
        )

    def _calls(
        self,
        passes: list[Pass],
        chunks: dict[bool, list[Chunk]],
        workers: int,
        one_does_all: bool,
        trace: Trace,
    ) -> list[Calls]:
        """Return the calls of each worker in the passes between two barriers."""
        calls: list[Calls] = [[] for _ in range(workers)]
        for each in passes:
            for chunk in chunks[bool(each.kind)]:
                for work in each.works:
                    calls[0 if one_does_all else chunk.worker] += calls_of(work, chunk)
            number = 1 + self.plan.passes.index(each)
            for worker in range(1 if one_does_all else workers):
                calls[worker] += trace.mark(worker, f"pass {number}: {each}")
        return calls

    def _end(self, chunks: dict[bool, list[Chunk]]) -> Calls:
        """Return the calls that complete the gradients; inference has none."""
        if self.plan.loss is None:
            return []
        return [call for o in self.operations for call in o.end(chunks[o.x.features])]

    def _inputs(self, chunks: dict[bool, list[Chunk]], workers: int) -> list[list[Inlet]]:
        x = self.plan.x
        inputs: list[list[Inlet]] = [[] for _ in range(workers)]
        for chunk in chunks[x.features]:
            staging = self._staging[chunk.worker, : chunk.lanes, : prod(x.shape)]
            inlet = Inlet(chunk.images, chunk[x], staging.reshape(-1, *x.shape))
            inputs[chunk.worker].append(inlet)
        return inputs

    def _outputs(
        self, chunks: dict[bool, list[Chunk]], workers: int
    ) -> list[list[tuple[slice, np.ndarray]]]:
        outputs: list[list[tuple[slice, np.ndarray]]] = [[] for _ in range(workers)]
        for chunk in chunks[self.plan.y.features]:
            array = np.moveaxis(chunk[self.plan.y], -1, 0)
            outputs[chunk.worker].append((chunk.images, array))
        return outputs

    def describe(self) -> str:
        """Return how a batch is cut, the passes, the operations, and the arena, as text."""
        cut, x = self.cutting.capacity, self.plan.x
        threads = f"{cut.workers} thread{'s' * (cut.workers > 1)}"
        single = ", one of which does all features" * cut.one_worker_for_features
        work = sum(map(self.plan.megaflops, self.plan.operations))
        lines = [
            f"up to {self.batch_size} images {x.shape} of {x.dtype}, in chunks of {cut.lanes}, "
            f"of {cut.feature_lanes} for features, on {threads}{single}",
            *self.plan.describe(self.cutting.copies),
            f"{work:.3f} MFLOP per image in matrix products; an arena of "
            f"{self.arena.size / 1e6:.1f} MB, of which the chunks of a thread share "
            f"{self.plan.placement.shared / 1e6:.1f} MB",
        ]
        return "\n".join(lines)
