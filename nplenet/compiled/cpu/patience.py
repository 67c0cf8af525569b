"""How a worker waits for another: it looks again and again, and then it sleeps.

The next stage of a step is mostly there within 0.1 ms; who sleeps is woken by the system 15 to 50
us after that. The next step may be hours away, and who sleeps costs nothing. Where waits have been
long lately, as on a busy machine, where the other worker may not be running at all, a worker sleeps
at once: to look would take the other's time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_TO_LOOK = 0.5e-3  # before it sleeps, unless a wait is usually longer
MAX_SECONDS_TO_COUNT = 2e-3  # of one wait: some five short ones make up for a long one


class Patience:
    """Waits at one place, and remembers how long waits there have been."""

    def __init__(self) -> None:
        self._usual = 0.0  # seconds of a wait

    def wait(self, look: Callable[[], bool], sleep: Callable[[], bool]) -> bool:
        """Look until ``look`` says yes, or sleep; return what the last of them said."""
        begin = time.perf_counter()
        passed = self._looked(look, begin) or sleep()
        waited = min(time.perf_counter() - begin, MAX_SECONDS_TO_COUNT)
        self._usual += (waited - self._usual) / 4
        return passed

    def _looked(self, look: Callable[[], bool], begin: float) -> bool:
        end = begin + (SECONDS_TO_LOOK if self._usual < SECONDS_TO_LOOK else 0.0)
        while not look():
            if time.perf_counter() >= end:
                return False
        return True
