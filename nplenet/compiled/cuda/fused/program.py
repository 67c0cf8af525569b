"""From a plan to the text of a module, and what its kernels need: arrays, arguments, launches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ....backend import Array
from ....backend.launch import C_NAMES, kernel_source
from ...operation import Buffer, DType, Value
from ...passes import Part, Work
from ...plan import Plan
from .code import Job, KernelText, PassCode, job_lines, kernel_text
from .dense import THREADS as DENSE_THREADS
from .operation import FusedOperation, ceil_div

MAX_IMAGES = 8  # of a block at a time: eight accumulators per output of a dense layer
BLOCKS_PER_PROCESSOR = 2  # main blocks of a launch, at most: each then leaves one row of sums
ORDER = (
    "common head conv conv_gradient sums average_pool max_pool dense dense_gradient activation "
    "dropout norm loss finish"
).split()
"""Files of ``kernels/fused``, each after those it uses."""

FEED = {
    "images": "const Source*",
    "order": "const int*",
    "coefficients": "const int*",
    "inverted": "const unsigned char*",
    "gray": "const unsigned char*",
    "labels": "const long long*",
    "table": "const unsigned long long*",
    "now": "unsigned long long*",
    "step": "long long*",
    "losses": "double*",
    "correct": "long long*",
    "fault": "long long*",
}
"""Pointers that the feed gives; see ``Feed``."""

SOURCES = {"uint8": "unsigned char", "float32": "float", "float64": "double"}


@dataclass(frozen=True)
class Device:
    """What a program depends on: bytes of shared memory of a block, and multiprocessors."""

    shared: int
    processors: int


@dataclass
class Argument:
    """A member of the kernels' one argument.

    ``source`` is a function that returns an array of the model, or the shape and dtype of an array
    that the step makes, or None for what each call gives.
    """

    c_type: str
    source: Any = None


@dataclass(frozen=True)
class Made:
    """An array of the step's own."""

    shape: tuple[int, ...]
    dtype: str


