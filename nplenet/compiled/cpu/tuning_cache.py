"""The tunables that were found on this machine, for each size of batch.

    compile(..., batch_size=100)  ->  sizes 16, 32, *64*, 128, 256  ->  found before: look again
                                                                    ->  not yet: search, and keep

Looking again costs a process that trains 60 ms, once: the choice and one of its neighbours take
turns. A neighbour that is faster two times in succession is the choice of the processes after that,
so a search that was misled is not believed for good. Within a process tunables never change.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...files import atomic_write, read_json, user_cache
from ...machine import blas, processor, usable_cores
from ...schema import fields, mapping, text, whole
from ...version import __version__
from . import search
from .search import CANDIDATES, Make, Trial, neighbours
from .tuning import Tunables, checked
from .workers import kind_now

SIZES = (16, 32, 64, 128, 256)
"""Sizes of batches that are tuned; a larger step has only more chunks than one of 256."""

LOOK_SECONDS = 0.06
WINS = 2  # in succession, until a neighbour becomes the choice
MAX_BYTES = 1 << 16

ENTRY = fields({"tunables": mapping(whole()), "looks": whole(), "wins": whole()})
CACHE = fields({"machine": mapping(text), "sizes": mapping(ENTRY)})


def size_for(images: int) -> int:
    """Return the size of batch whose tunables serve a batch: the next smaller one."""
    return max([size for size in SIZES if size <= images], default=SIZES[0])


def tuned(images: int, make: Make, *, training: bool = True) -> Tunables:
    """Return this machine's tunables for a batch: those found before, or search and keep them.

    Parameters
    ----------
    images : int
        Size of the batch.
    make : callable
        Takes a number of images and tunables, returns a training step that is ready to run.
    training : bool
        Whether it is for a training, which has the time to search, and to look again once a
        process. Inference alone takes what was found, or the defaults.
    """
    size = size_for(images)
    if size not in _chosen:
        kept = read().get(size)
        if kept is None:
            return find(size, make)[0] if training else search.untuned()
        if training and not _chosen:
            look_again(size, kept, make)
        _chosen[size] = kept.tunables
    return _chosen[size]


_chosen: dict[int, Tunables] = {}  # by this process


def find(size: int, make: Make) -> tuple[Tunables, list[list[Trial]]]:
    """Search the tunables of a size of batch, keep them, and return them with what was measured."""
    best, comparisons = search.search(size, make)
    _chosen[size] = best
    keep(size, Kept(best))
    return best, comparisons


def look_again(size: int, kept: Kept, make: Make) -> None:
    """Have the choice and one of its neighbours take turns, and note who wins."""
    rivals = [(n, rival) for n in CANDIDATES for rival in neighbours(kept.tunables, n, size)]
    name, rival = rivals[kept.looks % len(rivals)]
    trials = search.compare(name, [kept.tunables, rival], size, make, LOOK_SECONDS)
    if search.winner(trials).tunables != rival:
        kept = Kept(kept.tunables, kept.looks + 1)
    elif kept.wins + 1 < WINS:
        kept = Kept(kept.tunables, kept.looks, kept.wins + 1)
    else:
        kept = Kept(rival)
    keep(size, kept)


@dataclass(frozen=True)
class Kept:
    """What is kept for a size of batch.

    Attributes
    ----------
    tunables : Tunables
        The choice.
    looks : int
        How often a neighbour was not faster: says which neighbour is next.
    wins : int
        How often in succession this neighbour was faster.
    """

    tunables: Tunables
    looks: int = 0
    wins: int = 0


def read() -> dict[int, Kept]:
    """Return what is kept for this machine; nothing where the file is absent, damaged or old."""
    path = cache_file()
    if path is None:
        return {}
    try:
        record = read_json(path, MAX_BYTES)
        CACHE(record, "")
        if record["machine"] != machine():
            return {}
        return {
            int(size): Kept(checked(entry["tunables"]), entry["looks"], entry["wins"])
            for size, entry in record["sizes"].items()
        }
    except (OSError, ValueError):
        return {}


def keep(size: int, kept: Kept) -> None:
    """Write what is kept for a size; where that is impossible it is measured again next time."""
    path = cache_file()
    if path is None:
        return
    sizes = {
        str(size): dataclasses.asdict(entry) for size, entry in (read() | {size: kept}).items()
    }
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            path.unlink()  # a pipe, say, which no write replaces
        with atomic_write(path) as file:
            file.write(json.dumps({"machine": machine(), "sizes": sizes}, indent=2).encode())


def machine() -> dict[str, str]:
    """Return what the best tunables depend on."""
    return {
        "cpu": processor(),
        "cores": str(usable_cores()),
        "numpy": np.__version__,
        "nplenet": __version__,
        "blas": blas(),
        "workers": kind_now(),
    }


def cache_file() -> Path | None:
    """Return where this machine's tunables are kept; None for a user without a home."""
    key = hashlib.sha256(json.dumps(machine()).encode()).hexdigest()[:16]
    folder = user_cache()
    return folder and folder / f"tunables-{key}.json"
