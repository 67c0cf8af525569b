"""Threads of Python that share a model: one computes at a time, and only one of them trains.

The steps of a model and its optimizer write into the same arrays: a plan's memory, activations,
gradients, parameters. So each takes its turn:

    thread A   --predict--|          |--predict--|
    thread B              |--predict--|                           waits for its turn
    thread C   ------- gradients ... update -------               trains: between, predict may run
    thread D   gradients: RuntimeError                            a second trainer is refused

When the interpreter exits, it waits for the turn in progress and gives no other: a daemon thread
that were frozen in the middle of a computation could take the process down with it.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

MAX_SECONDS_AT_EXIT = 10.0
"""Seconds that the exit of the interpreter waits for a turn; a training step takes milliseconds."""


class Turns:
    """The turns of threads at one model. An optimizer has them, and all its steps share them."""

    def __init__(self) -> None:
        self._renew()
        _ALL.add(self)

    def _renew(self) -> None:
        self._process = os.getpid()
        self._owner: int | None = None
        self._depth = 0  # of trainings, each nested in another
        self._turn, self._training = threading.Lock(), threading.RLock()
        # Who waits for the turn holds the line, or a thread that comes back at once would always
        # be faster than one that must wake up first.
        self._line = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other thread has the turn, and have it; within its own turn, continue."""
        self._check_process()
        own, before = threading.get_ident(), self._owner
        try:
            if before != own:
                with self._line:
                    self._turn.acquire()
                    self._owner = own
            yield
        finally:
            if before != own and self._owner == own:
                self._owner = None
                self._turn.release()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Be the thread that trains, without a turn yet.

        Raises
        ------
        RuntimeError
            When another thread trains.
        """
        self._check_process()
        training = self._training
        if not training.acquire(blocking=False):
            raise RuntimeError(
                "another thread is training this model: train it from one thread at a time "
                "(predict may be called from any thread)"
            )
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            training.release()

    @property
    def within_a_loop(self) -> bool:
        """Whether the thread that trains has begun to before this turn, as ``fit`` does."""
        return self._depth > 1

    @contextmanager
    def training_turn(self) -> Iterator[None]:
        """Be the thread that trains, and wait for the turn.

        Raises
        ------
        RuntimeError
            When another thread trains.
        """
        with self.training(), self.turn():
            yield

    def end(self) -> None:
        """Take the turn for this thread and never release it; wait for it at most 10 s."""
        self._check_process()
        locks = self._line, self._turn
        if all(lock.acquire(timeout=MAX_SECONDS_AT_EXIT) for lock in locks):
            self._owner = threading.get_ident()

    def _check_process(self) -> None:
        """Begin anew in a forked process: other threads, with their turns, are not in it."""
        if self._process != os.getpid():
            self._renew()


_ALL: weakref.WeakSet[Turns] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for turns in list(_ALL):
        turns.end()
