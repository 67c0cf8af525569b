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

from threadpoolctl import threadpool_info

from ...checks import count

AVX512 = ("SkylakeX", "Cooperlake", "SapphireRapids")  # as OpenBLAS names its kernels

LIMITS = {
    "lanes": (1, 4096),  # a chunk of LeNet-5 then has 80 MB in its largest layer
    "feature_lanes": (1, 1 << 16),
    "gemm_limit": (1, 10**12),
    "transpose": (0, 1),
    "tile_channels": (0, 1 << 16),
    "buffer_size": (16, 10**7),  # NumPy's limit
    "threads": (1, 256),
    "thread_images": (1, 1 << 16),
    "thread_images_for_features": (1, 1 << 16),
}


class MinImages(NamedTuple):
    """From how many images a thread of its own pays, and from how many in dense layers too.

    Below the second number one thread does all features: they take many short calls, between which
    threads wait for each other.
    """

    per_thread: int
    per_thread_for_features: int


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
        tiles; see ``choose.tile_for``.
    buffer_size : int
        ``numpy.setbufsize`` during a step. NumPy copies rows shorter than half of its buffer
        through it, which takes twice as long for the rows of a chunk.
    threads : int
        Threads that share a step; see ``workers``.
    thread_images, thread_images_for_features : int
        From how many images a thread of its own pays; see ``min_images``.
    """

    lanes: int = 32
    feature_lanes: int = 256
    gemm_limit: int = 10**6
    transpose: int = 1
    tile_channels: int = 8
    buffer_size: int = 1024
    threads: int = 1
    thread_images: int = 32
    thread_images_for_features: int = 64

    def __post_init__(self) -> None:
        for name, limits in LIMITS.items():
            count(getattr(self, name), f"tunables: {name}", *limits)
        if self.buffer_size % 16:
            raise ValueError(
                f"tunables: buffer_size must be a multiple of 16, got {self.buffer_size}"
            )

    def min_images(self, training: bool, features_follow_a_barrier: bool) -> MinImages:
        """Return from how many images a thread pays, for a kind of plan.

        Threads of inference never wait. In training, features behind a barrier can be one thread's;
        without that barrier no thread may skip them, so a thread must pay in them too.
        """
        own, features = self.thread_images, self.thread_images_for_features
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
    return any(pool.get("architecture") in AVX512 for pool in threadpool_info())
