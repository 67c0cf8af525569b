"""Ctrl-C and SIGTERM: the step at hand is finished first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..group import Group


class Stop:
    """The name of the signal that asked for an end, once all ranks know of it, or nothing."""

    signal = ""
    asked = 0  # the number of the signal that this process got

    def agree(self, group: Group, *flags: bool) -> list[int]:
        """Tell all ranks of a signal; and return for each flag whether a rank has set it."""
        number, *agreed = group.largest(self.asked, *flags)
        self.signal = signal.Signals(number).name if number else ""
        return agreed


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Take note of the first Ctrl-C or SIGTERM, so that no update is left half done."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers
        return

    def request_stop(signum: int, frame: Any) -> None:
        stop.asked = signum
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        restore()
