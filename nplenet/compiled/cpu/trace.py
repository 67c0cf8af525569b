"""``NPLENET_TRACE=1``: each step prints its passes with their times, per worker.

The marks are calls like all others, bound where a pass ends, so a step without them costs nothing.
A time includes what a worker waits for: Python's lock, and the others at the barrier before.
"""

from __future__ import annotations

import sys
import time
from functools import partial

from .chunks import Calls

AT_BARRIER = -1  # in place of a worker's number: work done by the last worker to arrive


class Trace:
    """The times at which workers end their passes.

    Attributes
    ----------
    on : bool
    marks : list of (time, worker, name)
        Of the step that runs; in a helper process, of its own part, until they are sent.
    """

    def __init__(self, on: bool) -> None:
        self.on = on
        self._images = 0
        self._begin = 0.0
        self.marks: list[tuple[float, int, str]] = []

    def begin(self, images: int) -> Calls:
        """Return the calls that begin a step."""
        return [partial(self._start, images)] if self.on else []

    def mark(self, worker: int, name: str) -> Calls:
        """Return the calls that note the end of a pass."""
        return [partial(self._note, worker, name)] if self.on else []

    def end(self) -> Calls:
        """Return the calls that print a step."""
        return [self._print] if self.on else []

    def _start(self, images: int) -> None:
        self._images, self._begin = images, time.perf_counter()
        self.marks.clear()

    def _note(self, worker: int, name: str) -> None:
        self.marks.append((time.perf_counter(), worker, name))

    def _print(self) -> None:
        total = time.perf_counter() - self._begin
        before: dict[int, float] = {}
        latest = self._begin
        lines = [f"step of {self._images} images: {1e3 * total:.3f} ms"]
        for moment, worker, name in sorted(self.marks):
            seconds = moment - before.get(worker, latest if worker < 0 else self._begin)
            before[worker] = latest = moment
            who = f"worker {worker}" if worker >= 0 else "at barrier"
            lines.append(f"{1e3 * seconds:9.3f} ms  {who:<10}  {name}")
        print("\n".join(lines), file=sys.stderr)
