"""Launch CUDA kernels: every argument is checked against the kernel's C signature first."""

from __future__ import annotations

import math
import numbers
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..machine import tracing
from ..rounding import ceil_div
from .base import Backend

THREADS = 256
MAX_BLOCKS = 65535  # a grid's limit in y and z; threads loop over the remaining elements

C_TYPES: dict[str, type[np.generic]] = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "long long": np.int64,
    "unsigned int": np.uint32,
    "unsigned long long": np.uint64,
    "unsigned char": np.uint8,
}
C_NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


Check = Callable[[Any], Any]


class KernelParameter(NamedTuple):
    """A kernel's parameter: name, C type (``T`` in a template), and whether it is a pointer."""

    name: str
    c_type: str
    pointer: bool


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_KERNEL = re.compile(
    r"(template\s*<\s*typename\s+T\s*>\s*)?(?:extern\s+\"C\"\s+)?__global__\s+void\s+"
    r"(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)"
)


def signatures(source: str) -> dict[str, tuple[bool, list[KernelParameter]]]:
    """Return, for each kernel of a CUDA C text, whether it is a template and its parameters.

    Raises
    ------
    TypeError
        For a parameter whose type is not in ``C_TYPES``.
    """
    found = {}
    for template, name, text in _KERNEL.findall(_COMMENT.sub(" ", source)):
        parameters = []
        for declaration in text.split(","):
            plain = re.sub(r"\b(const|__restrict__)\b|\*", " ", declaration)
            *words, parameter = plain.split()
            c_type = " ".join(words)
            if c_type not in C_TYPES and not (template and c_type == "T"):
                raise TypeError(f"kernel {name}: {parameter} has the unknown type {c_type!r}")
            parameters.append(KernelParameter(parameter, c_type, "*" in declaration))
        found[name] = bool(template), parameters
    return found


class Launcher(Backend):
    """A backend that runs kernels/*.cu, compiled by the ``RawModule`` of its array library."""

    traced = tracing()  # whether each launch prints its time, and waits for it
    own_products = False  # whether kernels/product.cu multiplies matrices, instead of cuBLAS

    @contextmanager
    def capturable(self) -> Iterator[None]:
        """Within it a CUDA graph can capture each primitive: CuPy refuses cuBLAS in a capture."""
        before, self.own_products = self.own_products, True
        try:
            yield
        finally:
            self.own_products = before

    def launch(
        self,
        file: str,
        kernel: str,
        grid: int | tuple[int, ...],
        *arguments: Any,
        block: int = THREADS,
        shared_bytes: int = 0,
    ) -> None:
        """Launch a kernel once every argument fits its C signature.

        CuPy itself passes a Python int as 64 bits, a float as a double and any array as a bare
        pointer: where the kernel expects another type, it reads garbage.

        Parameters
        ----------
        file, kernel : str
            ``kernels/<file>.cu`` and the kernel's name. A template takes its type from the arrays.
        grid : int or tuple of int
            Numbers of blocks. If one is 0, nothing is launched (CuPy would launch one block).
        *arguments
            Arrays of this backend, None for a null pointer, and numbers.

        Raises
        ------
        TypeError
            For a wrong number of arguments, a host array, a wrong dtype, an array that is not
            contiguous or not aligned, an array where a number is expected.
        OverflowError
            For a number that does not fit its C type.
        """
        is_template, parameters = self._signatures(file)[kernel]
        if len(arguments) != len(parameters):
            raise TypeError(
                f"kernel {kernel}: takes {len(parameters)} arguments, got {len(arguments)}"
            )
        t = self._template_type(kernel, parameters, arguments) if is_template else ""
        checks = self._checks(file, kernel, t)
        values = tuple([check(value) for check, value in zip(checks, arguments, strict=True)])
        blocks = (grid,) if isinstance(grid, int) else grid
        if min(blocks) < 1:
            return
        function = self._function(file, f"{kernel}<{t}>" if is_template else kernel)
        if self.traced:
            self.launch_and_print(kernel, function, blocks, block, values, shared_bytes)
        else:
            function(blocks, (block,), values, shared_mem=shared_bytes)

    def launch_and_print(
        self,
        kernel: str,
        function: Any,
        blocks: tuple[int, ...],
        block: int,
        values: tuple[Any, ...],
        shared_bytes: int,
    ) -> None:
        """Launch, wait, and print the time of the kernel to standard error."""
        cuda = self.xp.cuda
        begin, end = cuda.Event(), cuda.Event()
        begin.record()
        function(blocks, (block,), values, shared_mem=shared_bytes)
        end.record()
        end.synchronize()
        milliseconds = cuda.get_elapsed_time(begin, end)
        grid = " x ".join(map(str, blocks))
        print(f"{milliseconds:9.3f} ms  {kernel}, {grid} blocks of {block}", file=sys.stderr)

    def launch_each(self, file: str, kernel: str, count: int, *arguments: Any) -> None:
        """Launch a kernel whose threads take one of ``count`` elements each, in a loop."""
        self.launch(file, kernel, min(ceil_div(count, THREADS), MAX_BLOCKS), *arguments)

    def _template_type(
        self, kernel: str, parameters: Sequence[KernelParameter], arguments: Sequence[Any]
    ) -> str:
        for p, value in zip(parameters, arguments, strict=True):
            if p.c_type == "T" and p.pointer and self.owns(value):
                name = C_NAMES.get(value.dtype)
                if name is None:
                    raise TypeError(
                        f"kernel {kernel}: {p.name} is {value.dtype}, expected float32 or float64"
                    )
                return name
        raise TypeError(f"kernel {kernel}: no array argument gives the template its type")

    @cache  # noqa: B019  the one backend object lives as long as the process
    def _checks(self, file: str, kernel: str, t: str) -> list[Check]:
        """Return, for each parameter, what checks and converts its argument."""
        _, parameters = self._signatures(file)[kernel]
        return [
            self._array_check(kernel, p, t) if p.pointer else number_check(kernel, p, t)
            for p in parameters
        ]

    def _array_check(self, kernel: str, p: KernelParameter, t: str) -> Check:
        expected = np.dtype(C_TYPES[t if p.c_type == "T" else p.c_type])
        size, ndarray = expected.itemsize, self.xp.ndarray

        def check(array: Any) -> Any:
            if array is None:
                return None
            if not isinstance(array, ndarray):
                raise TypeError(
                    f"kernel {kernel}: {p.name} must be a CuPy array, got {type(array).__name__}"
                )
            if array.dtype != expected:
                raise TypeError(f"kernel {kernel}: {p.name} is {array.dtype}, expected {expected}")
            if not array.flags.c_contiguous:
                raise TypeError(f"kernel {kernel}: {p.name} must be C-contiguous")
            if array.data.ptr % size:
                raise TypeError(f"kernel {kernel}: {p.name} is not aligned to its {expected}")
            return array

        return check

    @cache  # noqa: B019
    def _signatures(self, file: str) -> dict[str, tuple[bool, list[KernelParameter]]]:
        return signatures(kernel_source(file))

    @cache  # noqa: B019
    def _function(self, file: str, expression: str) -> Any:
        """Compile one kernel with NVRTC, at first use."""
        names = (expression,) if "<" in expression else ()
        module = self.xp.RawModule(
            code=kernel_source(file), options=("-std=c++17",), name_expressions=names or None
        )
        return module.get_function(expression)


