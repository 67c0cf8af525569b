"""Ctrl-C at any moment of the program ``nplenet``: it ends without a traceback.

Imported before anything else. Only in the program and its example, not in one that imports this
library: while Python looks for the module of ``python -m``, ``sys.argv`` begins with "-m".
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

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


def interrupt_again(unraisable: Any) -> None:
    """Repeat a Ctrl-C that came where Python ignores exceptions and prints them.

    That is in a ``__del__`` and in callbacks of objects that are gone, such as the lock of a module
    that is imported. A hook of ``sys.unraisablehook``.
    """
    if unraisable.exc_type is KeyboardInterrupt:
        _thread.start_new_thread(_interrupt_soon, ())  # not here, where it would be ignored again
    else:
        sys.__unraisablehook__(unraisable)


def _interrupt_soon() -> None:
    time.sleep(0.01)
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        os.kill(os.getpid(), signal.SIGINT)  # wakes the main thread, too, if it sleeps


if os.path.basename(next(iter(getattr(sys, "argv", [])), "")) in PROGRAMS:
    end_at_once()
    sys.unraisablehook = interrupt_again
