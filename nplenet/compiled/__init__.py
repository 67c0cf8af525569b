"""The fast step: a whole model planned once, then run without a layer in sight.

    compile    cpu/choose says whether the model can be compiled; if not, step has the textbook
               layers. cpu/tuning_cache has the tunables of this machine, or cpu/search finds them
               by timing the step in cpu/trial
    plan       once: cpu/step.prepare -> cpu/prepared -> plan (operation, passes, placement), with
               the answers of cpu/executor; cpu/choose says which layers become which operation of
               cpu/lanes. Then cpu/arena allocates the memory, which processes share (cpu/memory)
    bind       once per number of images: cpu/prepared.program. cpu/chunks cuts the batch, the
               operations return NumPy calls, cpu/program holds them
    run        each step: cpu/step.gradients -> cpu/numerics, cpu/workers, which has processes or
               threads load the images and make the calls of each stage (cpu/program). Then the sums
               over ranks, and the optimizer

On a GPU (cuda) an epoch runs without the host, and a pass becomes a kernel:

    compile    cuda/choose says whether the steps of a model need the host; if so, step has the
               textbook layers
    plan       once per shape of the images: cuda/step.GraphStep.fused -> cuda/fused/choose -> plan,
               with the answers of its executor -> cuda/fused/program writes a kernel per pass from
               the lines of its operations. Where one does not fit into shared memory,
               cuda/captured launches the kernels of the textbook layers
    run        each epoch: cuda/host rehearses its part of all steps, cuda/feed copies the result to
               the device, cuda/epoch launches the graphs that cuda/graphs has recorded. A step on
               given arrays, ``gradients(x, y)``, is launched kernel by kernel (cuda/single)

A plan is made for the settings of the layers and the loss: settings detects a change of any of
them, and the next step has a new plan.

operation, passes, placement and plan hold no array, no call and no thread: both executors run the
same plan. ``NPLENET_TRACE=1`` prints the passes of each step (cpu/trace), or its kernels, with
their times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..checks import count, parts, sizes
from ..layers import Layer
from ..losses import CrossEntropyLoss
from ..optim import Optimizer
from .step import NoOptimizer, Step, TextbookStep

if TYPE_CHECKING:
    from .cpu.choose import why_not_compiled
    from .cpu.step import CompiledStep
    from .cpu.tuning import Tunables

IMAGES_TO_PREDICT = 256
"""Default batch size of a step for inference alone."""

__all__ = ["CompiledStep", "Step", "TextbookStep", "Tunables", "compile", "why_not_compiled"]


def compile(
    model: Layer,
    loss: CrossEntropyLoss | None = None,
    optimizer: Optimizer | None = None,
    batch_size: int | None = None,
    *,
    tunables: Mapping[str, int] | None = None,
    input_shape: Sequence[int] | None = None,
) -> Step:
    """Return a training step for a model, fast where it can be; or, of a model alone, inference.

    On a CPU several workers share a step: processes on Linux, which are forked when they are first
    needed and end with the step, threads elsewhere. The environment variable ``NPLENET_WORKERS``,
    "threads" or "processes", decides; the bits are the same.

    Parameters
    ----------
    model : Layer
        A (nest of) ``Sequential``. On a CPU a layer without a compiled form, such as your own,
        runs as a textbook layer between the others, on one thread; on a GPU such a model runs on
        the textbook layers, behind the same interface. ``step.describe()`` says what runs, and why.
    loss : CrossEntropyLoss, optional
    optimizer : Optimizer, optional
        Of the model's parameters. Without loss and optimizer the step has only ``predict``, for a
        model that no other thread trains meanwhile.
    batch_size : int
        Largest number of images per step; ``predict`` takes any number.
    tunables : mapping of str to int, optional
        Some of ``Tunables``, the others at their defaults. If None, they are measured once on
        this machine for the size of the batch, in a few seconds, and cached; inference alone takes
        what is cached, or the defaults. A GPU does without.
    input_shape : (C, H, W), optional
        The shape of one image, to plan now rather than in the first step. The textbook layers need
        none. On a GPU neither this nor ``tunables`` has an effect.

    Returns
    -------
    Step
        ``step(x, y) -> loss``, ``step.predict(x) -> logits``, ``step.correct``,
        ``step.describe()``.

    Raises
    ------
    TypeError, ValueError
        For an invalid batch size or invalid tunables; for a loss without an optimizer, or an
        optimizer of another model.
    """
    if loss is None and optimizer is None:
        loss, optimizer = CrossEntropyLoss(), NoOptimizer()
        batch_size = IMAGES_TO_PREDICT if batch_size is None else batch_size
    if loss is None or optimizer is None or batch_size is None:
        raise TypeError(
            "compile: training takes a loss, an optimizer and a batch_size; inference none of them"
        )
    parts("compile", model=model, loss=loss, optimizer=optimizer)
    batch_size = count(batch_size, "compile: batch_size")
    if input_shape is not None:
        input_shape = sizes(input_shape, "compile: input_shape")
    own = {id(parameter) for parameter in model.parameters()}
    if optimizer.flats and not any(id(p) in own for f in optimizer.flats for p in f.parameters):
        raise ValueError("compile: the optimizer has no parameter of this model")
    given = None
    if tunables is not None:
        from .cpu.tuning import checked

        given = checked(tunables)
    if model.backend.name == "cupy":
        from .cuda import choose as graphs
        from .cuda.step import GraphStep

        why = graphs.why_not_in_a_graph(model, loss, optimizer)
        if why:
            return TextbookStep(model, loss, optimizer, batch_size, why)
        on_gpu = GraphStep(model, loss, optimizer, batch_size)
        if input_shape is not None:
            on_gpu.fused(input_shape)  # plans
        return on_gpu

    from .cpu import choose, step  # 5 ms that `import nplenet` need not wait for

    why = choose.why_not_compiled(model, loss)
    if why:
        return TextbookStep(model, loss, optimizer, batch_size, why)
    chosen = given or _tuned(batch_size, training=not isinstance(optimizer, NoOptimizer))
    compiled = step.CompiledStep(model, loss, optimizer, batch_size, chosen)
    if input_shape is not None:
        compiled.prepare(input_shape)
    return compiled


def _tuned(batch_size: int, training: bool) -> Tunables:
    from .cpu import trial, tuning_cache

    return tuning_cache.tuned(batch_size, trial.make_step, training=training)


def __getattr__(name: str) -> Any:
    """Import the names of ``cpu`` when they are asked for."""
    from .cpu import choose, step, tuning

    for module in (choose, step, tuning):
        if name in __all__ and name in vars(module):
            return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
