"""What a helper process does: wait for an order, do its part of a step, and again.

A helper holds no file and no socket open, writes nothing, collects no garbage, and ignores the
signals that a terminal or a scheduler sends to all processes of a group: the process that trains
decides. If that ends, however it ends, the system kills its helpers.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import warnings
from collections.abc import Iterator
from contextlib import suppress
from math import prod
from typing import Any, NoReturn, Protocol

import numpy as np

from ..step import IMAGE_DTYPES
from .chunks import Calls
from .gate import Gate
from .memory import Memory
from .program import Images, Program

REPORT_BYTES = 1 << 16  # room for an error, warnings and the times of passes
# Of an order, in place of a dtype's number in ``IMAGE_DTYPES``: a step on images that each helper
# makes of the source; a step on such images that lie in the batch, made in advance; only make them.
PART, MADE, MAKE = -1, -2, -3
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # of Linux's prctl

Report = tuple[BaseException | None, list[Any], list[Any]]
"""An error, warnings, and the marks of a trace."""


class SharedPlan(Protocol):
    """The plan that the processes share, with its programs; see ``Prepared``.

    Attributes
    ----------
    batch_size : int
    image_shape : tuple of int
    marks : list
        Of a trace; see ``Trace``.
    """

    batch_size: int
    image_shape: tuple[int, ...]

    @property
    def marks(self) -> list[Any]: ...

    def program(self, images: int) -> Program:
        """Return the program for a number of images, bound when it is first asked for."""


class Post:
    """What the processes of a crew tell each other, in memory that they share.

    Attributes
    ----------
    done : Gate
        Where worker 0 waits for each of the others.
    """

    def __init__(
        self, memory: Memory, helpers: int, batch_size: int, image_shape: tuple[int, ...]
    ) -> None:
        self.done = Gate(memory)
        self._steps = [Gate(memory) for _ in range(helpers)]  # where helpers wait for the next step
        self._go = [Gate(memory) for _ in range(helpers)]  # and for the next stage
        self._order = memory.zeros((4,), np.int64)  # images, dtype, first in the source, helpers
        self._sizes = memory.zeros((helpers,), np.int64)  # of reports; 0 where there is none
        self._reports = memory.empty((helpers, REPORT_BYTES), np.uint8)
        self._image_shape = image_shape
        largest = prod(image_shape) * max(dtype.itemsize for dtype in IMAGE_DTYPES)
        self._batch = memory.empty((batch_size * largest,), np.uint8)

    def batch(self, images: int, dtype: np.dtype) -> np.ndarray:
        """Return room for N images."""
        nbytes = images * prod(self._image_shape) * dtype.itemsize
        return self._batch[:nbytes].view(dtype).reshape(images, *self._image_shape)

    def order_array(self, images: int, dtype: np.dtype, helpers: int) -> None:
        """Have the first N helpers do a step on images that lie in the batch."""
        self._give(images, IMAGE_DTYPES.index(dtype), 0, helpers)

    def order_part(self, images: int, start: int, helpers: int, made: bool) -> None:
        """Have them do a step on images of the source; those made before lie in the batch."""
        self._give(images, MADE if made else PART, start, helpers)

    def order_images(self, images: int, start: int, helpers: int) -> None:
        """Have them make images of the source, each its share, and lay them in the batch."""
        self._give(images, MAKE, start, helpers)

    def _give(self, images: int, kind: int, start: int, helpers: int) -> None:
        self._order[:] = images, kind, start, helpers
        open_first(self._steps, helpers)

    def go(self, helpers: int) -> None:
        """Have the first N helpers continue."""
        open_first(self._go, helpers)

    def wait(self, worker: int, once: Calls) -> None:
        """Wait for all others, as a helper; worker 0 makes the calls ``once``."""
        self.done.open()
        self._go[worker - 1].wait()

    def order(self, worker: int, source: Any) -> Images | None:
        """Wait for an order; return the images of a step, or None if they were only to be made."""
        self._steps[worker - 1].wait()
        images, kind, start, helpers = self._order.tolist()
        if kind >= 0:
            return self.batch(images, IMAGE_DTYPES[kind])
        part, batch = slice(start, start + images), self.batch(images, np.dtype(np.uint8))
        x: Images = source.batch(part, batch if kind == MADE else None)
        if kind != MAKE:
            return x
        share = slice((worker - 1) * images // helpers, worker * images // helpers)
        batch[share] = x[share]
        return None

    def report(self, worker: int, report: Report) -> None:
        """Send a report; worker 0 reads it when it waits next."""
        written = np.frombuffer(pickled(report), np.uint8)
        self._reports[worker - 1, : written.size] = written
        self._sizes[worker - 1] = written.size

    def reports(self) -> Iterator[Report]:
        """Return the reports that have come."""
        if not self._sizes.any():
            return
        for size, report in zip(self._sizes.tolist(), self._reports, strict=True):
            if size:
                yield pickle.loads(report[:size].tobytes())
        self._sizes.fill(0)


def open_first(gates: list[Gate], number: int) -> None:
    """Open the first N gates."""
    for gate in gates[:number]:
        gate.open()


def pickled(report: Report) -> bytes:
    """Return a report as bytes; of an error that cannot be pickled, its text."""
    error, found, _ = report
    with suppress(Exception):
        written = pickle.dumps(report)
        if len(written) <= REPORT_BYTES and pickle.loads(written):
            return written
    text = None if error is None else RuntimeError(f"{type(error).__name__}: {error}"[:1000])
    return pickle.dumps((text, found[:10], []))


def be_a_helper(worker: int, post: Post, plan: SharedPlan, source: Any, parent: int) -> NoReturn:
    """Do a helper's part of each step until the process is killed."""
    try:
        _end_with(parent)
        _leave_all_else_alone()
        found: list[Any] = []
        _collect_warnings(found)
        np.matmul(np.ones((8, 8)), np.ones((8, 8)))  # stops here if a lock of BLAS was taken
        post.done.open()
        while True:
            error: BaseException | None = None
            try:
                x = post.order(worker, source)
                if x is not None:
                    program = plan.program(len(x))
                    program.load(x, worker)
                    post.wait(worker, [])
                    program.compute(worker, post)
            except BaseException as caught:
                error = caught
            if error is not None or found or plan.marks:
                post.report(worker, (error, found, plan.marks))
                found.clear()
                plan.marks.clear()
            post.done.open()
    finally:
        os._exit(1)


def _end_with(parent: int) -> None:
    """Have the system kill this process when the one that forked it ends."""
    prctl = ctypes.CDLL(None).prctl
    refused = prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if refused or os.getppid() != parent:  # it has ended already
        os._exit(1)
    prctl(PR_SET_NAME, b"nplenet-worker", 0, 0, 0)


def _leave_all_else_alone() -> None:
    """Touch nothing that belongs to the process that forked this one."""
    gc.disable()  # a finalizer could delete its files
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        own = callable(signal.getsignal(number))
        if own or number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_IGN)
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one of this list
            os.close(int(descriptor))


def _collect_warnings(found: list[Any]) -> None:
    """Have warnings sent to worker 0, which raises them as the program wishes."""

    def note(message: Any, category: Any, filename: str, lineno: int, *_: Any, **__: Any) -> None:
        found.append((str(message), category, filename, lineno))

    warnings.simplefilter("always")
    warnings.showwarning = note
