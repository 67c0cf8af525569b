"""Threads that share a step: each works on chunks of its own, and all wait at the barriers.

NumPy releases Python's lock while it computes, so the threads run side by side. Between two calls
each needs the lock, and a thread that finds it taken sleeps, which costs some 70 us. So processes
share a step where they can (see ``processes``), and threads elsewhere, also on a Python without the
lock, where they do not need to copy the weights to where all see them. Short calls that are made
once for all chunks are made by one thread, while the others wait:

    worker 0   --chunk 0--chunk 1--|.......waits........|--chunk 0-- ...
    worker 1      --chunk 2--chunk 3----|-once for all--|--chunk 2-- ...      the last to arrive

(BLAS threads were tried instead for small batches. They wait in a loop, not asleep, and a step of
64 images took 3.4 ms with them, as with two of these threads. But they pass all arrays from core to
core: where two cores share no cache a step took 4.8 ms, with these threads 4.0, with one 4.2.)
"""

from __future__ import annotations

import contextvars
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from .chunks import Calls
from .kinds import has_lock
from .patience import Patience
from .program import Images, Program, execute

SECONDS_BETWEEN_LOOKS = 0.0005  # whether helpers have ended, after an error


class Ended(Exception):
    """Another worker has failed, and this one has been told to end."""


class ThreadBarrier:
    """The ``Barrier`` of threads. One object serves one step."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.error: BaseException | None = None
        self._arrivals = itertools.count(1)  # whose next() no other thread can interrupt
        self._gates = [ThreadGate() for _ in range(workers)]

    def wait(self, worker: int, once: Calls) -> None:
        """Wait for all others; the last to arrive makes the calls ``once``, then all continue.

        Raises
        ------
        Ended
            When another worker has failed.
        """
        if next(self._arrivals) % self.workers:
            self._gates[worker].wait()
        else:
            execute(once)
            self._open(worker)
        if self.error is not None:
            raise Ended

    def fail(self, worker: int, error: BaseException) -> None:
        """Note why this worker ends, and have the others end where they wait next."""
        if self.error is None and not isinstance(error, Ended):
            self.error = error
        self._open(worker)

    def _open(self, worker: int) -> None:
        for other, gate in enumerate(self._gates):
            if other != worker:
                with suppress(RuntimeError):  # it is open already: two workers failed
                    gate.open()


class Threads:
    """The calling thread, worker 0, and helpers beside it that sleep until there is work."""

    def __init__(self) -> None:
        self._helpers: list[Helper] = []
        self._process = os.getpid()
        self._unfinished: ThreadBarrier | None = None  # of a step that is not at its end

    def run(self, program: Program, x: Images) -> None:
        """Do a step up to the end of its last stage."""

        def work(worker: int, barrier: ThreadBarrier) -> None:
            program.load(x, worker)
            program.compute(worker, barrier)

        execute(program.begin)
        self.share(program.workers, work)

    def share(self, workers: int, work: Callable[[int, ThreadBarrier], None]) -> None:
        """Run ``work(worker, barrier)`` on each of N workers; all have returned when this does.

        The helpers see the context of the calling thread: NumPy's buffer size and its handling of
        errors.

        Raises
        ------
        BaseException
            What the first worker to fail has raised.
        """
        if self._process != os.getpid():  # a forked process has no helpers of its parent
            self._helpers, self._process, self._unfinished = [], os.getpid(), None
        self._end_unfinished()
        barrier = self._unfinished = ThreadBarrier(workers)

        def guarded(worker: int) -> None:
            try:
                work(worker, barrier)
            except BaseException as error:
                barrier.fail(worker, error)

        try:
            helpers = self._awake(workers - 1)
            for worker, helper in enumerate(helpers, start=1):
                helper.begin(partial(contextvars.copy_context().run, guarded, worker))
            work(0, barrier)
            for helper in helpers:
                helper.finish()
        except BaseException as error:  # of any worker, a thread that cannot be started, Ctrl-C
            barrier.fail(0, error)
            self._end_unfinished()
        self._unfinished = None
        if barrier.error is not None:
            raise barrier.error

    def _awake(self, number: int) -> list[Helper]:
        """Return N helpers."""
        while len(self._helpers) < number:
            helper = Helper()
            end = weakref.finalize(self, helper.end)
            end.atexit = False  # a thread that waits ends with the process
            self._helpers.append(helper)
        return self._helpers[:number]

    def _end_unfinished(self) -> None:
        """End the helpers of a step that was left in the middle, and wait until they have ended.

        Ctrl-C may come between any two calls, also when a gate has been passed and nobody knows it
        yet, or while this waits. So a gate says nothing any more, and helpers are not used again.
        """
        barrier, interrupted = self._unfinished, None
        while barrier is not None and self._helpers:
            try:
                barrier.fail(0, Ended())
                for helper in self._helpers:
                    helper.end()
                while not all(helper.has_ended for helper in self._helpers):
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                self._helpers = []
            except BaseException as error:
                interrupted = error
        self._unfinished = None
        if interrupted is not None:
            raise interrupted


class Helper(threading.Thread):
    """A thread that does one task after the other. (A ``ThreadPoolExecutor`` takes 0.1 ms more.)"""

    def __init__(self) -> None:
        super().__init__(name="nplenet-step", daemon=True)
        self._go, self._done = ThreadGate(), ThreadGate()
        self._task: Callable[[], object] | None = None
        self._ending = self.has_ended = False
        self.start()

    def begin(self, task: Callable[[], object]) -> None:
        """Have the thread do a task that raises nothing."""
        self._task = task
        self._go.open()

    def finish(self) -> None:
        """Wait until the task is done."""
        self._done.wait()

    def end(self) -> None:
        """Have the thread end, after the task that it does; may be called again."""
        self._ending = True
        with suppress(RuntimeError):  # it is open already
            self._go.open()

    def run(self) -> None:
        while not self._ending and self._go.wait() and self._task is not None:
            self._task()
            self._task = None  # what it refers to may be let go
            self._done.open()
        self.has_ended = True


class ThreadGate:
    """A gate at which one thread waits for another; closed at first, and behind who passes.

    With Python's lock it sleeps at once: to look would take the lock from the other thread.
    """

    def __init__(self) -> None:
        lock = threading.Lock()
        lock.acquire()
        self._look = partial(lock.acquire, False)
        self._sleep, self.open = lock.acquire, lock.release
        self._patience = Patience()

    def wait(self) -> bool:
        """Wait until the gate is open, and pass."""
        return self._sleep() if has_lock() else self._patience.wait(self._look, self._sleep)