def number_check(kernel: str, p: KernelParameter, t: str) -> Check:
    """Return what makes a number a NumPy scalar of its C type; an int must not be a fraction.

    Plain ints and floats in range take 0.2 us; all others go through ``isinstance`` of an abstract
    class, which takes ten times as long.
    """
    kind = C_TYPES[t if p.c_type == "T" else p.c_type]
    plain: type = float if issubclass(kind, np.floating) else int
    limits: Any = np.finfo(kind) if plain is float else np.iinfo(kind)  # type: ignore[type-var]
    low, high = plain(limits.min), plain(limits.max)

    def check(value: Any) -> np.generic:
        if type(value) is plain and low <= value <= high:
            return kind(value)
        return converted(kernel, p, value, kind)

    return check


def converted(kernel: str, p: KernelParameter, value: Any, kind: type[np.generic]) -> np.generic:
    """Return a number of any type as the NumPy scalar of its C type."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"kernel {kernel}: {p.name} must be a number, got {type(value).__name__}")
    if issubclass(kind, np.floating):
        with np.errstate(over="ignore"):
            number = kind(value)
        if math.isfinite(value) and not math.isfinite(number):
            raise OverflowError(f"kernel {kernel}: {p.name}={value!r} does not fit {kind.__name__}")
        return number
    if not isinstance(value, numbers.Integral):
        raise TypeError(f"kernel {kernel}: {p.name} must be an integer, got {value!r}")
    try:
        return kind(int(value))
    except OverflowError:
        raise OverflowError(
            f"kernel {kernel}: {p.name}={value!r} does not fit {kind.__name__}"
        ) from None


def kernel_source(file: str) -> str:
    """Return the text of a kernel file: package data, or the top-level folder of a checkout."""
    try:
        folder = files("nplenet.kernels")
    except ModuleNotFoundError:
        folder = Path(__file__).parents[2] / "kernels"
    return folder.joinpath(f"{file}.cu").read_text(encoding="utf-8")
