"""From a plan to the text of a module, and what its kernels need: arrays and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....backend.launch import C_NAMES, kernel_source
from ....rounding import ceil_div
from ...operation import DType
from ...passes import Part, Work
from ...plan import Plan
from .code import Job, KernelText, PassCode, job_lines, kernel_text
from .first import FirstConv
from .operation import THREADS_PER_PROCESSOR, FusedOperation
from .parts import MAX_IMAGES, Parts, argument_dtype
from .update import Update

THREADS = 256  # of a block, where two of them are to share a multiprocessor

MAX_ARGUMENT_BYTES = 4096  # of a kernel, before CUDA 12.1
RESERVED = 1024  # bytes of shared memory that each block has beside its own

FILES = (
    *("common", "update", "head", "conv", "conv_gradient", "sums", "average_pool", "max_pool"),
    *("dense", "dense_gradient", "activation", "dropout", "cells", "join_rows", "norm_statistics"),
    *("norm", "norm_gradient", "window_moments", "first_norm", "loss", "finish"),
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
    first : FirstConv or None
        A first convolution that takes moments.
    opening : list of KernelText
        Launched once for some steps that follow each other, with as many blocks for each step.
    kernels : list of KernelText
        Of a step, in the order of their launches.
    """

    def __init__(
        self,
        plan: Plan,
        device: Device,
        batch_size: int,
        dtype: DType,
        training: bool,
        update: Update | None = None,
    ) -> None:
        self.plan, self.device, self.batch_size = plan, device, batch_size
        self.dtype, self.training = np.dtype(dtype), training
        self.parts = Parts(plan, batch_size, self.dtype, training, update)
        firsts = [each for each in plan.operations if isinstance(each, FirstConv)]
        self.first = firsts[0] if firsts else None
        self.opening: list[KernelText] = []
        if self.first is not None:
            self.opening = self.first.moments.kernels(self.parts, batch_size)
        self.kernels = self._write()

    def _write(self) -> list[KernelText]:
        kernels: list[KernelText] = []
        jobs: list[Job] = []
        for number, each in enumerate(self.plan.passes, 1):
            name, threads = f"pass{number}", self._threads(each.works)
            images = min(MAX_IMAGES, self._images(each.works, threads))
            most = THREADS_PER_PROCESSOR // threads * self.device.processors
            blocks = min(ceil_div(self.batch_size, images), most)
            code = PassCode(self.parts, name, images, threads, blocks, crowded(each.works))
            self.parts.argument(f"blocks_{name}", "int")
            for operation, part in each.works:
                operation.write(part, code)
            kernels.append(code.kernel(jobs, sum(map(flop_of, each.works))))
            jobs = code.jobs
        return [*kernels, self._finish(jobs)] if self.training else kernels

    def _images(self, works: Sequence[Work], threads: int) -> int:
        """Return how many images a block takes at a time in a pass: a power of 2.

        Where matrices are read once per group of images, as few as make a group for each
        multiprocessor. With a convolution one, or as many as leave each block a group and
        have room: then the same barriers and waits serve several.
        """
        fused = [op for op, _ in works if isinstance(op, FusedOperation)]
        processors, images = self.device.processors, 1
        if any(op.convolves for op in fused):
            most = self.batch_size // (THREADS_PER_PROCESSOR // threads * processors)
            room = self.device.shared // 2 // (THREADS_PER_PROCESSOR // threads)
            while 2 * images <= most and 2 * images * self._bytes_per_image(works) <= room:
                images *= 2
        elif any(op.multiplies_matrix for op in fused):
            while images < MAX_IMAGES and images * processors < self.batch_size:
                images *= 2
        return images

    def _bytes_per_image(self, works: Sequence[Work]) -> int:
        """Return the shared memory of a pass that grows with the images."""
        placement, ends = self.plan.placement, [0]
        for operation, part in works:
            for value in filter(None, operation.uses(part)):
                begin, size = (a.get(value.buffer, 0) for a in (placement.offsets, placement.sizes))
                ends.append(begin + size)
        fused = [(op, part) for op, part in works if isinstance(op, FusedOperation)]
        return max(ends) + sum(op.frame_bytes(part) for op, part in fused)

    def _threads(self, works: Sequence[Work]) -> int:
        """Return the threads of a block; where it reads matrices, all: they hide the latency."""
        if any(getattr(operation, "multiplies_matrix", False) for operation, _ in works):
            return THREADS_PER_PROCESSOR
        return threads_of_block(self.batch_size, self.device)

    def _finish(self, jobs: Sequence[Job]) -> KernelText:
        """Return the last kernel: one block counts, the others do the jobs of the last pass."""
        self.parts.use("loss", "finish")
        loss_pass, _ = self.parts.rows["loss_rows"]
        body = [
            f"constexpr int THREADS = {THREADS};",
            "extern __shared__ __align__(16) unsigned char shared[];",
            *job_lines(jobs, "1"),
            f"count_step<THREADS>(s.loss_rows, s.blocks_{loss_pass}, s.scale, s.labels, s.now,",
            "                    s.step, s.losses, s.correct, s.fault);",
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
        kernels = [f"{kernel.text}\n" for kernel in (*self.opening, *self.kernels)]
        return "\n".join([*types, *files, *self.parts.structs(), *kernels])

    @property
    def argument_bytes(self) -> int:
        """Size of the kernels' argument."""
        return int(argument_dtype(self.parts.arguments).itemsize)

    @property
    def can_run(self) -> bool:
        """Whether the device can launch the kernels."""
        return self.too_large() is None and self.argument_bytes <= MAX_ARGUMENT_BYTES

    @property
    def has_room(self) -> bool:
        """Whether a multiprocessor has room for as many blocks as are to share it."""
        room = self.device.shared + RESERVED
        blocks = [(THREADS_PER_PROCESSOR // k.threads, k.shared + RESERVED) for k in self.kernels]
        return all(number * nbytes <= room for number, nbytes in blocks)

    def too_large(self) -> KernelText | None:
        """Return the first kernel that needs more shared memory than the device has."""
        return next(
            (k for k in (*self.opening, *self.kernels) if k.shared > self.device.shared), None
        )


def crowded(works: Sequence[Work]) -> bool:
    """Return whether a pass has operations that need most of the registers."""
    fused = [(op, part) for op, part in works if isinstance(op, FusedOperation)]
    return any(
        op.multiplies_matrix or (part is Part.BACKWARD and op.convolves and op.dx is not None)
        for op, part in fused
    )


def threads_of_block(batch_size: int, device: Device) -> int:
    """Return the threads of a block that reads no matrices.

    All of a multiprocessor where the block would be alone there, half of them otherwise: what one
    block waits for, another one hides.
    """
    return THREADS_PER_PROCESSOR if batch_size <= device.processors else THREADS


def flop_of(work: Work) -> int:
    """Return the floating-point operations of products per image, without those of jobs."""
    operation, part = work
    if not isinstance(operation, FusedOperation) or part in (Part.STATISTICS, Part.GRADIENT_SUMS):
        return 0
    products = 1
    if part is Part.BACKWARD:
        products = int(operation.dx is not None) + operation.convolves
    return 2 * products * operation.layer.multiply_adds((1, *operation.x.shape))
