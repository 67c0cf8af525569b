"""The compiled step on NumPy: a list of calls on memory set aside beforehand.

``prepare`` plans, once for a shape of images; ``gradients`` runs the plan.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backend import Array
from ...layers import Layer
from ...losses import CrossEntropyLoss
from ...optim import Optimizer
from ..plan import Plan
from ..settings import Settings
from ..step import (
    NoOptimizer,
    Step,
    TextbookStep,
    check_count,
    image_shape,
    in_turn,
    trains,
    why_loss_not_compiled,
)
from .kinds import why_threads
from .numerics import Numerics
from .prepared import Prepared
from .program import execute
from .tuning import Tunables
from .workers import Workers


class CompiledStep(Step):
    """A step whose calls read the parameters and write the gradients in the model's own arrays.

    So the model, its ``state_dict`` and the optimizer see every update, and the step sees what is
    loaded.
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
        self._settings = Settings(model, loss)
        self._layers = self._settings.layers
        self.dtype = self._settings.dtype
        self._other_parameters = self._settings.others_of(optimizer)
        self._training: Prepared | None = None
        self._training_key: tuple[Any, ...] = ()  # what the plan was made for
        self._inference: Prepared | None = None
        self._inference_key: tuple[Any, ...] = ()
        self._workers = Workers()
        self._numerics = Numerics(tunables.buffer_size)

    # ------------------------------------------------------------------ planning

    @property
    def plan(self) -> Plan | None:
        """The plan of a training step, for the shape of images seen last."""
        return None if self._training is None else self._training.plan

    @in_turn
    def prepare(self, image_shape: Sequence[int]) -> Prepared:
        """Allocate for images (C, H, W) now; otherwise the first step does it.

        The plan at hand is kept, unless the shape or a setting has changed (see ``Settings``), or
        this process was forked since: its parent may use the same memory.
        """
        shape = tuple(image_shape)
        if isinstance(self.optimizer, NoOptimizer):
            return self._prepare_inference(shape)
        self._settings.check_arrays()
        key = (shape, os.getpid(), self.group.size > 1, *self._settings())
        if self._training is None or self._training_key != key:
            self._settings.check_parameters()
            self._training = None  # its memory is free before the next is taken
            loss = self.loss
            if self.group.size > 1:  # a mean over all ranks needs all sums first
                loss = CrossEntropyLoss("sum", self.loss.label_smoothing)
            self._training = self._plan(shape, self.batch_size, loss)
            self._training_key = key
        return self._training

    def _prepare_inference(self, shape: tuple[int, ...]) -> Prepared:
        """Return the plan of inference, with room for one chunk of features per worker."""
        self._settings.check_arrays()
        key = (shape, os.getpid(), *self._settings())
        if self._inference is None or self._inference_key != key:
            self._settings.check_parameters()
            self._inference = None  # as above
            tunables = self._tunables
            size = tunables.threads * max(tunables.feature_lanes, tunables.lanes)
            self._inference = self._plan(shape, size, None)
            self._inference_key = key
        return self._inference

    def _plan(
        self, shape: tuple[int, ...], batch_size: int, loss: CrossEntropyLoss | None
    ) -> Prepared:
        self.model.output_shape((batch_size, *shape))  # refuses images that do not fit
        why = why_threads()
        if loss is not None and self.group.size > 1:
            why = why or "several ranks share the batch"
        return Prepared(self._layers, shape, self.dtype, batch_size, self._tunables, why, loss)

    def describe(self) -> str:
        head = f"compiled {type(self.model).__name__}, {self._tunables}"
        prepared = self._training
        if isinstance(self.optimizer, NoOptimizer):
            head, prepared = f"{head}, for inference alone", self._inference
        if prepared is None:
            return f"{head}; the plan is made when the shape of the images is known"
        return f"{head}\n{prepared.describe()}"

    # ------------------------------------------------------------------ running

    @trains
    def gradients(self, x: Array, y: Array) -> Any:
        why = why_loss_not_compiled(self.loss)
        if why:
            return self._textbook_gradients(x, y, why)
        prepared, images = self.prepare(image_shape(x)), len(x)
        self.group.begin(images)
        check_count(images, self.batch_size, smallest=1 if self.group.size == 1 else 0)
        program = prepared.program(images)
        if images:
            prepared.loss.take_targets(y, images)
        if self._other_parameters:  # the calls set the gradients of the model's own
            self.optimizer.zero_grad()
        with self._numerics.applied():
            self._workers.run(prepared, program, x)
            execute(program.end)
        if images == 0:  # a rank without a part of this batch, whose calls changed nothing
            self.optimizer.zero_grad()
        value, self.correct = prepared.loss.result(images)
        return self._sum_over_ranks(value, images)

    def _textbook_gradients(self, x: Array, y: Array, why: str) -> Any:
        """Do a step for a loss that was changed to what only the textbook layers can do."""
        textbook = TextbookStep(self.model, self.loss, self.optimizer, self.batch_size, why)
        textbook.group = self.group
        value = textbook.gradients(self.floats(x), y)
        self.correct = textbook.correct
        return value

    @in_turn
    def predict(self, x: Array) -> np.ndarray:
        prepared = self._prepare_inference(image_shape(x))
        size = prepared.batch_size
        logits = np.empty((len(x), *prepared.plan.y.shape), self.dtype)
        with self._numerics.applied():
            for i in range(0, len(x), size):
                part = x[i : i + size]
                program = prepared.program(len(part))
                self._workers.run(prepared, program, part)
                program.unload(logits[i : i + size])
                execute(program.end)
        return logits
