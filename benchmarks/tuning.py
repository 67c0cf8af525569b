"""Does a tuning on a busy machine choose what a search of all combinations finds on a quiet one?

    python benchmarks/tuning.py                       # two busy loops beside ten tunings
    python benchmarks/tuning.py --batch-size 256 --busy 4 --times 3

First every combination of tunables is timed, to be run while nothing else does; then the busy loops
begin, and each tuning starts anew; when they have ended, what was chosen and the best combinations
are timed again, in turn, and their least times are compared. "1.01" means that a chosen step takes
1 % longer than the best.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nplenet.compiled.cpu import search
from nplenet.compiled.cpu.trial import make_step
from nplenet.compiled.cpu.tuning import Tunables

BUSY_LOOP = "while True: pass"
FINAL_PASSES = 40  # 15 left differences of 10 % between tunables that are equal


def combinations(images: int) -> list[Tunables]:
    """Return all tunables that make a difference for a batch."""
    found = {}
    for values in itertools.product(*search.CANDIDATES.values()):
        named = dict(zip(search.CANDIDATES, values, strict=True))
        if named["threads"] <= search.usable_cores():
            tunables = dataclasses.replace(search.default(), **named)
            others = [named[n] for n in ("gemm_limit", "transpose", "tile_channels", "buffer_size")]
            found[(search.division_of(tunables, images), *others)] = tunables
    return list(found.values())


def least_seconds(tunables: list[Tunables], images: int, passes: int) -> list[float]:
    """Return the time of the least of 20 steps in each of some passes.

    Steps stand alone, not in turns: processes that wait for their next step would look for it while
    another one's are timed.
    """
    least = [float("inf")] * len(tunables)
    for _ in range(passes):
        for index, each in enumerate(tunables):
            step = make_step(images, each)
            times = [search.seconds_of(step, time.perf_counter) for _ in range(20)]
            least[index] = min(least[index], *times)
    return least


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Run busy loops beside the block."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--times", type=int, default=10, help="tunings (default %(default)s)")
    parser.add_argument("--busy", type=int, default=2, help="busy loops (default %(default)s)")
    parser.add_argument("--passes", type=int, default=1, help="through all combinations")
    options = parser.parse_args()
    images = options.batch_size

    candidates = combinations(images)
    times = least_seconds(candidates, images, options.passes)
    order = sorted(range(len(candidates)), key=times.__getitem__)
    best = [candidates[i] for i in order[:8]]
    print(f"{len(candidates)} combinations for {images} images; the best: {best[0]}")

    chosen: list[Tunables] = []
    with busy(options.busy):
        for _ in range(options.times):
            begin = time.perf_counter()
            chosen.append(search.search(images, make_step)[0])
            print(f"tuned in {time.perf_counter() - begin:.1f} s: {chosen[-1]}", flush=True)

    default = search.untuned()
    finalists = list(dict.fromkeys([*best, default, *chosen]))
    least = dict(zip(finalists, least_seconds(finalists, images, FINAL_PASSES), strict=True))
    shortest = min(least.values())
    untuned = least[default] / shortest
    print(f"best {shortest * 1e3:.3f} ms; a worker a core, else untuned: {untuned:.3f} times it")
    print("chosen:", " ".join(f"{least[each] / shortest:.3f}" for each in chosen))


if __name__ == "__main__":
    main()
