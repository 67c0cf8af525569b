"""The memory of a compiled step: one block, in which every array has its place.

An array that only lives within a pass over the chunks is there once for each worker, whose chunks
share it, and lies where it overlaps no other that is in use at the same time. One that outlives its
pass is there once for each chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .cpu import Buffer, Chunk, Value
from .tuning import Least, Tunables

HEAD_START = 4  # images that worker 0 has more, while the others wake up
ALIGNMENT = 64  # bytes: a cache line, and a whole AVX-512 vector


@dataclass(frozen=True)
class Division:
    """How a batch is cut.

    Attributes
    ----------
    workers : int
        Threads that each have a part of the chunks.
    lanes, wide_lanes : int
        Images in a chunk of images, and in a chunk of features, which is a multiple of it.
    alone : bool
        Whether one of the workers has all chunks of features, because they are few.
    """

    workers: int
    lanes: int
    wide_lanes: int
    alone: bool

    def lanes_of(self, wide: bool) -> int:
        return self.wide_lanes if wide else self.lanes


def division(images: int, threads: int, most: Division, least: Least) -> Division:
    """Return how to cut a batch of so many images: no worker idle, nothing more than in ``most``.

    Whether features are few does not depend on ``most``, so that a smaller batch has no more chunks
    of them than the largest.
    """
    wanted = min(threads, max(1, images // least.images))
    alone = wanted > 1 and images < wanted * least.features
    workers = min(wanted, most.workers)
    share = -(-images // workers) + (HEAD_START if workers > 1 else 0)
    lanes = max(1, min(most.lanes, share))
    chunks = -(-images // lanes)
    wide = max(1, min(most.wide_lanes // lanes, chunks if alone else -(-chunks // workers)))
    enough = max(1, chunks if alone else -(-chunks // wide))
    return Division(min(workers, enough), lanes, lanes * wide, alone)


class Arena:
    """The chunks of a batch, and the arrays of each.

    Parameters
    ----------
    batch_size : int
        The most images.
    tunables : Tunables
    least : Least
        Images and features for which a thread of its own pays.

    Attributes
    ----------
    size, shared : int
        Bytes in all, and those of them that the chunks of a worker share.
    """

    def __init__(self, batch_size: int, tunables: Tunables, least: Least) -> None:
        self.batch_size, self.least = batch_size, least
        self.threads = tunables.threads
        bound = Division(self.threads, tunables.lanes, tunables.feature_lanes, alone=False)
        self.most = division(batch_size, self.threads, bound, least)
        self.size = self.shared = 0
        self._now = (-1, 0)
        self._uses: dict[Buffer, list[tuple[int, int]]] = {}
        self._block = np.empty(0, np.uint8)

    def division(self, images: int) -> Division:
        """Return how to cut a batch: in no larger chunks than the largest batch."""
        return division(images, self.threads, self.most, self.least)

    def chunks(self, images: int, *, wide: bool, tracing: bool = False) -> list[Chunk]:
        """Return the chunks of a batch; ``tracing`` ones note which arrays are asked for.

        A worker has neighbouring chunks of features, as many as the others or one less, and the
        chunks of the same images; or the first one has all features, and each its part of the
        images.
        """
        cut = self.division(images)
        lanes = cut.lanes_of(wide)
        array_of = self._note if tracing else self._array
        starts = range(0, images, lanes)
        shared = cut.lanes if cut.alone else cut.wide_lanes  # images that one worker has at least
        parts = 1 if cut.alone and wide else cut.workers
        owners = [start // shared * parts // -(-images // shared) for start in starts]
        return [
            Chunk(
                i,
                start,
                min(lanes, images - start),
                images,
                worker=owner,
                first=i == 0 or owner != owners[i - 1],
                array_of=array_of,
            )
            for i, (start, owner) in enumerate(zip(starts, owners, strict=True))
        ]

    def at(self, number: int, place: int) -> None:
        """Say at which pass, and at which place in it, the arrays asked for next are in use."""
        self._now = (number, place)

    def lay_out(self) -> None:
        """Give each array its place, from the uses noted."""
        busy = {buffer: moments(uses, buffer.scratch) for buffer, uses in self._uses.items()}
        placed: list[Buffer] = []
        for buffer in sorted(busy, key=lambda b: -b.size):
            buffer.kept = not buffer.scratch and len({number for number, _ in busy[buffer]}) > 1
            if not buffer.kept:
                rivals = [b for b in placed if busy[b] & busy[buffer]]
                buffer.offset = first_gap(buffer.size, [(b.offset, b.size) for b in rivals])
                placed.append(buffer)
        self.shared = max((b.offset + b.size for b in placed), default=0)
        self.size = self.most.workers * self.shared
        for buffer in busy:
            if buffer.kept:
                buffer.offset = self.size
                self.size += buffer.size * self.copies(buffer)
        block = np.empty(self.size + ALIGNMENT, np.uint8)
        self._block = block[-block.ctypes.data % ALIGNMENT :][: self.size]

    def copies(self, buffer: Buffer) -> int:
        """Return how often a kept buffer is there."""
        return -(-self.batch_size // self.most.lanes_of(buffer.wide))

    def _note(self, value: Value, chunk: Chunk) -> np.ndarray:
        """Note that a value is in use now, and return an array of its shape."""
        lanes, buffer = self.most.lanes_of(value.wide), value.buffer
        buffer.size = max(buffer.size, -(-value.nbytes(lanes) // ALIGNMENT) * ALIGNMENT)
        self._uses.setdefault(buffer, []).append(self._now)
        return np.empty((*value.stored, chunk.lanes) if value.lanes else value.shape, value.dtype)

    def _array(self, value: Value, chunk: Chunk) -> np.ndarray:
        """Return the array of a value for a chunk; of features, the columns of its images."""
        buffer, whole = value.buffer, self.division(chunk.batch).lanes_of(value.wide)
        index = chunk.start // whole
        lanes = min(whole, chunk.batch - index * whole)
        start = buffer.offset + (index * buffer.size if buffer.kept else chunk.worker * self.shared)
        memory = self._block[start : start + value.nbytes(lanes)].view(value.dtype)
        if not value.lanes:
            return memory.reshape(value.shape)
        first = chunk.start - index * whole
        return memory.reshape(*value.stored, lanes)[..., first : first + chunk.lanes]


def moments(uses: Sequence[tuple[int, int]], scratch: bool) -> set[tuple[int, int]]:
    """Return when a buffer is taken: at its uses, and unless it is scratch also between them."""
    if scratch or len({number for number, _ in uses}) > 1:
        return set(uses)
    (number, first), (_, last) = min(uses), max(uses)
    return {(number, place) for place in range(first, last + 1)}


def first_gap(size: int, taken: Iterable[tuple[int, int]]) -> int:
    """Return the lowest offset at which ``size`` bytes overlap none of the (offset, size) taken."""
    offset = 0
    for start, length in sorted(taken):
        if offset + size <= start:
            break
        offset = max(offset, start + length)
    return offset
