"""The table of kernels: from the full name of a function to what replaces it on a GPU.

The functions stand beside their layers, which this folder may not import. So each is given by its
full name, and a test checks that every such name is a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .base import Array
from .launch import Launcher

Kernel = Callable[..., Any]
KERNELS: dict[str, Kernel] = {}
"""From the full name of a function to its replacement, which takes the backend instead of xp."""


def replaces(name: str) -> Callable[[Kernel], Kernel]:
    """Bind the decorated function to the one of this full name; a second binding is refused."""

    def bind(kernel: Kernel) -> Kernel:
        if name in KERNELS:
            raise ValueError(
                f"{name} has two kernels: {KERNELS[name].__name__} and {kernel.__name__}"
            )
        KERNELS[name] = kernel
        return kernel

    return bind


def kernel_for(function: Callable[..., Any]) -> Kernel | None:
    """Return the replacement of ``function`` on a GPU, or None if it has no kernel."""
    return KERNELS.get(f"{function.__module__}.{function.__name__}")


def by_value_or_pointer(
    gpu: Launcher, given: Any, count: int
) -> tuple[Sequence[Any], Array | None]:
    """Return arguments for a kernel that takes ``count`` numbers, or a pointer to them.

    A CUDA graph keeps the values with which a kernel was captured. What changes from step to step
    lies in an array on the device instead: then these are zeros, and the array.
    """
    if not gpu.owns(given):
        return (given if isinstance(given, Sequence) else (given,)), None
    if given.size != count:
        raise ValueError(f"expected {count} numbers on the device, got shape {given.shape}")
    return (0,) * count, given
