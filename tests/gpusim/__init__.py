"""gpusim: run CUDA C kernels and real CuPy on a machine without a GPU, for tests. See README.md.

``import gpusim`` needs neither CuPy nor a compiler; those are used when something is asked for.
"""

from __future__ import annotations

from ._options import KernelFault, set_order, thread_order

__all__ = [
    "KernelFault",
    "check_kernels",
    "counters",
    "counting",
    "host",
    "install",
    "installed",
    "lazily",
    "reset_counters",
    "sanitized",
    "set_order",
    "thread_order",
]

_LAZY = {
    "install": "_install",
    "installed": "_install",
    "counters": "_install",
    "counting": "_install",
    "lazily": "_install",
    "reset_counters": "_install",
    "check_kernels": "nvrtc",
    "sanitized": "sanitize",
}


def __getattr__(name: str):
    import importlib

    if name == "host":
        return importlib.import_module(".host", __name__)
    if name in _LAZY:
        return getattr(importlib.import_module("." + _LAZY[name], __name__), name)
    raise AttributeError(f"module 'gpusim' has no attribute {name!r}")