class Program:
    """The kernels of a plan.

    Attributes
    ----------
    arguments : dict of str to Argument
        Members of ``Step``, in order.
    kernels : list of KernelText
        In the order of their launches.
    """

    def __init__(
        self, plan: Plan, device: Device, batch_size: int, dtype: DType, training: bool
    ) -> None:
        self.plan, self.device, self.batch_size = plan, device, batch_size
        self.dtype, self.training = np.dtype(dtype), training
        self.rows_of_images = ceil_div(batch_size, MAX_IMAGES) * MAX_IMAGES
        self.arguments = {name: Argument(c_type) for name, c_type in FEED.items()}
        self.arguments |= {"scale": Argument("double"), "count": Argument("int")}
        self.arguments |= {"fill": Argument("int"), "words": Argument("int")}
        self.names: dict[Value, str] = {}
        self.kept: dict[Buffer, str] = {}
        self.writers: dict[str, PassCode] = {}
        self._shapes: dict[str, dict[str, int]] = {}
        self._files = {"common"}
        self._name_values()
        self.kernels = self._write()

    def _name_values(self) -> None:
        for i, operation in enumerate(self.plan.operations):
            operation.label = f"{operation.name.lower()}{i}"
        every: list[Any] = [*self.plan.operations, *filter(None, [self.plan.loss])]
        for operation in every:
            for attribute, value in vars(operation).items():
                if isinstance(value, Value) and attribute not in ("x", "dy"):
                    self.names.setdefault(value, f"{operation.label}_{attribute}")
        passes: dict[Buffer, set[int]] = {}
        for number, each in enumerate(self.plan.passes):
            for work in each.works:
                for value in filter(None, work.operation.uses(work.part)):
                    passes.setdefault(value.buffer, set()).add(number)
        for value, name in self.names.items():
            if len(passes.get(value.buffer, ())) > 1 and not value.buffer.scratch:
                self.kept.setdefault(value.buffer, name)

    def _write(self) -> list[KernelText]:
        kernels: list[KernelText] = []
        jobs: list[Job] = []
        for number, each in enumerate(self.plan.passes, 1):
            name = f"pass{number}"
            operations = [work.operation for work in each.works]
            images = self._images(operations)
            blocks = min(
                ceil_div(self.batch_size, images), BLOCKS_PER_PROCESSOR * self.device.processors
            )
            code = PassCode(self, name, images, threads_of(each.works), blocks, self.training)
            self.arguments[f"blocks_{name}"] = Argument("int")
            for work in each.works:
                work.operation.write(work.part, code)
            kernels.append(code.kernel(jobs))
            jobs = code.jobs
        if self.training:
            kernels.append(self._finish(jobs))
        return kernels

    def _images(self, operations: Sequence[Any]) -> int:
        """Return how many images a block takes at a time in a pass."""
        fused = [each for each in operations if isinstance(each, FusedOperation)]
        if any(each.convolves for each in fused) or not any(
            each.multiplies_matrix for each in fused
        ):
            return 1
        images = 1
        while images < MAX_IMAGES and 2 * images * self.device.processors <= self.batch_size:
            images *= 2
        return images

    def _finish(self, jobs: Sequence[Job]) -> KernelText:
        self.use("loss", "finish")
        rows = self.writers["loss_rows"]
        arguments = (
            f"s.loss_rows, s.blocks_{rows.name}, s.scale, s.labels, s.table, s.words, s.now, s.step, "
            "s.losses, s.correct, s.fault"
        )
        threads = 256
        body = [
            f"constexpr int THREADS = {threads};",
            "extern __shared__ __align__(16) unsigned char shared[];",
            *job_lines("1", jobs),
            f"count_step<THREADS>({arguments});",
        ]
        shared = max([16, *(job.nbytes for job in jobs)])
        text = kernel_text("finish", threads, body)
        return KernelText(
            "finish", text, self.batch_size, threads, 1, sum(j.blocks for j in jobs), shared
        )

    # ------------------------------------------------------------------ what kernels are made of

    def use(self, *files: str) -> None:
        self._files.update(files)

    def shape(self, name: str, **numbers: int) -> str:
        """Define a struct of constants; the same name always has the same ones."""
        if self._shapes.setdefault(name, numbers) != numbers:
            raise ValueError(f"two shapes are named {name}")
        return name

    def argument(self, name: str, c_type: str, source: Any = None) -> str:
        self.arguments.setdefault(name, Argument(c_type, source))
        return f"s.{name}"

    def array(self, name: str, owner: Any, attribute: str) -> str:
        """Return the member that points to an array of the model, wherever that is at a launch."""
        c_type = "long long*" if getattr(owner, attribute).dtype.kind == "i" else "T*"
        return self.argument(name, c_type, partial(getattr, owner, attribute))

    def kept_array(self, name: str, shape: Sequence[int], dtype: DType) -> str:
        kind = np.dtype(dtype)
        c_type = {"u": "unsigned char*", "i": "int*"}.get(kind.kind)
        if c_type is None:
            c_type = "T*" if kind == self.dtype else "double*"
        return self.argument(name, c_type, Made(tuple(shape), kind.str))

    def rows_array(self, name: str, c_type: str, nbytes: int, code: PassCode) -> str:
        """Return the member that points to the rows that the blocks of a pass leave."""
        self.writers[name] = code
        return self.argument(name, f"{c_type}*", Made((code.max_blocks * nbytes,), "u1"))

    def text(self, source: str) -> str:
        """Return the module for images of a dtype."""
        lines = [f"typedef {C_NAMES[self.dtype]} T;", f"typedef {SOURCES[source]} Source;"]
        files = [kernel_source(f"fused/{name}") for name in ORDER if name in self._files]
        shapes = [
            f"struct {name} {{ static constexpr int "
            + ", ".join(f"{key} = {number}" for key, number in numbers.items())
            + "; };"
            for name, numbers in self._shapes.items()
        ]
        members = [f"    {each.c_type} {name};" for name, each in self.arguments.items()]
        step = ["struct Step {", *members, "};"]
        texts = [kernel.text for kernel in self.kernels]
        return "\n".join([*lines, "", *files, *shapes, "", *step, "", *texts, ""])

    def too_large(self) -> KernelText | None:
        """Return the first kernel that needs more shared memory than the device has."""
        return next((k for k in self.kernels if k.shared > self.device.shared), None)


def threads_of(works: Sequence[Work]) -> int:
    """Return the threads of a block: more where a pass has weights to share out."""
    for operation, part in works:
        dense = getattr(operation, "multiplies_matrix", False)
        if dense or (part is Part.BACKWARD and operation.convolves):
            return DENSE_THREADS
    return 256


def argument_dtype(arguments: dict[str, Argument]) -> np.dtype[Any]:
    """Return the dtype whose bytes are the kernels' argument."""
    kinds = {"int": "i4", "double": "f8"}
    fields = [(name, kinds.get(each.c_type, "u8")) for name, each in arguments.items()]
    return np.dtype(fields, align=True)


def value_of(array: Array | None) -> int:
    """Return a pointer."""
    return 0 if array is None else int(array.data.ptr)


