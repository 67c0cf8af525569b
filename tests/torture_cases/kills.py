"""Whole runs killed at each of their writes, and folders that other processes use as well."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import killed_runs

from nplenet.__main__ import main

from .bench import LEARN, Bench, Case, Figure, fault, limit_resources

SECONDS_PER_KILL = 0.7  # about
FEW = 2  # kills of each kind of run, whatever the minutes
MINUTES_FOR_ALL = 8.0


def kills(bench: Bench) -> Iterator[tuple[str, str]]:
    """Kill runs at as many random moments as the minutes allow; from eight minutes on, at all."""
    count = max(FEW, int(60 * bench.minutes * SHARE / SECONDS_PER_KILL / len(killed_runs.RUNS)))
    some = [str(count), str(bench.seed)] if bench.minutes < MINUTES_FOR_ALL else []
    folder = bench.new()
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, killed_runs.__file__, str(folder), *some],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(killed_runs.__file__).parents[1])},
        preexec_fn=partial(limit_resources, cpu_seconds=1200),
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=1200)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
    records = [json.loads(line) for line in out.splitlines()]
    for record in records:
        if "same" in record:
            name = f"{record['run']}, killed at {record['killed at']}"
            again = f", again at {record['again at']}" if record["again at"] else ""
            yield name + again, "" if record["same"] else f"other files: {record['wrong']}"
    runs = {record["run"] for record in records if "readings" in record}
    for run in killed_runs.RUNS:
        yield (
            f"{run}, undisturbed and read",
            "" if run in runs and not err else err[-300:],
        )


SHARE = 0.2


def others_files(bench: Bench) -> str:
    """Files and folders that look like what a killed run leaves are other people's."""
    folder = bench.new()
    folder.mkdir()
    names = (
        ".iso.part",
        ".checkpoint.safetensors.part",
        ".history.json.x.part",
        "report.html.part",
    )
    for name in names:
        (folder / name).write_text("mine")
    (folder / ".torrents.part").mkdir()
    (folder / ".checkpoint.safetensors.1-0123abcd.nplenet.part").mkdir()
    if wrong := fault(bench.nplenet("train", *LEARN, "--epochs", "1", "--output", folder), (0,)):
        return wrong
    lost = [name for name in names if not (folder / name).exists()]
    return f"it deleted {lost}" if lost else ""


def second_run(moment: str) -> Case:
    """Start a run in the folder of another one while that one is at a moment."""

    def case(bench: Bench) -> str:
        folder = bench.new()
        words = ["train", *LEARN, "--epochs", "1", "--output", str(folder)]
        found: list[str] = []
        real = pkgutil.resolve_name(moment)

        def paused(*arguments: object, **options: object) -> object:
            if not found:  # in the first run only, of which the second one is a fork
                found.append("it did not end")
                outcome = bench.nplenet(*words, "--seed", "2")
                found[0] = fault(outcome, (2,))
                if "another" not in outcome.err:
                    found[0] = f"{outcome.status}, {outcome.err!r}"
            return real(*arguments, **options)

        def work() -> int:
            report = mock.patch("nplenet.report.write_report", killed_runs.short_report)
            with report, mock.patch(moment, paused):
                status = main(words)
            print(*found, end="")
            return status if found == [""] else 99

        outcome = bench.forked(work, 40)
        return "" if outcome.status == 0 else f"{outcome.status}: {outcome.out} {outcome.err}"

    return case


CASES = {"files of others": others_files}
CASES |= {
    f"a second run while the first is at {moment.rpartition('.')[2]}": second_run(moment)
    for moment in (
        "nplenet.commands.train.load_data",
        "nplenet.commands.train.fit",
        "nplenet.commands.train.evaluate",
        "nplenet.commands.train.write_history",
        "nplenet.commands.train.write_report",
    )
}
FIGURES = [
    Figure("kills survived (five kinds of run)", {}, kills),
    Figure("folders that others use", CASES),
]
