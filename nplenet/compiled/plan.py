"""From a chain of layers to a list of NumPy calls: passes over the chunks, and one arena.

A *pass* runs all operations between two barriers on one chunk before the next chunk, so that what
one operation writes is still in the cache when the next one reads it. Layer by layer over the whole
batch takes 1.4 times as long for 256 images of LeNet-5, and 2.3 times for 1024. Batch norm is the
barrier: its statistics end a pass, its normalisation begins the next, and the same way back. A pass
of its own begins where images become features, whose chunks are wider; it runs forward, loss and
backward of a chunk in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Layer
from ..losses import CrossEntropyLoss
from .arena import Arena
from .cpu import (
    Calls,
    Chunk,
    CrossEntropyLanes,
    Limits,
    Operation,
    Value,
    inference_operations,
    training_operations,
)
from .tuning import LEAST, LEAST_IN_INFERENCE, LEAST_IN_ONE_GO, Tunables

APART = 16  # numbers between two rows of pixels, whose distance is no power of two then
MODAL = (Dropout, BatchNorm1d, BatchNorm2d)
"""Layers whose operations depend on their ``training`` flag."""


@dataclass
class Pass:
    """What is done with each chunk in turn, and then, at a barrier, once for all of them.

    ``wide`` passes go over the chunks of features, others over those of images.
    """

    wide: bool
    parts: list[Callable[[Chunk], Calls]] = field(default_factory=list)
    barrier: Callable[[list[Chunk]], Calls] | None = None


@dataclass
class Stage:
    """What each worker does with its chunks up to a barrier, and what is done there for all."""

    calls: list[Calls]
    once: Calls


@dataclass
class Inlet:
    """Where some images of a batch go.

    Attributes
    ----------
    images : slice
        Which ones.
    lanes : array (..., n)
    near : array (n, ...)
        Room for floats on their way. The distance of its rows is no power of two, as that of images
        of 32x32 is: the same pixel of all images then does not fall into one set of the cache, and
        a copy to here and one to the lanes take 0.54 us an image where one copy takes 2.3.
    """

    images: slice
    lanes: np.ndarray
    near: np.ndarray

    def __post_init__(self) -> None:
        self.axes = (*range(1, self.lanes.ndim), 0)
        self.turned = self.near.transpose(self.axes)

    def load(self, images: np.ndarray) -> None:
        """Copy the images; uint8 is divided by 255, as ``ToFloat`` does it."""
        if images.dtype.kind == "f":
            np.copyto(self.near, images, casting="same_kind")
            np.copyto(self.lanes, self.turned)
        else:
            np.copyto(self.lanes, images.transpose(self.axes))
            np.divide(self.lanes, self.lanes.dtype.type(255), out=self.lanes)


@dataclass
class Program:
    """The calls for one number of images, and where their inputs and outputs lie.

    ``inputs`` and ``outputs`` are of each worker, the latter pairs of images and their array
    (n, ...).
    """

    workers: int
    begin: Calls
    inputs: list[list[Inlet]]
    stages: list[Stage]
    end: Calls
    outputs: list[list[tuple[slice, np.ndarray]]]


class Plan:
    """Operations, the passes that run them, and the arena that holds their arrays.

    What is in use when is found by binding all calls once to arrays that note it.

    Parameters
    ----------
    layers : list of Layer
    image_shape : tuple of int
        Of the input, without the batch axis.
    dtype : float32 or float64
    batch_size : int
        The most images.
    tunables : Tunables
    loss : CrossEntropyLoss, optional
        Given for a training step, left out for inference.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        image_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        batch_size: int,
        tunables: Tunables,
        loss: CrossEntropyLoss | None = None,
    ) -> None:
        self.batch_size = batch_size
        if loss is None:
            least = LEAST_IN_INFERENCE
        elif features_follow_a_barrier(layers):
            least = LEAST
        else:
            least = LEAST_IN_ONE_GO
        self.arena = Arena(batch_size, tunables, least)
        cut = self.arena.most
        chunks = -(-batch_size // cut.lanes)
        limits = Limits(batch_size, chunks, cut.workers, tunables.gemm_limit, tunables.transpose)
        self.x = Value(image_shape, dtype)
        self.loss: CrossEntropyLanes | None = None
        if loss is None:
            self.operations = inference_operations(layers, self.x, limits)
            self.passes = forward_passes(self.operations)
        else:
            self.operations = training_operations(layers, self.x, limits)
            self.loss = CrossEntropyLanes(loss, self.y, batch_size)
            self.passes = training_passes(self.operations, self.loss)
        widest, pixels = cut.lanes_of(self.x.wide), prod(image_shape)
        self.near = np.empty((cut.workers, widest, pixels + APART), dtype)
        self._trace()
        self._programs: dict[int, Program] = {}

    @property
    def y(self) -> Value:
        """The output of the last layer."""
        return self.operations[-1].y if self.operations else self.x

    def program(self, images: int) -> Program:
        """Return the calls for a batch of so many images; made once for each number."""
        if images not in self._programs:
            self._programs[images] = self._bind(images)
        return self._programs[images]

    def _bind(self, images: int) -> Program:
        chunks = {wide: self.arena.chunks(images, wide=wide) for wide in (False, True)}
        workers = 1 + max((chunk.worker for chunk in chunks[False]), default=0)
        alone = self.arena.division(images).alone
        stages: list[Stage] = []
        for passes in self.between_barriers():
            calls: list[Calls] = [[] for _ in range(workers)]
            one_does_all = alone and any(each.wide for each in passes)
            for each in passes:
                for chunk in chunks[each.wide]:
                    for part in each.parts:
                        calls[0 if one_does_all else chunk.worker] += part(chunk)
            barrier = passes[-1].barrier
            once = barrier(chunks[passes[-1].wide]) if barrier else []
            if one_does_all:  # while the others wait where they are
                stages[-1].once += calls[0] + once
            else:
                stages.append(Stage(calls, once))

        inputs: list[list[Inlet]] = [[] for _ in range(workers)]
        for chunk in chunks[self.x.wide]:
            near = self.near[chunk.worker, : chunk.lanes, : prod(self.x.shape)]
            inlet = Inlet(chunk.images, chunk[self.x], near.reshape(-1, *self.x.shape))
            inputs[chunk.worker].append(inlet)
        outputs: list[list[tuple[slice, np.ndarray]]] = [[] for _ in range(workers)]
        for chunk in chunks[self.y.wide]:
            outputs[chunk.worker].append((chunk.images, np.moveaxis(chunk[self.y], -1, 0)))
        return Program(
            workers,
            begin=[call for o in self.operations for call in o.begin(images)],
            inputs=inputs,
            stages=stages,
            end=[call for o in self.operations for call in o.end(chunks[o.x.wide])],
            outputs=outputs,
        )

    def between_barriers(self) -> list[list[Pass]]:
        """Return the passes in lists, each of which but the last ends at a barrier."""
        found: list[list[Pass]] = [[]]
        for each in self.passes:
            found[-1].append(each)
            if each.barrier:
                found.append([])
        return found

    def _trace(self) -> None:
        """Bind the calls to arrays that note their use, and lay out the arena."""
        chunks = {
            wide: self.arena.chunks(self.batch_size, wide=wide, tracing=True)[:1]
            for wide in (False, True)
        }
        self.arena.at(-1, 0)
        chunks[self.x.wide][0][self.x]  # all chunks are loaded before the first pass
        for number, each in enumerate(self.passes):
            for place, part in enumerate(each.parts):
                self.arena.at(number, place)
                part(chunks[each.wide][0])
            self.arena.at(number, len(each.parts))
            if each.barrier:
                each.barrier(chunks[each.wide])
        self.arena.at(len(self.passes), 0)
        chunks[self.y.wide][0][self.y]  # and unloaded after the last
        self.arena.lay_out()

    def describe(self) -> str:
        """Return the passes, the operations with their work and memory, and the arena, as text."""
        cut = self.arena.most
        lines = [
            f"up to {self.batch_size} images {self.x.shape} of {self.x.dtype}, "
            f"in chunks of {cut.lanes}, of {cut.wide_lanes} for features, "
            f"on {cut.workers} thread{'s' * (cut.workers > 1)}"
            f"{', one of which does all features' * cut.alone}"
        ]
        for number, each in enumerate(self.passes, 1):
            parts = ", ".join(map(part_name, each.parts))
            lines.append(f"pass {number}: {parts}" + ("; then the barrier" if each.barrier else ""))
        lines.append(
            f"{'operation':<32} {'output':<14} {'MFLOP/image':>11} {'kept':>8} {'shared':>8}"
        )
        seen: set[Any] = set()
        for operation in self.operations:
            kept = shared = 0
            for value in vars(operation).values():
                if isinstance(value, Value) and value.buffer not in seen:
                    seen.add(value.buffer)
                    kept += value.buffer.size * self.arena.copies(value.buffer) * value.buffer.kept
                    shared += value.buffer.size * (not value.buffer.kept)
            lines.append(
                f"{operation.name:<32} {operation.y.shape!s:<14} "
                f"{self.megaflops(operation):>11.3f} {kept / 1e3:>5.0f} kB {shared / 1e3:>5.0f} kB"
            )
        work = sum(map(self.megaflops, self.operations))
        lines.append(
            f"{work:.3f} MFLOP an image in matrix products; an arena of "
            f"{self.arena.size / 1e6:.1f} MB, {self.arena.shared / 1e6:.1f} MB of a thread shared "
            "by its chunks"
        )
        return "\n".join(lines)

    def megaflops(self, operation: Operation[Any]) -> float:
        """Return the millions of floating-point operations of matrix products for an image."""
        products = 1
        if self.loss is not None and operation.trained:
            products += 1 + (operation.dx is not None)
        return 2e-6 * products * operation.layer.multiply_adds((1, *operation.x.shape))


def features_follow_a_barrier(layers: Sequence[Layer]) -> bool:
    """Say whether no convolution lies between the last batch norm of images and the features.

    What does is cheap then, so one worker can do it and the features while the others wait at the
    barrier of that batch norm.
    """
    follow = False
    for layer in layers:
        if isinstance(layer, BatchNorm2d) and layer.training:
            follow = True
        elif isinstance(layer, Conv2d):
            follow = False
        elif isinstance(layer, Flatten):
            return follow
    return False


def part_name(part: Callable[[Chunk], Calls]) -> str:
    """Return ``Conv2d forward`` for the bound method that returns those calls."""
    method: Any = part
    return f"{method.__self__.name} {method.__name__.replace('_', ' ')}"


def forward_passes(operations: Sequence[Operation[Any]]) -> list[Pass]:
    """Cut forward into passes: at barriers, and where features begin."""
    passes: list[Pass] = []
    for operation in operations:
        wide = operation.x.wide
        if operation.barrier:
            add(passes, wide, operation.statistics)
            passes[-1].barrier = operation.after_statistics
        add(passes, wide, operation.forward)
    return passes


def training_passes(operations: Sequence[Operation[Any]], loss: CrossEntropyLanes) -> list[Pass]:
    """Cut forward, loss and backward into passes in the same way.

    Operations before the first one with parameters have no backward.
    """
    passes = forward_passes(operations)
    add(passes, True, loss.forward_and_backward)
    trained = [i for i, operation in enumerate(operations) if operation.trained]
    first = trained[0] if trained else len(operations)
    dy = loss.dlogits
    for i in reversed(range(first, len(operations))):
        operation = operations[i]
        operation.take_gradient(dy, wanted=i > first)
        if operation.dx is not None:
            dy = operation.dx
        wide = operation.x.wide
        if operation.barrier:
            add(passes, wide, operation.sums_of_gradient)
            passes[-1].barrier = operation.after_sums
        add(passes, wide, operation.backward)
    return passes


def add(passes: list[Pass], wide: bool, part: Callable[[Chunk], Calls]) -> None:
    """Add a part to the last pass, or to a new one where that has ended."""
    if not passes or passes[-1].barrier is not None or passes[-1].wide != wide:
        passes.append(Pass(wide))
    passes[-1].parts.append(part)
