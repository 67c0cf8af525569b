"""Processes that share a step: each works on chunks of its own, and all wait at the barriers.

They are forked from the process that trains when a step first needs them, and so have all that was
there at that moment: the plan, its programs, the images of an epoch. The arrays through which they
work together lie in memory that they share (see ``memory``). All else is a copy, which grows old:
parameters, running statistics and random generators are read and written by worker 0, the process
that trains, and at a barrier it alone makes the calls that are made once.

    worker 0   order | begin, load | chunks 0, 1 | once | chunks 0, 1 | ...  | end, update
    worker 1   sleeps| load |......| chunks 2, 3 |......| chunks 2, 3 | ...  | images | sleeps
                     ^ go          ^ go                 ^ go             done^

While worker 0 ends a step, updates the parameters and sees to the next, the others make the images
of the next one where these are made on access: 74 us for 32 images of 32x32.

What its helpers do not know ends a crew: the images of another epoch, or a helper that has died
between two steps. A new one is forked, which takes some milliseconds. Until then memory that the
program lets go stays in use if a helper had it. ``helper`` is their side of all this.
"""

from __future__ import annotations

import os
import signal
import time
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

import numpy as np

from .chunks import Calls
from .helper import Post, SharedPlan, be_a_helper
from .memory import Memory
from .program import Images, Program, execute

SECONDS_TO_START = 5.0  # after which a forked process is given up: it takes milliseconds
SECONDS_BETWEEN_CHECKS = 0.1  # whether a helper that is waited for still lives


class WorkerDied(RuntimeError):
    """A helper process has ended within a step, or did not begin."""


class Crew:
    """The helper processes of one plan: the workers 1, 2, ... of its steps.

    Parameters
    ----------
    plan : SharedPlan
    helpers : int
    source : object, optional
        Of which images are made (see ``data.lazy``): the helpers know this one alone.

    Raises
    ------
    OSError, RuntimeError
        When the system refuses a process, or one does not start.
    """

    def __init__(self, plan: SharedPlan, helpers: int, source: Any = None) -> None:
        self._source, self._errors = source, np.geterr()  # as the helpers know them
        self._marks = plan.marks
        self._post = Post(Memory(shared=True), helpers, plan.batch_size, plan.image_shape)
        self._at_work = helpers
        self._made: tuple[int, int] | None = None  # first and number of images made in advance
        self._pids: list[int] = []
        self._parent = os.getpid()
        self._end = weakref.finalize(self, end_processes, self._pids, self._parent)
        self._end.atexit = False  # the system ends them with this process
        try:
            for worker in range(1, helpers + 1):
                self._fork(worker, plan)
            self._wait_for_helpers(SECONDS_TO_START)
        except BaseException:
            self.end()
            raise

    def _fork(self, worker: int, plan: SharedPlan) -> None:
        """Start a helper; a Ctrl-C comes before or after, not while hooks of the fork run."""
        with signals_deferred(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of a fork with threads
            pid = os.fork()
            if pid == 0:
                be_a_helper(worker, self._post, plan, self._source, self._parent)
            self._pids.append(pid)

    @property
    def alive(self) -> bool:
        """Whether its processes are this process's, and have not been ended."""
        return self._end.alive and self._parent == os.getpid()

    def can_do(self, source: Any) -> bool:
        """Say whether the helpers live, and know what the next step needs."""
        known = source is None or source is self._source
        if known and self.alive and self._errors == np.geterr() and not self._death():
            return True
        self.end()
        return False

    def run(self, program: Program, x: Images) -> None:
        """Do a step up to the end of its last stage.

        Raises
        ------
        WorkerDied
        BaseException
            What a worker has raised. The helpers have ended then.
        """
        try:
            if self._made:
                self._wait_for_helpers()
            self._at_work = program.workers - 1
            own = self._give_order(program, x)
            execute(program.begin)
            program.load(own, 0)
            self.wait(0, [])
            program.compute(0, self)
            self._wait_for_helpers()
            self._order_images_after(x)
        except BaseException:
            self.end()
            raise

    def _give_order(self, program: Program, x: Any) -> Images:
        """Say which images; return them as worker 0 is to load them.

        Of an array, those of the helpers are copied to where they see them.
        """
        if isinstance(x, np.ndarray):
            batch = self._post.batch(len(x), x.dtype)
            for worker in range(1, program.workers):
                part = program.images_of(worker)
                batch[part] = x[part]
            self._post.order_array(len(x), x.dtype, self._at_work)
            return x
        made = self._made == (x.start, len(x))
        self._post.order_part(len(x), x.start, self._at_work, made)
        if not made:
            return x
        part = slice(x.start, x.start + len(x))
        return x.source.batch(part, self._post.batch(len(x), x.dtype))

    def _order_images_after(self, x: Any) -> None:
        """Have the helpers make the images that the next step is likely to ask for."""
        following = 0 if isinstance(x, np.ndarray) else min(len(x), x.following())
        self._made = None
        if following:
            self._made = x.start + len(x), following
            self._post.order_images(following, self._made[0], self._at_work)

    def wait(self, worker: int, once: Calls) -> None:
        """Wait for the helpers, as worker 0; make the calls ``once``, and let all continue."""
        self._wait_for_helpers()
        execute(once)
        self._post.go(self._at_work)

    def _wait_for_helpers(self, seconds: float = inf) -> None:
        for _ in range(self._at_work):
            end = time.monotonic() + seconds
            while not self._post.done.wait_for(SECONDS_BETWEEN_CHECKS):
                death = self._death()
                if death or time.monotonic() > end:
                    raise WorkerDied(death or f"a process did not start within {seconds:g} s")
        for error, found, marks in self._post.reports():
            self._marks.extend(marks)
            for warning in found:
                warnings.warn_explicit(*warning)
            if error is not None:
                raise error

    def _death(self) -> str:
        """Return what became of a helper that has ended; an empty string if all live."""
        for pid in self._pids:
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # the program itself has waited for it
                ended, status = pid, 0
            if ended:
                self._pids.remove(pid)
                return (
                    f"the compiled step: its worker process {pid} {cause_of_death(status)}, so "
                    "this step is not complete; the next step starts new processes "
                    "(NPLENET_WORKERS=threads does without processes)"
                )
        return ""

    def end(self) -> None:
        """End the helpers."""
        try:
            self._end()
        finally:
            end_processes(self._pids, self._parent)  # once more, if Ctrl-C came in between


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Let the program's handlers of signals run afterwards; for the main thread only.

    To block signals would not do: another thread would take them, and have the main one run the
    handler all the same.
    """
    pending: list[int] = []
    handlers = {n: signal.getsignal(n) for n in signal.valid_signals()}
    own = {n: handler for n, handler in handlers.items() if callable(handler)}
    try:
        for each in own:
            signal.signal(each, lambda n, _: pending.append(n))
        yield
    finally:
        for number in sorted(own, key=lambda n: n == signal.SIGINT):  # whose handler raises, last
            signal.signal(number, own[number])
        for taken in pending:
            signal.raise_signal(taken)


def end_processes(pids: list[int], parent: int) -> None:
    """Kill children of this process and wait for their end; they have nothing to save.

    ``parent`` is the process whose children they are: one that was forked from it has none.
    """
    if os.getpid() != parent:
        return
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while pids:
        with suppress(ChildProcessError):
            os.waitpid(pids[-1], 0)
        pids.pop()


def cause_of_death(status: int) -> str:
    """Return what ended a process, as the rest of a sentence."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"has ended with status {code}"
    return f"was ended by signal {-code} ({signal.strsignal(-code)})"
