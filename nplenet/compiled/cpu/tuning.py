"""What a compiled step may choose without changing its mathematics, and how it chooses.

The values decide in which order numbers are added, so results differ in their last bits between
machines that chose differently; a run that must be repeated fixes them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_info

from ...checks import count
from ...files import atomic_write, read_json, user_cache
from ...machine import processor, usable_cores
from ...schema import fields, mapping, text, whole
from .kinds import why_threads

CANDIDATES = {
    "threads": (2, 4),  # those that have a core each
    "lanes": (32, 64, 128),
    "feature_lanes": (256, 64),
    "gemm_limit": (10**6, 10**9),
    "buffer_size": (1024, 512, 8192),
}
AVX512 = ("SkylakeX", "Cooperlake", "SapphireRapids")  # as OpenBLAS names its kernels
MAX_TIME_RATIO = 0.97  # of the best time so far; a smaller saving is noise


LIMITS = {
    "lanes": (1, 4096),  # a chunk of LeNet-5 then has 80 MB in its largest layer
    "feature_lanes": (1, 1 << 16),
    "gemm_limit": (1, 10**12),
    "transpose": (0, 1),
    "buffer_size": (16, 10**7),  # NumPy's limit
    "threads": (1, 256),
    "even": (0, 1),
}
MAX_CACHE_BYTES = 1 << 16
CACHE = fields({"machine": mapping(text), "tunables": mapping(whole())})


class MinImages(NamedTuple):
    """From how many images a thread of its own pays, and from how many in dense layers too.

    Below the second number one thread does all features: they take many short calls, between which
    threads wait for each other. ``head_start`` is how many more images worker 0 has than the others
    if each has one chunk: a thread wakes up late.
    """

    per_thread: int
    per_thread_for_features: int
    head_start: int = 4


MIN_IMAGES_PER_THREAD = MinImages(32, 64)
MIN_IMAGES_PER_THREAD_WITHOUT_BARRIER = MinImages(64, 64)  # before features: no thread waits anyway
MIN_IMAGES_PER_THREAD_IN_INFERENCE = MinImages(32, 32)
MIN_IMAGES_PER_PROCESS = MinImages(16, 16, head_start=0)  # 32 images: 1.58 ms on two, 1.80 on one


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
        AVX-512; see ``Conv2dLanes.weight_gradient``. Not tuned: inferred from the OpenBLAS kernel
        name.
    buffer_size : int
        ``numpy.setbufsize`` during a step. NumPy copies rows shorter than half of its buffer
        through it, which takes twice as long for the rows of a chunk.
    threads : int
        Workers that share a step, processes or threads; see ``workers``.
    even : 0 or 1
        Whether they share it evenly, which suits processes; see ``MinImages`` for what suits
        threads. Not tuned: inferred from what workers there can be.
    """

    lanes: int = 32
    feature_lanes: int = 256
    gemm_limit: int = 10**6
    transpose: int = 1
    buffer_size: int = 1024
    threads: int = 1
    even: int = 0

    def __post_init__(self) -> None:
        for name, limits in LIMITS.items():
            count(getattr(self, name), f"tunables: {name}", *limits)
        if self.buffer_size % 16:
            raise ValueError(
                f"tunables: buffer_size must be a multiple of 16, got {self.buffer_size}"
            )

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


def tuned(measure: Callable[[Tunables], float]) -> Tunables:
    """Return the tunables found on this machine before, or find and keep them.

    Parameters
    ----------
    measure : callable
        Takes tunables, returns the seconds per step with them.
    """
    path = cache_file()
    if path is None:
        return search(measure)
    with contextlib.suppress(OSError, ValueError):  # absent, damaged, or of another machine
        return _kept(path)
    best = search(measure)
    with contextlib.suppress(OSError):  # a folder that can't be written: measured again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            record = {"machine": machine(), "tunables": best.as_dict()}
            file.write(json.dumps(record, indent=2).encode())
    return best


def _kept(path: Path) -> Tunables:
    """Return the tunables in a cache file; raise an error if they are not of this machine."""
    record = read_json(path, MAX_CACHE_BYTES)
    CACHE(record, "")
    if record["machine"] != machine():
        raise ValueError("they are another machine's")
    return checked(record["tunables"])


def search(measure: Callable[[Tunables], float]) -> Tunables:
    """Return the best tunables, choosing one after the other."""
    best = Tunables(transpose=int(blas_has_avx512_kernels()), even=int(not why_threads()))
    shortest = measure(best)
    for name, values in CANDIDATES.items():
        for value in values:
            candidate = dataclasses.replace(best, **{name: value})
            if candidate == best or candidate.threads > usable_cores():
                continue
            seconds = measure(candidate)
            if seconds < MAX_TIME_RATIO * shortest:
                best, shortest = candidate, seconds
    return best


def blas_has_avx512_kernels() -> bool:
    """Say whether NumPy's BLAS is an OpenBLAS that runs its kernels for AVX-512."""
    return any(pool.get("architecture") in AVX512 for pool in threadpool_info())


def machine() -> dict[str, str]:
    """Return what the best tunables depend on."""
    blas = [
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return {
        "cpu": processor(),
        "cores": str(usable_cores()),
        "numpy": np.__version__,
        "blas": ", ".join(sorted(blas)),
        "workers": "threads" if why_threads() else "processes",
    }


def cache_file() -> Path | None:
    """Return where this machine's tunables are kept; None for a user without a home."""
    key = hashlib.sha256(json.dumps(machine()).encode()).hexdigest()[:16]
    folder = user_cache()
    return folder and folder / f"tunables-{key}.json"
