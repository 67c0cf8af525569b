"""Signals in each phase: one line or silence, and a run that resumes as if undisturbed."""

from __future__ import annotations

import functools
import os
import pkgutil
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from killed_runs import COMMAND, left_in, short_report

import nplenet
from nplenet.__main__ import main
from nplenet.checkpoint import LATEST, load
from nplenet.compiled.cpu.tuning import Tunables
from nplenet.interrupts import interrupt_again

from .bench import Bench, Case, Figure, Outcome, fault, limit_resources

# Without its tunables, so that they are tuned.
TUNED = COMMAND[: COMMAND.index("--tunables")] + COMMAND[COMMAND.index("--tunables") + 2 :]
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# Each phase, and the function that the signal comes in: at which call of it.
PHASES = {
    "loading": ("nplenet.commands.train.load_data", 1),
    "tuning": ("nplenet.compiled.cpu.search.search", 1),
    "training, first step": ("nplenet.train.epoch.RunningMetrics.add", 1),
    "training, third epoch": ("nplenet.train.epoch.RunningMetrics.add", 8),
    "saving": ("nplenet.checkpoint.run.Run.contents", 2),
    "validation": ("nplenet.train.evaluation.LabelledImages.evaluate", 2),
    "test": ("nplenet.commands.train.evaluate", 1),
    "report": ("nplenet.report.write_report", 1),
}
SAVED = ("training, first step", "training, third epoch", "validation", "saving")
COMMANDS = {
    "evaluate": ("nplenet.commands.evaluate.evaluate", ["evaluate", "{}", "--dataset", "digits"]),
    "gradcheck": ("nplenet.commands.gradcheck.check_case", ["gradcheck", "relu"]),
    "report": ("nplenet.report.write_report", ["report", "{}"]),
    "predict": ("nplenet.commands.predict.read_photo", ["predict", "default", "{}"]),
    "draw": (
        "nplenet.commands.draw.write_page",
        ["draw", "default", "--output", "{}", "--no-open"],
    ),
    "export": (
        "nplenet.commands.export.load",
        ["export", "default", "--to=pytorch", "--output={}.pth"],
    ),
}
IMPORTS = ("nplenet.layers", "nplenet.compiled", "numpy", "tqdm")
PROGRAM = """
import os, runpy, sys
number, module, *words = sys.argv[1:]
sys.argv = ["nplenet", *words]
import nplenet.interrupts
def hook(event, arguments):
    if event == "import" and arguments[0] == module and number != "0":
        os.kill(os.getpid(), int(number))
sys.modules.pop(module, None)
sys.addaudithook(hook)
runpy.run_module("nplenet", run_name="__main__", alter_sys=True)
"""
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        [str(Path(nplenet.__file__).parents[1]), str(Path(nplenet.__file__).parents[1] / "tests")]
    ),
}


def interrupting(target: str, call: int, number: int) -> Any:
    """Patch a function so that the signal comes at one of its calls, in the middle of a command."""
    where, _, last = target.rpartition(".")
    place = pkgutil.resolve_name(where)
    real, calls = getattr(place, last), [0]

    @functools.wraps(real)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), number)
        return real(*arguments, **options)

    return mock.patch.object(place, last, wrapper)


def train(folder: Path, *patches: Any, words: list[str] = TUNED) -> int:
    """Train, or resume, in this process."""
    report = mock.patch("nplenet.report.write_report", short_report)
    search = mock.patch("nplenet.compiled.cpu.search.search", return_value=(Tunables(), []))
    cache = mock.patch("nplenet.compiled.cpu.tuning_cache.cache_file", return_value=None)
    with report, search, cache:
        for patch in patches:
            patch().start()
        return main([*words, "--output", str(folder)])


def undisturbed(bench: Bench, words: list[str]) -> dict[str, Any]:
    """Return what a run leaves to which nothing happens."""
    folder = bench.work / f"undisturbed-{len(words)}"
    if not folder.exists():
        outcome = bench.forked(lambda: train(folder, words=words))
        assert outcome.status == 0, outcome.err
    return left_in(folder)


def why_not_resumed(bench: Bench, folder: Path, words: list[str] = TUNED) -> str:
    """Resume the run, or begin it if it has saved nothing, and compare what it leaves."""
    outcome = bench.forked(lambda: train(folder, words=words))
    if outcome.status != 0 or outcome.err:
        return f"it does not resume: {outcome.status}: {outcome.err[-300:]}"
    expected, found = undisturbed(bench, words), left_in(folder)
    for files in (expected, found):
        files[f"{LATEST}.bak"] = f"{LATEST}.bak" in files  # of an earlier step: a signal saves one
    wrong = [k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)]
    shutil.rmtree(folder)
    return f"it resumes to other files: {wrong}" if wrong else ""


