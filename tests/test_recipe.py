"""Recipes, and the options of regularisation: what a run takes from them, keeps and refuses."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.__main__ import main
from nplenet.augment import affine_augmentation
from nplenet.checkpoint import load
from nplenet.commands import train_options
from nplenet.recipe import AUGMENTATIONS, RECIPES, SETTINGS, Settings

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "accuracy.py"
SMALL = ("--dataset", "digits", "--limit", "200", "--quiet")


def settings(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser()
    train_options.add_options(parser)
    return train_options.settings_of(parser.parse_args(arguments), None)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_its_settings_and_the_defaults(name: str) -> None:
    found, recipe = asdict(settings("--recipe", name)), RECIPES[name].settings
    assert found == asdict(Settings()) | recipe
    for key, value in recipe.items():
        SETTINGS[key](value, key)


def test_options_override_those_of_the_recipe_wherever_they_stand() -> None:
    for order in (("--lr", "0.1", "--recipe", "best"), ("--recipe", "best", "--lr", "0.1")):
        assert settings(*order) == Settings(**RECIPES["best"].settings | {"lr": 0.1})
    # also by the value that is the default without a recipe
    assert settings("--recipe", "standard", "--batch-size", "64").batch_size == 64


def test_without_a_recipe_the_defaults_are_what_they_were() -> None:
    found = asdict(settings())
    assert found == asdict(Settings())
    assert (found["epochs"], found["batch_size"], found["lr"]) == (None, 64, 4e-3)
    assert (found["weight_decay"], found["label_smoothing"]) == (None, 0.0)


def test_the_help_names_each_recipe_with_its_settings_accuracy_and_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    lines = capsys.readouterr().out.splitlines()
    for name, recipe in RECIPES.items():
        (first,) = [i for i, line in enumerate(lines) if line.strip().startswith(f"{name} ")]
        assert len(recipe.accuracy) > 10
        assert lines[first].split(maxsplit=1)[1].startswith(recipe.accuracy)
        assert len(recipe.time) > 2
        assert lines[first].endswith(recipe.time)
        words = " ".join(" ".join(lines[first + 1 : first + 4]).split())
        for key, value in recipe.settings.items():
            assert f"--{key.replace('_', '-')} {value}" in words


def test_the_affine_augmentation_has_a_name() -> None:
    assert repr(AUGMENTATIONS["affine"]()) == repr(affine_augmentation())


# --- in a run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of a recipe with options of its own."""
    folder = tmp_path_factory.mktemp("run")
    recipe = ("--recipe", "best-affine", "--epochs", "2", "--weight-decay", "0.3")
    assert main(["train", *recipe, "--output", str(folder), *SMALL]) == 0
    return folder


