"""What the lanes of a compiled step are made of: a layer's operation, as NumPy calls on chunks.

The batch is cut into chunks of n images, and the image is the *innermost* axis: an array that the
textbook layers hold as (N, C, H, W) is (C, H, W, n) here, and n is called the number of lanes.

    textbook (N, C, H, W)                   lanes (C, H, W, n)

    image 0    | pixel 0 | pixel 1 | ...    pixel 0    | image 0 | image 1 | ...    <- contiguous
    image 1    | pixel 0 | pixel 1 | ...    pixel 1    | image 0 | image 1 | ...
    ...                                     ...

A shift in H or W is then a shift of contiguous memory, a channel is one contiguous block, a dense
layer is weight @ x, and no layer transposes its images.

Features (N, F) take little memory, so their chunks have more images and the calls are fewer: with
256 lanes in place of 32 the dense layers and the loss of LeNet-5 take 3.8 us per image, not 5.9.

Each call is bound once to the views that it reads and writes (``functools.partial``); an operation
returns its list of calls for one chunk.

Legend: n lanes (images in a chunk), C channels, F output channels, H W size, L = H*W.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ....checks import Pair
from ....layers import Layer
from ...operation import Buffer, Operation, Value
from ...passes import Part
from ..chunks import Call, Calls, Chunk
from ..memory import Memory

L = TypeVar("L", bound=Layer)


class LaneValue(Value):
    """A value in lanes.

    Attributes
    ----------
    tile : (KH, KW)
        The image is cut into tiles of this many pixels, and the pixels at the same place of all
        tiles lie together: the value is stored as (C, KH*KW, H / KH, W / KW). With tiles of 2x2:

            image             stored, one row per tap
            a b a b           a a a a
            c d c d    --->   b b b b      A sum over the windows of a 2x2 pooling
            a b a b           c c c c      then adds four long rows.
            c d c d           d d d d

        (1, 1) where the pixels lie as they are.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        *,
        per_image: bool = True,
        disposable: bool = False,
        scratch: bool = False,
        tile: Pair = (1, 1),
        buffer: Buffer | None = None,
    ) -> None:
        self.tile = tile
        super().__init__(
            shape,
            np.dtype(dtype),
            per_image=per_image,
            disposable=disposable,
            scratch=scratch,
            buffer=buffer,
        )

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape in which it is stored, without the lanes."""
        if self.tile == (1, 1):
            return self.shape
        (c, h, w), (kh, kw) = self.shape, self.tile
        return c, kh * kw, h // kh, w // kw


@dataclass(frozen=True)
class Limits:
    """The largest batch, and the tunables that operations need.

    Attributes
    ----------
    images, chunks, workers : int
        Largest number of images and of chunks in a batch, and of threads that work on them.
    gemm : int
        Largest number of multiply-adds in one product of the forward of a convolution.
    transpose, tile_channels : int
        See ``Tunables``.
    memory : Memory
        Makes the arrays through which the workers of a step see what the others write.
    paths : dict of int to str
        Of the layers in the model, by ``id``: for errors.
    """

    images: int
    chunks: int
    workers: int
    gemm: int
    transpose: int
    tile_channels: int
    memory: Memory
    paths: Mapping[int, str]


class Lane(Operation[L]):
    """A layer in lanes: a subclass returns the NumPy calls of one layer, or of a few fused layers.

    An operation that is a barrier also has ``statistics`` and ``sums_of_gradient``; the calls of
    ``after_statistics`` and ``after_sums`` follow when all chunks are through.
    """

    x: LaneValue
    y: LaneValue
    dy: LaneValue
    dx: LaneValue | None

    def __init__(self, layer: L, x: LaneValue, limits: Limits) -> None:
        self.limits = limits
        super().__init__(layer, x)

    def make_output(self, shape: tuple[int, ...]) -> LaneValue:
        return LaneValue(shape, self.x.dtype, disposable=True)

    def make_gradient(self) -> LaneValue:
        return LaneValue(self.x.shape, self.x.dtype, tile=self.x.tile)

    def scratch(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike | None = None,
        *,
        per_image: bool = True,
        tile: Pair = (1, 1),
        buffer: Buffer | None = None,
    ) -> LaneValue:
        """Return a value for use within one ``Work``; its dtype is that of x by default."""
        dtype = dtype or self.x.dtype
        return LaneValue(shape, dtype, per_image=per_image, scratch=True, tile=tile, buffer=buffer)

    def calls(self, part: Part, chunk: Chunk) -> Calls:
        """Return the calls of one part of the operation for one chunk."""
        match part:
            case Part.FORWARD:
                return self.forward(chunk)
            case Part.STATISTICS:
                return self.statistics(chunk)
            case Part.GRADIENT_SUMS:
                return self.sums_of_gradient(chunk)
            case Part.BACKWARD:
                return self.backward(chunk)
        raise ValueError(f"{self.name} has no part {part}")

    def calls_at_barrier(self, part: Part, chunks: list[Chunk]) -> Calls:
        """Return the calls that join the sums of all chunks."""
        if part is Part.STATISTICS:
            return self.after_statistics(chunks)
        return self.after_sums(chunks)

    def begin(self) -> Calls:
        """Return the calls made once per step, before the first chunk."""
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
        """Return the calls made once per step, after the last chunk."""
        workers = 1 + max((chunk.worker for chunk in chunks), default=0)
        return [call for total in self.totals() for call in total.end(workers)]

    def totals(self) -> list[Total]:
        """Return the sums over all chunks."""
        return [value for value in vars(self).values() if isinstance(value, Total)]


def bind(ufunc: np.ufunc, *inputs: Any, out: np.ndarray) -> Call:
    """Return the call ``ufunc(*inputs, out=out)``, with ``out`` by position.

    NumPy reads it twice as fast by position: 0.26 us per call, not 0.54, and a step has hundreds of
    calls. (Not for ``maximum`` and ``minimum``: there a positional ``out`` is deprecated.)
    """
    return partial(ufunc, *inputs, out)


class Watch:
    """Says whether arrays have changed, so that what depends on them is made again only then."""

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

    The first chunk of a worker sets the worker's sum, so nothing is zeroed; its other chunks add to
    it. Worker 0 sums in ``array`` itself; the other sums are added to it at the end of a step.
    """

    def __init__(self, array: np.ndarray, limits: Limits) -> None:
        self.array = array
        others = range(1, limits.workers)
        self._sums = [array, *(limits.memory.empty(array.shape, array.dtype) for _ in others)]

    def add(self, chunk: Chunk, part: np.ndarray, compute: Callable[..., object]) -> Calls:
        """Return the calls that add what ``compute(out=...)`` computes; ``part`` is scratch.

        The caller takes it from the chunk, also where it is not needed: so the dry run sees it.
        """
        own = self._sums[chunk.worker]
        if chunk.first:
            return [partial(compute, out=own)]
        return [partial(compute, out=part), bind(np.add, own, part, out=own)]

    def end(self, workers: int) -> Calls:
        """Return the calls that add the sums of all workers."""
        others = self._sums[1:workers]
        return [bind(np.add, self.array, each, out=self.array) for each in others]


