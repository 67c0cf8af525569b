"""A layer as device code: the values it uses, and what it writes into the kernel of a pass.

What flows through a pass lies in the shared memory of a block, as the plan places it. What a later
launch needs, such as the input of a convolution for its weight's gradient, is a ``Saved`` value: the
operation copies it to global memory itself, and goes on with the copy at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Protocol

import numpy as np

from ....layers import Layer
from ...operation import DType, L, Operation, Value
from ...passes import Part


class Saved(Value):
    """A value that its operation writes to global memory, for a later launch."""


def saved(shape: Sequence[int], dtype: DType, training: bool) -> Saved | None:
    """Return a saved value; None in inference, which has no later launch."""
    return Saved(shape, dtype) if training else None


class Writer(Protocol):
    """What an operation writes to: the kernel of a pass. See ``code.PassCode``.

    Attributes
    ----------
    images : int
        Images that a block takes at a time, I.
    threads : int
        Threads of a block.
    training : bool
    before, each, after : list of str
        Lines of the kernel: before the loop over a block's images, in it, and after it. Each line of
        ``each`` ends with a barrier.
    """

    images: int
    threads: int
    training: bool
    before: list[str]
    each: list[str]
    after: list[str]

    def use(self, *files: str) -> None:
        """Have the functions of ``kernels/fused/<file>.cu`` in the module."""

    def shape(self, name: str, **numbers: int) -> str:
        """Define a struct of constants; return its name."""

    def at(self, value: Value) -> str:
        """Return the name of a pointer to a value of the block's images."""

    def whole(self, value: Saved) -> str:
        """Return a pointer to a saved value of the whole batch, for a job."""

    def array(self, name: str, owner: Any, attribute: str = "data") -> str:
        """Return a pointer to an array of the model, such as a parameter's data."""

    def kept(self, name: str, shape: Sequence[int], dtype: DType) -> str:
        """Return a pointer to an array in global memory that all launches share."""

    def lasting(self, name: str, c_type: str, size: int, nbytes: int) -> str:
        """Return a pointer to shared memory that lasts from ``before`` to ``after``."""

    def rows(self, name: str, c_type: str, size: int, nbytes: int) -> str:
        """Return a pointer to the block's row of an array (blocks, size) in global memory."""

    def rows_before(self, name: str) -> tuple[str, str]:
        """Return an array that the blocks of an earlier pass have left, and their number."""

    def images_before(self, name: str) -> int:
        """Return how many images a block of that pass took at a time."""

    def scratch(self, c_type: str, nbytes: int) -> str:
        """Return a pointer to shared memory to use in ``before``, until the next barrier."""

    def feed_row(self) -> str:
        """Return a pointer to the step's row of the feed's table."""

    def job(self, blocks: int, line: str, nbytes: int) -> None:
        """Have blocks of their own beside the next launch do a line, each with its ``job``."""


class FusedOperation(Operation[L]):
    """A layer, or a few, as device code.

    Attributes
    ----------
    label : str
        Its name in the kernels; the program sets it.
    training : bool
        Whether the plan is one of training.
    """

    label = ""
    convolves: ClassVar[bool] = False
    """Whether its work grows with the pixels, so that a block takes one image at a time."""
    multiplies_matrix: ClassVar[bool] = False
    """Whether it reads a matrix of weights from global memory, once per group of images."""

    def __init__(self, layer: L, x: Value, training: bool) -> None:
        self.training = training
        super().__init__(layer, x)

    def uses(self, part: Part) -> list[Value | None]:
        """Return the values in shared memory that a part uses."""
        return [self.x, self.y]

    def write(self, part: Part, w: Writer) -> None:
        """Write a part into the kernel of its pass."""
        methods = {
            Part.FORWARD: self.forward,
            Part.STATISTICS: self.statistics,
            Part.GRADIENT_SUMS: self.gradient_sums,
            Part.BACKWARD: self.backward,
        }
        methods[part](w)

    def forward(self, w: Writer) -> None:
        raise NotImplementedError

    def backward(self, w: Writer) -> None:
        raise NotImplementedError

    def statistics(self, w: Writer) -> None:
        raise NotImplementedError(f"{self.name} is not a barrier")

    def gradient_sums(self, w: Writer) -> None:
        raise NotImplementedError(f"{self.name} is not a barrier")


class Source(Layer):
    """The images of the batch, as a layer at the head of the chain."""


class Head(FusedOperation[Source]):
    """Gather, augment and scale the images of a block; see ``kernels/fused/head.cu``."""

    def uses(self, part: Part) -> list[Value | None]:
        return [self.y]

    def forward(self, w: Writer) -> None:
        w.use("head")
        c, h, width = planes(self.y.shape)
        shape = w.shape("Images", C=c, H=h, W=width)
        first = f"(long long){w.feed_row()}[0] + n0" if w.training else "(long long)n0"
        w.each.append(
            f"head<THREADS, {shape}>(s.images, s.order, s.coefficients, s.inverted, s.gray, s.fill, "
            f"{first}, count, {w.at(self.y)});"
        )


def planes(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return C, H and W of the shape of an image, or of features as one row of one channel."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, 1, prod(shape)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def itemsize(dtype: DType) -> int:
    return int(np.dtype(dtype).itemsize)