def test_a_run_records_and_uses_the_settings(finished: Path) -> None:
    recipe = RECIPES["best-affine"].settings
    expected = recipe | {"epochs": 2, "weight_decay": 0.3, "dataset": "digits", "limit": 200}
    checkpoint = load(finished / "checkpoint.safetensors")
    history = json.loads((finished / "history.json").read_text())
    for arguments in (checkpoint.record["arguments"], history["arguments"]):
        assert arguments.items() >= expected.items()
    assert checkpoint.record["optimizer"]["weight_decay"] == 0.3
    report = (finished / "report.html").read_text()
    for words in (
        "<span>--weight-decay</span> 0.3",
        "<span>--label-smoothing</span> 0.05",
        "Augmentation &ldquo;affine&rdquo;",
    ):
        assert words in report


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        (
            ("--weight-decay", "0.2"),
            "cannot resume with --weight-decay 0.2: .* omit --weight-decay",
        ),
        (("--label-smoothing", "0.1"), "cannot resume with --label-smoothing 0.1: .* used 0.05"),
        (("--augment", "standard"), "cannot resume with --augment standard: .* used affine"),
        (("--recipe", "best"), "cannot resume with --weight-decay 0.1: .* omit --recipe best"),
    ],
)
def test_a_resumed_run_refuses_other_settings(
    finished: Path, options: tuple[str, ...], differs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed = ["train", "--resume", "auto", "--output", str(finished), *SMALL, *options]
    assert main(resumed) == 2
    error = capsys.readouterr().err
    assert re.search(differs, error), error


@pytest.mark.usefixtures("no_report")
def test_an_interrupted_recipe_resumes_to_the_same_weights(finished: Path, tmp_path: Path) -> None:
    recipe = ("--recipe", "best-affine", "--epochs", "2", "--weight-decay", "0.3")
    run = ["train", *recipe, "--output", str(tmp_path), *SMALL]
    assert main([*run, "--stop-after", "1"]) == 0
    assert main([*run, "--resume", "auto"]) == 0
    expected = load(finished / "checkpoint.safetensors").part("model.")
    found = load(tmp_path / "checkpoint.safetensors").part("model.")
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        np.testing.assert_array_equal(found[name], weights, strict=True)


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("option", ["--weight-decay=0.5", "--label-smoothing=0.3"])
def test_regularisation_changes_what_is_learned(
    option: str, tmp_path: Path, finished: Path
) -> None:
    recipe = ("--recipe", "best-affine", "--epochs", "2", "--weight-decay", "0.3")
    assert main(["train", *recipe, option, "--output", str(tmp_path), *SMALL]) == 0
    first = load(finished / "checkpoint.safetensors").part("model.")
    found = load(tmp_path / "checkpoint.safetensors").part("model.")
    assert any((found[name] != weights).any() for name, weights in first.items())


# --- benchmarks/accuracy.py


def measured(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARK), "--output", str(folder / "runs")]
    command += ["--json", str(folder / "found.json"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.usefixtures("no_report")
def test_the_accuracy_of_a_recipe_is_measured_once_per_seed(tmp_path: Path) -> None:
    options = ("--recipe", "quick", "--seeds", "2", *SMALL)
    first = measured(tmp_path, *options)
    assert first.returncode == 0, first.stderr
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    runs = [json.loads((tmp_path / f"runs/quick-{k}/history.json").read_text()) for k in (0, 1)]
    for kind, key in (("plain", "test"), ("inverted", "inverted_test")):
        accuracies = [run[key]["accuracy"] for run in runs]
        assert [run["test"][kind] for run in found["runs"]] == accuracies
        assert found["summary"]["test"][kind] == pytest.approx(
            {"mean": np.mean(accuracies), "deviation": np.std(accuracies, ddof=1)}
        )
        assert f"{np.mean(accuracies):.2%}" in first.stdout
    last = runs[1]["epochs"][-1]["validation_accuracy"]
    assert found["runs"][1]["validation"]["plain"] == last
    # Again: nothing is trained, the figures are the same.
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    again = measured(tmp_path, *options)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == stamps
    assert again.stdout in first.stdout  # but for the lines of the runs
    # With other settings the folder is refused.
    other = measured(tmp_path, *options, "--dropout", "0.5")
    assert other.returncode != 0
    assert "choose another --output" in other.stderr


@pytest.mark.usefixtures("no_report")
def test_an_interrupted_measurement_resumes_within_the_seed(tmp_path: Path) -> None:
    options = ("--recipe", "quick", "--seeds", "1", *SMALL)
    run = ["train", "--recipe", "quick", "--output", str(tmp_path / "runs/quick-0"), *SMALL]
    assert main([*run, "--seed", "0", "--stop-after", "1"]) == 0
    before = json.loads((tmp_path / "runs/quick-0/history.json").read_text())["epochs"]
    result = measured(tmp_path, *options)
    assert result.returncode == 0, result.stderr
    after = json.loads((tmp_path / "runs/quick-0/history.json").read_text())["epochs"]
    assert (len(before), len(after)) == (1, RECIPES["quick"].settings["epochs"])
    assert after[0] == before[0]  # its seconds too: it was not trained again
