"""The group of ranks that share the work; a single process is a group of one.

The processes of a group are called ranks. All make the same random choices and hold the same
weights. A batch is cut into contiguous parts, one per rank. Batch norm sums over all parts, and
gradients are summed over the ranks before the update, so the result equals the result of a single
process with the whole batch, up to rounding. ``mpi`` makes groups of several ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from .backend import Array, Backend
from .names import answer_wrong_names

__all__ = ["ALONE", "Group", "sharing"]
answer_wrong_names(__name__)

T = TypeVar("T")


class Group:
    """The processes that train together; this base class is a group of one.

    Attributes
    ----------
    rank, size : int
        The number of this process, 0 ... size - 1, and the number of processes.
    start : int
        Index of the first image of this rank's part in the current batch.
    sums_on_device : bool
        Whether ``sum`` of an array on a GPU is enqueued there, as a kernel is, so that a CUDA graph
        can record it. Otherwise the host waits for the array, and adds it up.
    """

    rank, size, start = 0, 1, 0
    sums_on_device = True

    def part(self, count: int) -> slice:
        """Return this rank's part of ``count`` items; the parts differ by one at most."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def begin(self, images: int) -> None:
        """Begin a step with N ``images`` on this rank; sets ``start``."""

    def total(self, images: int) -> int:
        """Return the number of images of this step on all ranks; this rank has ``images``."""
        return images

    def sum(self, array: Array) -> Array:
        """Sum ``array`` over all ranks, in place, and return it; every rank gets the same bits."""
        return array

    def summed(self, array: Array) -> Array:
        """Return the sum of ``array`` over all ranks; ``array`` is unchanged."""
        return array if self.size == 1 else self.sum(array.copy())

    def largest(self, *values: int) -> list[int]:
        """Return the maximum over all ranks of each of ``values``."""
        return list(values)

    def broadcast(self, value: T) -> T:
        """Return rank 0's value."""
        return value

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks."""
        return [value]

    def compare(self, facts: Mapping[str, Any]) -> None:
        """Raise an error if a fact differs between the ranks.

        Raises
        ------
        ValueError
            On all ranks; the message names the fact and a rank where it differs.
        """
        first, *others = self.gather(dict(facts))
        for rank, other in enumerate(others, start=1):
            for name in sorted(first.keys() | other.keys()):
                if first.get(name) != other.get(name):
                    raise ValueError(
                        f"the ranks can't train together: {name} is {other.get(name)} on rank "
                        f"{rank}, {first.get(name)} on rank 0"
                    )

    def take_device(self, backend: Backend) -> None:
        """Assign a GPU of its own to each rank of this machine, if there are several."""

    def part_ways(self) -> None:
        """Declare that this rank needs no further sums with the others."""

    def __enter__(self) -> Group:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Stop all ranks if this one fails with an exception."""


ALONE = Group()


@contextmanager
def sharing(group: Group, *owners: Any) -> Iterator[None]:
    """Let a step, a loader and layers share each batch with the other ranks of a group.

    ``owners`` without an attribute ``group`` treat each image by itself and are left as they are.
    """
    coupled = [owner for owner in owners if hasattr(owner, "group")]
    for owner in coupled:
        owner.group = group
    try:
        yield
    finally:
        for owner in coupled:
            owner.group = ALONE
