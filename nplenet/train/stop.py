"""Ctrl-C, SIGTERM and SIGHUP, which a closed terminal sends: the current step is finished first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..group import Group

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
STOPPING = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


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
    """Record the first Ctrl-C, SIGTERM or SIGHUP, so that no update is left half done.

    A SIGHUP that the caller ignores, as ``nohup`` does, stays ignored.
    """
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

    previous = {number: signal.getsignal(number) for number in STOPPING}
    if previous.get(getattr(signal, "SIGHUP", None)) == signal.SIG_IGN:
        del previous[signal.SIGHUP]
    for number in previous:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        restore()
