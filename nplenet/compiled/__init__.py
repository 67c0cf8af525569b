"""The fast step: a whole model planned once, then run without a layer in sight.

A batch passes through these files in this order:

    __init__      compile: a compiled step, or the textbook layers and why
    operation     a layer, and the values it reads and writes
    passes        what lies between two barriers
    placement     which value lies where, and when
    plan          the three together; an executor runs it
    step          what every step can do; the textbook layers as a step
    cpu/          the executor on NumPy:
      choose        which layers become which operation in lanes (``lanes/`` mirrors ``layers/``)
      chunks        how a batch is cut, and which worker has which chunk
      arena         one block of memory for all arrays
      program       the calls for a number of images: load, stages, barriers
      step          CompiledStep: plan once, then run
      workers, numerics, tuning, trial, trace    threads, BLAS, choices and how they are timed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..checks import count
from ..layers import Layer
from ..losses import CrossEntropyLoss
from ..optim import Optimizer
from .cpu.choose import why_not_compiled
from .cpu.step import CompiledStep
from .cpu.trial import seconds_per_step
from .cpu.tuning import Tunables, checked, tuned
from .step import Step, TextbookStep

__all__ = ["CompiledStep", "Step", "TextbookStep", "Tunables", "compile", "why_not_compiled"]


def compile(
    model: Layer,
    loss: CrossEntropyLoss,
    optimizer: Optimizer,
    batch_size: int,
    *,
    tunables: Mapping[str, int] | None = None,
    input_shape: Sequence[int] | None = None,
) -> Step:
    """Return a training step for a model, fast where it can be.

    Parameters
    ----------
    model : Layer
        A (nest of) ``Sequential`` of the library's own layers. Anything else runs on the textbook
        layers, behind the same interface; ``step.describe()`` then says why.
    loss : CrossEntropyLoss
    optimizer : Optimizer
        Made of the model's parameters.
    batch_size : int
        Largest number of images per step.
    tunables : mapping of str to int, optional
        Some of ``Tunables``, the others at their defaults. None: those found on this machine, in a
        second of measurements the first time.
    input_shape : (C, H, W), optional
        Of an image. Without it, the first step allocates the memory.

    Returns
    -------
    Step
        ``step(x, y) -> loss``, ``step.predict(x) -> logits``, ``step.correct``,
        ``step.describe()``.

    Raises
    ------
    TypeError, ValueError
        For an invalid batch size or invalid tunables.
    """
    batch_size = count(batch_size, "compile: batch_size")
    given = None if tunables is None else checked(tunables)
    why = why_not_compiled(model, loss)
    if why:
        return TextbookStep(model, loss, optimizer, batch_size, why)
    chosen = given or tuned(seconds_per_step)
    step = CompiledStep(model, loss, optimizer, batch_size, chosen)
    if input_shape is not None:
        step.prepare(input_shape)
    return step
