"""A finished run that is extended by more epochs than were planned."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nplenet.__main__ import main
from nplenet.checkpoint import LATEST, load

RUN = ["--dataset", "digits", "--limit", "40", "--batch-size", "20", "--validation", "0"]
MORE = ["--no-download", "--tunables", '{"threads": 1}']


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nplenet.report.write_report", lambda folder, *_, **__: folder)


def finished(folder: Path, *options: str) -> None:
    command = ["train", *RUN, *MORE, "--epochs", "2", *options, "--output", str(folder)]
    assert main([*command, "--quiet"]) == 0


def extended(folder: Path, epochs: int, *options: str) -> int:
    command = ["train", "--resume", "auto", "--epochs", str(epochs), "--output", str(folder)]
    return main([*command, "--no-download", *options])


def test_the_epochs_beyond_have_a_schedule_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path)
    last_rate = load(tmp_path / LATEST).record["progress"]["epochs"][-1]["lr"]
    assert extended(tmp_path, 5) == 0
    assert "its 2 epochs were finished: 3 more, with a new schedule" in capsys.readouterr().out
    record = load(tmp_path / LATEST).record
    assert record["arguments"]["epochs"] == 5
    assert record["schedule"]["total_steps"] == 3 * 2
    assert record["optimizer"]["step"] == 5 * 2
    rates = [epoch["lr"] for epoch in record["progress"]["epochs"]]
    assert len(rates) == 5
    assert rates[2] > 100 * last_rate  # it has risen again
    assert rates[4] == pytest.approx(rates[1])  # and fallen as before


def test_an_extension_that_stops_and_resumes_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finished(whole)
    shutil.copytree(whole, parts)
    assert extended(whole, 5, "--quiet") == 0
    assert extended(parts, 5, "--quiet", "--stop-after", "3") == 0
    assert extended(parts, 5, "--quiet") == 0
    first, second = (load(folder / LATEST) for folder in (whole, parts))
    assert first.tensors.keys() == second.tensors.keys()
    for name, array in first.tensors.items():
        assert second.tensors[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize(("schedule", "epochs"), [("cosine", 4), ("step", 4), ("constant", 4)])
def test_each_schedule_can_begin_anew(tmp_path: Path, schedule: str, epochs: int) -> None:
    finished(tmp_path, "--schedule", schedule)
    assert extended(tmp_path, epochs, "--quiet") == 0
    assert len(load(tmp_path / LATEST).record["progress"]["epochs"]) == epochs


def test_only_a_finished_run_is_extended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path, "--stop-after", "1")
    assert extended(tmp_path, 5) == 2
    assert "cannot resume with --epochs 5: the saved run used 2" in capsys.readouterr().err
    assert extended(tmp_path, 2, "--quiet") == 0
    assert extended(tmp_path, 1) == 2
    assert "cannot resume with --epochs 1" in capsys.readouterr().err