def rows(array: np.ndarray) -> np.ndarray:
    """Return an array (C, ..., n) as (C, L*n): one contiguous row per channel."""
    return array.reshape(array.shape[0], -1)


def taps_of(image: np.ndarray, tile: Pair) -> np.ndarray:
    """Return an image (C, H, W, n) as its taps (C, KH, KW, H/KH, W/KW, n); see ``LaneValue``."""
    (c, h, w, n), (kh, kw) = image.shape, tile
    return image.reshape(c, h // kh, kh, w // kw, kw, n).transpose(0, 2, 4, 1, 3, 5)


def copy_pixels(target: np.ndarray, source: np.ndarray) -> Call:
    """Return the call that copies an array (..., n) into another of its shape.

    Where neighbours among the pixels do not lie next to each other, NumPy takes 29 us for 4480 runs
    of 32 floats, and 13 us for as many elements of 128 bytes.
    """
    size = target.shape[-1] * target.itemsize
    if target.strides[-2] == source.strides[-2] == size:
        return partial(np.copyto, target, source)
    pixel = np.dtype((np.void, size))
    return partial(np.copyto, target.view(pixel)[..., 0], source.view(pixel)[..., 0])


def integers(array: np.ndarray) -> np.ndarray:
    """Return the bits of floats as signed integers of their size."""
    return array.view({4: np.int32, 8: np.int64}[array.dtype.itemsize])


def as_numpy(array: Any) -> np.ndarray:
    """Return the array of a parameter or buffer; a compiled step runs on NumPy only."""
    assert isinstance(array, np.ndarray)
    return array
