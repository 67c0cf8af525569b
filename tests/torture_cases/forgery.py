"""Forged records, histories, caches of tunables and options: JSON with nonsense in its places.

A checkpoint is forged with a right digest. The commands run on what is forged, and must end with a
status of the manual and, in case of an error, with one printable line.
"""

from __future__ import annotations

import copy
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

from nplenet.__main__ import main
from nplenet.checkpoint import LATEST, Checkpoint, load
from nplenet.checkpoint.file import write_file
from nplenet.compiled.cpu import tuning_cache
from nplenet.compiled.cpu.tuning import Tunables

from . import networks
from .bench import GOALS as GOALS
from .bench import Bench, Case, Figure, More, Outcome, fault, in_process, refuse_to_start
from .inputs import png
from .named import CACHES, HISTORIES, OPTIONS, RECORDS, TEXTS

DIGIT = png(40, 40, 0)
HOSTILE = "<b>\x1b]0;owned\x07\n\udce9"
DEEP: Any = []
for _ in range(150):
    DEEP = [DEEP]
NONSENSE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, -1e308),
    *(float("nan"), float("inf"), "", "x", "0", HOSTILE, "x" * 20_000),
    *([], [[]], [1, 2], [None], {}, {"": None}, {"type": "ReLU"}, {"0": {"type": "x"}}, DEEP),
)
OPTION_NAMES = (
    *("tunables", "tunables", "lr", "dropout", "validation", "seed", "limit", "epochs", "keep"),
    *("batch-size", "patience", "ranks", "checkpoint-every", "dataset", "augment"),
    *("classes", "weight-decay", "label-smoothing", "clip-norm"),
)
TRAIN = ["train", "--no-download", "--quiet", "--stop-after", "1", "--dataset", "digits"]
TRAIN += ["--limit", "20", "--epochs", "1"]
# How a checkpoint is used; {} is its path, {new} one for what is written.
USES = {
    "info": "info {}",
    "info --json": "info {} --json",
    "evaluate": "evaluate {} --limit 2 --no-download",
    "resume": "train --resume {} --output {new} --no-download --quiet --stop-after 1",
    "predict": "predict {} {image}",
    "draw": "draw {} --no-open --output {new}.html",
    "export onnx": "export {} --to onnx --output {new}.onnx",
    "export pytorch": "export {} --to pytorch --output {new}.pth",
}
NETWORK_USES = ("info", "info --json", "evaluate", "predict", "draw", "export onnx")
NETWORK_USES += ("export pytorch", "resume network", "resume network")


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
    """Forges what belongs to a real run on the bundled digits, and runs the commands on it.

    Each kind of forgery takes random numbers; it returns what it was, and how the command ended.
    Works in ``folder``, inside ``prepared(folder)``.
    """

    def __init__(self, run: Path, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.checkpoint = load(run / LATEST)
        self.history = json.loads((run / "history.json").read_text())
        entry = {"tunables": Tunables().as_dict(), "looks": 3, "wins": 1}
        self.cache = {"machine": tuning_cache.machine(), "sizes": {"16": entry, "64": entry}}
        self.path = folder / LATEST
        self.kinds = {
            "records": self.record,
            "networks": self.network,
            "models": self.model,
            "histories": self.report,
            "caches": self.kept_tunables,
            "options": self.option,
        }

    def record(self, rng: random.Random) -> tuple[str, Outcome]:
        """Forge the record of a checkpoint, or a tensor of its run."""
        tensors, record = dict(self.checkpoint.tensors), self.checkpoint.record
        if rng.random() < 0.1:
            name = rng.choice(sorted(tensors))
            tensors[name] = rng.choice((tensors[name][..., None], tensors[name].astype("f8")))
        write_file(self.path, tensors, forged(record, rng))
        return self.use(rng.choice(sorted(USES)))

    def model(self, rng: random.Random) -> tuple[str, Outcome]:
        """Forge the description of a model."""
        record = self.checkpoint.record
        forgery = record | {"model": forged(record["model"], rng)}
        write_file(self.path, self.checkpoint.tensors, forgery)
        return self.use(rng.choice(("info", "evaluate", "export pytorch", "export onnx")))

    @cached_property
    def other(self) -> Checkpoint:
        """The checkpoint of a run of all that LeNet-5 lacks."""
        networks.train(self.folder / "network")
        return load(self.folder / "network" / LATEST)

    def network(self, rng: random.Random) -> tuple[str, Outcome]:
        """Forge the record of another network, or a tensor of its run."""
        tensors, record = dict(self.other.tensors), self.other.record
        part = rng.choice((None, "model", "optimizer", "schedule", "preprocessing", "arguments"))
        forgery = (
            forged(record, rng) if part is None else {**record, part: forged(record[part], rng)}
        )
        if rng.random() < 0.1:
            name = rng.choice(sorted(tensors))
            tensors[name] = rng.choice((tensors[name][..., None], tensors[name].astype("f8")))
        write_file(self.path, tensors, forgery)
        return self.use(rng.choice(NETWORK_USES))

    def use(self, how: str) -> tuple[str, Outcome]:
        """Use the checkpoint."""
        if how == "resume network":
            return how, networks.resume(self.path, self.folder / "out")
        image = self.folder / "digit.png"
        image.write_bytes(DIGIT)
        words = [
            word.format(self.path, new=self.folder / "out", image=image)
            for word in USES[how].split()
        ]
        return how, in_process(words)

    def report(self, rng: random.Random) -> tuple[str, Outcome]:
        """Forge history.json."""
        text = json.dumps(forged(self.history, rng))
        if rng.random() < 0.1:
            text = rng.choice((text[: rng.randrange(len(text))], "[" * 100_000, "\ufeff"))
        return "report", self.report_on(text.encode())

    def report_on(self, history: bytes) -> Outcome:
        """Make the report of a run with these bytes in history.json."""
        (self.folder / "history.json").write_bytes(history)
        write_file(self.path, self.checkpoint.tensors, self.checkpoint.record)
        return in_process(["report", str(self.folder), "--no-download"])

    def kept_tunables(self, rng: random.Random) -> tuple[str, Outcome]:
        """Forge the cache of tunables: it is never an error."""
        text = json.dumps(forged(self.cache, rng))
        if rng.random() < 0.2:
            text = rng.choice((text[: rng.randrange(len(text))], "[" * 100_000, ""))
        return "tune", self.tune(text.encode())

    def tune(self, cache: bytes) -> Outcome:
        """Choose tunables with these bytes in the cache."""
        (self.folder / "tunables.json").write_bytes(cache)
        kept = tuning_cache.read().get(16)
        found = Tunables() if kept is None else kept.tunables
        return Outcome(0 if isinstance(found, Tunables) else 99, "", "")

    def option(self, rng: random.Random) -> tuple[str, Outcome]:
        """Forge the value of an option of ``train``."""
        name = rng.choice(OPTION_NAMES)
        value: Any = rng.choice(NONSENSE)
        if name == "tunables" and rng.random() < 0.8:
            value = forged(self.cache["sizes"]["16"]["tunables"], rng)
        text = value if isinstance(value, str) else json.dumps(value)
        return f"--{name}", in_process([*TRAIN, f"--{name}={text}"])


@contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """Spare the commands what takes half a second, and keep them to a folder and one process."""
    with ExitStack() as stack:
        for name in ("feature_maps", "filters", "hidden_map", "worst_mistakes"):  # of the network
            drawn = mock.MagicMock(**{"return_value.axes": []})
            stack.enter_context(mock.patch(f"nplenet.plots.{name}", drawn))
        for name, value in {
            "nplenet.report.sections.figure": lambda *_: "",
            "nplenet.report.sections.charts": lambda *_: "",
            "nplenet.commands.train.write_report": lambda *_: True,
            "nplenet.compiled.cpu.tuning_cache.cache_file": lambda: folder / "tunables.json",
            "nplenet.mpi.os.execv": refuse_to_start,
        }.items():
            stack.enter_context(mock.patch(name, value))
        yield


def train_once(folder: Path) -> Path:
    """Return the folder of a run of two short epochs, one of which is done."""
    options = "--dataset digits --limit 60 --batch-size 16 --epochs 2 --stop-after 1 --quiet"
    with mock.patch("nplenet.commands.train.write_report"):
        assert main(["train", *options.split(), "--output", str(folder)]) == 0
    return folder


# ------------------------------------------------------------------ figures


def forger_of(bench: Bench, with_network: bool = False) -> Forger:
    bench.make_run()
    forger = Forger(bench.run, bench.new())
    if with_network:
        other = bench.work / "network" / LATEST
        if not other.exists():  # trained once, before the processes are forked
            networks.train(other.parent)
        forger.other = load(other)
    return forger


def at_random(*kinds: str) -> More:
    def more(bench: Bench) -> Iterator[tuple[str, str]]:
        forger = forger_of(bench, "networks" in kinds)

        def attack(rng: random.Random) -> tuple[str, Outcome]:
            with prepared(forger.folder):
                return forger.kinds[rng.choice(kinds)](rng)

        yield from bench.batch(kinds[0], attack)

    return more


def replaced(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a value of JSON with another value at a path; ``...`` removes it."""
    record = copy.deepcopy(record)
    *path_inside, last = path
    inside = record
    for key in path_inside:
        inside = inside[key]
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return record


def on_forger(name: str, attack: Callable[[Forger], Outcome]) -> Case:
    """Return a case that makes an attack in a process of its own."""

    def case(bench: Bench) -> str:
        forger = forger_of(bench)

        def work() -> int:
            with prepared(forger.folder):
                outcome = attack(forger)
            print(outcome.out, end="")
            print(outcome.err, end="", file=sys.stderr)
            return outcome.status

        outcome = bench.forked(work)
        bench.note(name, outcome)
        return fault(outcome)

    return case


def record_case(path: tuple[Any, ...], value: Any, how: str) -> Case:
    def attack(forger: Forger) -> Outcome:
        record = replaced(forger.checkpoint.record, path, value)
        write_file(forger.path, forger.checkpoint.tensors, record)
        return forger.use(how)[1]

    return on_forger(f"{path}, {how}", attack)


def network_case(name: str, change: Callable[[dict[str, Any]], None]) -> Case:
    """Use a forged checkpoint in each way; all in one process, as there are many."""

    def case(bench: Bench) -> str:
        forger = forger_of(bench, with_network=True)
        record = copy.deepcopy(forger.other.record)
        change(record)
        write_file(forger.path, forger.other.tensors, record)

        def work() -> int:
            with prepared(forger.folder):
                for how in ("info", "evaluate", "predict", "export onnx", "resume network"):
                    begin = time.monotonic()
                    outcome = forger.use(how)[1]
                    seconds = time.monotonic() - begin
                    if wrong := fault(outcome._replace(seconds=seconds)):
                        print(f"{how}: {wrong}", end="")
                        return 1
            return 0

        outcome = bench.forked(work)
        bench.note(name, outcome)
        if outcome.status == 0 or outcome.out:
            return outcome.out
        return f"it ended its process: {outcome.status}, {outcome.err[-300:]!r}"

    return case


def history_case(path: tuple[Any, ...], value: Any) -> Case:
    return on_forger(
        f"history.json {path}",
        lambda f: f.report_on(json.dumps(replaced(f.history, path, value)).encode()),
    )


def text_case(text: bytes) -> Case:
    return on_forger(f"history.json {text[:20]!r}", lambda forger: forger.report_on(text))


def cache_case(text: str | bytes) -> Case:
    """Forge a cache, alone and with this machine's name in it: it is never an error."""

    def attack(forger: Forger) -> Outcome:
        forged = text if isinstance(text, bytes) else text.encode()
        machine = json.dumps({"machine": forger.cache["machine"]}).encode()[:-1]
        forger.tune(forged)
        return forger.tune(machine + b", " + forged.removeprefix(b"{"))

    return on_forger("a cache", attack)


def option_case(words: tuple[str, ...]) -> Case:
    return on_forger(f"{words}", lambda forger: in_process([*TRAIN, *words]))


FIGURES = [
    Figure(
        "forged records",
        {name: record_case(*how) for name, how in RECORDS.items()},
        at_random("records", "records", "models"),
        0.15,
    ),
    Figure(
        "forged records of other networks",
        {name: network_case(name, change) for name, change in networks.CHANGES.items()},
        at_random("networks"),
        0.1,
    ),
    Figure(
        "forged history.json",
        {name: history_case(*how) for name, how in HISTORIES.items()}
        | {f"text {name}": text_case(text) for name, text in TEXTS.items()},
        at_random("histories"),
        0.08,
    ),
    Figure(
        "caches of tunables",
        {name: cache_case(text) for name, text in {**TEXTS, **CACHES}.items()},
        at_random("caches"),
        0.05,
    ),
    Figure(
        "option values",
        {name: option_case(words) for name, words in OPTIONS.items()},
        at_random("options"),
        0.07,
    ),
]
