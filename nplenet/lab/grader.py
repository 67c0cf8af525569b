"""Grade what is in a folder: each file in a process of its own, with limits of time and memory.

The limits protect from mistakes, not from malice: who grades the files of strangers does it in a
container.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .answer import LOADING
from .assignment import ASSIGNMENTS, Assignment
from .worker import results, source_of

START_SECONDS = 120.0  # to import NumPy and nplenet on a busy machine
MAX_BYTES = 1 << 20  # of an answer's file
AT_ONCE = 2  # processes
LOAD_SECONDS = 8.0  # to run the file, which may import slow packages
AFTER_SECONDS = 1.5  # per part, once a part has run into its limit
VAGUE = ("values are wrong", ": is wrong", "NaN or infinite")  # sentences without a cause
NO_PROCESSES = sys.platform in ("emscripten", "wasi")  # in the browser it runs where it is


@dataclass(frozen=True)
class PartResult:
    """A part of an assignment: points reached, points possible, what is wrong (or "")."""

    name: str
    points: int
    of: int
    wrong: str


@dataclass(frozen=True)
class Result:
    """An assignment of a folder."""

    name: str
    file: str
    parts: tuple[PartResult, ...]

    @property
    def points(self) -> int:
        """The points reached."""
        return sum(part.points for part in self.parts)

    @property
    def of(self) -> int:
        """The points that can be reached."""
        return sum(part.of for part in self.parts)

    def __str__(self) -> str:
        """Return the points per part, and what is wrong."""
        lines = [f"{self.file}: {self.points} of {self.of} points"]
        unread = self.parts[0].wrong if self.parts[0].wrong.startswith(LOADING) else ""
        if unread:  # it is the same for all parts
            lines.append(f"  {unread}")
        above = False
        for part in self.parts:
            lines.append(f"  {part.points} of {part.of}  {part.name}")
            if part.wrong and not unread:
                follows = above and any(words in part.wrong for words in VAGUE)
                hint = "; correct the part above first, which may be the cause" if follows else ""
                lines.append(f"          {part.wrong}{hint}")
            above = above or bool(part.wrong)
        return "\n".join(lines)

    def as_record(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "assignment": self.name,
            "file": self.file,
            "points": self.points,
            "of": self.of,
            "parts": [asdict(part) for part in self.parts],
        }


def grade(folder: str | os.PathLike[str], names: Sequence[str] = ()) -> list[Result]:
    """Return the result of each assignment whose file is in a folder.

    Parameters
    ----------
    folder : path
        A folder, or the file of one assignment.
    names : sequence of str
        Assignments to grade even if their file is missing; empty for those that are there.

    Raises
    ------
    FileNotFoundError
        When the folder is missing, or holds no assignment's file.
    """
    place = Path(folder)
    if not place.exists():
        raise FileNotFoundError(f"{place} does not exist; make it with `nplenet lab start`")
    only = place.name if place.is_file() else None
    home = place.parent if only else place
    found = [
        a for a in ASSIGNMENTS.values() if only in (None, a.file) and (home / a.file).is_file()
    ]
    chosen = [ASSIGNMENTS[name] for name in names] or found
    if not chosen:
        files = ", ".join(a.file for a in ASSIGNMENTS.values())
        raise FileNotFoundError(f"{place} holds no file of an assignment; expected one of {files}")
    if NO_PROCESSES:
        return [grade_file(assignment, home / assignment.file) for assignment in chosen]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda a: grade_file(a, home / a.file), chosen))


def not_limited() -> str:
    """Return which limits this system does not enforce; "" if it enforces time and memory."""
    if NO_PROCESSES:
        return "in the browser nothing is limited: a loop without end ends with the page"
    if sys.platform != "linux":
        return "memory is not limited on this system, only time"
    return ""


def grade_file(assignment: Assignment, path: Path) -> Result:
    """Return the result of one file."""
    count = len(assignment.parts)
    if not path.is_file():
        says = ["the file is missing"] * count
    elif path.stat().st_size > MAX_BYTES:
        says = [f"the file is larger than {MAX_BYTES >> 20} MiB"] * count
    elif NO_PROCESSES:
        loaded, *says = results(assignment, path, source_of(path), assignment.parts)
        says = [loaded] * count if loaded else says
    else:
        says = _in_processes(assignment, path.resolve(), count)
    parts = [
        PartResult(part.name, 0 if wrong else part.points, part.points, wrong)
        for part, wrong in zip(assignment.parts, says, strict=True)
    ]
    return Result(assignment.name, path.name, tuple(parts))


def _in_processes(assignment: Assignment, path: Path, count: int) -> list[str]:
    """Return what is wrong with each part; a process that ends early is followed by another."""
    says: list[str] = []
    seconds = assignment.seconds
    while len(says) < count:
        loaded, *answers = _run(assignment, path, range(len(says), count), seconds)
        if loaded:  # nothing can be tried
            return says + [loaded] * (count - len(says))
        says += answers
        if answers and answers[-1].startswith("needs more than"):
            seconds = min(seconds, AFTER_SECONDS)
    return says


def _run(assignment: Assignment, path: Path, parts: range, seconds: float) -> Iterator[str]:
    """Yield what a process says of loading the file and of each part, to the first it ends in."""
    command = [sys.executable, "-m", "nplenet.lab.worker", assignment.name, str(path)]
    command += [str(assignment.megabytes), *map(str, parts)]
    with TemporaryDirectory(ignore_cleanup_errors=True) as home, _process(command, home) as process:
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read, args=(process, lines), daemon=True).start()
        limit = START_SECONDS
        try:
            if _said(lines.get(timeout=START_SECONDS), process.pid) != "ready":
                raise RuntimeError(f"lab: {' '.join(command)} can't be started")
            for limit in (LOAD_SECONDS, *[seconds] * len(parts)):
                while (line := lines.get(timeout=limit)) and _said(line, process.pid) is None:
                    pass
                if not line:
                    yield _ended(process)
                    return
                yield _said(line, process.pid) or ""
        except queue.Empty:
            yield f"needs more than {limit:g} seconds, the limit: does a loop never end?"
        finally:
            _end(process)


def _process(command: Sequence[str], home: str) -> subprocess.Popen[str]:
    """Start the worker: without input, with one thread of BLAS, in a group of its own.

    ``home`` is the folder in which it runs, an empty one: so no file beside the answer is taken for
    a module of Python, and what the answer writes is gone afterwards.
    """
    here = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=home,
        env={**os.environ, **threads, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        encoding="utf-8",
        start_new_session=os.name == "posix",
    )


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Pass the worker's lines on; an empty one at the end."""
    assert process.stdout is not None
    with suppress(OSError, ValueError):
        for line in process.stdout:
            lines.put(line)
    lines.put("")


def _said(line: str, pid: int) -> str | None:
    """Return what a line of the worker says; None for a line of a process that it has forked."""
    with suppress(ValueError):
        match json.loads(line):
            case [int(writer), str(text)] if writer == pid:
                return text
    return None


def _ended(process: subprocess.Popen[str]) -> str:
    """Say how a process ended that has said nothing of a part."""
    code = process.wait(10)
    if code < 0:
        name = signal.Signals(-code).name
        return f"ends the process by {name}: is memory written that is not the program's?"
    return f"ends the process with exit status {code}: os._exit?"


def _end(process: subprocess.Popen[str]) -> None:
    """End the worker and whatever it has started."""
    with suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
