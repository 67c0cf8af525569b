"""The process in which an answer runs: ``python -m nplenet.lab.worker NAME FILE MEGABYTES PARTS``.

It writes a line of JSON per part, with its process id, to standard output as it was at the start;
what the answer prints goes nowhere. Memory is limited where the system can (not on Windows, in
effect not on macOS), time by the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .answer import Answer
from .assignment import Assignment, find
from .checks.layer import Part
from .compare import WrongAnswer


def results(
    assignment: Assignment, path: Path, source: str, parts: Sequence[Part]
) -> Iterator[str]:
    """Yield "" once the file is loaded, then for each part what is wrong with it, or ""."""
    answer = Answer(path, source)
    if path.suffix == ".py":
        try:
            answer.load()
        except WrongAnswer as wrong:
            yield str(wrong)
            return
    yield ""
    for part in parts:
        yield wrong_with(part, answer)


def source_of(path: Path) -> str:
    """Return the text of an answer's file; what is not UTF-8 becomes a syntax error."""
    return path.read_text(encoding="utf-8-sig", errors="replace")


def wrong_with(part: Part, answer: Answer) -> str:
    """Return what is wrong with a part, or ""."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            part.check(answer)
    except WrongAnswer as wrong:
        return str(wrong)
    except FileNotFoundError as missing:
        return f"can't be tried: {missing}"
    except BaseException as error:  # an answer may leave anything behind
        return answer.sentence(error)
    return ""


def limit_memory(megabytes: int) -> None:
    """Limit the memory of this process to what it has now and ``megabytes`` more."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * os.sysconf("SC_PAGE_SIZE") + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: Sequence[str]) -> None:
    """Grade the parts whose numbers are named, after the name, the file and the memory."""
    name, file, megabytes, *numbers = arguments
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    assignment, path = find(name), Path(file)
    parts = [assignment.parts[int(number)] for number in numbers]
    source = source_of(path)
    write(answers, "ready")
    limit_memory(int(megabytes))
    for wrong in results(assignment, path, source, parts):
        write(answers, wrong)


def write(file: Any, value: str) -> None:
    json.dump([os.getpid(), value], file)
    file.write("\n")
    file.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # whatever threads the answer has left
