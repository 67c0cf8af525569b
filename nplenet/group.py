"""The ranks that share the work, as layers and loaders see them; one process alone is a group too.

The processes of a group are called ranks. All make the same random choices and hold the same
weights. A batch is cut into contiguous parts, one per rank; batch norm sums over all parts, and the
gradients are summed before the update. So the result is the same as with one process and the whole
batch, to rounding. ``mpi`` makes groups of several ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from .backend import Array, Backend

T = TypeVar("T")


class Group:
    """The processes that train together; this one is alone.

    Attributes
    ----------
    rank, size : int
        The number of this process, 0 ... size - 1, and the number of processes.
    start : int
        The index in the current batch of the first image of this rank's part.
    """

    rank, size, start = 0, 1, 0

    def part(self, count: int) -> slice:
        """Return this rank's part of ``count`` things; part sizes differ by one at most."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def begin(self, images: int) -> None:
        """Begin a step with ``images`` images on this rank; sets ``start``."""

    def total(self, images: int) -> int:
        """Return the number of images on all ranks in the current step; this one has ``images``."""
        return images

    def sum(self, array: Array) -> Array:
        """Return the sum of all ranks' arrays, written into ``array``: the same bits on each."""
        return array

    def summed(self, array: Array) -> Array:
        """Return the sum of all ranks' arrays, and leave ``array`` as it is."""
        return array if self.size == 1 else self.sum(array.copy())

    def largest(self, *values: int) -> list[int]:
        """Return the largest of all ranks' numbers, for each of ``values``."""
        return list(values)

    def broadcast(self, value: T) -> T:
        """Return rank 0's value."""
        return value

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks."""
        return [value]

    def compare(self, facts: Mapping[str, Any]) -> None:
        """Refuse facts that are not the same on all ranks.

        Raises
        ------
        ValueError
            On all ranks, naming the fact and a rank on which it differs.
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
        """Give each rank of this machine a GPU of its own, where there are several."""

    def part_ways(self) -> None:
        """Leave the group: this rank will not wait for the others again."""

    def __enter__(self) -> Group:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """End all ranks if this one leaves by an exception."""


ALONE = Group()


@contextmanager
def sharing(group: Group, *owners: Any) -> Iterator[None]:
    """Have a step, a loader and layers share each batch with the other ranks of a group.

    Owners without an attribute ``group`` treat each image by itself and are left alone.
    """
    coupled = [owner for owner in owners if hasattr(owner, "group")]
    for owner in coupled:
        owner.group = group
    try:
        yield
    finally:
        for owner in coupled:
            owner.group = ALONE
