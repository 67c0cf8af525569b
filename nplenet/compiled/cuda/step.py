"""The step on a GPU: which launches it makes, and where their data come from.

    fused       one kernel for all that lies between two barriers, where that fits into the shared
                memory of a block
    captured    otherwise: the kernels of the textbook layers

Both run an epoch without the host, by graphs (see ``epoch``). A step on arrays at hand,
``gradients(x, y)``, is launched kernel by kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...backend import Array
from ...layers import Dropout, Layer, Parameter
from ...layers.sequential import leaves
from ...losses import CrossEntropyLoss
from ...optim import Optimizer
from ...rounding import ceil_div
from ..settings import Settings
from ..step import (
    IMAGE_DTYPES,
    Step,
    TextbookStep,
    check_count,
    in_turn,
    trains,
    why_loss_not_compiled,
)
from .captured import CapturedInference, CapturedStep, active_dropouts
from .epoch import Deal, DeviceEpoch, Launches, Runner
from .feed import Feed
from .fused import FusedStep, device_of, why_not_fused
from .graphs import Graphs
from .host import HostSide, Rehearsal, Schedule
from .single import SingleSteps

MAX_PLANS = 4  # kept; a schedule of dropout probabilities makes a new one each time


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
        self.backend: Any = model.backend
        self.textbook = TextbookStep(model, loss, optimizer, batch_size, "it is captured")
        self._settings = Settings(model, loss)
        self._layers = [*self._settings.layers.values()]
        self._other_parameters = self._settings.others_of(optimizer)
        self._inference = CapturedInference(self.textbook)
        self._plans: dict[tuple[Any, ...], FusedStep | str] = {}
        self._single: SingleSteps | None = None
        self._runner: Runner | None = None
        self._ahead: Rehearsal | None = None
        self._planned_for: tuple[Any, ...] = ()

    # ------------------------------------------------------------------ planning

    @in_turn
    def fused(self, image_shape: Sequence[int]) -> FusedStep | str:
        """Return the fused kernels for images of a shape, or a sentence that says why not."""
        self._settings.check_arrays()
        shape = tuple(image_shape)
        key = (shape, *self._settings())
        if self.group.size > 1:
            return "the ranks add up between the kernels"
        if self._other_parameters:
            return (
                f"the optimizer updates {self._other_parameters[0]} too, which is not of this "
                "model: no kernel clears its gradient"
            )
        why = why_loss_not_compiled(self.loss)
        if why:
            return why
        if key not in self._plans:
            self._settings.check_parameters()
            self.model.output_shape((self.batch_size, *shape))  # refuses images that do not fit
            layers, dtype = self._layers, self._settings.dtype
            size, device = self.batch_size, device_of(self.backend)
            why = why_not_fused(layers, shape, dtype, self.loss, size, device)
            why = why or why_not_in_place(self.model.parameters())
            if why:
                self._plans[key] = why
            else:
                plan = FusedStep(
                    layers, shape, dtype, size, self.loss, self.backend, self.optimizer
                )
                plan.paths = {id(layer): path for path, layer in leaves(self.model)}
                self._plans[key] = plan
            if len(self._plans) > MAX_PLANS:
                del self._plans[next(iter(self._plans))]
        return self._plans[key]

    # ------------------------------------------------------------------ a single step

    @trains
    def gradients(self, x: Array, y: Array) -> Any:
        fused = self._fused_for(x)
        if isinstance(fused, str):
            self.textbook.group = self.group
            value = self.textbook.gradients(x, y)
            self.correct = self.textbook.correct
            return value
        if self._single is None or self._single.fused is not fused:
            dropouts = active_dropouts(self._layers)
            self._single = SingleSteps(fused, dropouts, self.loss, self.batch_size)
        value, self.correct = self._single.gradients(x, y)
        return value

    @in_turn
    def predict(self, x: Array) -> Array:
        fused = self._fused_for(x)
        if isinstance(fused, str):
            return self._inference.predict(x, self._settings())
        classes = self.model.output_shape((1, *x.shape[1:]))[1]
        logits = self.backend.xp.empty((len(x), classes), self._settings.dtype)
        fused.predict(self.backend.xp.ascontiguousarray(x), logits)
        return logits

    def _fused_for(self, x: Array) -> FusedStep | str:
        """Return the fused kernels for a batch, or why the textbook layers take it."""
        if not self.backend.owns(x):
            raise TypeError(
                f"the compiled step: its images must be on the device, got {type(x).__name__}; "
                "convert them with get_backend('cupy').asarray"
            )
        if x.ndim < 2 or x.dtype not in IMAGE_DTYPES:
            return "the textbook layers refuse it with an error"
        return self.fused(x.shape[1:])

    # ------------------------------------------------------------------ an epoch

    @property
    def runs_epochs(self) -> bool:  # type: ignore[override]  # the same, computed
        """Whether ``begin_epoch`` may be used: no step needs the host, nor do sums over ranks."""
        return self.group.sums_on_device and not why_loss_not_compiled(self.loss)

    @trains
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
        self._settings.check_arrays()
        check_count(ceil_div(max(deal.sizes), self.group.size), self.batch_size)  # the largest part
        self.textbook.group = self.group
        self.optimizer.follow_flags()
        dropouts = active_dropouts(self._layers)
        host = HostSide(dropouts, self.optimizer, schedule)
        ahead, self._ahead = self._ahead, None
        try:
            rehearsal = host.perform(len(deal.sizes) - done, ahead)
            runner = self._runner_for(deal, dropouts, len(rehearsal.numbers[0]))
            return DeviceEpoch(runner, deal, host, rehearsal)
        except BaseException:
            host.undo()
            raise

    @trains
    def prepare_epoch(self, schedule: Schedule | None, steps: int) -> None:
        host = HostSide(active_dropouts(self._layers), self.optimizer, schedule)
        self._ahead = host.rehearse_ahead(steps)

    def _runner_for(self, deal: Deal, dropouts: list[Dropout], numbers: int) -> Runner:
        """Return the runner of the epoch before, if its graphs fit."""
        augmented = tuple(draw is not None for draw in deal.draws)
        sizes = (sum(deal.sizes), len(deal.sizes))
        image_shape = deal.images.shape[1:]
        classes = self.model.output_shape((1, *image_shape))[1]
        fault = self.loss.fault_on(self.backend, classes)  # a new one if the loss was elsewhere
        arrays = (id(deal.images), id(fault))  # the feed keeps both, so no others have these ids
        normal = deal.normal(self._settings.dtype)
        normal_bytes = None if normal is None else normal.tobytes()
        fixed = (augmented, deal.fill, normal_bytes, self.group)
        planned_for = (*arrays, *sizes, *fixed, *self._settings())
        if self._runner is None or self._planned_for != planned_for:
            self._runner = None  # its memory is free before the next is taken
            feed = Feed(
                self.backend,
                deal.images,
                fault,
                entries=sizes[0],
                steps=sizes[1],
                keys=len(dropouts),
                numbers=numbers,
                augmented=augmented,
                fill=deal.fill,
                normal=normal,
            )
            fused = self.fused(image_shape)
            launches: Launches = (
                CapturedStep(self.textbook, dropouts) if isinstance(fused, str) else fused
            )
            flops = 6.0 * self.model.multiply_adds((self.batch_size, *image_shape))
            self._runner = Runner(launches, self.optimizer, feed, flops, self.group)
            self._planned_for = planned_for
        return self._runner

    @trains
    def kernels(self, times: int = 20) -> list[dict[str, Any]]:
        """Return, for each fused kernel of the last ``gradients``: name, seconds, bytes, flop.

        The seconds are those of ``times`` runs in a graph.
        """
        single = self._single
        if single is None:
            return []
        kernels = single.fused.kernels()
        return [measured(self.backend, kernel, single.rewind, times) for kernel in kernels]

    def describe(self) -> str:
        lines = [f"compiled {type(self.model).__name__} for a GPU"]
        plans = {shape: plan for (shape, *_), plan in self._plans.items()}  # the last of each
        if self.group.size > 1:
            how = "in graphs, with sums by NCCL between them"
            if not self.group.sums_on_device:
                how = "launched one by one: sums go through the host (no NCCL, or a shared GPU)"
            return f"{lines[0]}; on several ranks the textbook layers' kernels, {how}"
        if not plans:
            lines.append("the plan is made when the shape of the images is known")
        for shape, plan in plans.items():
            if isinstance(plan, str):
                lines.append(
                    f"images {shape}: the textbook layers' kernels, in graphs, because {plan}"
                )
            else:
                lines += [f"images {shape}: one kernel between two barriers", *plan.describe()]
        return "\n".join(lines)


def why_not_in_place(parameters: Sequence[Parameter]) -> str:
    """Return why fused kernels cannot read parameters where they lie; an empty string if they can.

    They load up to 16 bytes at a time. What an optimizer holds lies so.
    """
    for p in parameters:
        if not (p.data.flags.c_contiguous and p.grad.flags.c_contiguous):
            return f"{p} is not C-contiguous"
        if p.data.data.ptr % 16:
            return f"{p} does not begin at a multiple of 16 bytes"
    return ""


def measured(gpu: Any, kernel: Any, prepare: Callable[[], None], times: int) -> dict[str, Any]:
    """Return the time of a kernel in a graph, where no host is waited for: a median.

    It runs ``times`` times in a graph, each time after ``prepare``, whose own time is subtracted.
    """

    def prepared(n: int) -> None:
        for _ in range(n):
            prepare()

    def both(n: int) -> None:
        for _ in range(n):
            prepare()
            kernel.launch()

    graphs, cuda = Graphs(gpu), gpu.xp.cuda
    seconds: dict[str, float] = {}
    for name, enqueue in (("prepared", prepared), ("both", both)):
        found = []
        for _ in range(10):
            begin, end = cuda.Event(), cuda.Event()
            begin.record()
            graphs.launch(name, enqueue, times)
            end.record()
            end.synchronize()
            found.append(1e-3 * cuda.get_elapsed_time(begin, end))
        seconds[name] = float(np.median(found[1:]))
    alone = (seconds["both"] - seconds["prepared"]) / times
    return {"name": kernel.name, "seconds": alone, "bytes": kernel.nbytes, "flop": kernel.flop}
