"""What the lanes of a compiled step are made of: values, chunks, and the operations on them.

The batch is cut into chunks of n images, and the image is the *innermost* axis: an array that the
textbook layers hold as (N, C, H, W) is (C, H, W, n) here, and n is called the number of lanes. A
shift in H or W is then a shift of contiguous memory, a channel is one contiguous block, a dense
layer is weight @ x, and no layer transposes its images.

Features, which have no axis but their own and the lanes, take little memory, so chunks are wider
there and the calls fewer: with 256 lanes in place of 32 the dense layers and the loss of LeNet-5
took 3.8 us an image in place of 5.9.

A compiled step is a list of NumPy calls, each bound once to the views it reads and writes
(``functools.partial``). An operation returns its part of that list for one chunk.

Legend: n lanes (images in a chunk), C channels, F output channels, H W size, L numbers a channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ...checks import Pair
from ...layers import Layer, Parameter

Call = Callable[[], object]
Calls = list[Call]
Array = np.ndarray
L = TypeVar("L", bound=Layer)


class Buffer:
    """Memory of a value; see ``arena``.

    Attributes
    ----------
    wide, scratch : bool
        Whether it holds features, and whether what it holds is of no use after the call list that
        wrote it.
    kept : bool
        Whether each chunk has one of its own.
    size, offset : int
        Bytes a chunk, and where it begins in the arena.
    """

    def __init__(self, wide: bool, scratch: bool) -> None:
        self.wide, self.scratch, self.kept = wide, scratch, False
        self.size = self.offset = 0


class Value:
    """An array of each chunk.

    Attributes
    ----------
    shape : tuple of int
        Without the lanes.
    lanes : bool
        Whether the lanes follow as last axis.
    disposable : bool
        Whether the next operation may write its output over it: nobody reads it in backward.
    tile : (KH, KW)
        Of images (C, H, W) that are cut into windows of so many pixels, each tap of the windows
        lies in one piece: they are (C, KH*KW, H / KH, W / KW). (1, 1) where they lie as they are.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        *,
        lanes: bool = True,
        disposable: bool = False,
        scratch: bool = False,
        tile: Pair = (1, 1),
        buffer: Buffer | None = None,
    ) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.lanes, self.disposable, self.tile = lanes, disposable, tile
        self.buffer = buffer or Buffer(self.wide, scratch)

    @property
    def wide(self) -> bool:
        """Whether it holds features, of which a chunk has more images."""
        return self.lanes and len(self.shape) <= 1

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape in which it is stored, without the lanes."""
        if self.tile == (1, 1):
            return self.shape
        (c, h, w), (kh, kw) = self.shape, self.tile
        return c, kh * kw, h // kh, w // kw

    def nbytes(self, lanes: int) -> int:
        return prod(self.shape) * self.dtype.itemsize * (lanes if self.lanes else 1)


class Chunk:
    """A part of the batch, for which an operation binds its calls: ``chunk[value]`` is an array.

    Attributes
    ----------
    index, start, lanes : int
        Which chunk it is, its first image, how many images.
    worker, first : int, bool
        Which thread works on it, and whether it is the first of that thread's chunks.
    batch : int
        How many images the whole batch has.
    """

    def __init__(
        self,
        index: int,
        start: int,
        lanes: int,
        batch: int,
        worker: int,
        first: bool,
        array_of: Callable[[Value, Chunk], Array],
    ) -> None:
        self.index, self.start, self.lanes, self.batch = index, start, lanes, batch
        self.worker, self.first = worker, first
        self._array_of = array_of

    def __getitem__(self, value: Value) -> Array:
        return self._array_of(value, self)

    @property
    def images(self) -> slice:
        return slice(self.start, self.start + self.lanes)


@dataclass(frozen=True)
class Limits:
    """What bounds the work on one chunk.

    Attributes
    ----------
    images, chunks, workers : int
        The most images and chunks in a batch, and threads that work on them.
    gemm : int
        The most multiply-adds of a single matrix product of a convolution.
    transpose : int
        See ``Tunables``.
    """

    images: int
    chunks: int
    workers: int
    gemm: int
    transpose: int


class Operation(Generic[L]):
    """A layer in lanes: subclasses mirror ``nplenet/layers`` and say only what is done differently.

    Attributes
    ----------
    x, y, dx, dy : Value
        ``dx`` is None where nobody asks for it.
    barrier : bool
        Whether the layer couples the images of a batch. Then it has a part in the pass that makes
        ``x``, ``statistics``, and in the one that makes ``dy``, ``sums_of_gradient``; the calls of
        ``after_statistics`` and ``after_sums`` follow when all chunks are through.
    """

    barrier = False

    def __init__(self, layer: L, x: Value, limits: Limits) -> None:
        self.layer, self.x, self.limits = layer, x, limits
        self.y = self.make_output(layer.output_shape((1, *x.shape))[1:])
        self.dy: Value
        self.dx: Value | None = None

    @property
    def name(self) -> str:
        return type(self.layer).__name__

    @property
    def trained(self) -> bool:
        """Whether the layer has parameters."""
        return any(isinstance(value, Parameter) for value in vars(self.layer).values())

    def make_output(self, shape: tuple[int, ...]) -> Value:
        return Value(shape, self.x.dtype, disposable=True)

    def take_gradient(self, dy: Value, wanted: bool) -> None:
        """Set ``dy``, and ``dx`` if it is wanted."""
        self.dy = dy
        self.dx = self.make_gradient() if wanted else None

    def make_gradient(self) -> Value:
        return Value(self.x.shape, self.x.dtype, tile=self.x.tile)

    def scratch(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike | None = None,
        *,
        lanes: bool = True,
        tile: Pair = (1, 1),
    ) -> Value:
        """Return a value for the use of one call list, of the dtype of x unless told otherwise."""
        return Value(shape, dtype or self.x.dtype, lanes=lanes, scratch=True, tile=tile)

    def begin(self, images: int) -> Calls:
        """Return what is done once a step, before the first chunk."""
        return []

    def forward(self, chunk: Chunk) -> Calls:
        raise NotImplementedError

    def backward(self, chunk: Chunk) -> Calls:
        raise NotImplementedError

    def statistics(self, chunk: Chunk) -> Calls:
        raise NotImplementedError

    def after_statistics(self, chunks: list[Chunk]) -> Calls:
        raise NotImplementedError

    def sums_of_gradient(self, chunk: Chunk) -> Calls:
        raise NotImplementedError

    def after_sums(self, chunks: list[Chunk]) -> Calls:
        raise NotImplementedError

    def end(self, chunks: list[Chunk]) -> Calls:
        """Return what is done once a step, after the last chunk."""
        workers = 1 + max((chunk.worker for chunk in chunks), default=0)
        return [call for total in self.totals() for call in total.end(workers)]

    def totals(self) -> list[Total]:
        """Return the sums over all chunks."""
        return [value for value in vars(self).values() if isinstance(value, Total)]


class InPlace(Operation[L]):
    """An elementwise operation: its output and gradient lie where its input and ``dy`` did."""

    reads_output = False  # in backward

    def make_output(self, shape: tuple[int, ...]) -> Value:
        buffer = self.x.buffer if self.x.disposable else None
        return Value(shape, self.x.dtype, disposable=not self.reads_output, buffer=buffer)

    def make_gradient(self) -> Value:
        return self.dy


def bind(ufunc: np.ufunc, *inputs: Any, out: Array) -> Call:
    """Return the call ``ufunc(*inputs, out=out)``, with ``out`` by its place.

    NumPy reads that twice as fast: 0.26 us in place of 0.54 for a call, of which a step has
    hundreds. (Not for ``maximum`` and ``minimum``, which will take it by name only.)
    """
    return partial(ufunc, *inputs, out)


class Watch:
    """Says whether arrays have changed, so that what is made of them need not be made each time."""

    def __init__(self, *arrays: Any) -> None:
        size = sum(array.size for array in arrays)
        self._now, self._seen = np.full((2, size), np.nan, arrays[0].dtype)
        self._differs = np.empty(size, bool)

    def changed(self, *arrays: Any) -> bool:
        """Say whether the arrays hold other numbers than the last time; at first they do."""
        np.concatenate([array.ravel() for array in arrays], out=self._now)
        self._now, self._seen = self._seen, self._now
        np.not_equal(self._now, self._seen, out=self._differs)
        return bool(np.count_nonzero(self._differs))


class Total:
    """An array that sums what the chunks give.

    A worker's first chunk sets its sum, so that nothing need be zeroed, and its others add to it.
    Worker 0 sums in ``array`` itself; the others' sums are added to it at the end of a step.
    """

    def __init__(self, array: Array, limits: Limits) -> None:
        self.array = array
        self._sums = [array, *(np.empty_like(array) for _ in range(limits.workers - 1))]

    def add(self, chunk: Chunk, part: Array, compute: Callable[..., object]) -> Calls:
        """Return the calls that add what ``compute(out=...)`` computes; ``part`` is scratch."""
        own = self._sums[chunk.worker]
        if chunk.first:
            return [partial(compute, out=own)]
        return [partial(compute, out=part), bind(np.add, own, part, out=own)]

    def end(self, workers: int) -> Calls:
        """Return the calls that put the sums of the workers together."""
        others = self._sums[1:workers]
        return [bind(np.add, self.array, each, out=self.array) for each in others]


def rows(array: Array) -> Array:
    """Return an array (C, ..., n) as (C, L*n): one contiguous row a channel."""
    return array.reshape(array.shape[0], -1)


def integers(array: Array) -> Array:
    """Return the bits of floats as signed integers of their size."""
    return array.view({4: np.int32, 8: np.int64}[array.dtype.itemsize])


def bound(array: Any) -> Array:
    """Return the array of a parameter or buffer; a compiled step runs on NumPy only."""
    assert isinstance(array, np.ndarray)
    return array
