"""The text of one kernel: a pass over the batch, with the jobs that the pass before has left.

    main blocks                                          job blocks, behind them
    before   weights, joins of rows, zeros               a line each, such as the gradient of a
    loop     I images at a time, through all layers      dense layer over the whole batch
    after    the block's rows of sums

Shared memory of a block: first what the plan has placed, for I images; behind that what lasts from
``before`` to ``after``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...operation import DType, Value
from .operation import Saved

if TYPE_CHECKING:
    from .program import Program

C_NAMES = {"float32": "T", "float64": "T", "uint8": "unsigned char", "int32": "int"}


def aligned(nbytes: int) -> int:
    """Round up, so that any type may begin behind."""
    return -(-nbytes // 16) * 16


@dataclass
class Job:
    """Blocks of their own beside the main blocks of a launch."""

    blocks: int
    line: str
    nbytes: int


@dataclass
class KernelText:
    """A kernel: its text and what a launch must know.

    Attributes
    ----------
    images, threads : int
        Of a block.
    max_blocks : int
        Main blocks for the largest batch.
    job_blocks : int
    shared : int
        Bytes of a block.
    """

    name: str
    text: str
    images: int
    threads: int
    max_blocks: int
    job_blocks: int
    shared: int

    def blocks(self, images: int) -> int:
        """Return the main blocks for a batch of ``images``."""
        return min(-(-images // self.images), self.max_blocks)


@dataclass
class PassCode:
    """Writes a pass; a ``Writer`` for its operations."""

    program: Program
    name: str
    images: int
    threads: int
    max_blocks: int
    training: bool
    before: list[str] = field(default_factory=list)
    each: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)  # for the next launch

    def __post_init__(self) -> None:
        self._pointers: dict[str, str] = {}
        self._local = 0
        self._lasting: dict[str, tuple[str, int]] = {}
        self._row = False

    # ------------------------------------------------------------------ what operations call

    def use(self, *files: str) -> None:
        self.program.use(*files)

    def shape(self, name: str, **numbers: int) -> str:
        return self.program.shape(name, **numbers)

    def at(self, value: Value) -> str:
        name, program = self.program.names[value], self.program
        if name in self._pointers:
            return name
        c_type, size = C_NAMES[np.dtype(value.dtype).name], prod(value.shape)
        start = ""
        if isinstance(value, Saved):
            start = self.kept(name, (program.rows_of_images, size), value.dtype)
        elif value.buffer is program.plan.y.buffer and not self.training:
            start = program.argument("out", "T*", "out")
        elif value.buffer in program.kept:
            start = self.kept(f"{program.kept[value.buffer]}_kept", (program.rows_of_images, size), value.dtype)
        elif value.buffer not in program.plan.placement.offsets:  # the logits: noted as an output
            nbytes = aligned(size * np.dtype(value.dtype).itemsize * self.images)
            return self.lasting("logits", c_type, size * self.images, nbytes)
        if start:
            self._pointers[name] = f"{start} + (long long)n0 * {size}"
        else:
            offset = program.plan.placement.offsets[value.buffer] * self.images
            self._local = max(self._local, offset + program.plan.placement.sizes[value.buffer] * self.images)
            self._pointers[name] = f"({c_type}*)(shared + {offset})"
        return name

    def whole(self, value: Saved) -> str:
        return f"s.{self.program.names[value]}"

    def array(self, name: str, owner: Any, attribute: str = "data") -> str:
        return self.program.array(name, owner, attribute)

    def kept(self, name: str, shape: Sequence[int], dtype: DType) -> str:
        return self.program.kept_array(name, shape, dtype)

    def lasting(self, name: str, c_type: str, size: int, nbytes: int) -> str:
        self._lasting[name] = c_type, nbytes
        return name

    def rows(self, name: str, c_type: str, size: int, nbytes: int) -> str:
        start = self.program.rows_array(name, c_type, nbytes, self)
        pointer = name.replace("rows", "row")
        self.before.insert(0, f"{c_type}* const {pointer} = {start} + (long long)blockIdx.x * {size};")
        return pointer

    def rows_before(self, name: str) -> tuple[str, str]:
        code = self.program.writers[name]
        return f"s.{name}", f"s.blocks_{code.name}"

    def images_before(self, name: str) -> int:
        return self.program.writers[name].images

    def scratch(self, c_type: str, nbytes: int) -> str:
        self._local = max(self._local, nbytes)
        return f"({c_type}*)shared"

    def feed_row(self) -> str:
        self._row = True
        return "row"

    def job(self, blocks: int, line: str, nbytes: int) -> None:
        self.jobs.append(Job(blocks, line, nbytes))

    # ------------------------------------------------------------------ the text

    def kernel(self, jobs: Sequence[Job]) -> KernelText:
        """Return the kernel, with the jobs of the pass before."""
        offset, pointers = aligned(self._local), []
        for name, (c_type, nbytes) in self._lasting.items():
            pointers.append(f"{c_type}* const {name} = ({c_type}*)(shared + {offset});")
            offset += aligned(nbytes)
        if self._row:
            pointers.append("const unsigned long long* const row = s.table + *s.step * s.words;")
        if any("own_images" in line for line in self.after):
            own = f"images_of<I>(blockIdx.x, s.blocks_{self.name}, s.count)"
            self.after.insert(0, f"const int own_images = {own};")
        loop = [
            "const int count = min(I, s.count - n0);",
            *(f"{self._type_of(text)} const {name} = {text};" for name, text in self._pointers.items()),
        ]
        for i, line in enumerate(self.each, 1):
            loop.append(line)
            if not line.startswith("copy<") or i == len(self.each):  # what it reads stays as it is
                loop.append("__syncthreads();")
        body = [
            f"constexpr int THREADS = {self.threads}, I = {self.images};",
            "extern __shared__ __align__(16) unsigned char shared[];",
            *job_lines(f"s.blocks_{self.name}", jobs),
            *pointers,
            *self.before,
            "__syncthreads();",
            f"for (int n0 = blockIdx.x * I; n0 < s.count; n0 += s.blocks_{self.name} * I) {{",
            *(f"    {line}" for line in loop),
            "}",
            *self.after,
        ]
        text = kernel_text(self.name, self.threads, body)
        shared = max([offset, *(job.nbytes for job in jobs)])
        job_blocks = sum(job.blocks for job in jobs)
        return KernelText(self.name, text, self.images, self.threads, self.max_blocks, job_blocks, shared)

    @staticmethod
    def _type_of(text: str) -> str:
        return text[1 : text.index(")")] if text.startswith("(") else "auto*"


def job_lines(first: str, jobs: Iterable[Job]) -> list[str]:
    """Return the lines that a job block runs instead of the main blocks' lines."""
    listed = list(jobs)
    if not listed:
        return []
    lines = [f"if (blockIdx.x >= {first}) {{", f"    int job = blockIdx.x - {first};"]
    for i, job in enumerate(listed):
        if i + 1 < len(listed):
            lines += [f"    if (job < {job.blocks}) {{", f"        {job.line}", "        return;", "    }"]
            lines.append(f"    job -= {job.blocks};")
        else:
            lines.append(f"    {job.line}")
    return [*lines, "    return;", "}"]


def kernel_text(name: str, threads: int, body: Iterable[str]) -> str:
    head = f'extern "C" __global__ void __launch_bounds__({threads}, 1) {name}(const Step s)'
    return "\n".join([head, "{", *(f"    {line}" for line in body), "}"])
