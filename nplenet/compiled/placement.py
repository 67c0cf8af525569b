"""Which value lies where, and from when until when it is in use.

A buffer whose contents outlive the pass that wrote them is *kept*: there is one copy for each part
of the batch, placed by the executor. All others are only in use within a pass, so the parts of the
batch that follow each other share them, and two of them may overlap unless both are in use at the
same moment. A pass of the backward of LeNet-5 on NumPy, for a chunk of 32 images (across: the works
of the pass in order; up: the address; smaller buffers are left out; two values in one buffer are in
use one after the other):

    kB     backward of BatchNorm2d      backward of Conv2d
    934                               .---------------------.
                                      |      products       |
    742                               |---------------------|
                                      | dy_columns, dy_rows |
    537                               |---------------------|
                                      |                     |
    205   .---------------------.     |     taps, dtaps     |
          |    image_scratch    |     |                     |
      0   '---------------------'     '---------------------'

On a GPU kept means global memory, and shared the shared memory of a block, whose limit its executor
checks; on a CPU both are parts of one arena.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .operation import Buffer

Moment = tuple[int, int]
"""Which pass, and which work within the pass."""


@dataclass(frozen=True)
class Placement:
    """Where each buffer lies.

    Attributes
    ----------
    sizes : dict of Buffer to int
        Bytes, of all buffers in use.
    kept : tuple of Buffer
        In the order of their first use.
    offsets : dict of Buffer to int
        Of all others: where they begin in the memory that the parts of the batch share.
    shared : int
        Bytes of that memory.
    """

    sizes: dict[Buffer, int]
    kept: tuple[Buffer, ...]
    offsets: dict[Buffer, int]
    shared: int


class Lifetimes:
    """When each buffer is in use, noted moment by moment."""

    def __init__(self) -> None:
        self._sizes: dict[Buffer, int] = {}
        self._moments: dict[Buffer, list[Moment]] = {}

    def note(self, buffer: Buffer, size: int, moment: Moment) -> None:
        """Note that a buffer is in use at a moment, with ``size`` bytes."""
        self._sizes[buffer] = max(size, self._sizes.get(buffer, 0))
        self._moments.setdefault(buffer, []).append(moment)

    def place(self) -> Placement:
        """Return a place for each buffer: large ones first, each as low as it can lie."""
        kept = {
            buffer: None
            for buffer, moments in self._moments.items()
            if not buffer.scratch and len({number for number, _ in moments}) > 1
        }
        busy = {
            buffer: occupied(moments, buffer.scratch)
            for buffer, moments in self._moments.items()
            if buffer not in kept
        }
        offsets: dict[Buffer, int] = {}
        for buffer in sorted(busy, key=lambda buffer: -self._sizes[buffer]):
            rivals = [other for other in offsets if busy[other] & busy[buffer]]
            taken = [(offsets[other], self._sizes[other]) for other in rivals]
            offsets[buffer] = first_gap(self._sizes[buffer], taken)
        shared = max((at + self._sizes[buffer] for buffer, at in offsets.items()), default=0)
        return Placement(self._sizes, tuple(kept), offsets, shared)


def occupied(uses: Sequence[Moment], scratch: bool) -> set[Moment]:
    """Return when a buffer of one pass is in use: unless it is scratch, also between its uses."""
    if scratch:
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
