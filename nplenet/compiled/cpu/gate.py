"""A gate at which processes wait for each other: a POSIX semaphore in memory that they share.

    process A   ---- open ----------------           a gate that was opened N times lets N through
    process B   ------......| through ----

Who waits first looks again and again, which takes a quarter of a microsecond a time, and then
sleeps until the system wakes it, which takes 15 to 50. The next stage of a step is mostly there
within 0.1 ms; the next step may be hours away, and who sleeps costs nothing. Where waits have been
long lately, as on a busy machine, where the other process may not be running at all, it sleeps at
once: to look would take the other's time.

The semaphore is the C library's: its counter is also a fence, so what one process has written
before it opens a gate the other sees behind it, on every processor. It has no name, so nothing is
left of it when its processes have ended.
"""

from __future__ import annotations

import ctypes
import time
from functools import cache, partial
from typing import Any

import numpy as np

from .memory import Memory

SEMAPHORE_BYTES = 64  # at least ``sizeof(sem_t)``, which is 32; a cache line of its own
LOOKS = 2000  # before it sleeps: some 0.5 ms
MAX_SECONDS_TO_LOOK = 0.5e-3  # of a usual wait, or it sleeps at once
MAX_SECONDS_TO_COUNT = 2e-3  # of one wait: some five short ones make up for a long one
SECONDS_OF_A_SLEEP = 3600.0  # then it sleeps again


class Timespec(ctypes.Structure):
    """A point in time, as the C library takes it."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Gate:
    """A gate in memory that is shared; closed at first."""

    def __init__(self, memory: Memory) -> None:
        functions = _functions()
        self._bytes = memory.empty((SEMAPHORE_BYTES,), np.uint8)
        place = ctypes.c_void_p(self._bytes.ctypes.data)
        if functions["sem_init"](place, 1, 0) != 0:
            raise OSError("this system has no semaphores that processes share")
        self.open = partial(functions["sem_post"], place)
        self._try = partial(functions["sem_trywait"], place)
        self._sleep_until = partial(functions["sem_timedwait"], place)
        self._usual = 0.0  # seconds of a wait

    def wait(self) -> None:
        """Wait until the gate is open, and pass."""
        while not self.wait_for(SECONDS_OF_A_SLEEP):
            pass

    def wait_for(self, seconds: float) -> bool:
        """Wait for at most so long; say whether the gate was passed. A signal ends it early."""
        begin = time.perf_counter()
        passed = self._looked() or self._slept(seconds)
        waited = min(time.perf_counter() - begin, MAX_SECONDS_TO_COUNT)
        self._usual += (waited - self._usual) / 4
        return passed

    def _looked(self) -> bool:
        look = self._try
        looks = LOOKS if self._usual < MAX_SECONDS_TO_LOOK else 1
        return any(look() == 0 for _ in range(looks))

    def _slept(self, seconds: float) -> bool:
        end = time.time() + seconds
        until = Timespec(int(end), int(end % 1 * 1e9))
        return bool(self._sleep_until(ctypes.byref(until)) == 0)


@cache
def _functions() -> dict[str, Any]:
    """Return the functions of the C library.

    Those that return at once keep Python's lock, which takes less time than to give it away.
    """
    at_once, waiting = ctypes.PyDLL(None), ctypes.CDLL(None)
    quick = {name: at_once[name] for name in ("sem_init", "sem_post", "sem_trywait")}
    return quick | {"sem_timedwait": waiting["sem_timedwait"]}
