"""A layer as device code: the values it uses, and what it writes into the kernel of a pass.

What flows through a pass lies in the shared memory of a block, as the plan places it. What a later
launch needs, such as the input of a convolution for the gradient of its weight, is a ``Saved``
value: the operation copies it to global memory itself, and works with the values at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Protocol

import numpy as np

from ....layers import Layer
from ...operation import DType, L, Operation, Value
from ...passes import Part
from ..feed import FIRST

THREADS_PER_PROCESSOR = 512
"""At most, in the main blocks of a launch: each block leaves a row of sums, and of 512 threads each
may have 128 registers."""


class Saved(Value):
    """A value that its operation writes to global memory, for a later launch."""


class Lasting(Value):
    """A value that is in shared memory from the first line of the loop to the last one.

    If more than one pass uses it, it lies in global memory, as any other value then does.
    """


class Writer(Protocol):
    """What an operation writes to: the kernel of a pass. See ``code.PassCode``.

    Attributes
    ----------
    name : str
        ``pass1`` and so on.
    images : int
        Images that a block takes at a time, I in the kernel.
    threads : int
        Threads of a block, THREADS in the kernel.
    training : bool
    crowded : bool
        Whether other operations of the pass need most of the registers.
    before, first, each, after : list of str
        Lines of the kernel: before the loop over a block's images, in the loop, and after it. Lines
        of ``first`` need nothing that is made in the loop. A barrier follows each line of ``each``,
        unless it is a ``copy``, which only reads what the next line reads.
    """

    name: str
    images: int
    threads: int
    training: bool
    crowded: bool
    before: list[str]
    first: list[str]
    each: list[str]
    after: list[str]

    def elementwise(self, line: str, *, in_place: bool) -> None:
        """Add a line to ``each`` of which thread t reads and writes numbers t, t + THREADS, ...

        Such lines need no barrier between them, unless two of them do not work in place: the output
        of the second may lie where the input of the first was.
        """

    def use(self, *files: str) -> None:
        """Have the functions of ``kernels/fused/<file>.cu`` in the module."""

    def shape(self, name: str, **numbers: int) -> str:
        """Define a struct of constants; return its name."""

    def at(self, value: Value) -> str:
        """Return the name of a pointer to a value of the block's images."""

    def whole(self, value: Saved) -> str:
        """Return a pointer to a saved value of the whole batch, for a job."""

    def array(self, name: str, owner: Any, attribute: str = "data") -> str:
        """Return a pointer to an array of the model, such as the data of a parameter."""

    def gradient(self, name: str, owner: Any, which: str) -> tuple[str, str]:
        """Return what keeps the gradient of a parameter, and what also updates the parameter.

        The second is for jobs, beside which nothing reads the parameter.
        """

    def kept(self, name: str, shape: Sequence[int], dtype: DType) -> str:
        """Return a pointer to an array in global memory that all launches share."""

    def lasting(self, name: str, c_type: str, size: int, itemsize: int) -> str:
        """Return a pointer to shared memory that lasts from ``before`` to ``after``."""

    def rows(self, name: str, c_type: str, size: int, itemsize: int) -> str:
        """Return a pointer to the block's row of an array (blocks, size) in global memory."""

    def rows_before(self, name: str) -> tuple[str, str]:
        """Return the rows that the blocks of an earlier pass have left, and their number."""

    def images_before(self, name: str) -> int:
        """Return how many images a block of that pass took at a time."""

    def scratch(self, c_type: str, nbytes: int) -> str:
        """Return a pointer to shared memory for one line of ``before``, or for a job."""

    def feed_row(self) -> str:
        """Return a pointer to the step's row of the feed's table."""

    def job(self, blocks: int, line: str, nbytes: int, reads: Sequence[Value], flop: int) -> None:
        """Have blocks of their own beside the next launch do a line, each with its own ``job``.

        ``nbytes`` are of shared memory, ``flop`` per image.
        """


def call(function: str, *arguments: object, template: Sequence[object] = ()) -> str:
    """Return a line that calls a device function."""
    parameters = ", ".join(map(str, ("THREADS", *template)))
    return f"{function}<{parameters}>({', '.join(map(str, arguments))});"


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
    """Whether its work grows with the pixels, so that a block has enough to do with one image."""
    multiplies_matrix: ClassVar[bool] = False
    """Whether it reads a matrix of weights from global memory, once per group of images."""

    def __init__(self, layer: L, x: Value, training: bool) -> None:
        self.training = training
        super().__init__(layer, x)

    def uses(self, part: Part) -> list[Value | None]:
        """Return the values that a part uses, those that are saved left out."""
        return [self.x, self.y]

    def frame_bytes(self, part: Part) -> int:
        """Return the shared memory of an image beside the values that a part uses."""
        return 0

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
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, w: Writer) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def statistics(self, w: Writer) -> None:
        raise NotImplementedError(f"{type(self).__name__} is not a barrier")

    def gradient_sums(self, w: Writer) -> None:
        raise NotImplementedError(f"{type(self).__name__} is not a barrier")

    def saved(self, value: Value) -> Saved | None:
        """Return the copy of a value for a later launch; None in inference, which has none."""
        return Saved(value.shape, value.dtype) if self.training else None

    def save(self, w: Writer, value: Value, copy: Saved | None) -> None:
        """Write a value to its copy, if there is one."""
        if copy is not None:
            size = prod(value.shape)
            n = vector(size, itemsize(value.dtype))
            pointers = w.at(value), w.at(copy)
            w.each.append(call("copy", *pointers, f"count * {size // n}", template=(n,)))


class Source(Layer):
    """The images of the batch, as a layer at the head of the chain."""


class Head(FusedOperation[Source]):
    """Gather, augment and scale the images of a block; see ``kernels/fused/head.cu``."""

    def uses(self, part: Part) -> list[Value | None]:
        return [self.y]

    def forward(self, w: Writer) -> None:
        w.use("head")
        image = self.y.shape if len(self.y.shape) == 3 else (1, 1, prod(self.y.shape))
        shape = w.shape("Images", **dict(zip("CHW", image, strict=True)))
        first = f"(long long){w.feed_row()}[{FIRST}] + n0" if w.training else "(long long)n0"
        changes = "s.coefficients, s.inverted, s.gray, s.normal, s.fill"
        arguments = ("s.images", "s.order", changes, first, "count", w.at(self.y))
        w.each.append(call("head", *arguments, template=("I", shape)))


def itemsize(dtype: DType) -> int:
    return int(np.dtype(dtype).itemsize)


def vector(size: int, itemsize: int) -> int:
    """Return how many of ``size`` numbers one load takes: a divisor, of at most 16 bytes."""
    return next(n for n in (4, 2, 1) if size % n == 0 and n * itemsize <= 16)
