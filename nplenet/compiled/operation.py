"""A layer in a plan, and the values that it reads and writes.

A plan has neither arrays nor calls: it says what is to be done in which order, and what must be in
memory meanwhile. Each executor derives its own operations from these and says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Generic, TypeVar

from ..layers import Layer, Parameter

DType = Any
"""A dtype object of the executor's array library; only its ``itemsize`` is used here."""

L = TypeVar("L", bound=Layer)


class Buffer:
    """Memory that one value occupies, or several in turn; ``placement`` says where.

    Attributes
    ----------
    features : bool
        Whether it holds features (N, F) or a number per image, rather than images (N, C, H, W).
    scratch : bool
        Whether it is used only within a single ``Work`` (see ``passes``).
    """

    def __init__(self, features: bool, scratch: bool) -> None:
        self.features, self.scratch = features, scratch


class Value:
    """An array for each part of the batch that an executor works on.

    Attributes
    ----------
    shape : tuple of int
        Of one image, without the batch axis.
    dtype : dtype object
    per_image : bool
        Whether each image has one. Otherwise there is one for all images of a part.
    disposable : bool
        Whether an operation that works in place may overwrite it with its output: the operation
        that wrote it does not read it again.
    buffer : Buffer
        Its memory: its own, unless another value's is given; ``scratch`` is for its own.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: DType,
        *,
        per_image: bool = True,
        disposable: bool = False,
        scratch: bool = False,
        buffer: Buffer | None = None,
    ) -> None:
        self.shape, self.dtype = tuple(shape), dtype
        self.per_image, self.disposable = per_image, disposable
        self.buffer = buffer or Buffer(self.features, scratch)

    @property
    def features(self) -> bool:
        """Whether it holds features, or a number per image, rather than images."""
        return self.per_image and len(self.shape) <= 1

    def nbytes(self, images: int) -> int:
        """Return the bytes for this many images."""
        return int(prod(self.shape) * self.dtype.itemsize * (images if self.per_image else 1))


class Operation(Generic[L]):
    """A layer, or a few fused layers.

    ``__init__`` calls ``make_output``: a subclass whose output depends on an attribute of its own
    sets that first.

    Attributes
    ----------
    layer : Layer
        The first of the fused layers; a subclass holds the others.
    x, y : Value
    dy, dx : Value
        Of a training plan; ``dx`` is None where it is not needed.
    barrier : bool
        Whether the layer couples the images of a batch, as batch norm does. Its statistics then end
        the pass that makes ``x``, and its sums of the gradient the pass that makes ``dy``.
    """

    barrier = False

    def __init__(self, layer: L, x: Value) -> None:
        self.layer, self.x = layer, x
        self.y = self.make_output(layer.output_shape((1, *x.shape))[1:])
        self.dy: Value
        self.dx: Value | None = None

    @property
    def name(self) -> str:
        return type(self.layer).__name__

    @property
    def trained(self) -> bool:
        """Whether the layer has parameters that are trained."""
        return any(
            isinstance(value, Parameter) and value.requires_grad
            for value in vars(self.layer).values()
        )

    def make_output(self, shape: tuple[int, ...]) -> Value:
        """Return the value of the output, of this shape per image."""
        return Value(shape, self.x.dtype, disposable=True)

    def make_gradient(self) -> Value:
        """Return the value of ``dx``."""
        return Value(self.x.shape, self.x.dtype)

    def take_gradient(self, dy: Value, wanted: bool) -> None:
        """Set ``dy``, and ``dx`` if it is wanted."""
        self.dy = dy
        self.dx = self.make_gradient() if wanted else None

    def values(self) -> list[Value]:
        """Return all values of the operation, those for its own use among them."""
        return [value for value in vars(self).values() if isinstance(value, Value)]


class LossOperation:
    """The loss at the end of the chain, with its gradient.

    Attributes
    ----------
    name : str
    x, dx : Value
        The logits and their gradient.
    """

    name: str
    x: Value
    dx: Value

    def values(self) -> list[Value]:
        """Return all values of the operation, those for its own use among them."""
        return [value for value in vars(self).values() if isinstance(value, Value)]