def why_no_clear_end(outcome: Outcome, number: int) -> str:
    """An end by a signal is a status that names it, and at most one line."""
    statuses = (128 + number, -number)
    if wrong := fault(outcome._replace(seconds=0.0), statuses):  # a run still makes its report
        return wrong
    lines = outcome.err.splitlines()
    return f"{len(lines)} lines: {outcome.err[:300]!r}" if len(lines) > 1 else ""


def in_phase(phase: str, name: str) -> Case:
    def case(bench: Bench) -> str:
        folder, number = bench.new(), getattr(signal, name)
        target, call = PHASES[phase]
        patch = functools.partial(interrupting, target, call, number)
        outcome = bench.forked(lambda: train(folder, patch))
        if wrong := why_no_clear_end(outcome, number):
            return wrong
        if phase in SAVED:
            if outcome.status != 128 + number:
                return f"status {outcome.status}: it did not finish its step"
            if not (folder / LATEST).exists() or not len(load(folder / LATEST).tensors):
                return "it has not saved"
        folder.mkdir(exist_ok=True)
        return why_not_resumed(bench, folder)

    return case


def in_command(command: str, name: str) -> Case:
    def case(bench: Bench) -> str:
        target, words = COMMANDS[command]
        number = getattr(signal, name)
        bench.make_run()
        place = {"evaluate": bench.run / LATEST, "report": bench.run}.get(command, bench.new())
        words = [word.format(place) for word in words]

        def work() -> int:
            interrupting(target, 1, number).start()
            return main(words)

        return why_no_clear_end(bench.forked(work), number)

    return case


# ------------------------------------------------------------------ processes of their own


def started(*words: object, program: tuple[str, ...] = ("-m", "nplenet")) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program, *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
        preexec_fn=with_default_signals,
    )


def with_default_signals() -> None:
    limit_resources()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def end_of(process: subprocess.Popen[str], begin: float) -> Outcome:
    try:
        out, err = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return Outcome(process.returncode, out, err, time.monotonic() - begin)


def in_import(module: str, name: str) -> Case:
    def case(bench: Bench) -> str:
        number, begin = getattr(signal, name), time.monotonic()
        process = started(int(number), module, "train", "--help", program=("-c", PROGRAM))
        return why_no_clear_end(end_of(process, begin), number)

    return case


def at_any_time(bench: Bench) -> Iterator[tuple[str, str]]:
    """Send a signal to a process after a random time, often a second one too; resume the run."""
    index = 0
    while bench.goes_on(index):
        rng = random.Random(f"{bench.seed} signals {index}")
        name, delay = rng.choice(NAMES), rng.uniform(0.05, 1.5)
        number, folder = getattr(signal, name), bench.new()
        begin = time.monotonic()
        process = started(*COMMAND, "--output", folder)
        time.sleep(delay)
        process.send_signal(number)
        if again := rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(number)
        outcome = end_of(process, begin)
        wrong = ""
        if (outcome.status != 0 and "nplenet" in outcome.err) or outcome.status > 0:
            wrong = why_no_clear_end(outcome, number)
        if not wrong:
            folder.mkdir(exist_ok=True)
            (folder / "report.html").unlink(missing_ok=True)
            wrong = why_not_resumed(bench, folder, COMMAND)
        what = f"{name} {'twice ' * again}after {delay:.2f} s"
        yield f"signals {index} of seed {bench.seed}: {what}", wrong
        index += 1


CASES: dict[str, Callable[[Bench], str]] = {
    f"{name} in {phase}": in_phase(phase, name) for phase in PHASES for name in NAMES
}
CASES |= {
    f"{name} in {command}": in_command(command, name) for command in COMMANDS for name in NAMES
}
CASES |= {
    f"{name} in import of {module}": in_import(module, name) for module in IMPORTS for name in NAMES
}


def ctrl_c_while_a_module_is_forgotten(bench: Bench) -> str:
    """Python ignores an exception there, and prints it: the Ctrl-C must come again."""

    def work() -> int:
        class Gone:
            def __del__(self) -> None:
                signal.raise_signal(signal.SIGINT)

        def check(*_: Any, **__: Any) -> None:
            Gone()
            time.sleep(5)

        sys.unraisablehook = interrupt_again
        with mock.patch("nplenet.commands.gradcheck.check_case", check):
            return main(["gradcheck", "relu"])

    return why_no_clear_end(bench.forked(work), signal.SIGINT)


CASES["SIGINT where Python ignores exceptions"] = ctrl_c_while_a_module_is_forgotten
FIGURES = [Figure("signals in each phase", CASES, at_any_time, 0.15)]
