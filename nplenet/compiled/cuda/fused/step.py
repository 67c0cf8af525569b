"""Forward, loss and backward of a step as a few launches, one per pass between two barriers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ....backend import Array
from ....layers import BatchNorm1d, BatchNorm2d, Layer
from ....losses import CrossEntropyLoss
from ....optim import Optimizer
from ..feed import MAX_STEPS, Feed
from .choose import make_program
from .module import CompiledProgram, value_of
from .parts import FEED
from .program import Device, Program
from .training import Training, describe
from .update import FORMS, Update


class FusedKernel(NamedTuple):
    """A kernel of a step, for those who measure it.

    Attributes
    ----------
    name : str
    launch : callable
        Launches it with the arguments of the last step.
    flop, nbytes : int
        Floating-point operations in products, and bytes of global memory; estimates, per step.
    """

    name: str
    launch: Any
    flop: int
    nbytes: int


class FusedStep:
    """The kernels of a chain, compiled at their first use.

    What the layers and the loss say at construction counts: which layers train, the dropout
    probabilities, the label smoothing. Parameters and buffers are read wherever they are when a
    step is enqueued.

    Parameters
    ----------
    layers : sequence of Layer
        The chain, flat, on ``backend``. ``why_not_fused`` must have returned an empty string.
    image_shape : tuple of int
    dtype : dtype
        Of the parameters.
    batch_size : int
        The largest.
    loss : CrossEntropyLoss
    backend : CupyBackend
    optimizer : Optimizer, optional
        Makes ``step`` a whole one; one that has no device code updates by kernels of its own, as do
        all where there are too many parameters for the arguments of a kernel.

    Attributes
    ----------
    paths : dict of int to str
        The paths of layers in their network, by ``id``, for errors.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        image_shape: Sequence[int],
        dtype: Any,
        batch_size: int,
        loss: CrossEntropyLoss,
        backend: Any,
        optimizer: Optimizer | None = None,
    ) -> None:
        self.layers, self.loss, self.backend = list(layers), loss, backend
        self.batch_size, self.dtype = batch_size, np.dtype(dtype)
        self.paths: dict[int, str] = {}
        device = device_of(backend)
        self.image_shape = tuple(image_shape)
        arguments = (self.layers, self.image_shape, self.dtype)
        self.inference = make_program(*arguments, None, batch_size, device)
        self.training = Training(*arguments, loss, batch_size, device)
        self.whole = self.training
        if optimizer is not None and type(optimizer) in FORMS:
            whole = Training(*arguments, loss, batch_size, device, Update(optimizer))
            if whole.any.can_run:  # it has more arguments
                self.whole = whole
        self.classes = self.inference.plan.y.shape[0]
        self._last: CompiledProgram | None = None  # of ``gradients``
        self._programs: dict[tuple[int, str], CompiledProgram] = {}

    def gradients(self, feed: Feed, images: int) -> None:
        """Enqueue forward, loss and backward of step ``feed.step``, which has ``images`` images.

        Sets (does not add to) the gradient of every parameter, the running statistics, and the
        step's entries of the feed; then the next step begins. After the first call these are
        launches and nothing else.

        Raises
        ------
        ValueError
            When a batch norm gets a single value per channel, the batch is too large, or the images
            have another shape.
        """
        self._last = self._prepared(self.training, feed, images)
        self._last.open(1)
        self._last.launch_all()

    def step(self, feed: Feed, images: int, optimizer: Optimizer, times: int) -> None:
        """Enqueue ``gradients`` and the update of all parameters that are trained, ``times`` times.

        Its steps differ only in what they find in the feed, so the host prepares them once.
        """
        compiled = self._prepared(self.whole, feed, images)
        for step in range(times):
            if step % MAX_STEPS == 0:
                compiled.open(min(times - step, MAX_STEPS))
            compiled.launch_all()
            if compiled.program.parts.update is None:
                optimizer.update(feed.numbers)

    def _prepared(self, training: Training, feed: Feed, images: int) -> CompiledProgram:
        """Return the kernels of a training step, with their arguments for a batch of the feed."""
        self._check(feed, images)
        program = training.program_for(feed)
        compiled = self._compiled(program, feed.images.dtype.name)
        mean = self.loss.reduction == "mean"
        numbers = {"scale": 1.0 / images if mean else 1.0, "count": images, "words": feed.words}
        pointers = {name: value_of(getattr(feed, name)) for name in FEED}
        compiled.prepare(pointers | numbers | {"fill": feed.fill}, images)
        return compiled

    def predict(self, x: Array, out: Array) -> None:
        """Write the logits of ``x`` (N, ...), as in ``eval``, to ``out`` (N, K): one launch.

        Raises
        ------
        ValueError
            When a shape or dtype does not fit, or an array is not C-contiguous.
        """
        expected = (len(x), *self.inference.plan.y.shape), self.dtype
        contiguous = x.flags.c_contiguous and out.flags.c_contiguous
        fitting = x.shape[1:] == self.image_shape and (out.shape, out.dtype) == expected
        if not (contiguous and fitting):
            raise ValueError(
                f"predict: takes images of {self.image_shape} and an output of {expected[0]} "
                f"{self.dtype}, both C-contiguous, got {x.shape} and {out.shape} {out.dtype}"
            )
        if len(x) == 0:
            return
        compiled = self._compiled(self.inference, x.dtype.name)
        values = {"images": value_of(x), "out": value_of(out), "count": len(x), "fill": 0}
        compiled.prepare(values, len(x))
        compiled.launch_all()

    def describe(self) -> list[str]:
        """Return a line per kernel, and one with its blocks, threads and shared memory."""
        training = self.training
        if training.on_bytes is None:
            return describe(training.any)
        on_bytes, others = describe(training.on_bytes), describe(training.any)
        return ["for images of bytes:", *on_bytes, "for images of floats:", *others]

    def source(self, images: str = "uint8") -> str:
        """Return the CUDA C of the training step for images of a dtype."""
        on_bytes = self.training.on_bytes if images == "uint8" else None
        return (on_bytes or self.training.any).text(images)

    def kernels(self) -> list[FusedKernel]:
        """Return the kernels of the last training step; none before the first one."""
        compiled = self._last
        if compiled is None:
            return []
        program, n = compiled.program, compiled.images
        return [
            FusedKernel(k.name, launch, k.flop * n, k.traffic * n)
            for k, launch in zip(
                [*program.opening, *program.kernels],
                [*compiled.opening(1), *compiled.launches()],
                strict=True,
            )
        ]

    def _check(self, feed: Feed, images: int) -> None:
        if feed.images.shape[1:] != self.image_shape:
            raise ValueError(f"images of {self.image_shape}, the feed has {feed.images.shape[1:]}")
        if not 0 < images <= self.batch_size:
            raise ValueError(f"a step of {images} images, the largest has {self.batch_size}")
        for operation in self.training.any.plan.operations:
            layer, shape = operation.layer, operation.x.shape
            norm = isinstance(layer, (BatchNorm1d, BatchNorm2d)) and layer.training
            if norm and images * prod(shape[1:]) < 2:
                path = self.paths.get(id(layer))
                name = f"{path} ({layer!r})" if path else repr(layer)
                raise ValueError(
                    f"{name}: needs more than one value per channel to train, "
                    f"got {(images, *shape)}"
                )

    def _compiled(self, program: Program, source: str) -> CompiledProgram:
        key = id(program), source
        if key not in self._programs:
            self._programs[key] = CompiledProgram(program, source, self.backend)
        return self._programs[key]


def device_of(backend: Any) -> Device:
    """Return what the current device has."""
    attributes = backend.xp.cuda.Device().attributes
    return Device(attributes["MaxSharedMemoryPerBlockOptin"], attributes["MultiProcessorCount"])
