"""An epoch of steps that run without the host, a graph at a time.

Runner        the launches of a step and its graphs, for one feed; lasts for a whole run
DeviceEpoch   one epoch: fills the feed, launches the graphs, keeps the host's part in step
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...backend import Array
from ...group import ALONE, Group
from ...optim import Optimizer
from ...rounding import ceil_div
from .feed import MAX_STEPS, Feed, rows
from .graphs import Graphs
from .host import HostSide, Rehearsal

MAX_FLOP = 1e12
"""Floating-point operations in a graph, about; half a second on a small device."""
MAX_QUEUED = 4
"""Graphs in the queue of the device: Ctrl-C waits for these. They must last while the host prepares
the next epoch: 12 ms to shuffle and draw for 60,000 images, 20 ms to rehearse 938 steps; and a
graph of 117 steps of LeNet-5 with 64 images takes 6 ms on an H100."""
SECONDS_BETWEEN_LOOKS = 0.0005  # at whether a graph has ended


class Launches(Protocol):
    """Steps, forward to update; ``captured`` and ``fused`` are such."""

    def step(self, feed: Feed, images: int, optimizer: Optimizer, times: int) -> None: ...


class Deal(Protocol):
    """The images of an epoch, in their order; see ``nplenet.data.device.Deal``."""

    images: Array
    order: Array
    labels: Array
    draws: Any
    sizes: list[int]
    fill: int

    def normal(self, dtype: npt.DTypeLike) -> npt.NDArray[Any] | None: ...

    def floats(self, part: slice) -> Array: ...


class Runner:
    """Runs steps whose images come from a feed, by graphs of several steps and of one.

    Parameters
    ----------
    launches : Launches
    optimizer : Optimizer
    feed : Feed
    flops : float
        Floating-point operations of a step.
    group : Group
        The ranks that share each batch. All call ``run`` with the same arguments: so all record and
        launch the same graphs, with the same sums in the same order.
    """

    def __init__(
        self,
        launches: Launches,
        optimizer: Optimizer,
        feed: Feed,
        flops: float,
        group: Group = ALONE,
    ) -> None:
        self.launches, self.optimizer, self.feed, self.group = launches, optimizer, feed, group
        self.max_steps = int(min(max(MAX_FLOP / max(flops, 1.0), 1), MAX_STEPS))
        self.graphs = Graphs(feed.backend)
        self._ready: set[int] = set()
        self.epochs = 0  # begun: the feed is the last one's

    def ready(self, images: int) -> bool:
        """Say whether a step of this batch size has run before."""
        return images in self._ready

    def run(self, images: int, steps: int) -> None:
        """Enqueue ``steps`` steps of batches of ``images``; of a new size, one step.

        A size on all ranks has graphs of its own: they hold where this rank's part begins.
        """
        part = self.group.part(images)

        def enqueue(times: int) -> None:
            self.launches.step(self.feed, part.stop - part.start, self.optimizer, times)

        gpu: Any = self.feed.backend
        if gpu.traced:  # each launch prints its time
            enqueue(steps)
        elif self.ready(images):
            self.graphs.launch(images, enqueue, steps)
        else:
            with self.graphs.apart():
                enqueue(1)
        self._ready.add(images)


def steps_of_a_graph(all_steps: int, left: int, max_steps: int) -> int:
    """Return how many of the steps ``left`` the next graph does.

    Equal graphs do the steps of an epoch, and powers of two what is left, so that few different
    ones are recorded: 937 steps, at most 128 in a graph, are 8 graphs of 117 and 1 of one.
    """
    equal = all_steps // ceil_div(all_steps, max_steps)
    return int(equal if left >= equal else 2 ** (left.bit_length() - 1))


class DeviceEpoch:
    """The steps of an epoch, or the rest of one.

    Parameters
    ----------
    runner : Runner
    deal : Deal
    host : HostSide
        At the end of the steps to do.
    rehearsal : Rehearsal
        Of the steps to do, which are the last ones of the epoch.

    Attributes
    ----------
    losses, correct : arrays (steps,)
        Of the steps done; those to come hold anything.
    done : int
        Steps done or enqueued.
    """

    def __init__(self, runner: Runner, deal: Deal, host: HostSide, rehearsal: Rehearsal) -> None:
        self.runner, self.deal, self._host = runner, deal, host
        self.sizes, feed = deal.sizes, runner.feed
        self._begins = np.cumsum([0, *deal.sizes])
        runner.epochs += 1
        self._number, self._turns = runner.epochs, runner.optimizer.turns
        self.done = self._begun = done = len(deal.sizes) - len(rehearsal.keys)
        self.losses, self.correct = feed.losses, feed.correct
        self._events: deque[Any] = deque()
        table = np.zeros((len(deal.sizes), feed.words), np.uint64)
        starts = {size: runner.group.part(size).start for size in set(deal.sizes)}
        first = self._begins[done:-1] + [starts[size] for size in deal.sizes[done:]]
        forwards = range(done + 1, len(deal.sizes) + 1)
        table[done:] = rows(first, forwards, rehearsal.keys, rehearsal.numbers)
        feed.load(
            order=deal.order, labels=deal.labels, table=table, draws=deal.draws, first_step=done
        )

    def advance(self, limit: float) -> None:
        """Enqueue up to ``limit`` steps, of one batch size; wait while enough are enqueued.

        Raises
        ------
        RuntimeError
            When another thread is training the model, or another epoch has begun since.
        """
        with self._turns.training():
            self._wait()
            with self._turns.turn():
                self._advance(limit)

    def _wait(self) -> None:
        while len(self._events) >= MAX_QUEUED:
            if self._events[0].done:
                self._events.popleft()
            else:
                time.sleep(SECONDS_BETWEEN_LOOKS)

    def _advance(self, limit: float) -> None:
        if self._number != self.runner.epochs:
            raise RuntimeError("another epoch of this step has begun, which overwrote this one")
        size = self.sizes[self.done]
        left = 0
        while self.done + left < len(self.sizes) and self.sizes[self.done + left] == size:
            left += 1
        steps = 1
        if self.runner.ready(size):
            all_steps = self.sizes.count(size)
            steps = steps_of_a_graph(all_steps, int(min(limit, left)), self.runner.max_steps)
        self.runner.run(size, steps)
        self.done += steps
        event = self.runner.feed.backend.xp.cuda.Event(disable_timing=True)
        event.record()
        self._events.append(event)

    @property
    def all_queued(self) -> bool:
        """Whether the host has nothing to enqueue before the device has done more."""
        return len(self._events) >= MAX_QUEUED or self.done == len(self.sizes)

    def settle(self) -> None:
        """Bring optimizer, schedule and generators to where the steps enqueued leave them."""
        with self._turns.training_turn():
            self._host.settle(self.done - self._begun)

    def images_of(self, k: int) -> Array:
        """Return this rank's images (N, C, H, W) of step k, counted from 0, as floats."""
        return self.deal.floats(self._part(k))

    def first_fault(self, fault: list[int]) -> list[int]:
        """Return step, sample and label of the first label out of range on any rank, or zeros.

        ``fault`` is that of this rank, whose samples are those of its part; see ``losses``.
        """
        step, sample, label = fault
        if step:
            sample += self.runner.group.part(self.sizes[step - 1]).start
        found = self.runner.group.gather([step, sample, label])
        return min((each for each in found if each[0]), default=fault)

    def _part(self, k: int) -> slice:
        """Return which images of the epoch are this rank's of step k."""
        part, begin = self.runner.group.part(self.sizes[k]), int(self._begins[k])
        return slice(begin + part.start, begin + part.stop)
