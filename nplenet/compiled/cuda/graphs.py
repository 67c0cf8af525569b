"""Launches recorded once in a CUDA graph, and repeated with a single launch.

A launch costs the host some 10 us, a step of small layers has 60 of them, and none takes the
device that long. A graph of 100 steps is one launch. It repeats the recorded launches with the
recorded addresses, so what changes from step to step lies in memory (see ``feed``), and the memory
that was in use while it was recorded stays set aside.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ...backend import Backend

_left: list[Any] = []  # pools of graphs that are gone, until no array lies in them


def give_back(pool: Any) -> None:
    """Return the memory of a pool to its allocator, which a pool that is deleted fails to do.

    Memory in which an array still lies is returned when the next graphs go.
    """
    _left.append(pool)
    for each in _left:
        each.free_all_blocks()
    _left[:] = [each for each in _left if each.total_bytes()]


class Graphs:
    """Graphs that run one at a time and share memory of their own.

    Parameters
    ----------
    backend : Backend
        On a GPU.
    """

    def __init__(self, backend: Backend) -> None:
        self._cuda = backend.xp.cuda
        self._stream = self._cuda.Stream(non_blocking=True)  # the default one can't be recorded
        # Of the program's own allocator, which may have a limit; what a graph uses stays set aside.
        self._pool = self._cuda.MemoryPool(self._cuda.get_allocator())
        self._graphs: dict[Hashable, Any] = {}
        weakref.finalize(self, give_back, self._pool).atexit = False

    def launch(self, name: Hashable, enqueue: Callable[[int], None], times: int) -> None:
        """Do what ``enqueue(times)`` launches; it is called, and recorded, the first time."""
        if (name, times) not in self._graphs:
            self._graphs[name, times] = self._record(enqueue, times)
        self._graphs[name, times].launch()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Launch on the stream and with the memory of the graphs, in the order of the program.

        For a first run, which compiles kernels and finds out how much memory is needed: neither is
        possible while launches are recorded.
        """
        current = self._cuda.get_current_stream()
        self._stream.wait_event(current.record())
        try:
            with self._memory():
                yield
        finally:  # what was launched before an error runs all the same
            current.wait_event(self._stream.record())

    @contextmanager
    def _memory(self) -> Iterator[None]:
        with self._stream, self._cuda.using_allocator(self._pool.malloc):
            yield

    def _record(self, enqueue: Callable[[int], None], times: int) -> Any:
        with self._memory():
            self._stream.begin_capture()
            try:
                enqueue(times)
            except BaseException:
                with suppress(Exception):  # which would hide the error
                    self._stream.end_capture()
                raise
            return self._stream.end_capture()
