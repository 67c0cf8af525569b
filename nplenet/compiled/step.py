"""The two kinds of step: compiled, and the textbook layers where a model can't be compiled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from ..backend import Array
from ..data.lazy import LazyImages
from ..group import ALONE
from ..layers import Layer
from ..layers.sequential import leaves
from ..losses import CrossEntropyLoss
from ..optim import Optimizer
from .cpu import Calls
from .plan import MODAL, Inlet, Plan, Program
from .tuning import Tunables
from .workers import Meeting, Workers

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Step(ABC):
    """One training step, forward to update, as a single call.

    Attributes
    ----------
    compiled : bool
    hits : integer
        Right answers of the last step.
    tunables : dict of str to int
        See ``Tunables``; empty where nothing was compiled.
    group : Group
        Whose ranks share each batch; see ``nplenet.group.sharing``.
    """

    compiled: bool
    hits: Any = 0
    group = ALONE

    def __init__(
        self, model: Layer, loss: CrossEntropyLoss, optimizer: Optimizer, batch_size: int
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.batch_size = batch_size
        self.tunables: dict[str, int] = {}

    def __call__(self, x: Array, y: Array) -> Any:
        """Do one training step and return its loss.

        Parameters
        ----------
        x : float32, float64 or uint8 array (N, ...)
            At most ``batch_size`` images; uint8 is divided by 255.
        y : integer array (N,)
            Their labels.

        Returns
        -------
        scalar of the model's dtype
            The loss before the update.
        """
        value = self.gradients(x, y)
        self.optimizer.step()
        return value

    @abstractmethod
    def gradients(self, x: Array, y: Array) -> Any:
        """Do all of a step but the update: set the gradients, and return the loss.

        On several ranks each passes its part of the batch, which may be empty. The gradients become
        those of the whole batch; the loss and ``hits`` are this rank's share, to be summed.
        """

    def _sum_over_ranks(self, loss: Any, images: int) -> Any:
        """Sum the gradients of all ranks, in one piece, and return this rank's share of the loss.

        Until here, loss and gradients are sums over the images: a mean needs their number first.
        """
        if self.group.size == 1:
            return loss
        factor = 1.0 / self.group.total(images) if self.loss.reduction == "mean" else 1.0
        for flat in self.optimizer.flats:
            self.group.sum(flat.grad)
            flat.grad *= factor
        return loss * factor

    def floats(self, x: Array) -> Array:
        """Return bytes divided by 255, in the model's dtype; and floats as they are."""
        if x.dtype != np.uint8:
            return x
        dtype = self.model.parameters()[0].data.dtype
        return self.model.backend.xp.divide(x, dtype.type(255), dtype=dtype)

    @abstractmethod
    def predict(self, x: Array) -> Array:
        """Return the logits (N, K) as in ``eval`` mode, for any number of images."""

    @abstractmethod
    def describe(self) -> str:
        """Say what runs."""


class TextbookStep(Step):
    """The layers themselves, with ``why`` they run."""

    compiled = False

    def __init__(
        self,
        model: Layer,
        loss: CrossEntropyLoss,
        optimizer: Optimizer,
        batch_size: int,
        why: str,
    ) -> None:
        super().__init__(model, loss, optimizer, batch_size)
        self.why = why

    def gradients(self, x: Array, y: Array) -> Any:
        self.optimizer.zero_grad()
        before = self.model.input_gradient
        self.model.input_gradient = False
        self.group.begin(len(x))
        try:
            value, dlogits = self._loss(self.model(self.floats(x)), y)
            self.model.backward(dlogits)
        finally:
            self.model.input_gradient = before
        return self._sum_over_ranks(value, len(x))

    def _loss(self, logits: Array, y: Array) -> tuple[Any, Array]:
        """Return the loss and its gradient, on several ranks as sums; set ``hits``."""
        if self.group.size > 1 and len(y) == 0:
            self.hits = 0
            return 0.0, logits
        value = self.loss(logits, y)
        dlogits, self.hits = self.loss.backward(), self.loss.correct
        if self.group.size == 1 or self.loss.reduction == "sum":
            return value, dlogits
        return value * len(y), dlogits * len(y)

    def predict(self, x: Array) -> Array:
        flags = [(layer, layer.training) for _, layer in self.model.modules()]
        self.model.eval()
        try:
            parts = range(0, max(len(x), 1), self.batch_size)
            logits = [self.model(self.floats(x[i : i + self.batch_size])) for i in parts]
        finally:
            for layer, training in flags:
                layer.training = training
        return self.model.backend.xp.concatenate(logits)

    def describe(self) -> str:
        return f"the textbook layers run: {self.why}"


