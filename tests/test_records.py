"""Files that a stranger wrote: what is in them is read as written, or refused in one line."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torture_cases import forgery
from torture_cases.bench import fault

from nplenet.__main__ import main
from nplenet.checkpoint import LATEST, CheckpointError, load, load_model, save_model
from nplenet.checkpoint.file import write_file
from nplenet.compiled.cpu import tuning_cache
from nplenet.compiled.cpu.tuning import Tunables
from nplenet.data import MissingDataError, load_mnist
from nplenet.data.mnist import find_mnist
from nplenet.files import read_json
from nplenet.layers import Dense, Flatten, LeakyReLU, Sequential, Sigmoid, Tanh
from nplenet.optim import SGD
from nplenet.recipe import SETTINGS, Settings
from nplenet.report.history import read_history
from nplenet.schedules import CosineLR, OneCycleLR, StepLR
from nplenet.schema import (
    Form,
    choice,
    fields,
    flag,
    listing,
    mapping,
    optional,
    plain,
    real,
    whole,
)

TITLE = "\x1b]0;owned\x07"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs, of which one is done."""
    return forgery.train_once(tmp_path_factory.mktemp("run"))


def forge(run: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write the run's checkpoint with a changed record, and a digest that fits."""
    checkpoint = load(run / LATEST)
    change(checkpoint.record)
    write_file(folder / LATEST, checkpoint.tensors, checkpoint.record)
    return folder / LATEST


# ------------------------------------------------------------------ forms


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (whole(1, 3), [1, 3], [0, 4, True, 1.0, "1", None, 10**400]),
        (real(0, 1), [0, 1, 0.5], [-0.1, 2, float("nan"), True, "0", 10**400]),
        (real(finite=False), [float("nan"), float("inf"), -3], [10**400, "x", None]),
        (flag, [True, False], [0, 1, None, "true"]),
        (choice("a", "b"), ["a"], ["c", ["a"], None]),
        (optional(flag), [None, True], [0]),
        (listing(flag, 1), [[True]], [[], [0], {}, None]),
        (mapping(flag), [{}, {"x": True}], [{"x": 0}, [], None]),
        (fields({"x": flag}, {"y": flag}), [{"x": True}], [{}, {"x": 1}, {"x": True, "z": 1}]),
        (plain, [[[{"a": 1}]]], [forgery.DEEP]),
    ],
)
def test_a_form_takes_the_values_of_its_type_within_its_limits(
    form: Form, good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        form(value, "x")
    for value in bad:
        with pytest.raises(ValueError, match=r"^x[. \[]"):
            form(value, "x")


def test_the_message_names_the_field_and_shows_its_value_on_one_line() -> None:
    form = fields({"epochs": listing(fields({"loss": real(0)}))})
    with pytest.raises(ValueError, match=r"^epochs\[1\]\.loss must be a number of at least 0") as e:
        form({"epochs": [{"loss": 1}, {"loss": TITLE + "x" * 9999}]}, "")
    assert str(e.value).isprintable()
    assert len(str(e.value)) < 150


def test_the_schema_has_each_setting_of_a_run() -> None:
    assert SETTINGS.keys() == {field.name for field in dataclasses.fields(Settings)}
    for name, value in dataclasses.asdict(Settings()).items():
        SETTINGS[name](value, name)


# ------------------------------------------------------------------ checkpoints


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(arguments=[]), "arguments must be an object, got a list"),
        (lambda r: r.update(environment={"numpy": 2}), "environment.numpy must be a text"),
        (lambda r: r.update(nplenet=None), "nplenet must be a text"),
        (lambda r: r.update(format=True), "format must be an integer"),
        (lambda r: r.update(model="LeNet5"), "model must be an object"),
        (lambda r: r.update(tunables={"lanes": 0.5}), "tunables.lanes must be an integer"),
        (lambda r: r.pop("optimizer"), "it has no optimizer"),
        (lambda r: r["optimizer"].update(step=-1), "optimizer.step must be an integer of at least"),
        (lambda r: r["optimizer"].pop("type"), "optimizer has no type"),
        (lambda r: r["data"].update(images="90"), "data.images must be an integer"),
        (lambda r: r["progress"].update(seconds="0"), "progress.seconds must be a number"),
        (lambda r: r["progress"].pop("loader"), "progress has no loader"),
        (
            lambda r: r["progress"]["epochs"][0].update(accuracy=2),
            r"progress.epochs\[0\].accuracy must be a number from 0 to 1, got 2",
        ),
        (
            lambda r: r["progress"]["epochs"][0].update(epoch=7),
            r"progress.epochs\[0\].epoch must be 1, got 7",
        ),
        (lambda r: r.update(own=forgery.DEEP), "own is nested more than 100 deep"),
    ],
)
def test_a_record_without_sense_is_refused_with_file_and_field(
    run: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    path = forge(run, tmp_path, change)
    with pytest.raises(CheckpointError, match=words) as refusal:
        load(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.update(batch_size="16"), "arguments.batch_size must be an integer"),
        (lambda a: a.update(schedule="weekly"), "arguments.schedule must be one of"),
        (lambda a: a.update(tunables={"lanes": 10**9}), "lanes must be an int from 1 to 4096"),
    ],
)
def test_settings_without_sense_are_refused_on_resume(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], object],
    words: str,
) -> None:
    path = forge(run, tmp_path, lambda record: change(record["arguments"]))
    assert main(["train", "--quiet", "--resume", str(path)]) == 2
    assert words in capsys.readouterr().err


