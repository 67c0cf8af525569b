"""The step on a GPU: which launches it makes, and where their data come from.

    fused       one kernel for all that lies between two barriers, where that fits into the shared
                memory of a block
    captured    otherwise: the kernels of the textbook layers

Both run an epoch without the host, by graphs (see ``epoch``). A step on arrays at hand,
``gradients(x, y)``, is launched kernel by kernel.
"""

from __future__ import annotations

from typing import Any

from ...backend import Array, Backend
from ...layers import BatchNorm1d, BatchNorm2d, Dropout, Layer
from ...layers.sequential import leaves
from ...losses import CrossEntropyLoss
from ...optim import Optimizer
from ..step import Step, TextbookStep
from .captured import CapturedInference, CapturedStep, active_dropouts
from .epoch import Deal, DeviceEpoch, Launches, Runner
from .feed import Feed
from .host import HostSide, Schedule

DEPENDS_ON_TRAINING = (BatchNorm1d, BatchNorm2d, Dropout)


class GraphStep(Step):
    """A step on a GPU that trains a whole epoch without the host.

    The graphs hold the addresses of the parameters and their gradients: the model, its
    ``state_dict`` and the optimizer see every update, and the step sees what is loaded.
    """

    compiled = True

    def __init__(
        self, model: Layer, loss: CrossEntropyLoss, optimizer: Optimizer, batch_size: int
    ) -> None:
        super().__init__(model, loss, optimizer, batch_size)
        self.backend: Backend = model.backend
        self.textbook = TextbookStep(model, loss, optimizer, batch_size, "it is captured")
        self._layers = [layer for _, layer in leaves(model)]
        self._parameters = [(p, p.data, p.grad) for p in model.parameters()]
        self._inference = CapturedInference(self.textbook)
        self._runner: Runner | None = None
        self._planned_for: tuple[Any, ...] = ()

    # ------------------------------------------------------------------ a single step

    def gradients(self, x: Array, y: Array) -> Any:
        self.textbook.group = self.group
        value = self.textbook.gradients(x, y)
        self.correct = self.textbook.correct
        return value

    def predict(self, x: Array) -> Array:
        self._check_bound()
        return self._inference.predict(x)

    # ------------------------------------------------------------------ an epoch

    @property
    def runs_epochs(self) -> bool:  # type: ignore[override]  # the same, computed
        """Whether ``begin_epoch`` may be used: the sums of several ranks go through the host."""
        return self.group.size == 1

    def begin_epoch(self, deal: Deal, schedule: Schedule | None, done: int) -> DeviceEpoch:
        """Return the epoch, or the rest of one, that runs without the host.

        Parameters
        ----------
        deal : Deal
        schedule : Schedule or None
            At the step that runs next, as optimizer and generators are.
        done : int
            Steps of the epoch that were done before, less than all.
        """
        self._check_bound()
        dropouts = active_dropouts(self._layers)
        host = HostSide(dropouts, self.optimizer, schedule)
        keys, numbers = host.rehearse(len(deal.sizes) - done)
        runner = self._runner_for(deal, dropouts, len(numbers[0]))
        return DeviceEpoch(runner, deal, host, keys, numbers)

    def _runner_for(self, deal: Deal, dropouts: list[Dropout], numbers: int) -> Runner:
        """Return the runner of the epoch before, if its graphs fit."""
        modes = [a.training for a in self._layers if isinstance(a, DEPENDS_ON_TRAINING)]
        augmented = tuple(draw is not None for draw in deal.draws)
        sizes = (sum(deal.sizes), len(deal.sizes))
        planned_for = (id(deal.images), *sizes, augmented, deal.fill, *modes)
        if self._runner is None or self._planned_for != planned_for:
            self._runner = None  # its memory is free before the next is taken
            feed = Feed(
                self.backend,
                deal.images,
                self.loss.fault_on(self.backend),
                entries=sizes[0],
                steps=sizes[1],
                keys=len(dropouts),
                numbers=numbers,
                augmented=augmented,
                fill=deal.fill,
            )
            shape = (self.batch_size, *deal.images.shape[1:])
            flops = 6.0 * self.model.multiply_adds(shape)
            self._runner = Runner(self._launches(dropouts), self.optimizer, feed, flops)
            self._planned_for = planned_for
        return self._runner

    def _launches(self, dropouts: list[Dropout]) -> Launches:
        return CapturedStep(self.textbook, dropouts)

    def _check_bound(self) -> None:
        for parameter, data, grad in self._parameters:
            if parameter.data is not data or parameter.grad is not grad:
                raise ValueError(
                    f"the compiled step: {parameter} is no longer the array it was compiled for: "
                    "the model was moved or converted, or a new optimizer took it over; compile "
                    "it again"
                )

    def describe(self) -> str:
        return f"compiled {type(self.model).__name__}: the textbook layers' kernels in a graph"