class CompiledStep(Step):
    """A list of NumPy calls on memory set aside beforehand; see ``plan``.

    The calls read the parameters and write the gradients in the model's own arrays, so the model,
    its ``state_dict`` and the optimizer see every update, and the step sees what is loaded.

    Attributes
    ----------
    plan : Plan or None
        Of a training step, for the shape of images seen last.
    """

    compiled = True

    def __init__(
        self,
        model: Layer,
        loss: CrossEntropyLoss,
        optimizer: Optimizer,
        batch_size: int,
        tunables: Tunables,
    ) -> None:
        super().__init__(model, loss, optimizer, batch_size)
        self.tunables = tunables.as_dict()
        self._tunables = tunables
        self._layers = [layer for _, layer in leaves(model)]
        self._parameters = [(p, p.data, p.grad) for p in model.parameters()]
        self.dtype = self._parameters[0][1].dtype
        own = {id(p) for p in model.parameters()}
        self._other_parameters = any(
            id(p) not in own for flat in optimizer.flats for p in flat.parameters
        )
        self._switched = [layer for layer in self._layers if isinstance(layer, MODAL)]
        self.plan: Plan | None = None
        self._modes: tuple[bool, ...] = ()
        self._inference: Plan | None = None
        self._workers = Workers()
        self._blas = ThreadpoolController().select(user_api="blas").lib_controllers

    # ------------------------------------------------------------------ training

    def gradients(self, x: Array, y: Array) -> Any:
        plan = self._plan_for(self._image_shape(x))
        program = self._program(plan, len(x))
        assert plan.loss is not None
        if len(x):
            plan.loss.take_targets(y, len(x))
        if self._other_parameters:
            self.optimizer.zero_grad()
        with self._computing():
            run(program.begin)
            self._workers.run(program.workers, partial(work, program, x))
            run(program.end)
        if len(x) == 0:  # a rank without a part of this batch, whose calls left what was there
            self.optimizer.zero_grad()
        value, self.hits = plan.loss.result(len(x))
        return self._sum_over_ranks(value, len(x))

    def prepare(self, image_shape: Sequence[int]) -> None:
        """Lay out the memory for images of a shape (C, H, W), which the first step does else."""
        self._plan_for(tuple(image_shape))

    def _plan_for(self, image_shape: tuple[int, ...]) -> Plan:
        """Return the plan for a shape and the layers' modes; made anew when one has changed."""
        self._check_bound()
        modes_now = (self.group.size > 1, *(layer.training for layer in self._switched))
        plan = self.plan
        if plan is None or plan.x.shape != image_shape or modes_now != self._modes:
            self.plan = plan = None  # its memory is free before the next one's is taken
            size, loss = self.batch_size, self._planned_loss()
            plan = Plan(self._layers, image_shape, self.dtype, size, self._tunables, loss)
            self.plan, self._modes = plan, modes_now
        return plan

    def _planned_loss(self) -> CrossEntropyLoss:
        """Return the loss, on several ranks that which only sums."""
        if self.group.size == 1:
            return self.loss
        return CrossEntropyLoss("sum", self.loss.label_smoothing)

    def _program(self, plan: Plan, images: int) -> Program:
        self.group.begin(images)
        least = 1 if self.group.size == 1 else 0
        if not least <= images <= self.batch_size:
            raise ValueError(
                f"the compiled step takes 1 to {self.batch_size} images, got {images}; "
                "compile it with a larger batch_size"
            )
        return plan.program(images)

    # ------------------------------------------------------------------ inference

    def predict(self, x: Array) -> np.ndarray:
        plan = self._inference_plan(self._image_shape(x))
        logits = np.empty((len(x), *plan.y.shape), self.dtype)
        parts = [
            (x[i : i + plan.batch_size], logits[i : i + plan.batch_size])
            for i in range(0, len(x), plan.batch_size)
        ]
        programs = [plan.program(len(images)) for images, _ in parts]

        def infer(worker: int, meeting: Meeting) -> None:
            for program, (images, out) in zip(programs, parts, strict=True):
                # No image depends on another, but the last part is cut in other chunks, which may
                # lie where another worker still has the part before.
                if program is not programs[0]:
                    meeting.wait(worker, [])
                if worker < program.workers:
                    load(program.inputs[worker], images)
                    for stage in program.stages:
                        run(stage.calls[worker])
                    for rows, array in program.outputs[worker]:
                        out[rows] = array

        with self._computing():
            for program in programs[:1]:
                run(program.begin)
            self._workers.run(max((p.workers for p in programs), default=1), infer)
        return logits

    def _inference_plan(self, image_shape: tuple[int, ...]) -> Plan:
        """Return the plan for a shape, with room for one chunk of features a thread."""
        self._check_bound()
        if self._inference is None or self._inference.x.shape != image_shape:
            tunables = self._tunables
            size = tunables.threads * max(tunables.feature_lanes, tunables.lanes)
            self._inference = Plan(self._layers, image_shape, self.dtype, size, tunables)
        return self._inference

    # ------------------------------------------------------------------ running

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Compute with BLAS on one thread and short ufunc buffers.

        The products are too small to share: with two threads, which wait for each other, a step
        took as long, and 2.4 times as long where others kept the machine busy.
        """
        threads = [(library, library.num_threads) for library in self._blas]
        before = np.setbufsize(self._tunables.buffer_size)
        try:
            for library, number in threads:  # by hand: ``limit`` takes four times as long
                if number != 1:
                    library.set_num_threads(1)
            yield
        finally:
            np.setbufsize(before)
            for library, number in threads:
                if number != 1:
                    library.set_num_threads(number)

    def _image_shape(self, x: Array) -> tuple[int, ...]:
        known = isinstance(x, (np.ndarray, LazyImages))
        if not known or (x.dtype not in FLOATS and x.dtype != np.uint8):
            found = getattr(x, "dtype", type(x).__name__)
            raise TypeError(
                f"the compiled step takes NumPy arrays of float32, float64 or uint8, got {found}"
            )
        if x.ndim < 2:
            raise ValueError(
                f"the compiled step takes a batch of images (N, C, H, W) or of features (N, F), "
                f"got an array of shape {x.shape}"
            )
        return x.shape[1:]

    def _check_bound(self) -> None:
        for parameter, data, grad in self._parameters:
            if parameter.data is not data or parameter.grad is not grad:
                raise ValueError(
                    f"the compiled step: {parameter} is no longer the array it was compiled for: "
                    "the model was moved or converted, or a new optimizer took it over; compile "
                    "it again"
                )

    def describe(self) -> str:
        head = f"compiled {type(self.model).__name__}, {self._tunables}"
        if self.plan is None:
            return f"{head}; the plan is made when the shape of the images is known"
        return f"{head}\n{self.plan.describe()}"


def work(program: Program, x: np.ndarray | LazyImages, worker: int, meeting: Meeting) -> None:
    """Do a worker's part of a training step."""
    load(program.inputs[worker], x)
    for stage in program.stages[:-1]:
        run(stage.calls[worker])
        meeting.wait(worker, stage.once)
    run(program.stages[-1].calls[worker])


def run(calls: Calls) -> None:
    for call in calls:
        call()


def load(inputs: list[Inlet], x: np.ndarray | LazyImages) -> None:
    """Copy a worker's images into their lanes; lazy ones are made here."""
    if not inputs:
        return
    first, last = inputs[0].images.start, inputs[-1].images.stop
    own = x[first:last]
    for inlet in inputs:
        inlet.load(own[inlet.images.start - first : inlet.images.stop - first])
