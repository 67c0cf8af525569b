"""Measure which settings of the compiled step are the fastest on this CPU, and keep them.

Training tunes by itself, once per batch size, and compares again in later
runs. Candidates take turns, so other programs may run meanwhile; on an idle
machine tuning takes a few seconds per batch size.

examples:
  nplenet tune
  nplenet tune --batch-size 64
  nplenet tune --batch-size 64 --json
"""

from __future__ import annotations

import argparse

from ..compiled.cpu import trial
from ..compiled.cpu.search import Trial
from ..compiled.cpu.tuning import Tunables
from ..compiled.cpu.tuning_cache import SIZES, cache_file, find, size_for
from ..terminal import printable, show, show_json
from . import positive


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch-size",
        type=positive,
        nargs="+",
        metavar="N",
        help=f"batch sizes, rounded down to one of {', '.join(map(str, SIZES))} (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")


def run(options: argparse.Namespace) -> int:
    sizes = sorted({size_for(images) for images in options.batch_size or SIZES})
    record = {}
    for size in sizes:
        best, comparisons = find(size, trial.make_step)
        if options.json:
            record[size] = {
                "tunables": best.as_dict(),
                "comparisons": [
                    [{"tunables": t.tunables.as_dict(), "seconds": t.seconds} for t in trials]
                    for trials in comparisons
                ],
            }
        else:
            _show(size, best, comparisons)
    if options.json:
        show_json({"sizes": record}, 2)
    elif (path := cache_file()) is not None:
        show(f"kept in {printable(path)}")
    return 0


def _show(size: int, best: Tunables, comparisons: list[list[Trial]]) -> None:
    """Print a line for each value of each tunable, with the least milliseconds of a step."""
    show(f"batches of {size} images:")
    for trials in comparisons:
        first, second = (each.tunables.as_dict() for each in trials[:2])
        (name,) = [name for name in first if first[name] != second[name]]
        for each in trials:
            value = each.tunables.as_dict()[name]
            mark = "  chosen" if value == best.as_dict()[name] else ""
            show(f"  {name:<26} {value:>10}  {each.seconds * 1e3:8.3f} ms{mark}")
