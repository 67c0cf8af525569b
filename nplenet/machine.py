"""Machine and software that a run depends on; the number of BLAS threads; ``NPLENET_TRACE``."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from .version import __version__

HAS_THREADS = sys.platform not in ("emscripten", "wasi")  # the browser's Python can start none


def environment() -> dict[str, str]:
    """Return the versions and the machine; the bits of a run depend on all except Python's."""
    return {
        "nplenet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


@cache
def blas() -> str:
    """Return NumPy's BLAS and the processor that its kernels are for, as far as it is known.

    OpenBLAS chooses the kernels when it is loaded, and their sums differ in the last bits.
    """
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    # A wheel of NumPy brings its BLAS; a program may have loaded others, for other packages.
    own = [library for library in found if "numpy" in Path(library["filepath"]).parent.name]
    facts = ("internal_api", "version", "architecture")
    texts = {" ".join(str(x.get(fact) or "") for fact in facts).strip() for x in own or found}
    return "; ".join(sorted(texts)) or "unknown to threadpoolctl"


def processor() -> str:
    """Return the name of the processor."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:  # on Linux
        for line in file:
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run matrix products on one thread.

    The products are small, and on a busy machine threads that wait for each other have made a step
    ten times as slow.
    """
    with threadpool_limits(1, user_api="blas"):
        yield


def usable_cores() -> int:
    """Return the number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def tracing() -> bool:
    """Say whether ``NPLENET_TRACE`` is on, which prints the times of passes and kernels."""
    return os.environ.get("NPLENET_TRACE", "0") not in ("", "0")
