"""What a run prints: lines that fit the window, what matters first, the next line to type."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nplenet
from nplenet.__main__ import _parser, main
from nplenet.checkpoint import LATEST, Epoch, load
from nplenet.commands import COMMANDS, train_options
from nplenet.commands.train import Console
from nplenet.data import DataLoader
from nplenet.group import ALONE
from nplenet.models import LeNet5
from nplenet.recipe import Settings
from nplenet.train import epoch as epoch_module

SMALL = ["train", "--dataset", "digits", "--limit", "100", "--epochs", "2", "--batch-size", "16"]
WINDOW = 80  # columns


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each run the second and a half that its report takes."""
    monkeypatch.setattr("nplenet.report.write_report", lambda folder, *_, **__: folder / "page")


# ------------------------------------------------------------------ widths


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        (
            (1, 2.20497, 0.2637, 2.1572, 0.4028, 0.143),
            "epoch   1  loss 2.2050  accuracy 26.37%  validation 2.1572  40.28%  0.14 s",
        ),
        (
            (12, 0.035, 1.0, None, None, 24.31),
            "epoch  12  loss 0.0350  accuracy 100.00%  24.31 s",
        ),
        (
            (1000, 123456.0, 1.0, 123.456, 1.0, 12345.6),
            "epoch 1000  loss 1.2e+05  accuracy 100.00%  validation 123.46  100.00%  12346 s",
        ),
    ],
)
def test_the_line_of_an_epoch_fits_the_window(numbers: tuple[Any, ...], line: str) -> None:
    number, loss, accuracy, held_out_loss, held_out_accuracy, seconds = numbers
    found = str(Epoch(number, 0.1, loss, accuracy, held_out_loss, held_out_accuracy, seconds, 9e6))
    assert found == line
    assert len(found) <= WINDOW


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("window", "width"), [(200, 60), (41, 40)])
def test_the_progress_bar_is_short_and_says_how_long_it_takes(
    window: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(window))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with epoch_module.progress_bar(12, 57_000, True) as bar:
        bar.set_postfix_str("loss 0.0350, 98.90%", refresh=False)
        bar.update(28_500)
        bar.refresh()
    drawn = [line for line in terminal.getvalue().split("\r") if "50%" in line]
    assert drawn
    assert all(len(line) <= width for line in drawn)
    assert drawn[-1].startswith("epoch 12:  50%|")
    if width == 60:
        assert re.search(r"\| \d\d:\d\d left, loss 0\.0350, 98\.90%$", drawn[-1])


def test_in_the_browser_the_progress_bar_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """There tqdm would warn that it can't watch the bar."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(epoch_module, "HAS_THREADS", False)
    monkeypatch.setattr(epoch_module.tqdm, "monitor", None)
    monkeypatch.setattr(epoch_module.tqdm, "monitor_interval", 10)  # and back, after the test
    started: list[object] = []
    monkeypatch.setattr("threading.Thread.start", started.append)
    with epoch_module.progress_bar(1, 100, True) as bar:
        bar.update(50)
    assert started == []


# ------------------------------------------------------------------ what is said, and when


def test_a_run_says_first_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL) == 0
    first, second, third, fourth, *rest = capsys.readouterr().out.splitlines()
    assert first == "digits from the package nplenet: 95 training, 5 validation, 100 test images"
    assert second == "LeNet-5, 61,728 parameters; compiled step on numpy; 2 epochs of 6 steps"
    assert third == "the model is not kept: --output DIR keeps it, and a report"
    assert fourth == "the compiled step computes what the layers compute; --eager runs the layers"
    assert rest[0].startswith("layer  ")  # the table comes after what matters
    assert all(len(line) <= WINDOW for line in (first, second, third, fourth, *rest))
    assert not any("not kept" in line or "report" in line for line in rest)


def test_a_run_with_a_folder_keeps_its_model_and_announces_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--eager", "--output", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "; textbook layers on numpy; " in lines[1]
    assert not any("compiled step" in line for line in lines)
    assert lines[-2:] == ["writing the report ...", f"report: {tmp_path / 'page'}"]
    assert not any("not kept" in line or "to resume" in line for line in lines)


def test_a_new_run_says_what_becomes_of_the_earlier_one_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = "a new run; the earlier one becomes run/previous-checkpoint.safetensors"
    for resume, expected in (([], False), (["--resume", "auto"], False), ([], True)):
        assert main([*SMALL, "--output", "run", *resume]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert (said in lines) is expected
        assert all(len(line) <= WINDOW for line in lines)
    assert (tmp_path / "run" / "previous-checkpoint.safetensors").is_file()


def test_a_quiet_run_says_the_result_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--quiet", "--output", str(tmp_path)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("test accuracy ")
    assert len(line) <= WINDOW


def test_one_rank_of_several_prints(capsys: pytest.CaptureFixture[str]) -> None:
    images = np.zeros((80, 1, 32, 32), np.uint8)
    loader = DataLoader(images, np.zeros(80, np.int64), 16)
    facts = LeNet5(seed=0), Settings(epochs=3), "numpy", ALONE, loader, None
    Console(1, quiet=False).announce(*facts)
    assert capsys.readouterr().out == ""
    Console(0, quiet=False).announce(*facts)
    assert capsys.readouterr().out.splitlines()[0].endswith("; 3 epochs of 5 steps")


# ------------------------------------------------------------------ after Ctrl-C


def interrupted(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Train, with a Ctrl-C after the first epoch."""

    def press(self: Console, text: object) -> None:
        self.print(text)
        if isinstance(text, Epoch) and text.epoch == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Console, "detail", press)
        assert main([*SMALL, *options]) == 128 + signal.SIGINT


