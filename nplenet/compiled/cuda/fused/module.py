"""A program compiled for images of one dtype: its module, its arrays, and how it is launched."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....backend import Array
from .code import KernelText
from .parts import Made, argument_dtype
from .program import Program

STATIC_SHARED = 49152  # bytes that a block may have without asking for more


class CompiledProgram:
    """A program compiled for images of one dtype, with its arrays and its argument."""

    def __init__(self, program: Program, source: str, backend: Any) -> None:
        xp = backend.xp
        self.program, self.backend = program, backend
        module = xp.RawModule(code=program.text(source), options=("-std=c++17",))
        self.functions = {}
        for kernel in (*program.opening, *program.kernels):
            self.functions[kernel.name] = function = module.get_function(kernel.name)
            if kernel.shared > STATIC_SHARED:
                function.max_dynamic_shared_size_bytes = kernel.shared
        self.arrays = {
            name: xp.empty(each.source.shape, each.source.dtype)
            for name, each in program.parts.arguments.items()
            if isinstance(each.source, Made)
        }
        self.argument = np.zeros((), argument_dtype(program.parts.arguments))
        self.images = 0
        self._launches: list[Any] = []

    def prepare(self, values: dict[str, Any], images: int) -> None:
        """Set the arguments; ``values`` are the members that each call gives."""
        program, argument, self.images = self.program, self.argument, images
        kernels = (*program.opening, *program.kernels)
        blocks = {f"blocks_{k.name}": k.blocks(images) for k in kernels}
        for name, each in program.parts.arguments.items():
            if name in values:
                argument[name] = values[name]
            elif name in blocks:
                argument[name] = blocks[name]
            elif name in self.arrays:
                argument[name] = value_of(self.arrays[name])
            elif callable(each.source):
                argument[name] = value_of(each.source())
        self._launches = self.launches()

    def open(self, steps: int) -> None:
        """Launch what is done once for the next steps; they are at most ``MAX_STEPS``."""
        for launch in self.opening(steps):
            launch()

    def launch_all(self) -> None:
        """Launch all kernels of a step with the arguments as they were set."""
        for launch in self._launches:
            launch()

    def opening(self, steps: int) -> list[Any]:
        """Return a function for each kernel of ``open`` that launches it."""
        return [self._launcher(k, steps) for k in self.program.opening]

    def launches(self) -> list[Any]:
        """Return a function for each kernel of a step that launches it."""
        return [self._launcher(k) for k in self.program.kernels]

    def _launcher(self, k: KernelText, steps: int = 1) -> Any:
        """Return a function that launches a kernel, and prints its time if that is asked for."""
        function, arguments = self.functions[k.name], (self.argument,)
        grid, threads = (steps * (k.blocks(self.images) + k.job_blocks),), (k.threads,)
        backend = self.backend

        def launch() -> None:
            if backend.traced:
                backend.launch_and_print(k.name, function, grid, k.threads, arguments, k.shared)
            else:
                function(grid, threads, arguments, shared_mem=k.shared)

        return launch


def value_of(array: Array | None) -> int:
    """Return a pointer; a ValueError for an array whose numbers do not lie in C order."""
    if array is None:
        return 0
    if not array.flags.c_contiguous:
        raise ValueError(
            f"the compiled step: an array of {array.dtype} {array.shape} is not C-contiguous; "
            "pass it through ascontiguousarray first"
        )
    return int(array.data.ptr)