def test_tunables_out_of_range_in_a_checkpoint_are_refused_with_its_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = forge(run, tmp_path, lambda record: record.update(tunables={"lanes": 10**9}))
    assert main(["train", "--quiet", "--resume", str(path)]) == 2
    assert f"{path}: tunables: lanes must be" in capsys.readouterr().err


def test_a_run_whose_weights_are_not_finite_is_neither_resumed_nor_reported(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load(run / LATEST)
    bad = checkpoint.tensors["model.features.0.weight"] * np.float32(np.nan)
    tensors = checkpoint.tensors | {"model.features.0.weight": bad}
    write_file(tmp_path / LATEST, tensors, checkpoint.record)
    assert main(["train", "--quiet", "--resume", str(tmp_path / LATEST)]) == 2
    words = "150 of 61,774 weights are not finite, such as nan in features.0.weight"
    error = capsys.readouterr().err
    assert words in error
    assert "resume from an earlier checkpoint" in error
    (tmp_path / "history.json").write_bytes((run / "history.json").read_bytes())
    assert main(["report", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_more_steps_than_an_epoch_has_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load(run / LATEST)
    tensors = checkpoint.tensors | {"epoch.losses": np.ones(9), "epoch.hits": np.ones(9, int)}
    write_file(tmp_path / LATEST, tensors, checkpoint.record)
    assert main(["train", "--quiet", "--resume", str(tmp_path / LATEST)]) == 2
    assert "epoch.losses has 9 steps, an epoch 4" in capsys.readouterr().err


@pytest.mark.parametrize("names", [["epoch.losses"], ["epoch.losses", "epoch.hits"]])
def test_a_run_without_its_tensors_is_refused(run: Path, tmp_path: Path, names: list[str]) -> None:
    checkpoint = load(run / LATEST)
    tensors = {k: v for k, v in checkpoint.tensors.items() if k not in names}
    write_file(tmp_path / LATEST, tensors, checkpoint.record)
    with pytest.raises(CheckpointError, match=r"it has no tensor epoch\.losses"):
        load(tmp_path / LATEST)


@pytest.mark.parametrize("argument", ["ceil_mode", "count_include_pad", "bias"])
def test_a_flag_of_a_layer_is_true_or_false(run: Path, tmp_path: Path, argument: str) -> None:
    """A list passed as ``ceil_mode``, and failed in the cache of a window."""

    def change(record: dict[str, Any]) -> None:
        layers = record["model"]["layers"]["features"]["layers"].values()
        layer = next(layer for layer in layers if argument in layer)
        layer[argument] = []

    with pytest.raises(CheckpointError, match=f"{argument} must be True or False"):
        load_model(forge(run, tmp_path, change))


@pytest.mark.parametrize(
    "change",
    [
        {"step_size": 0},
        {"gamma": -1.0},
        {"gamma": 1e300, "step_count": 10**6, "step_size": 1},
        {"step_count": -1},
        {"base_lr": float("nan")},
    ],
)
def test_a_schedule_without_sense_is_refused_and_nothing_is_changed(change: dict[str, Any]) -> None:
    optimizer = SGD(Dense(2, 1).parameters(), lr=0.1)
    schedule = StepLR(optimizer, step_size=3)
    before = schedule.state_dict()
    with pytest.raises(ValueError, match=r"StepLR\.load_state_dict: "):
        schedule.load_state_dict(before | change)
    assert (schedule.state_dict(), optimizer.lr) == (before, 0.1)


def test_the_limits_of_a_schedule_are_those_of_its_constructor() -> None:
    optimizer = SGD(Dense(2, 1).parameters(), lr=0.1, momentum=0.9)
    cosine, cycle = CosineLR(optimizer, 9), OneCycleLR(optimizer, 0.1, 9)
    for schedule, name, value in ((cosine, "T_max", 0), (cycle, "max_momentum", 5.0)):
        with pytest.raises(ValueError, match=name):
            schedule.load_state_dict(schedule.state_dict() | {name: value})
    with pytest.raises(ValueError, match="anneal_strategy must be 'cos' or 'linear'"):
        cycle.load_state_dict(cycle.state_dict() | {"anneal_strategy": "x"})


# ------------------------------------------------------------------ strings


def test_strings_of_a_checkpoint_are_inert_on_the_terminal(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(record: dict[str, Any]) -> None:
        record.update(nplenet=TITLE, environment={TITLE: TITLE})
        record["arguments"][TITLE] = TITLE
        record["optimizer"]["type"] = TITLE

    path = str(forge(run, tmp_path, change))
    assert main(["info", path]) == 0
    assert main(["info", path, "--json"]) == 0
    assert main(["train", "--resume", path]) == 2
    forge(run, tmp_path, lambda record: record.update(format=9, nplenet=TITLE))
    assert main(["evaluate", path]) == 2
    forge(run, tmp_path, lambda record: record.update(model={"type": TITLE}))
    assert main(["evaluate", path]) == 2
    layers = {TITLE: {"type": "Flatten"}}
    forge(run, tmp_path, lambda r: r.update(model={"type": "Sequential", "layers": layers}))
    assert main(["draw", path, "--no-open"]) == 2
    found = capsys.readouterr()
    assert (found.out + found.err).replace("\n", "").isprintable()
    assert found.out.count("owned") == 12  # 6 places, in both forms
    assert found.err.count("\n") == 4


# ------------------------------------------------------------------ history.json


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["arguments"].pop("augment"), "arguments has no augment"),
        (lambda r: r["arguments"].update(limit="9"), "arguments.limit must be an integer"),
        (lambda r: r["arguments"].update(dataset=[]), "arguments.dataset must be one of"),
        (lambda r: r.update(environment=[]), "environment must be an object"),
        (lambda r: r.update(seconds=None), "seconds must be a number"),
        (lambda r: r["test"].pop("loss"), "test has no loss"),
        (lambda r: r["test"].update(confusion=[[1, 2]]), "test.confusion must be square"),
        (lambda r: r["test"]["confusion"][0].__setitem__(0, -1), r"test.confusion\[0\]\[0\] must"),
        (lambda r: r["epochs"][0].update(lr="x"), r"epochs\[0\].lr must be a number"),
        (lambda r: r["epochs"][0].update(more=1), r"epochs\[0\] has an unknown field more"),
    ],
)
def test_a_history_without_sense_is_refused_with_file_and_field(
    run: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    record = json.loads((run / "history.json").read_text())
    change(record)
    path = tmp_path / "history.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=words) as refusal:
        read_history(path)
    assert str(path) in str(refusal.value)


def test_a_file_of_json_is_bounded_and_regular(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for contents, words in (("[1" + "0" * 99, "larger"), ("[" * 90, "JSON"), ("{", "JSON")):
        path.write_text(contents)
        with pytest.raises(ValueError, match=words):
            read_json(path, 100)
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(ValueError, match="it is not JSON"):
        read_json(path, 1 << 20)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / LATEST)
        with pytest.raises(OSError, match="is not a regular file"):
            read_json(tmp_path / LATEST, 100)
        with pytest.raises(OSError, match="is not a regular file"):
            load(tmp_path / LATEST)


# ------------------------------------------------------------------ tunables


@pytest.mark.parametrize(
    "contents",
    [
        "",
        "[]",
        "[" * 100_000,
        {"tunables": {"lanes": 10**9}},
        {"tunables": {"lanes": True}},
        {"tunables": {"buffer_size": 160_000_000}},
        {"tunables": {"threads": 10**6}},
        {"tunables": []},
        {"looks": -1},
        {"wins": "two"},
        {"machine": {"cpu": "another"}},
        {"own": forgery.DEEP},
    ],
)
def test_a_bad_cache_of_tunables_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: Any
) -> None:
    path = tmp_path / "tunables.json"
    good = {"tunables": {"lanes": 64}, "looks": 0, "wins": 0}

    def write(entry: Any) -> None:
        machine = entry.pop("machine", tuning_cache.machine())
        path.write_text(json.dumps({"machine": machine, "sizes": {"64": entry}}))

    monkeypatch.setattr(tuning_cache, "cache_file", lambda: path)
    if isinstance(contents, str):
        path.write_text(contents)
    else:
        write(good | contents)
    assert tuning_cache.read() == {}
    write(dict(good))
    assert tuning_cache.read()[64].tunables.lanes == 64


@pytest.mark.parametrize("text", ["[]", "3", "[" * 100_000, '{"lanes": 1e9}', '{"lanes": true}'])
def test_tunables_of_the_command_line_are_refused_in_one_line(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--tunables", text])
    assert (
        "nplenet train: argument --tunables: must be a JSON"
        in capsys.readouterr().err.splitlines()[-1]
    )


# ------------------------------------------------------------------ names that look like numbers


@pytest.mark.parametrize(
    ("numbered", "names"),
    [
        (0, ("a", "1", "b", "c", "d")),
        (0, ("1", "0", "3", "2", "4")),
        (2, ("x", "3", "2")),
        (1, ("x", "2", "3", "1")),
        (0, ("flat", "2", "1", "-1", "01")),
        (0, ("self", "layers", "forward", "__class__", "training")),
    ],
)
def test_a_model_is_loaded_with_its_layers_in_their_order(
    tmp_path: Path, numbered: int, names: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(0)
    layers = [Flatten(), Dense(4, 3, rng=rng), LeakyReLU(-3.0), Sequential(Tanh(), Sigmoid())]
    layers.append(Dense(3, 2, rng=rng))
    named = dict(zip(names, layers[numbered:], strict=True))
    model = Sequential(*layers[:numbered], **named).eval()
    save_model(model, tmp_path / "m.safetensors")
    found = load_model(tmp_path / "m.safetensors")
    assert repr(found) == repr(model)
    x = rng.random((5, 2, 2), np.float32)
    np.testing.assert_array_equal(found(x), model(x))


# ------------------------------------------------------------------ a user without a home


def test_a_user_without_a_home_trains_on_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwd = pytest.importorskip("pwd", reason="POSIX only")

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "NPLENET_DATA"):
        monkeypatch.delenv(name, raising=False)
    assert tuning_cache.cache_file() is None
    tuning_cache.keep(64, tuning_cache.Kept(Tunables()))
    assert tuning_cache.read() == {}
    assert find_mnist() is None
    with pytest.raises(MissingDataError, match="no home folder for MNIST"):
        load_mnist()
    with pytest.raises(MissingDataError, match=str(tmp_path)):
        load_mnist(tmp_path, download=False)


# ------------------------------------------------------------------ another folder


def test_a_finished_run_resumed_into_another_folder_is_complete_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nplenet.report.write_report", lambda folder, *_, **__: folder)
    options = ["train", "--dataset", "digits", "--limit", "30", "--epochs", "1", "--quiet"]
    assert main([*options, "--output", str(tmp_path / "a")]) == 0
    resume = ["--resume", str(tmp_path / "a" / LATEST), "--output", str(tmp_path / "b")]
    assert main(["train", "--quiet", *resume]) == 0
    first, second = (load(tmp_path / name / LATEST).part("model.") for name in "ab")
    assert {k: v.tobytes() for k, v in first.items()} == {k: v.tobytes() for k, v in second.items()}


@pytest.mark.filterwarnings("always::nplenet.checkpoint.CheckpointWarning")
def test_a_result_that_cannot_be_kept_is_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nplenet.commands.train.atomic_write", full)
    options = ["train", "--dataset", "digits", "--limit", "30", "--epochs", "1", "--quiet"]
    assert main([*options, "--output", str(tmp_path)]) == 1
    found = capsys.readouterr()
    assert "test accuracy" in found.out
    lost = f"{tmp_path / 'history.json'} could not be written ([Errno 28] No space left on device)"
    assert found.err.splitlines() == [
        f"nplenet train: {lost}",
        "no report: the files that it reads could not be written",
    ]


def test_a_run_of_two_images_has_a_report_and_one_whose_report_fails_is_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> Path:
        raise ValueError("there is nothing to draw")

    pytest.importorskip("matplotlib")
    options = ["train", "--dataset", "digits", "--limit", "2", "--epochs", "1", "--quiet"]
    assert main([*options, "--output", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").exists()
    assert "no report" not in capsys.readouterr().err
    monkeypatch.setattr("nplenet.report.write_report", refused)
    assert main([*options, "--output", str(tmp_path / "without")]) == 0
    assert capsys.readouterr().err.startswith("no report: there is nothing to draw")


# ------------------------------------------------------------------ at random


def test_forged_records_end_in_one_line(run: Path, tmp_path: Path) -> None:
    """``python tests/torture.py --only forgery`` does the same for longer."""
    forger = forgery.Forger(run, tmp_path / "forged")
    with forgery.prepared(forger.folder):
        for kind, attack in forger.kinds.items():
            for number in range(45):
                what, outcome = attack(random.Random(f"{kind} {number}"))
                assert fault(outcome) == "", f"{kind} {number}: {what}"


def test_a_forgery_changes_something() -> None:
    record = {"a": [1, 2.5, "x"], "b": {"c": None}}
    text = json.dumps(record)
    forged = [json.dumps(forgery.forged(record, random.Random(i))) for i in range(200)]
    assert json.dumps(record) == text
    assert sum(other != text for other in forged) > 180
