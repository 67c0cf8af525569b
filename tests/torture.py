"""Attack the library for some minutes and count what it held: a table, and one line of JSON.

    python tests/torture.py --minutes 10 --seed 1          # every attack
    python tests/torture.py --minutes 1 --only forgery     # those of torture_cases/forgery.py
    python tests/torture.py --count 1250 --only forgery    # 1,250 random ones for each figure

Each attack runs in a process of its own, or with others in one that does nothing else, with bounded
memory and time; at most two run at once, and one that mostly waits. First come the named cases,
among them each fault that was ever found, then attacks at random, which share the minutes: the same
ones for the same seed. A figure is the number of attacks held, of those made; an attack that cannot
be made is not held, nor is a measure that was not taken. Each that is not held is printed to
standard error. Ends with status 0 if all are held.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the processes are forked
sys.path[:0] = [str(Path(__file__).parents[1])]  # this checkout
for name in ("NPLENET_DATA", "NPLENET_MIRRORS", "NPLENET_TRACE"):
    os.environ.pop(name, None)

from torture_cases.bench import Bench, Figure  # noqa: E402

# The longest first, so that both cores end at about the same time.
MODULES = ("soak", "own_data", "forgery", "inputs", "strings", "kills", "signals", "mirrors")
MODULES += ("threads", "workers", "binary", "ranks")
LOADED = ("matplotlib.figure", "matplotlib.ticker", "onnx", "PIL.PngImagePlugin")
LOADED += ("PIL.JpegImagePlugin", "PIL.BmpImagePlugin", "nplenet.data.fetch", "nplenet.page")
LOADED += ("nplenet.interop.onnx", "nplenet.report")
ALONE = ("ranks",)  # needs both cores
AT_ONCE = 2

Found = dict[str, Any]
"""Of a figure: how many were held, of how many, the worst of each measure, what was not held."""


def load_modules() -> None:
    """Load what a command imports only when it needs it, before the processes are forked."""
    for name in LOADED:
        with suppress(ImportError):  # the attacks that need it are then not held
            import_module(name)


def tally(bench: Bench, figure: Figure, count: int | None) -> Found:
    """Make the attacks of a figure; ``count`` random ones, or as many as its minutes allow."""
    begin, tried, faults = time.monotonic(), 0, {}

    def judge(name: str, wrong: str) -> None:
        nonlocal tried
        tried += 1
        if wrong:
            faults[name] = wrong
            print(f"NOT HELD  {figure.name}: {name}: {wrong}", file=sys.stderr, flush=True)

    for name, case in figure.cases.items():
        try:
            judge(name, case(bench))
        except Exception as error:
            judge(name, f"could not be tried: {type(error).__name__}: {error}")
    if figure.more is not None:
        share = 60 * bench.minutes * figure.share if count is None else float("inf")
        bench.until = time.monotonic() + share
        bench.attacks = sys.maxsize if count is None else count
        try:
            for name, wrong in figure.more(bench):
                judge(name, wrong)
        except Exception as error:
            judge("random attacks", f"could not be tried: {type(error).__name__}: {error}")
    return {
        "held": tried - len(faults),
        "of": tried,
        "seconds": round(time.monotonic() - begin, 1),
        "worst": bench.worst,
        "faults": faults,
    }


def start(figure: Figure, work: Path, options: argparse.Namespace) -> int:
    """Tally a figure in a forked process; return its number."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        found = tally(Bench(work, options.seed, options.minutes), figure, options.count)
        work.with_suffix(".json").write_text(json.dumps(found))
        status = 0
    except BaseException as error:
        print(f"{figure.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def tally_all(figures: list[Figure], work: Path, options: argparse.Namespace) -> dict[str, Found]:
    """Tally the figures, two at once; one that came to no end has held nothing."""
    numbered, running = list(enumerate(figures)), 0
    waits = [figure.waits and options.at_once > 1 for figure in figures]
    beside = {start(f, work / str(k), options) for k, f in numbered if waits[k]}
    waiting = [(k, f) for k, f in numbered if not waits[k]]
    while waiting or running or beside:
        while waiting and running < options.at_once:
            number, figure = waiting.pop(0)
            start(figure, work / str(number), options)
            running += 1
        pid, _ = os.wait()
        running -= pid not in beside
        beside.discard(pid)
    nothing = {"held": 0, "of": 1, "seconds": 0, "worst": {}, "faults": {"all": "came to no end"}}
    found = {}
    for number, figure in enumerate(figures):
        path = work / f"{number}.json"
        found[figure.name] = json.loads(path.read_text()) if path.exists() else dict(nothing)
    return found


def conclude(found: dict[str, Found], goals: dict[str, float], options: argparse.Namespace) -> int:
    """Print the table and the line of JSON; return the exit status."""
    worst: dict[str, tuple[float, str]] = {}
    for row in found.values():
        for name, (value, where) in row["worst"].items():
            worst[name] = max(worst.get(name, (value, where)), (value, where))
    held = all(row["held"] == row["of"] for row in found.values())
    for name, row in found.items():
        print(f"{name:<45}{row['held']:>7} of {row['of']:>7}{row['seconds']:>8.0f} s")
    for name, goal in goals.items():
        value, where = worst.get(name, (None, "not measured"))
        held = held and value is not None and value <= goal
        print(f"{name:<45}{value!s:>7}  goal {goal:g}: {where[:70]!r}")
    rows = {name: {k: row[k] for k in ("held", "of")} for name, row in found.items()}
    measures = {
        name: {"worst": worst.get(name, (None,))[0], "goal": goal} for name, goal in goals.items()
    }
    faults = {k: f for row in found.values() for k, f in row["faults"].items()}
    line = {"seed": options.seed, "minutes": options.minutes, "all held": held, "figures": rows}
    line |= {"measures": measures, "not held": list(faults)[:100]}
    print(json.dumps(line))
    return int(not held)


def in_memory() -> str | None:
    """Return a folder in memory for the files of the attacks, if there is a large one (Linux)."""
    place = Path("/dev/shm")
    return str(place) if place.is_dir() and shutil.disk_usage(place).free > 2 << 30 else None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--minutes", type=float, default=2.0, help="of random attacks and all (default 2)")
    add("--seed", type=int, default=0, help="of random attacks (default 0)")
    add("--only", nargs="+", choices=MODULES, default=MODULES, metavar="MODULE")
    add("--count", type=int, metavar="N", help="make N random attacks for each figure instead")
    add("--at-once", type=int, default=AT_ONCE, choices=(1, 2), help="figures (default 2)")
    options = parser.parse_args()
    goals, found = {}, {}
    load_modules()
    with tempfile.TemporaryDirectory(dir=in_memory()) as work:
        os.environ["XDG_CACHE_HOME"] = str(Path(work) / "cache")
        for alone in (False, True):
            figures: list[Figure] = []
            for name in options.only:
                if (name in ALONE) == alone:
                    module = import_module(f"torture_cases.{name}")
                    figures += module.FIGURES
                    goals |= getattr(module, "GOALS", {})
            folder = Path(work) / f"{alone}"
            folder.mkdir()
            found |= tally_all(figures, folder, options)
    return conclude(found, goals, options)


if __name__ == "__main__":
    sys.exit(main())