def test_after_ctrl_c_the_last_line_is_the_one_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a run"
    monkeypatch.setattr(sys, "argv", [os.path.join("bin", "nplenet"), "train"])
    interrupted(monkeypatch, "--keep", "best", "--no-download", "--output", str(folder))
    last = capsys.readouterr().out.splitlines()[-1]
    line = f"nplenet train --resume auto --output '{folder}' --no-download --keep=best"
    assert last == f"to resume: {line}"
    assert main(shlex.split(line)[1:]) == 0
    assert len(load(folder / LATEST).record["progress"]["epochs"]) == 2


def test_without_a_folder_there_is_nothing_to_go_on_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(monkeypatch)
    output = capsys.readouterr().out
    assert "interrupted by SIGINT after 1 complete epochs" in output
    assert "to resume" not in output


def test_the_line_to_resume_has_the_ranks_and_the_program_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/nplenet/__main__.py"])
    parser = argparse.ArgumentParser()
    train_options.add_options(parser)
    options = parser.parse_args(
        ["--recipe", "best", "--lr", "0.1", "--resume", "auto", "--output", "run"]
    )
    line = train_options.line_to_resume(options, Path("run"), 2)
    assert line == "python -m nplenet train --resume auto --output run --ranks 2"


# ------------------------------------------------------------------ help


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_examples_that_it_takes(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WINDOW))
    text = help_of(command, capsys)
    assert all(len(line) <= WINDOW for line in text.splitlines())
    examples = text.partition("\nexamples:\n")[2].splitlines()
    assert len(examples) >= 2
    for example in examples:
        program, *arguments = shlex.split(example, comments=True)
        assert program == "nplenet"
        assert _parser().parse_args(arguments).command == command


def test_the_options_of_train_stand_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("train", capsys)
    groups = re.split(r"^(data|training|output|machine):$", text, flags=re.M)
    found = {
        name: set(re.findall(r"^  (--[\w-]+)", options, re.M))
        for name, options in zip(groups[1::2], groups[2::2], strict=True)
    }
    assert list(found) == ["data", "training", "output", "machine"]
    assert found["data"] >= {"--dataset", "--data-dir", "--augment", "--limit"}
    assert found["training"] >= {"--epochs", "--lr", "--seed", "--patience", "--stop-after"}
    assert found["output"] >= {"--output", "--keep", "--resume", "--quiet"}
    assert found["machine"] == {"--backend", "--ranks", "--eager", "--tunables"}


def test_the_program_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"nplenet {nplenet.__version__}\n"
