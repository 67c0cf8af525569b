"""Attacks under limits: each in a process of its own, watched, and judged by how it ends."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from filelock import FileLock

from nplenet.__main__ import main
from nplenet.checkpoint import LATEST

MB = 1 << 20
MAX_SECONDS = 10.0  # that any input may take
KILLED_AFTER = 20.0  # seconds; then an attack counts as endless
MAX_ADDRESSES = 6 << 30  # bytes; what asks for more gets an error, and leaves the machine alone
MAX_CPU_SECONDS = 120
BATCH_SECONDS = 20.0  # of attacks in one process
SMALL = 32 * MB  # bytes; memory is compared with at least as many, as a process takes some itself
LEARN = ["--dataset", "digits", "--limit", "60", "--batch-size", "16", "--quiet"]
LEARN += ["--tunables", '{"threads": 1}']

DOWNLOADS = "nplenet: downloading "
SECONDS = "worst seconds on one input"
MEMORY = "worst memory over decoded size"
GOALS = {MEMORY: 2.0, SECONDS: MAX_SECONDS}  # of all inputs


class Outcome(NamedTuple):
    """How a run ended.

    ``status`` is negative for a signal; ``bytes`` is the peak of its memory, beyond that at its
    start.
    """

    status: int
    out: str
    err: str
    seconds: float = 0.0
    bytes: int = 0


Case = Callable[["Bench"], str]
"""Makes an attack and says why it is not held; an empty string if it is."""

More = Callable[["Bench"], Iterator[tuple[str, str]]]
"""Yields the name and the fault of one attack after the other, as long as ``bench.goes_on``."""


class Figure(NamedTuple):
    """Attacks of one kind: all named cases, then random ones for a share of the minutes.

    One that ``waits`` most of the time needs no core, and runs beside others.
    """

    name: str
    cases: Mapping[str, Case]
    more: More | None = None
    share: float = 0.0
    waits: bool = False


class Bench:
    """Where attacks happen: a folder, a seed, a run to damage, the worst that was measured."""

    def __init__(self, work: Path, seed: int, minutes: float) -> None:
        self.work, self.seed, self.minutes, self._count = work, seed, minutes, 0
        self.until, self.attacks = 0.0, sys.maxsize
        self.worst: dict[str, tuple[float, str]] = {}
        work.mkdir(exist_ok=True)
        self.run = work / "run"

    def make_run(self) -> Path:
        """Return the checkpoint of a run of two epochs, with its history.json.

        It is trained once for all figures, each of which gets a copy that it may damage.
        """
        if not self.run.exists():
            first = self.work.parent / "first run"
            with FileLock(f"{first}.lock"):
                if not first.exists():
                    made = self.new()
                    outcome = self.nplenet("train", *LEARN, "--epochs", "2", "--output", made)
                    assert outcome.status == 0, outcome.err
                    made.rename(first)
            shutil.copytree(first, self.run)
        return self.run / LATEST

    def new(self, suffix: str = "") -> Path:
        """Return a path that does not exist yet."""
        self._count += 1
        return self.work / f"{os.getpid()}-{self._count}{suffix}"

    def goes_on(self, number: int) -> bool:
        """Say whether there is to be a random attack with this number, counted from 0."""
        return number < self.attacks and time.monotonic() < self.until

    def measure(self, name: str, value: float, where: str) -> None:
        """Keep the worst value of a measure, and where it was."""
        self.worst[name] = max(self.worst.get(name, (value, where)), (value, where))

    def nplenet(self, *arguments: object, prepare: Callable[[], Any] = lambda: None) -> Outcome:
        """Run a command in a forked process, in which ``prepare`` is called before."""
        words = [str(argument) for argument in arguments]
        return self.forked(lambda: (prepare(), main(words))[1])

    def answered(self, *arguments: object, decoded: int = 0, name: str = "") -> str:
        """Give a command an input and return what is wrong with its answer; see ``fault``.

        ``decoded`` is the size of the decoded input in bytes.
        """
        outcome = self.nplenet(*arguments)
        self.note(name or " ".join(map(str, arguments)), outcome, decoded)
        return fault(outcome)

    def note(self, name: str, outcome: Outcome, decoded: int = 0) -> None:
        self.measure(SECONDS, round(outcome.seconds, 2), name)
        self.measure(MEMORY, round(outcome.bytes / max(decoded, SMALL), 2), name)

    def forked(
        self,
        work: Callable[[], int],
        limit: float = KILLED_AFTER,
        cpu_seconds: int = MAX_CPU_SECONDS,
    ) -> Outcome:
        """Call ``work`` in a forked process under limits, which ends with the status it returns."""
        begin, log = time.monotonic(), self.new()
        paths = [Path(f"{log}{suffix}") for suffix in (".out", ".err", ".memory")]
        sys.stdout.flush(), sys.stderr.flush()
        if (pid := os.fork()) == 0:
            _work(work, cpu_seconds, *paths)
        status = _end_of(pid, begin + limit)
        seconds = time.monotonic() - begin
        *texts, memory = (
            path.read_text(errors="backslashreplace") if path.exists() else "" for path in paths
        )
        for path in paths:
            path.unlink(missing_ok=True)
        return Outcome(status, *texts, seconds, int(memory or 0))

    def batch(self, name: str, attack: Callable[[random.Random], tuple[str, Outcome]]) -> Any:
        """Yield random attacks, many of them in each process.

        ``attack`` gets random numbers that depend on the seed and its number only.
        """
        number = 0
        while self.goes_on(number):
            log, first = self.new(".log"), number
            log.touch()
            ended = self.forked(
                lambda log=log, first=first: self._attack(name, attack, first, log),
                BATCH_SECONDS + KILLED_AFTER + 5.0,
            )
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            log.unlink()
            for record in lines[1::2]:
                what, wrong, seconds, memory = record
                self.note(what, Outcome(0, "", "", seconds, memory))
                yield what, wrong
            number = first + len(lines) // 2
            if len(lines) % 2 or (not lines and self.goes_on(number)):
                what = f"{name} {number} of seed {self.seed}"
                yield what, f"it ended its process: {ended.status}, {ended.err[-300:]!r}"
                number += 1

    def _attack(self, name: str, attack: Any, number: int, log: Path) -> int:
        """Make attacks for some seconds; write a line before and after each."""
        end = time.monotonic() + BATCH_SECONDS
        with log.open("a", buffering=1) as file:
            while self.goes_on(number) and time.monotonic() < end:
                print(number, file=file)
                signal.setitimer(signal.ITIMER_REAL, KILLED_AFTER)  # of which the process dies
                peak, begin = Peak(), time.monotonic()
                what, outcome = attack(random.Random(f"{self.seed} {name} {number}"))
                seconds = time.monotonic() - begin
                signal.setitimer(signal.ITIMER_REAL, 0)
                wrong = fault(outcome._replace(seconds=seconds))
                what = f"{name} {number} of seed {self.seed}: {what}"
                print(json.dumps([what, wrong, seconds, peak.bytes()]), file=file)
                number += 1
        return 0


class Peak:
    """The peak of this process's memory, beyond that at the start (Linux)."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        self._before = self._read("VmRSS")

    def bytes(self) -> int:
        return max(self._read("VmHWM") - self._before, 0)

    @staticmethod
    def _read(field: str) -> int:
        text = Path("/proc/self/status").read_text()
        return 1024 * int(text.partition(f"{field}:")[2].split()[0])


