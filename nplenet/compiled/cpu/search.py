"""Which tunables are the fastest: candidates take turns, and their least disturbed steps count.

    round            1      2      3      4            least
    the default    3.1 ms 2.5    4.9    2.6      ->     2.5
    64 lanes       2.4    6.0    2.3    2.9      ->     2.3       faster, though slower on average

Other programs only ever lengthen a step, and a burst of them meets all candidates alike: so the
least times of steps in turn compare candidates also on a busy machine. What is within noise keeps
the value it has: another one must save 3 % in the rounds of even number, and in those of odd.

What a worker does best is asked of one, with its share of the batch, and in time of the processor,
which stands still while others have it. So is how many workers pay that compute side by side: two
take the time of one with half of the batch, and some to meet. Threads wait for each other at
Python's lock: how many of them pay is a question of the clock, which a busy machine answers less
well.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...machine import usable_cores
from ...rounding import ceil_div
from .chunks import Cutting, Division
from .tuning import Tunables, blas_has_avx512_kernels
from .workers import kind_now

CANDIDATES = {
    "threads": (1, 2, 4, 8),  # those that have a core each
    "worker_images": (16, 32, 64),
    "worker_images_for_features": (16, 32, 64),
    "head_start": (0, 4),
    "lanes": (32, 64, 128),
    "feature_lanes": (256, 64),
    "gemm_limit": (10**6, 10**9),
    "transpose": (0, 1),
    "tile_channels": (0, 8, 16),
    "buffer_size": (1024, 512, 8192),
}
OF_ALL_WORKERS = ("threads", "worker_images", "worker_images_for_features", "head_start")
SIDE_BY_SIDE = {"worker_images": 16, "worker_images_for_features": 16, "head_start": 0}
SECONDS_TO_MEET = 0.15e-3  # of several such workers, in a step: barriers, and copies of weights
MAX_TIME_RATIO = 0.97  # of the time with the value at hand; a smaller saving is noise
CALM_ROUNDS = 40  # rounds without a shorter time after which the times are the least
MIN_FALL = 0.002  # of a time: what falls by less has not fallen
MAX_SECONDS = 3.0  # of one comparison

Step = Callable[[], object]
Make = Callable[[int, Tunables], Step]


@dataclass
class Trial:
    """Tunables, and the seconds of their least disturbed step in each half of the rounds."""

    tunables: Tunables
    halves: tuple[float, float]

    @property
    def seconds(self) -> float:
        """The time of the least disturbed step of all."""
        return min(self.halves)


def default() -> Tunables:
    """Return the tunables with which a search begins: those that suit the workers and the BLAS.

    Workers side by side share even a small step evenly. OpenBLAS's kernels for AVX-512 want their
    operands transposed, and are as fast on thin products as on tiles.
    """
    share = {} if kind_now() == "threads" else SIDE_BY_SIDE
    if blas_has_avx512_kernels():
        return Tunables(transpose=1, tile_channels=0, **share)
    return Tunables(transpose=0, **share)


def untuned() -> Tunables:
    """Return the default tunables with a worker for each core, as far as these are tried."""
    workers = max(number for number in CANDIDATES["threads"] if number <= usable_cores())
    return dataclasses.replace(default(), threads=workers)


def search(images: int, make: Make) -> tuple[Tunables, list[list[Trial]]]:
    """Compare the values of each tunable, one tunable after the other.

    Parameters
    ----------
    images : int
        Size of a batch.
    make : callable
        Takes a number of images and tunables, returns a training step that is ready to run.

    Returns
    -------
    best : Tunables
    comparisons : list of list of Trial
        Each begins with the tunables at hand.
    """
    best = default()
    comparisons = []
    for name in CANDIDATES:
        rivals = neighbours(best, name, images)
        if rivals:
            trials = compare(name, [best, *rivals], images, make)
            comparisons.append(trials)
            best = winner(trials).tunables
    return best, comparisons


def neighbours(tunables: Tunables, name: str, images: int) -> list[Tunables]:
    """Return the tunables with each other value of one of them that makes a difference here."""
    others = [
        dataclasses.replace(tunables, **{name: value})
        for value in CANDIDATES[name]
        if value != getattr(tunables, name) and (name != "threads" or value <= usable_cores())
    ]
    if name in OF_ALL_WORKERS and name != "threads" and kind_now() != "threads":
        return []  # they share every step evenly
    cut = division_of(tunables, images)
    if name in OF_ALL_WORKERS or name.endswith("lanes"):
        return [other for other in others if division_of(other, images) != cut]
    return others


def compare(
    name: str,
    tunables: Sequence[Tunables],
    images: int,
    make: Make,
    max_seconds: float = MAX_SECONDS,
) -> list[Trial]:
    """Have steps with each value of a tunable take turns until their least times fall no more.

    Threads that share a lock are timed by the clock on the whole batch; all else on one worker's
    share of it, in time of the processor, to which the time to meet is added where there are
    several.
    """
    more = [0.0] * len(tunables)
    if name in OF_ALL_WORKERS and kind_now() == "threads":
        clock = time.perf_counter
        steps = [make(images, each) for each in tunables]
    else:
        clock = getattr(time, "thread_time", time.perf_counter)  # the browser has the clock alone
        workers = [division_of(each, images).workers for each in tunables]
        more = [SECONDS_TO_MEET if number > 1 else 0.0 for number in workers]
        steps = [
            make(ceil_div(images, number), dataclasses.replace(each, threads=1))
            for each, number in zip(tunables, workers, strict=True)
        ]
    least = [[float("inf")] * len(steps) for _ in range(2)]  # of rounds of even and odd number
    half, calm, end = 0, 0, time.perf_counter() + max_seconds
    while calm < CALM_ROUNDS and (time.perf_counter() < end or least[1][0] == float("inf")):
        own, before = least[half], list(least[half])
        for index, step in enumerate(steps):
            own[index] = min(own[index], seconds_of(step, clock))
        fell = any(now < (1 - MIN_FALL) * old for now, old in zip(own, before, strict=True))
        half, calm = 1 - half, 0 if fell else calm + 1
    return [
        Trial(each, (even + extra, odd + extra))
        for each, even, odd, extra in zip(tunables, *least, more, strict=True)
    ]


def seconds_of(step: Step, clock: Callable[[], float]) -> float:
    """Return the seconds that one step takes."""
    begin = clock()
    step()
    return clock() - begin


def winner(trials: Sequence[Trial]) -> Trial:
    """Return the fastest, or the first, unless the fastest is faster by more than noise."""
    fastest = min(trials, key=_time)
    halves = zip(fastest.halves, trials[0].halves, strict=True)
    return fastest if all(a < MAX_TIME_RATIO * b for a, b in halves) else trials[0]


def division_of(tunables: Tunables, images: int) -> Division:
    """Return how a batch of the step that is timed is cut."""
    minimum = tunables.min_images(training=True, features_follow_a_barrier=True)
    return Cutting(images, tunables, minimum).division(images)


def _time(trial: Trial) -> float:
    return trial.seconds
