"""What a compiled step may choose without changing its mathematics.

The values decide in which order numbers are added, so results differ in their last bits between
machines that chose differently; a run that must be repeated fixes them. ``search`` finds the best,
``tuning_cache`` keeps them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...checks import count
from ...machine import blas

AVX512 = ("SkylakeX", "Cooperlake", "SapphireRapids")  # as OpenBLAS names its kernels

LIMITS = {
    "lanes": (1, 4096),  # a chunk of LeNet-5 then has 80 MB in its largest layer
    "feature_lanes": (1, 1 << 16),
    "gemm_limit": (1, 10**12),
    "transpose": (0, 1),
    "tile_channels": (0, 1 << 16),
    "buffer_size": (16, 10**7),  # NumPy's limit
    "threads": (1, 256),
    "worker_images": (1, 1 << 16),
    "worker_images_for_features": (1, 1 << 16),
    "head_start": (0, 1 << 16),
}


class MinImages(NamedTuple):
    """From how many images a worker of its own pays, and from how many in dense layers too.

    Below the second number one worker does all features: they take many short calls, between which
    threads wait for each other.
    """

    per_worker: int
    per_worker_for_features: int


@dataclass(frozen=True)
class Tunables:
    """The choices of a compiled step.

    Attributes
    ----------
    lanes : int
        Images in a chunk. Fewer keep a chunk's arrays in the cache, more make longer rows.
    feature_lanes : int
        Images in a chunk of features, behind ``Flatten``; rounded down to a multiple of ``lanes``.
    gemm_limit : int
        Largest number of multiply-adds in one product of the forward of a convolution. OpenBLAS
        runs a product of up to 10^6 without packing its operands into another order first.
    transpose : 0 or 1
        Whether a convolution brings its operands into the order that suits OpenBLAS's kernels for
        AVX-512; see ``Conv2dLanes.weight_gradient``.
    tile_channels : int
        Output channels up to which a convolution before a fused pooling computes its rows by
        tiles; see ``choose.enlarge``.
    buffer_size : int
        ``numpy.setbufsize`` during a step. NumPy copies rows shorter than half of its buffer
        through it, which takes twice as long for the rows of a chunk.
    threads : int
        Workers that share a step, processes or threads; see ``workers``.
    worker_images, worker_images_for_features : int
        From how many images a worker of its own pays; see ``min_images``.
    head_start : int
        How many more images worker 0 has than the others if each has one chunk: a thread wakes up
        late.
    """

    lanes: int = 32
    feature_lanes: int = 256
    gemm_limit: int = 10**6
    transpose: int = 1
    tile_channels: int = 8
    buffer_size: int = 1024
    threads: int = 1
    worker_images: int = 32
    worker_images_for_features: int = 64
    head_start: int = 4

    def __post_init__(self) -> None:
        for name, limits in LIMITS.items():
            count(getattr(self, name), f"tunables: {name}", *limits)
        if self.buffer_size % 16:
            raise ValueError(
                f"tunables: buffer_size must be a multiple of 16, got {self.buffer_size}"
            )

    def min_images(self, training: bool, features_follow_a_barrier: bool) -> MinImages:
        """Return from how many images a worker pays, for a kind of plan.

        Workers of inference never wait. In training, features behind a barrier can be one worker's;
        without that barrier no worker may skip them, so it must pay in them too.
        """
        own, features = self.worker_images, self.worker_images_for_features
        if not training:
            return MinImages(own, own)
        return MinImages(own if features_follow_a_barrier else features, features)

    def as_dict(self) -> dict[str, int]:
        """Return plain numbers, ready for JSON."""
        return dataclasses.asdict(self)


def checked(values: Mapping[str, Any]) -> Tunables:
    """Return the tunables that ``values`` names, with the others as they are by default.

    Raises
    ------
    TypeError, ValueError
        For an unknown name or a number out of range.
    """
    known = [field.name for field in dataclasses.fields(Tunables)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"tunables: unknown {unknown}, expected some of {known}")
    return Tunables(**values)


def blas_has_avx512_kernels() -> bool:
    """Say whether NumPy's BLAS is an OpenBLAS that runs its kernels for AVX-512."""
    return any(kernels in blas() for kernels in AVX512)
