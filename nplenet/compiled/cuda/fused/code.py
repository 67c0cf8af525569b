"""The text of one kernel: a pass over the batch, and beside it the jobs of the pass before.

    main blocks                                        job blocks, the first of the launch
    before   arranged weights, joined rows, zeros      a line each, such as the gradient of a dense
    loop     I images at a time, through all layers    layer over the whole batch
    after    the block's rows of sums

Shared memory of a block: first what the plan has placed, for I images; behind that what lasts from
``before`` to ``after``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ....rounding import ceil_div, round_up
from ...operation import DType, Value
from .operation import THREADS_PER_PROCESSOR, Lasting, Saved, itemsize
from .parts import Parts


def aligned(nbytes: int) -> int:
    """Round up to a multiple of 16, where any type may begin."""
    return round_up(nbytes, 16)


@dataclass(frozen=True)
class Job:
    """Blocks of their own beside the main blocks of a launch; see ``Writer.job``."""

    blocks: int
    line: str
    nbytes: int
    traffic: int
    flop: int


@dataclass(frozen=True)
class KernelText:
    """A kernel: its text and what a launch must know.

    Attributes
    ----------
    name, text : str
    images, threads : int
        Of a block.
    max_blocks : int
        Main blocks for the largest batch.
    job_blocks : int
    shared : int
        Bytes of shared memory of a block.
    flop, traffic : int
        Per image: floating-point operations in products, and bytes of global memory that are read
        or written; estimates.
    """

    name: str
    text: str
    images: int
    threads: int
    max_blocks: int
    job_blocks: int
    shared: int
    flop: int
    traffic: int

    def blocks(self, images: int) -> int:
        """Return the main blocks for a batch of ``images``."""
        return min(ceil_div(images, self.images), self.max_blocks)


@dataclass
class PassCode:
    """Writes the kernel of a pass; a ``Writer`` for its operations."""

    parts: Parts
    name: str
    images: int
    threads: int
    max_blocks: int
    crowded: bool
    before: list[str] = field(default_factory=list)
    first: list[str] = field(default_factory=list)
    each: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)  # for the next launch

    def __post_init__(self) -> None:
        self.training = self.parts.training
        self._pointers: dict[str, str] = {}  # declarations of pointers to values
        self._lasting: dict[str, tuple[str, int]] = {}
        self._in_place: dict[int, bool] = {}  # of elementwise lines, by their place in ``each``
        self._local = self._traffic = 0
        self._needs_row = False

    # ------------------------------------------------------------------ what operations call

    def elementwise(self, line: str, *, in_place: bool) -> None:
        self._in_place[len(self.each)] = in_place
        self.each.append(line)

    def use(self, *files: str) -> None:
        self.parts.use(*files)

    def shape(self, name: str, **numbers: int) -> str:
        return self.parts.shape(name, **numbers)

    def at(self, value: Value) -> str:
        parts, placement = self.parts, self.parts.plan.placement
        name, c_type = parts.names[value], parts.c_type(value.dtype)
        if name in self._pointers:
            return name
        start = parts.start_in_global_memory(value)
        if start:
            place = f"{start} + (long long)n0 * {prod(value.shape)}"
            self._traffic += value.nbytes(1)
        elif isinstance(value, Lasting) or value.buffer not in placement.offsets:
            own = name if isinstance(value, Lasting) else "logits"  # to the plan, an output
            return self.lasting(own, c_type, self.images * prod(value.shape), itemsize(value.dtype))
        else:
            offset = placement.offsets[value.buffer] * self.images
            end = offset + placement.sizes[value.buffer] * self.images
            self._local = max(self._local, end)
            place = f"({c_type}*)(shared + {offset})"
        self._pointers[name] = f"{c_type}* const {name} = {place};"
        return name

    def whole(self, value: Saved) -> str:
        return self.parts.start_in_global_memory(value)

    def array(self, name: str, owner: Any, attribute: str = "data") -> str:
        return self.parts.array(name, owner, attribute)

    def gradient(self, name: str, owner: Any, which: str) -> tuple[str, str]:
        return self.parts.gradient(name, owner, which)

    def kept(self, name: str, shape: Sequence[int], dtype: DType) -> str:
        return self.parts.kept(name, shape, dtype)

    def lasting(self, name: str, c_type: str, size: int, itemsize: int) -> str:
        self._lasting[name] = c_type, size * itemsize
        return name

    def rows(self, name: str, c_type: str, size: int, itemsize: int) -> str:
        self.parts.rows[name] = self.name, self.images
        nbytes = self.max_blocks * size * itemsize
        start = self.parts.rows_array(name, c_type, nbytes)
        row = name.replace("rows", "row")
        place = f"{start} + (long long)block * {size}"
        self.before.insert(0, f"{c_type}* const {row} = {place};")
        return row

    def rows_before(self, name: str) -> tuple[str, str]:
        return f"s.{name}", f"s.blocks_{self.parts.rows[name][0]}"

    def images_before(self, name: str) -> int:
        return self.parts.rows[name][1]

    def scratch(self, c_type: str, nbytes: int) -> str:
        self._local = max(self._local, nbytes)
        return f"({c_type}*)shared"

    def feed_row(self) -> str:
        self._needs_row = True
        return "row"

    def job(self, blocks: int, line: str, nbytes: int, reads: Sequence[Value], flop: int) -> None:
        self.jobs.append(Job(blocks, line, nbytes, sum(v.nbytes(1) for v in reads), flop))

    # ------------------------------------------------------------------ the text

    def kernel(self, jobs: Sequence[Job], flop: int) -> KernelText:
        """Return the kernel, with the jobs of the pass before; ``flop`` are its own, per image."""
        offset, pointers = aligned(self._local), []
        for name, (c_type, nbytes) in self._lasting.items():
            pointers.append(f"{c_type}* const {name} = ({c_type}*)(shared + {offset});")
            offset += aligned(nbytes)
        if self._needs_row:
            pointers.append("const unsigned long long* const row = s.table + *s.step * s.words;")
        if self.training and self.name == "pass1":  # what the launches behind it read of this step
            pointers.append(
                "if (block == 0) for (int w = threadIdx.x; w < s.words; w += THREADS)"
                " s.now[w] = row[w];"
            )
        body = [
            f"constexpr int THREADS = {self.threads}, I = {self.images};",
            "extern __shared__ __align__(16) unsigned char shared[];",
            *job_lines(jobs, f"s.blocks_{self.name}"),
            *pointers,
            *self.before,
            "__syncthreads();",
            f"for (int n0 = block * I; n0 < s.count; n0 += s.blocks_{self.name} * I) {{",
            *(f"    {line}" for line in self._loop()),
            "}",
            *self._end(),
        ]
        return KernelText(
            self.name,
            kernel_text(self.name, self.threads, body),
            self.images,
            self.threads,
            self.max_blocks,
            sum(job.blocks for job in jobs),
            max([offset, *(job.nbytes for job in jobs)]),
            flop + sum(job.flop for job in jobs),
            self._traffic + sum(job.traffic for job in jobs),
        )

    def _loop(self) -> list[str]:
        # A count of one as a constant: the compiler unrolls the loops over it.
        one = "constexpr int count = 1;"
        lines = [one if self.images == 1 else "const int count = min(I, s.count - n0);"]
        lines += self._pointers.values()
        lines += self.first
        moved = False  # whether a line since the last barrier reads where it does not write
        for i, line in enumerate(self.each):
            lines += line.split("\n")
            moved |= not self._in_place.get(i, False)
            if i + 1 == len(self.each) or self._needs_barrier(i, moved):
                lines.append("__syncthreads();")
                moved = False
        return lines

    def _needs_barrier(self, i: int, moved: bool) -> bool:
        """Return whether the line after line i of ``each`` must wait for other threads."""
        if self.each[i].startswith("copy<"):
            return False
        both_elementwise = {i, i + 1} <= self._in_place.keys()
        return not both_elementwise or (moved and not self._in_place[i + 1])

    def _end(self) -> list[str]:
        if not any("own_images" in line for line in self.after):
            return self.after
        own = f"Shares<I>(s.blocks_{self.name}, s.count).of(block)"
        return [f"const int own_images = {own};", *self.after]


def job_lines(jobs: Sequence[Job], blocks: str) -> list[str]:
    """Return what the job blocks run; the first ``blocks`` of the launch pass, each a ``block``.

    Main blocks come first, because they take longer; jobs fill up behind them.
    """
    if not jobs:
        return ["const int block = blockIdx.x;"]
    lines, begin = [f"const int block = blockIdx.x, job = block - {blocks};"], 0
    for job in jobs:
        own = job.line if begin == 0 else job.line.replace("(job,", f"(job - {begin},")
        end = begin + job.blocks
        lines += [f"if (job >= {begin} && job < {end}) {{", f"    {own}", "    return;", "}"]
        begin = end
    return lines


def kernel_text(name: str, threads: int, body: Iterable[str]) -> str:
    """Return a kernel. Its registers allow all threads of a multiprocessor: 128 for each of 512."""
    bounds = f"__launch_bounds__({threads}, {THREADS_PER_PROCESSOR // threads})"
    head = f'extern "C" __global__ void {bounds} {name}(const Step s)'
    return "\n".join([head, "{", *(f"    {line}" for line in body), "}"])
