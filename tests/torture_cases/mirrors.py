"""Hostile mirrors: each gives way to the next, or is named in one line, in bounded time."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from mirror_server import FAILURES, SUMS, Behaviour, Mirrors, serving

from nplenet.data.mnist import load_mnist

from .bench import SECONDS, Bench, Case, Figure, Outcome, fault, in_process
from .binary import damaged

PATIENCE = 0.5  # seconds; that of the library is 10
RESPONSES = {
    "plain": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: application/gzip\r\n\r\n",
    "until closed": b"HTTP/1.0 200 OK\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
    "packed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n",
    "moved": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/%d\r\nContent-Length: 0\r\n\r\n",
    "moved away": b"HTTP/1.1 308 Found\r\nLocation: //[::1]:9/%d\r\nSet-Cookie: a=b\r\n\r\n",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
    "partial": b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-9/%d\r\n\r\n",
}


class Forged(Behaviour):
    """A mirror that sends a damaged answer."""

    server: Any

    def forged(self, archive: bytes) -> None:
        head = self.server.rng.choice(sorted(RESPONSES.values()))
        head = head % len(archive) if b"%" in head else head
        answer = bytes(damaged(head, self.server.rng)) + archive
        if self.server.rng.random() < 0.3:
            answer = bytes(damaged(answer, self.server.rng))
        self.wfile.write(answer)


def fetch(folder: Path, server: Mirrors, *behaviours: str) -> Outcome:
    """Test the bundled model on images from mirrors that behave so."""
    behaviours = tuple(map(server.url, behaviours))
    with (
        mock.patch("nplenet.data.mnist._FILES", SUMS),
        mock.patch("nplenet.data.fetch._PAUSE_SECONDS", 0.01),
        mock.patch.dict(load_mnist.__kwdefaults__, timeout=PATIENCE),
        mock.patch.dict(os.environ, {"NPLENET_MIRRORS": " ".join(behaviours), "no_proxy": "*"}),
    ):
        words = ["evaluate", "default", "--dataset", "mnist", "--limit", "2"]
        return in_process([*words, "--data-dir", str(folder)])


def left_in(folder: Path) -> list[str]:
    """Return what a download that failed has left, apart from its lock."""
    return sorted({path.name for path in folder.iterdir()} - {".nplenet.lock"})


def case(behaviour: str, then_good: bool) -> Case:
    def attack(bench: Bench) -> str:
        folder = bench.new()

        def work() -> int:
            with serving() as server:
                outcome = fetch(folder, server, behaviour, *["good"] * then_good)
            print(outcome.out)
            os.write(2, outcome.err.encode())
            return outcome.status

        outcome = bench.forked(work)
        bench.measure(SECONDS, round(outcome.seconds, 2), f"mirror {behaviour}")
        if wrong := fault(outcome, (0,) if then_good else (2,)):
            return wrong
        left = left_in(folder)
        if any(name.endswith(".part") for name in left) or (left and not then_good):
            return f"it left {left}"
        return ""

    return attack


def at_random(bench: Bench) -> Iterator[tuple[str, str]]:
    folder = bench.new()

    def attack(rng: random.Random) -> tuple[str, Outcome]:
        server: Any = Mirrors(Forged)
        server.rng = rng
        with serving(server):
            outcome = fetch(folder, server, "forged")
        shutil.rmtree(folder)
        return "forged answer", outcome

    yield from bench.batch("mirrors", attack)


CASES = {f"{name}, alone": case(name, False) for name in FAILURES}
CASES |= {f"{name}, then a good one": case(name, True) for name in FAILURES}
FIGURES = [Figure("hostile mirrors", CASES, at_random, 0.1, waits=True)]
