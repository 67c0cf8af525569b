"""The programs of a training step: one for any images, and one with fewer passes for bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....layers import Layer
from ....losses import CrossEntropyLoss
from ..feed import Feed
from .choose import make_program, works_of
from .program import Device, Program
from .update import Update


class Training:
    """The programs of a training step.

    Attributes
    ----------
    any : Program
        For images of any dtype.
    on_bytes : Program or None
        With fewer passes, for images of bytes; None where there is none for the chain, or the
        device cannot launch its larger kernels.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        image_shape: Sequence[int],
        dtype: Any,
        loss: CrossEntropyLoss,
        batch_size: int,
        device: Device,
        update: Update | None = None,
    ) -> None:
        arguments = (layers, image_shape, dtype, loss, batch_size, device, update)
        self.any = make_program(*arguments)
        on_bytes = make_program(*arguments, moments=True)
        self.on_bytes = on_bytes if on_bytes.first is not None and on_bytes.can_run else None

    def program_for(self, feed: Feed) -> Program:
        """Return the program for the images of a feed."""
        if self.on_bytes is None or feed.images.dtype != np.uint8:
            return self.any
        assert self.on_bytes.first is not None
        mixed = self.on_bytes.first.padded and feed.normal is not None
        return self.any if mixed else self.on_bytes


def describe(program: Program) -> list[str]:
    """Return a line per kernel, and one with its blocks, threads and shared memory."""
    lines = []
    for k in (*program.opening, *program.kernels):
        images = f", {k.images} images at a time" if k.images > 1 else ", an image at a time"
        images = images if k.name.startswith("pass") else ""
        beside = f"; {k.job_blocks} more for gradients" if k.job_blocks else ""
        blocks = "1 block" if k.max_blocks == 1 else f"up to {k.max_blocks} blocks"
        blocks = f"for each step {blocks}" if k in program.opening else blocks
        lines.append(f"{k.name}: {works_of(program, k.name)}")
        lines.append(
            f"    {blocks} of {k.threads} threads{images}{beside}; "
            f"{k.shared / 1e3:.1f} kB of shared memory"
        )
    return lines
