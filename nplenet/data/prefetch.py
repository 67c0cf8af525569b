"""A thread that prepares batches ahead."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any

Batch = tuple[Any, Any]


def prefetched(batches: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Yield the same batches, up to `depth` of them prepared ahead by a thread."""
    ready: queue.SimpleQueue[Batch | BaseException] = queue.SimpleQueue()
    slots = threading.Semaphore(depth)  # how many more batches may be prepared
    stopped = threading.Event()
    finalizing = sys.is_finalizing  # at the end of the interpreter this module's names may be gone

    def prepare() -> None:
        try:
            while slots.acquire() and not stopped.is_set():
                ready.put(next(batches))
        except BaseException as error:  # StopIteration at the epoch's end, or the transform's
            ready.put(error)

    # A daemon, or an iterator kept at module level would keep the interpreter from ending.
    thread = threading.Thread(target=prepare, name="nplenet-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            batch = ready.get()
            if isinstance(batch, StopIteration):
                return
            if isinstance(batch, BaseException):
                raise batch
            slots.release()
            yield batch
    finally:
        stopped.set()
        slots.release()
        # Wait, since the thread may be drawing from generators that the next epoch will use.
        # When the interpreter exits, daemon threads are frozen, and waiting would never end.
        if not finalizing():
            thread.join()