def _work(
    work: Callable[[], int], cpu_seconds: int, out: Path, err: Path, memory: Path
) -> NoReturn:
    status = 99
    try:
        _limit(cpu_seconds)
        for descriptor, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (
            os.fdopen(descriptor, "w", errors="backslashreplace", closefd=False)
            for descriptor in (1, 2)
        )
        peak = Peak()
        status = work()
        memory.write_text(str(peak.bytes()))
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def _limit(cpu_seconds: int) -> None:
    """Make this process the leader of a session that takes a bounded part of the machine."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    limit_resources(cpu_seconds)
    os.execv = refuse_to_start  # type: ignore[assignment]


def limit_resources(cpu_seconds: int = MAX_CPU_SECONDS) -> None:
    import resource  # not on Windows, where the tests import this module

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))


def refuse_to_start(program: str, arguments: list[str]) -> None:
    """Take the place of mpiexec, which might start as many processes as it is told to."""
    raise OSError(f"it would start {os.path.basename(program)} {' '.join(arguments[1:3])}")


def _end_of(pid: int, until: float) -> int:
    """Return the status of a process; its whole session ends with it, or at a time."""
    pause = 0.001
    while (found := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(pause)
        pause = min(1.5 * pause, 0.02)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if found[0] == 0:
        found = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(found[1])


def in_process(arguments: list[str]) -> Outcome:
    """Run a command in this process and return its outcome, without time and memory."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)  # of argparse
    except BaseException:
        return Outcome(99, out.getvalue(), traceback.format_exc())
    return Outcome(status, out.getvalue(), err.getvalue())


def fault(outcome: Outcome, statuses: tuple[int, ...] = (0, 1, 2)) -> str:
    """Return what is wrong with an answer: an error must be one line, and all of it inert.

    Before it a command may say that it downloads, which may take minutes.
    """
    lines = outcome.err.strip("\n").split("\n")
    lines = [line for line in lines if not line.startswith(DOWNLOADS)] or [""]
    if "Traceback" in outcome.err or "internal error" in outcome.err:
        return f"an error that nobody expected: {outcome.err[-600:]}"
    if outcome.seconds >= MAX_SECONDS:
        return f"took {outcome.seconds:.0f} s"
    if outcome.status not in statuses:
        return f"status {outcome.status}: {lines[-1][:200]!r}"
    if not (outcome.out + outcome.err).replace("\n", "").isprintable():
        return f"raw characters on the terminal: {(outcome.out + outcome.err)[:200]!r}"
    if outcome.status == 2:
        if len(lines) != 1 or not lines[0].startswith("nplenet"):
            return f"not one line that says why: {outcome.err[:200]!r}"
        if not lines[0].partition(": ")[2].strip():
            return f"an empty message: {outcome.err[:200]!r}"
    return ""
