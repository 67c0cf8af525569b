"""From a plan to the text of a module, and what its kernels need: arrays and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....backend.launch import C_NAMES, kernel_source
from ...operation import DType
from ...passes import Part, Work
from ...plan import Plan
from .code import Job, KernelText, PassCode, job_lines, kernel_text
from .dense import THREADS as DENSE_THREADS
from .operation import FusedOperation, ceil_div
from .parts import MAX_IMAGES, Parts

BLOCKS_PER_PROCESSOR = 2  # main blocks of a launch, at most; each leaves one row of sums
THREADS = 256  # of a block without matrices

FILES = (
    *("common", "head", "conv", "conv_gradient", "sums", "average_pool", "max_pool", "dense"),
    *("dense_gradient", "activation", "dropout", "norm", "loss", "finish"),
)
"""Files of ``kernels/fused``, each behind those it uses."""

SOURCES = {"uint8": "unsigned char", "float32": "float", "float64": "double"}


@dataclass(frozen=True)
class Device:
    """What a program depends on.

    Attributes
    ----------
    shared : int
        Bytes of shared memory that a block may have.
    processors : int
        Multiprocessors.
    """

    shared: int
    processors: int


class Program:
    """The kernels of a plan.

    Attributes
    ----------
    plan : Plan
    parts : Parts
    kernels : list of KernelText
        In the order of their launches.
    """

    def __init__(
        self, plan: Plan, device: Device, batch_size: int, dtype: DType, training: bool
    ) -> None:
        self.plan, self.device, self.batch_size = plan, device, batch_size
        self.dtype, self.training = np.dtype(dtype), training
        self.parts = Parts(plan, batch_size, self.dtype, training)
        self.kernels = self._write()

    def _write(self) -> list[KernelText]:
        kernels: list[KernelText] = []
        jobs: list[Job] = []
        for number, each in enumerate(self.plan.passes, 1):
            name, images = f"pass{number}", self._images(each.works)
            wanted = ceil_div(self.batch_size, images)
            blocks = min(wanted, BLOCKS_PER_PROCESSOR * self.device.processors)
            threads = threads_of(each.works)
            code = PassCode(self.parts, name, images, threads, blocks)
            self.parts.argument(f"blocks_{name}", "int")
            for operation, part in each.works:
                operation.write(part, code)
            kernels.append(code.kernel(jobs, sum(map(flop_of, each.works))))
            jobs = code.jobs
        return [*kernels, self._finish(jobs)] if self.training else kernels

    def _images(self, works: Sequence[Work]) -> int:
        """Return how many images a block takes at a time in a pass.

        More than one where weights are read once per group, if all multiprocessors have a group.
        """
        fused = [op for op, _ in works if isinstance(op, FusedOperation)]
        if any(op.convolves for op in fused) or not any(op.multiplies_matrix for op in fused):
            return 1
        images = 1
        while images < MAX_IMAGES and 2 * images * self.device.processors <= self.batch_size:
            images *= 2
        return images

    def _finish(self, jobs: Sequence[Job]) -> KernelText:
        """Return the last kernel: one block counts, the others do the jobs of the last pass."""
        self.parts.use("loss", "finish")
        loss_pass, _ = self.parts.rows["loss_rows"]
        body = [
            f"constexpr int THREADS = {THREADS};",
            "extern __shared__ __align__(16) unsigned char shared[];",
            *job_lines(jobs),
            "if (block > 0) return;",
            f"count_step<THREADS>(s.loss_rows, s.blocks_{loss_pass}, s.scale, s.labels, s.table,",
            "                    s.words, s.now, s.step, s.losses, s.correct, s.fault);",
        ]
        return KernelText(
            "finish",
            kernel_text("finish", THREADS, body),
            self.batch_size,
            THREADS,
            1,
            sum(job.blocks for job in jobs),
            max([16, *(job.nbytes for job in jobs)]),
            sum(job.flop for job in jobs),
            sum(job.traffic for job in jobs),
        )

    def text(self, source: str) -> str:
        """Return the module for images of a dtype."""
        types = [f"typedef {C_NAMES[self.dtype]} T;", f"typedef {SOURCES[source]} Source;", ""]
        files = [kernel_source(f"fused/{name}") for name in FILES if name in self.parts.files]
        kernels = [f"{kernel.text}\n" for kernel in self.kernels]
        return "\n".join([*types, *files, *self.parts.structs(), *kernels])

    def too_large(self) -> KernelText | None:
        """Return the first kernel that needs more shared memory than the device has."""
        return next((k for k in self.kernels if k.shared > self.device.shared), None)


def threads_of(works: Sequence[Work]) -> int:
    """Return the threads of a block: more where it reads matrices, whose latency they hide."""
    dense = any(getattr(operation, "multiplies_matrix", False) for operation, _ in works)
    return DENSE_THREADS if dense else THREADS


def flop_of(work: Work) -> int:
    """Return the floating-point operations of products per image, without those of jobs."""
    operation, part = work
    if not isinstance(operation, FusedOperation) or part in (Part.STATISTICS, Part.GRADIENT_SUMS):
        return 0
    products = 1
    if part is Part.BACKWARD:
        products = int(operation.dx is not None) + operation.convolves
    return 2 * products * operation.layer.multiply_adds((1, *operation.x.shape))
