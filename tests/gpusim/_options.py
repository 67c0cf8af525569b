"""Options from the environment, and the order in which the threads of a kernel run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

MODES = ("forward", "reverse", "random")
_listeners: list[Callable[[int, int], None]] = []  # the simulated driver, once it is loaded


class KernelFault(RuntimeError):
    """A kernel misused a barrier or a shuffle, or ran out of stack."""


def flag(name: str, default: bool = False) -> bool:
    text = os.environ.get(name, "").strip().lower()
    if text in ("", "0", "1", "true", "false", "yes", "no", "on", "off"):
        return default if text == "" else text in ("1", "true", "yes", "on")
    raise ValueError(f"{name}={text!r}: use 1 or 0")


def parse_order(text: str) -> tuple[int, int]:
    """'forward', 'reverse', 'random' or 'random:SEED' -> (mode, seed)"""
    name, _, seed = text.strip().lower().partition(":")
    if name not in MODES or (seed and (name != "random" or not seed.isdigit())):
        raise ValueError(f"thread order {text!r}: use forward, reverse, random or random:SEED")
    return MODES.index(name), int(seed or 1) & 0xFFFFFFFF


_order = parse_order(os.environ.get("GPUSIM_ORDER") or "forward")


def order() -> tuple[int, int]:
    return _order


def set_order(text: str) -> None:
    """Set the order of threads, warps and blocks for every later launch."""
    global _order
    _order = parse_order(text)
    for tell in _listeners:
        tell(*_order)


@contextlib.contextmanager
def thread_order(text: str) -> Iterator[None]:
    """``with gpusim.thread_order("random:7"): ...``"""
    before = _order
    set_order(text)
    try:
        yield
    finally:
        set_order(f"random:{before[1]}" if before[0] == 2 else MODES[before[0]])


def listen(tell: Callable[[int, int], None]) -> None:
    _listeners.append(tell)
    tell(*_order)
