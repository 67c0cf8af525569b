"""Ctrl-C and SIGTERM: the current step is finished first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..group import Group


class Stop:
    """Whether a signal ends the run.

    Attributes
    ----------
    signal : str
        Its name, once all ranks know of it, or "".
    received : int
        Its number, where this process received one, or 0.
    """

    signal = ""
    received = 0

    def agree(self, group: Group, *flags: bool) -> list[int]:
        """Share a signal with all ranks; return for each flag whether any rank has set it."""
        number, *agreed = group.largest(self.received, *flags)
        self.signal = signal.Signals(number).name if number else ""
        return agreed


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Record the first Ctrl-C or SIGTERM, so that no update is left half done."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers
        return

    def request_stop(signum: int, frame: Any) -> None:
        stop.received = signum
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
