"""Kill whole runs of ``nplenet train`` at every write, resume them, compare what they leave.

    python tests/killed_runs.py FOLDER            # kills at each moment: three minutes or so
    python tests/killed_runs.py FOLDER 10 SEED    # at 10 random moments of each kind of run

For each of five kinds of run an undisturbed one notes its calls that change files: write, fsync,
link, rename and unlink. Then, for each of these moments, a run kills itself there (in a write
halfway through the file), and ``--resume auto`` continues it; every third is killed once more, at a
moment of its own. The files must be the same: their names, all tensors, bit for bit, all that a
record says apart from clocks, and the test result. One more run is read by another process all the
time, which must find a whole checkpoint at each moment.

It prints a JSON object per kill and a last one with the counts, and ends with status 0 when all
runs survived. Each run is a forked process.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from torture_cases import networks

from nplenet import commands, files, report
from nplenet.__main__ import main as nplenet
from nplenet.checkpoint import LATEST, load
from nplenet.checkpoint.file import backup, read_file
from nplenet.data import load_digits

COMMAND = ["train", "--dataset", "digits", "--limit", "60", "--batch-size", "16", "--epochs", "4"]
COMMAND += ["--checkpoint-steps", "2", "--checkpoint-every", "inf", "--quiet", "--resume", "auto"]
COMMAND += ["--tunables", '{"threads": 1}']
COMMAND += ["--lr", "0.05", "--validation", "0.3"]  # with which the best epoch is the third, say
PICTURES = ["--clip-norm", "0.5", "--dataset"]  # and a folder of images
RUNS = ("last", "best", "all", "pictures", "network")
"""What ``--keep`` says; images in a folder, and clipped gradients; a network with groups of
parameters, frozen ones, and a rate that waits on the loss. The last two keep the best epoch.
"""
CLOCKS = ("seconds", "epoch_seconds", "images_per_second")
CALLS = {"os.rename": "rename", "os.link": "link", "os.remove": "unlink"}

Moment = Callable[[str, str], bool]
"""Called before each call with its name and its file; says whether to kill the process there."""


def watch(moment: Moment) -> None:
    """Call ``moment`` before each call of this process that changes a file of the run."""

    def stop_here(call: str, name: Any) -> bool:
        path = re.sub(r"\.[0-9]+-[0-9a-f]{8}\.", ".N.", os.path.basename(str(name)))
        return moment(call, path)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CALLS and stop_here(CALLS[event], arguments[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    class Dying(io.FileIO):
        def write(self, contents: Any) -> int:
            if stop_here("write", self.name):
                super().write(contents[: len(contents) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return super().write(contents)

    real = os.fsync

    def dying(descriptor: int) -> None:
        if stop_here("fsync", os.readlink(f"/proc/self/fd/{descriptor}")):
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    sys.addaudithook(hook)
    files.open = Dying  # type: ignore[attr-defined]
    os.fsync = dying


def short_report(folder: Path, *_: Any, **__: Any) -> Path:
    """Write something in place of the report, whose pictures take a second."""
    with files.atomic_write(folder / "report.html") as file:
        file.write(json.loads((folder / "history.json").read_text())["interrupted"].encode())
    return folder / "report.html"


def train(folder: Path, run: str, moment: Moment) -> None:
    report.write_report = short_report
    watch(moment)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the process ends with it
    if run == "network":
        networks.train(folder, 4, keep="best", every_steps=2, resume=saved(folder))
        return
    more = ["--keep", "best" if run == "pictures" else run]
    if run == "pictures":
        more += [*PICTURES, f"folder:{folder.parent / 'images'}"]
    status = nplenet([*COMMAND, *more, "--output", str(folder)])
    assert status == 0, f"it ended with status {status}"


def saved(folder: Path) -> Path | None:
    """Return the path of a checkpoint in a folder, if there is one or its backup."""
    latest = folder / LATEST
    return latest if latest.exists() or backup(latest).exists() else None


def write_pictures(folder: Path) -> None:
    """Write 60 digits as images in folders of their classes."""
    images, labels = load_digits("train")
    for i, (image, label) in enumerate(zip(images[:60], labels, strict=False)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{i}.png")


def forked(work: Callable[[], None]) -> int:
    """Start ``work`` in a new process and return its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def ended(pid: int) -> int:
    """Wait for a process and return its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at(number: int) -> Moment:
    """Return the moment before call ``number`` of a process."""
    left = [number]

    def moment(call: str, path: str) -> bool:
        left[0] -= 1
        return left[0] < 0

    return moment


def noted(calls: Path) -> Moment:
    """Return no moment; write each call to a file."""

    def moment(call: str, path: str) -> bool:
        with calls.open("a") as file:
            print(call, path, file=file)
        return False

    return moment


def without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_clocks(v) for k, v in value.items() if k not in CLOCKS}
    return [without_clocks(item) for item in value] if isinstance(value, list) else value


def left_in(folder: Path) -> dict[str, Any]:
    """Return what the run has left: each file, with its contents apart from clocks."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if ".safetensors" in path.name:
            contents = read_file(path)
            tensors = {name: a.tobytes() for name, a in contents.tensors.items()}
            found[path.name] = (tensors, without_clocks(contents.record))
        elif path.suffix == ".json":
            found[path.name] = without_clocks(json.loads(path.read_text()))
        else:
            found[path.name] = path.read_bytes()
    return found


def main(work: Path, kills: int | None, seed: int) -> int:
    rng, survived, tried = random.Random(seed), 0, 0
    moments: dict[str, int] = {}
    write_pictures(work / "images")
    for run in RUNS:
        undisturbed, calls = work / run, work / f"{run}.calls"
        calls.touch()
        readings = read_all_the_time(undisturbed, partial(train, undisturbed, run, noted(calls)))
        expected, steps = left_in(undisturbed), calls.read_text().splitlines()
        first = {"run": run, "readings": readings, "moments": len(steps), "files": [*expected]}
        print(json.dumps(first), flush=True)
        chosen = (
            range(len(steps)) if kills is None else sorted(rng.sample(range(len(steps)), kills))
        )
        for number in chosen:
            folder = work / "killed"
            assert ended(forked(partial(train, folder, run, at(number)))) == -signal.SIGKILL
            again = number % 3 == 0 and rng.randrange(max(len(steps) - number, 1))
            if again:
                ended(forked(partial(train, folder, run, at(again))))
            same = ended(forked(partial(train, folder, run, at(sys.maxsize)))) == 0
            found = left_in(folder)
            wrong = [k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)]
            same = same and not wrong
            survived, tried = survived + same, tried + 1
            call = steps[number].split()[0]
            moments[call] = moments.get(call, 0) + 1
            how = {"run": run, "killed at": steps[number], "again at": again or None}
            print(json.dumps(how | {"same": same, "wrong": sorted(wrong)}), flush=True)
            shutil.rmtree(folder)
    print(json.dumps({"survived": survived, "of": tried, "calls": moments}))
    return int(survived != tried)


def read_all_the_time(folder: Path, work: Callable[[], None]) -> int:
    """Run ``work`` in a process, read its checkpoint until it ends; say how often."""
    readings, watched = 0, forked(work)
    while (state := os.waitpid(watched, os.WNOHANG)) == (0, 0):
        if (folder / LATEST).exists():
            load(folder / LATEST)
            readings += 1
        time.sleep(0.001)
    assert state[1] == 0
    return readings


if __name__ == "__main__":
    assert commands  # loaded before the processes are forked
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else None
    sys.exit(main(Path(sys.argv[1]), kills, int(sys.argv[3]) if len(sys.argv) > 3 else 0))
