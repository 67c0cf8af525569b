"""Each job of gpu.py in a process of its own, which may fail or hang without harm to the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(__file__).resolve().with_name("gpu.py")
LINES_KEPT = 25  # of the errors of a process that failed, for the JSON file


@dataclass
class Outcome:
    """What a process left: the text of its output, why it failed ("" if not), and its seconds."""

    output: str
    error: str
    seconds: float
    errors: list[str] = field(default_factory=list)  # the end of its standard error, if it failed
    out_of_time: bool = False

    @property
    def results(self) -> list[dict[str, Any]]:
        """The lines of JSON that it wrote before it ended."""
        found = []
        for line in self.output.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # cut off in the middle
                continue
        return found


class Clock:
    """The seconds that the whole program may take; no process gets more than what is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._end = seconds, time.monotonic() + seconds

    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())


def run_job(job: dict[str, Any], limit: float, python: str = sys.executable) -> Outcome:
    """Do a job of ``gpu_work`` in a new process of an interpreter."""
    return run([python, str(PROGRAM), "--work", json.dumps(job)], limit)


def run(command: list[str], limit: float) -> Outcome:
    """Run a command for ``limit`` seconds at most; end it, and its children, after that."""
    if limit < 1:
        return Outcome("", "skipped: no time left (--seconds allows more)", 0.0, out_of_time=True)
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            return Outcome("", str(error), 0.0)
        try:
            output, _ = process.communicate(timeout=limit)
            ending = ""
        except subprocess.TimeoutExpired:
            end(process)
            output, _ = process.communicate()
            ending = f"stopped after {limit:.0f} s"
        finally:
            end(process)
        errors.seek(0)
        lines = errors.read().decode(errors="replace").splitlines()[-LINES_KEPT:]
    late = bool(ending)
    if process.returncode and not late:
        ending = ended_with(process.returncode, lines)
    text, seconds = output.decode(errors="replace"), time.perf_counter() - begin
    return Outcome(text, ending, seconds, lines if ending else [], late)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that still runs, with the processes that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def ended_with(status: int, lines: list[str]) -> str:
    """Return the last line of a process that failed, and the signal that ended it."""
    said = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    return said if status > 0 else f"{signal.Signals(-status).name}: {said}"


def environment() -> dict[str, str]:
    """Return the variables of a child: it finds nplenet where this process does.

    In a checkout that is not installed, nplenet lies beside this folder.
    """
    spec = find_spec("nplenet")
    if spec is not None and "site-packages" in str(spec.origin):
        return dict(os.environ)  # on another interpreter's path it would bring its neighbours
    place = ROOT if spec is None else Path(str(spec.origin)).parents[1]
    paths = [str(place), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
