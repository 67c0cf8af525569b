"""The two kinds of step: compiled, and the textbook layers where a model can't be compiled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from ..backend import Array
from ..layers import Layer
from ..losses import CrossEntropyLoss
from ..optim import Optimizer
from .cpu import Calls
from .plan import Plan, leaves, modes
from .tuning import Tunables

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
    """

    compiled: bool
    hits: Any = 0

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
        """Do all of a step but the update: set the gradients, and return the loss."""

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
        try:
            value = self.loss(self.model(self._floats(x)), y)
            self.model.backward(self.loss.backward())
        finally:
            self.model.input_gradient = before
        self.hits = self.loss.hits
        return value

    def predict(self, x: Array) -> Array:
        flags = [(layer, layer.training) for _, layer in self.model.modules()]
        self.model.eval()
        try:
            parts = range(0, max(len(x), 1), self.batch_size)
            logits = [self.model(self._floats(x[i : i + self.batch_size])) for i in parts]
        finally:
            for layer, training in flags:
                layer.training = training
        return self.model.backend.xp.concatenate(logits)

    def _floats(self, x: Array) -> Array:
        if x.dtype != np.uint8:
            return x
        dtype = self.model.parameters()[0].data.dtype
        return self.model.backend.xp.divide(x, dtype.type(255), dtype=dtype)

    def describe(self) -> str:
        return f"the textbook layers run: {self.why}"


class CompiledStep(Step):
    """A list of NumPy calls on memory set aside beforehand; see ``plan``.

    The calls read the parameters and write the gradients in the model's own arrays, so the model,
    its ``state_dict`` and the optimizer see every update, and the step sees what is loaded.
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
        self._layers = leaves(model)
        self._parameters = [(p, p.data, p.grad) for p in model.parameters()]
        self.dtype = self._parameters[0][1].dtype
        self._plan: Plan | None = None
        self._modes: tuple[bool, ...] = ()
        self._inference: Plan | None = None
        self._blas = ThreadpoolController()

    # ------------------------------------------------------------------ training

    def gradients(self, x: Array, y: Array) -> Any:
        plan = self._plan_for(self._image_shape(x))
        inputs = self._checked_inputs(plan, len(x))
        load(inputs, x)
        return self.gradients_of_lanes(len(x), y)

    def lanes(self, images: int) -> list[np.ndarray]:
        """Return where the input of a step of so many images lies, for a loader to fill.

        Returns
        -------
        list of arrays (C, H, W, n)
            One a chunk, of the model's dtype; the first holds the first n images. Fill them, then
            call ``run_lanes``, or ``gradients_of_lanes`` to leave the update to others.
        """
        if self._plan is None:
            raise ValueError(
                "the compiled step does not know the shape of the images yet; "
                "call compile with input_shape=(C, H, W)"
            )
        return self._checked_inputs(self._plan_for(self._plan.x.shape), images)

    def run_lanes(self, images: int, y: np.ndarray) -> Any:
        """Do one training step on the images in ``lanes(images)`` and return its loss."""
        value = self.gradients_of_lanes(images, y)
        self.optimizer.step()
        return value

    def gradients_of_lanes(self, images: int, y: np.ndarray) -> Any:
        """Do all of a step on the images in ``lanes(images)`` but the update."""
        plan = self._plan
        assert plan is not None
        assert plan.loss is not None
        self._check_bound()
        plan.loss.take_targets(y, images)
        program = plan.program(images)
        self.optimizer.zero_grad()  # for parameters that are no part of the model
        self._run(program.begin, program.body, program.end)
        value, self.hits = plan.loss.result(images)
        return value

    def prepare(self, image_shape: Sequence[int]) -> None:
        """Lay out the memory for images of a shape (C, H, W), which the first step does else."""
        self._plan_for(tuple(image_shape))

    def _plan_for(self, image_shape: tuple[int, ...]) -> Plan:
        """Return the plan for a shape and the layers' modes; made anew when one has changed."""
        self._check_bound()
        modes_now = modes(self._layers)
        plan = self._plan
        if plan is None or plan.x.shape != image_shape or modes_now != self._modes:
            self._plan = plan = None  # its memory is free before the next one's is taken
            plan = self._new_plan(image_shape, self.loss)
            self._plan, self._modes = plan, modes_now
        return plan

    def _new_plan(self, image_shape: tuple[int, ...], loss: CrossEntropyLoss | None) -> Plan:
        size = self.batch_size if loss else max(self._tunables.feature_lanes, self._tunables.lanes)
        return Plan(self._layers, image_shape, self.dtype, size, self._tunables, loss)

    def _checked_inputs(self, plan: Plan, images: int) -> list[np.ndarray]:
        if not 1 <= images <= self.batch_size:
            raise ValueError(
                f"the compiled step takes 1 to {self.batch_size} images, got {images}; "
                "compile it with a larger batch_size"
            )
        return plan.program(images).inputs

    # ------------------------------------------------------------------ inference

    def predict(self, x: Array) -> np.ndarray:
        shape = self._image_shape(x)
        self._check_bound()
        if self._inference is None or self._inference.x.shape != shape:
            self._inference = self._new_plan(shape, None)
        plan = self._inference
        logits = np.empty((len(x), *plan.y.shape), self.dtype)
        for start in range(0, len(x), plan.batch_size):
            part = slice(start, start + plan.batch_size)
            program = plan.program(len(x[part]))
            load(program.inputs, x[part])
            self._run(program.begin, program.body)
            unload(program.outputs, logits[part])
        return logits

    # ------------------------------------------------------------------ running

    def _run(self, *lists: Calls) -> None:
        """Make the calls with BLAS on one thread and short ufunc buffers.

        The products are too small to share: with two threads, which wait for each other, a step
        took as long, and 2.4 times as long where others kept the machine busy. Setting both and
        setting them back takes 9 us.
        """
        before = np.setbufsize(self._tunables.buffer_size)
        try:
            with self._blas.limit(limits=1, user_api="blas"):
                for calls in lists:
                    for call in calls:
                        call()
        finally:
            np.setbufsize(before)

    def _image_shape(self, x: Array) -> tuple[int, ...]:
        if not isinstance(x, np.ndarray) or (x.dtype not in FLOATS and x.dtype != np.uint8):
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
        if self._plan is None:
            return f"{head}; the plan is made when the shape of the images is known"
        return f"{head}\n{self._plan.describe()}"


def load(inputs: list[np.ndarray], x: np.ndarray) -> None:
    """Copy images (N, ...) into their lanes; uint8 is divided by 255, as ``ToFloat`` does it."""
    start = 0
    for lanes in inputs:
        images = np.moveaxis(x[start : start + lanes.shape[-1]], 0, -1)
        start += lanes.shape[-1]
        np.copyto(lanes, images, casting="same_kind" if x.dtype.kind == "f" else "safe")
        if x.dtype.kind == "u":
            np.divide(lanes, lanes.dtype.type(255), out=lanes)


def unload(outputs: list[np.ndarray], y: np.ndarray) -> None:
    """Copy what is in lanes to the rows of an array (N, ...)."""
    start = 0
    for lanes in outputs:
        y[start : start + lanes.shape[-1]] = np.moveaxis(lanes, -1, 0)
        start += lanes.shape[-1]
