"""Two MPI ranks under attack: whatever is killed, no process is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from nplenet.checkpoint import LATEST

from .bench import Bench, Case, Figure
from .signals import ENVIRONMENT, with_default_signals

ORPHANS = "orphans after MPI attacks"
GOALS = {ORPHANS: 0.0}
RANKS = 2
SECONDS_TO_START, SECONDS_TO_END = 30.0, 30.0
WORD = "NPLENET_TORTURE"  # an environment variable that all processes of an attack inherit
BESIDE = Path(sys.executable).with_name("mpiexec")
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
PROGRAM = [
    "-m",
    "nplenet",
    "train",
    "--dataset",
    "digits",
    "--limit",
    "300",
    "--batch-size",
    "16",
    "--quiet",
]
PROGRAM += ["--epochs", "100000", "--checkpoint-steps", "5", "--tunables", '{"threads": 1}']


def processes(token: str) -> dict[int, list[bytes]]:
    """Return the number and the command line of each process that has the token (Linux)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{WORD}={token}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().split(b"\0")
                if command != [b""]:  # of a process that has ended
                    found[int(folder.name)] = command
        except OSError:  # it has ended meanwhile
            continue
    return found


class Run:
    """Two ranks that train without an end, and what an attack needs to know of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.token = folder, uuid.uuid4().hex
        self.process = subprocess.Popen(
            [str(MPIEXEC), "-n", str(RANKS), sys.executable, *PROGRAM, "--output", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT
            | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
            | {WORD: self.token},
            start_new_session=True,
            preexec_fn=with_default_signals,
        )

    def ranks(self) -> list[int]:
        return sorted(n for n, words in processes(self.token).items() if b"nplenet" in words)[
            :RANKS
        ]

    def wait_for(self, event: Callable[[], bool]) -> None:
        until = time.monotonic() + SECONDS_TO_START
        while not event():
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError(f"it did not start: {self.process.poll()}")
            time.sleep(0.02)

    def training(self) -> bool:
        return (self.folder / LATEST).exists()

    def to_all(self, number: int) -> None:
        """Send a signal as a terminal does: to the group in the foreground."""
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[str, int]:
        """Wait for the end; return what was printed, and how many processes are left."""
        until = time.monotonic() + SECONDS_TO_END
        while processes(self.token) and time.monotonic() < until:
            self.process.poll()  # or it stays, as one that has ended
            time.sleep(0.05)
        left = processes(self.token)
        for number in left:
            os.kill(number, signal.SIGKILL)
        return "".join(self.process.communicate(timeout=10)), len(left)


def kill_rank(which: int) -> Callable[[Run], None]:
    return lambda run: os.kill(run.ranks()[which], signal.SIGKILL)


def kill_mpiexec(run: Run) -> None:
    run.process.kill()


def stop_mpiexec(run: Run) -> None:
    run.process.terminate()


def signal_all(*names: str) -> Callable[[Run], None]:
    def attack(run: Run) -> None:
        for name in names:
            run.to_all(getattr(signal, name))
            time.sleep(0.3)

    return attack


def case(attack: Callable[[Run], None], loading: bool = False, saves: bool = False) -> Case:
    def work(bench: Bench) -> str:
        if MPIEXEC is None or find_spec("mpi4py") is None:
            return "MPI is missing: pip install 'nplenet[mpi]'"
        run = Run(bench.new())
        try:
            run.wait_for((lambda: len(run.ranks()) == RANKS) if loading else run.training)
            time.sleep(0.1)
            before = (run.folder / LATEST).stat().st_mtime_ns if saves else 0
            attack(run)
        finally:
            text, orphans = run.end()
        bench.measure(ORPHANS, orphans, "after the last attack")
        if orphans:
            return f"{orphans} processes are left"
        if saves and (run.folder / LATEST).stat().st_mtime_ns == before:
            return "it has not saved"
        return "a traceback: " + text[-500:] if "Traceback" in text else ""

    return work


CASES = {
    "kill -9 of rank 0": case(kill_rank(0)),
    "kill -9 of rank 1": case(kill_rank(1)),
    "kill -9 of rank 0 while it is loaded": case(kill_rank(0), loading=True),
    "kill -9 of rank 1 while it is loaded": case(kill_rank(1), loading=True),
    "kill -9 of mpiexec": case(kill_mpiexec),
    "SIGTERM to mpiexec": case(stop_mpiexec),
    "Ctrl-C": case(signal_all("SIGINT"), saves=True),
    "Ctrl-C twice": case(signal_all("SIGINT", "SIGINT")),
    "SIGTERM to all": case(signal_all("SIGTERM"), saves=True),
    # MPICH's mpiexec dies of it at once, and ends the ranks before they can save.
    "SIGHUP to all": case(signal_all("SIGHUP")),
}
FIGURES = [Figure("MPI attacks that leave no process", CASES)]
