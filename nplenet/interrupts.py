"""Ctrl-C while the program ``nplenet`` is loaded: it ends without a traceback.

Imported before anything else. Only in the program and its example, not in one that imports this
library: while Python looks for the module of ``python -m``, ``sys.argv`` begins with "-m".
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

PROGRAMS = ("-m", "nplenet", "nplenet.exe", "train_mnist.py")


def end_at_once() -> None:
    """Let Ctrl-C end the process as it ends a program that is not Python's."""
    _replace(signal.default_int_handler, signal.SIG_DFL)


def interrupt_from_now_on() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    _replace(signal.SIG_DFL, signal.default_int_handler)


def _replace(old: object, new: signal._HANDLER) -> None:
    with suppress(ValueError):  # not in the main thread
        if signal.getsignal(signal.SIGINT) is old:
            signal.signal(signal.SIGINT, new)


if os.path.basename(next(iter(getattr(sys, "argv", [])), "")) in PROGRAMS:
    end_at_once()
