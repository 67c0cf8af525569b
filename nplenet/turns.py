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
from typing import Any

MAX_SECONDS_AT_EXIT = 10.0
"""Seconds that the exit of the interpreter waits for a turn; a training step takes milliseconds."""


class Turns:
    """The turns of threads at one model. An optimizer has them, and all its steps share them."""

    def __init__(self) -> None:
        self._renew()
        _ALL.add(self)

    def _renew(self) -> None:
        self._process = os.getpid()
        self._held = 0  # turns of the thread that has them, each nested in another
        self._depth = 0  # and trainings
        # The lock itself knows whose it is, also when Ctrl-C comes just after it was taken.
        self._turn: Any = threading.RLock()
        self._training = threading.RLock()
        # Who waits for the turn holds the line, or a thread that comes back at once would always
        # be faster than one that must wake up first.
        self._line = threading.Lock()

    def turn(self) -> Held:
        """Wait until no other thread has the turn, and have it; within its own turn, continue."""
        return Held(self, trains=False, takes=True)

    def training(self) -> Held:
        """Be the thread that trains, without a turn yet.

        Raises
        ------
        RuntimeError
            When another thread trains.
        """
        return Held(self, trains=True, takes=False)

    def training_turn(self) -> Held:
        """Be the thread that trains, and wait for the turn.

        Raises
        ------
        RuntimeError
            When another thread trains.
        """
        return Held(self, trains=True, takes=True)

    @property
    def within_a_loop(self) -> bool:
        """Whether the thread that trains has begun to before this turn, as ``fit`` does."""
        return self._depth > 1

    def _begin_training(self) -> threading.RLock:
        training = self._training
        if not training.acquire(blocking=False):
            raise RuntimeError(
                "another thread is training this model: train it from one thread at a time "
                "(predict may be called from any thread)"
            )
        self._depth += 1
        return training

    def _end_training(self, training: threading.RLock) -> None:
        self._depth -= 1
        training.release()

    def _take(self) -> None:
        if self._turn._is_owned():
            self._held += 1
            return
        try:
            with self._line:
                self._turn.acquire()
                self._held = 1
        except BaseException:  # Ctrl-C, perhaps with the turn in hand
            self._held = 1 if self._turn._is_owned() else self._held
            self._give()
            raise

    def _give(self) -> None:
        if self._turn._is_owned():  # unless this process was forked since
            self._held -= 1
            if self._held <= 0:
                self._turn.release()

    def end(self) -> None:
        """Take the turn for this thread and never release it; wait for it at most 10 s."""
        self._check_process()
        locks = self._line, self._turn
        if all(lock.acquire(timeout=MAX_SECONDS_AT_EXIT) for lock in locks):
            self._held = 1

    def _check_process(self) -> None:
        """Begin anew in a forked process: other threads, with their turns, are not in it."""
        if self._process != os.getpid():
            self._renew()


class Held:
    """A turn, or being the thread that trains, or both, in a ``with`` statement.

    A step enters four of them. So this is a class: two of ``contextlib.contextmanager``, one in the
    other, took four times as long (19 us).
    """

    __slots__ = ("_takes", "_training", "_trains", "_turns")

    def __init__(self, turns: Turns, trains: bool, takes: bool) -> None:
        self._turns, self._trains, self._takes = turns, trains, takes
        self._training: threading.RLock | None = None

    def __enter__(self) -> None:
        self._turns._check_process()
        try:
            if self._trains:
                self._training = self._turns._begin_training()
            if self._takes:
                self._turns._take()
        except BaseException:
            if self._training is not None:
                self._turns._end_training(self._training)
            raise

    def __exit__(self, *_: object) -> None:
        if self._takes:
            self._turns._give()
        if self._training is not None:
            self._turns._end_training(self._training)


_ALL: weakref.WeakSet[Turns] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for turns in list(_ALL):
        turns.end()
