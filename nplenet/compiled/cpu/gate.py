"""A gate at which processes wait for each other: a POSIX semaphore in memory that they share.

    process A   ---- open ----------------           a gate that was opened N times lets N through
    process B   ------......| through ----

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
from .patience import Patience

SEMAPHORE_BYTES = 64  # at least ``sizeof(sem_t)``, which is 32; a cache line of its own
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
        self._patience = Patience()

    def wait(self) -> None:
        """Wait until the gate is open, and pass."""
        while not self.wait_for(SECONDS_OF_A_SLEEP):
            pass

    def wait_for(self, seconds: float) -> bool:
        """Wait for at most so long; say whether the gate was passed. A signal ends it early."""
        return self._patience.wait(self._looked, partial(self._slept, seconds))

    def _looked(self) -> bool:
        return bool(self._try() == 0)

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
