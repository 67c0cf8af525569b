"""Forged records: a value of JSON with some of its parts replaced by nonsense.

    PYTHONPATH=. python tests/forgery.py 20000 --seed 0

forges that many checkpoints (with a right digest), histories, caches of tunables and values of
options, and runs the commands on them. Every run must end with a status of the manual and, in case
of an error, with one printable line: a traceback or an internal error counts as not held.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from nplenet.__main__ import main
from nplenet.checkpoint import LATEST, load
from nplenet.checkpoint.file import write_file
from nplenet.compiled.cpu import tuning
from nplenet.terminal import show

HOSTILE = "<b>\x1b]0;owned\x07\n\udce9"
DEEP: Any = []
for _ in range(150):
    DEEP = [DEEP]
NONSENSE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, -1e308),
    *(float("nan"), float("inf"), "", "x", "0", HOSTILE, "x" * 20_000),
    *([], [[]], [1, 2], [None], {}, {"": None}, {"type": "ReLU"}, {"0": {"type": "x"}}, DEEP),
)
OPTIONS = (
    *("tunables", "tunables", "lr", "dropout", "validation", "seed", "limit", "epochs", "keep"),
    *("batch-size", "patience", "ranks", "checkpoint-every", "dataset", "augment"),
    *("classes", "weight-decay", "label-smoothing"),
)
TRAIN = ["train", "--no-download", "--quiet", "--stop-after", "1"]


class Attack(NamedTuple):
    """A forged file, or a command line, and the command that meets it."""

    arguments: list[str]
    what: str


def forged(value: Any, rng: random.Random) -> Any:
    """Return a copy of a value of JSON in which one to three parts are nonsense."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return rng.choice(NONSENSE)
        container, key = rng.choice(places)
        _forge(container, key, rng)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every value inside, not deeper than any real record."""
    waiting = [(value, 0)]
    while waiting:
        container, depth = waiting.pop()
        keys = container if isinstance(container, dict) else range(len(container))
        for key in keys:
            yield container, key
            if isinstance(container[key], (dict, list)) and depth < 12:
                waiting.append((container[key], depth + 1))


def _forge(container: Any, key: Any, rng: random.Random) -> None:
    old = container[key]
    action = rng.randrange(6)
    if action == 0:
        del container[key]
    elif action == 1 and isinstance(container, dict):
        container[rng.choice(("", "x", "1", "a.b", "__class__", "type", HOSTILE))] = old
    elif action == 2 and type(old) in (int, float) and abs(old) < 1e15:
        container[key] = rng.choice((-old, old + 1, old * 1000, float(old), int(old), str(old)))
    elif action == 3 and isinstance(container, list):
        container.insert(key, copy.deepcopy(rng.choice((old, *NONSENSE))))
    elif action == 4 and isinstance(old, dict) and old:
        items = list(old.items())
        rng.shuffle(items)
        container[key] = dict(items)
    else:
        container[key] = copy.deepcopy(rng.choice(NONSENSE))


class Forger:
    """Makes attacks from the folder of a real run on the bundled digits."""

    def __init__(self, run: Path, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.checkpoint = load(run / LATEST)
        self.history = json.loads((run / "history.json").read_text())
        self.cache = {"machine": tuning.machine(), "tunables": tuning.Tunables().as_dict()}
        self.path = folder / LATEST
        write_file(self.path, self.checkpoint.tensors, self.checkpoint.record)
        self.kinds: list[tuple[Callable[[], Attack], int]] = [
            (self.record, 12),
            (self.model, 6),
            (self.report, 3),
            (self.kept_tunables, 2),
            (self.option, 3),
        ]

    def attack(self) -> Attack:
        kinds, weights = zip(*self.kinds, strict=True)
        make: Callable[[], Attack] = self.rng.choices(kinds, weights)[0]
        return make()

    def record(self) -> Attack:
        """Forge the record of a checkpoint, or a tensor of its run."""
        tensors, record = dict(self.checkpoint.tensors), self.checkpoint.record
        if self.rng.random() < 0.1:
            name = self.rng.choice(sorted(tensors))
            tensors[name] = self.rng.choice((tensors[name][..., None], tensors[name].astype("f8")))
        write_file(self.path, tensors, forged(record, self.rng))
        command = self.rng.choice(("info", "info --json", "evaluate", "export", "draw", "train"))
        return self._on_checkpoint(command, "record")

    def model(self) -> Attack:
        """Forge the description of a model."""
        record = self.checkpoint.record
        write_file(
            self.path,
            self.checkpoint.tensors,
            record | {"model": forged(record["model"], self.rng)},
        )
        return self._on_checkpoint(self.rng.choice(("info", "evaluate", "export")), "model")

    def _on_checkpoint(self, command: str, what: str) -> Attack:
        name, *more = command.split()
        output = ["--output", str(self.folder / "out")]
        options = {
            "evaluate": ["--limit", "2", "--no-download"],
            "export": ["--to", "pytorch", "--output", str(self.folder / "out.pth")],
            "draw": ["--no-open", "--output", str(self.folder / "out.html")],
        }
        if name == "train":
            return Attack([*TRAIN, *output, "--resume", str(self.path)], f"{what}, train")
        return Attack([name, str(self.path), *more, *options.get(name, [])], f"{what}, {name}")

    def report(self) -> Attack:
        """Forge history.json."""
        text = json.dumps(forged(self.history, self.rng))
        if self.rng.random() < 0.1:
            text = self.rng.choice((text[: self.rng.randrange(len(text))], "[" * 100_000, "\ufeff"))
        (self.folder / "history.json").write_text(text, encoding="utf-8")
        write_file(self.path, self.checkpoint.tensors, self.checkpoint.record)
        return Attack(["report", str(self.folder), "--no-download"], "history")

    def kept_tunables(self) -> Attack:
        """Forge the cache of tunables: it is never an error."""
        text = json.dumps(forged(self.cache, self.rng))
        if self.rng.random() < 0.2:
            text = self.rng.choice((text[: self.rng.randrange(len(text))], "[" * 100_000, ""))
        (self.folder / "tunables.json").write_text(text, encoding="utf-8")
        return Attack([], "cache")

    def option(self) -> Attack:
        """Forge the value of an option of ``train``."""
        name = self.rng.choice(OPTIONS)
        value: Any = self.rng.choice(NONSENSE)
        if name == "tunables" and self.rng.random() < 0.8:
            value = forged(self.cache["tunables"], self.rng)
        text = value if isinstance(value, str) else json.dumps(value)
        more = ["--dataset", "digits", "--limit", "20", "--epochs", "1", f"--{name}={text}"]
        return Attack([*TRAIN, *more], "option")


def outcome(attack: Attack, folder: Path) -> str:
    """Run an attack; return why it does not hold, or an empty string."""
    stdout, stderr = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(stdout), redirect_stderr(stderr):
            if attack.what == "cache":
                found = tuning.tuned(lambda tunables: 1.0)
                return "" if isinstance(found, tuning.Tunables) else f"found {found}"
            status = main(attack.arguments)
    except SystemExit as end:
        status = int(end.code or 0)  # of argparse, which prints its usage first
        stderr = io.StringIO("".join(stderr.getvalue().splitlines(keepends=True)[-1:]))
    except BaseException:
        return traceback.format_exc()
    error, output = stderr.getvalue(), stdout.getvalue()
    if status not in (0, 1, 2):
        return f"status {status}"
    if "internal error" in error or "Traceback" in error:
        return error
    if status == 2 and error.count("\n") != 1:
        return f"not one line: {error!r}"
    if not (error + output).replace("\n", "").isprintable():
        return f"not printable: {error + output!r}"
    return ""


def attack_all(run: Path, folder: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Make and run attacks; return how many there were of each kind, and those that got through."""
    rng = random.Random(seed)
    forger, counts, faults = Forger(run, folder, rng), Counter[str](), []
    patches = (
        mock.patch("nplenet.report.sections.figure", return_value=""),  # half a second each
        mock.patch("nplenet.commands.train.write_report"),
        mock.patch("nplenet.compiled.cpu.tuning.cache_file", return_value=folder / "tunables.json"),
        mock.patch(
            "nplenet.mpi.os.execv", side_effect=OSError("mpiexec was started")
        ),  # no ranks are started
    )
    for patch in patches:
        patch.start()
    try:
        for number in range(count):
            attack = forger.attack()
            counts[attack.what] += 1
            if fault := outcome(attack, folder):
                faults.append(f"attack {number} of seed {seed} ({attack.what}): {fault}")
    finally:
        for patch in patches:
            patch.stop()
    return counts, faults


def train_once(folder: Path) -> Path:
    """Return the folder of a run of two short epochs, one of which is done."""
    options = "--dataset digits --limit 60 --batch-size 16 --epochs 2 --stop-after 1 --quiet"
    with mock.patch("nplenet.commands.train.write_report"):
        assert main(["train", *options.split(), "--output", str(folder)]) == 0
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Forge records and run the commands on them.")
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        (target := Path(place) / "forged").mkdir()
        run = train_once(Path(place) / "run")
        counts, faults = attack_all(run, target, options.count, options.seed)
    for fault in faults[:20]:
        show(fault)
    print(f"seed {options.seed}: {sum(counts.values())} attacks, {len(faults)} not held")
    print(json.dumps(counts, indent=2))
