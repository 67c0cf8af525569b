"""The commands as a user types them: what they print, write and refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.__main__ import main
from nplenet.checkpoint import (
    LATEST,
    Checkpoint,
    CheckpointError,
    CheckpointFolder,
    load,
    load_model,
    save_model,
)
from nplenet.checkpoint.file import write_file
from nplenet.commands import COMMANDS
from nplenet.data import write_idx
from nplenet.models import LeNet5
from nplenet.recipe import augmentation
from nplenet.train.stop import stop_on_signals

ROOT = Path(__file__).parents[1]
SMALL = ["--dataset", "digits", "--limit", "100", "--batch-size", "16", "--checkpoint-every", "0"]

pytestmark = pytest.mark.usefixtures("no_report")


def nowhere() -> dict[str, str]:
    """Return the environment of a run that finds no cache of the user's."""
    return {**os.environ, "XDG_CACHE_HOME": "/nowhere"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run, two epochs of six."""
    folder = tmp_path_factory.mktemp("run")
    assert (
        main(
            [
                "train",
                *SMALL,
                "--epochs",
                "6",
                "--stop-after",
                "2",
                "--quiet",
                "--output",
                str(folder),
            ]
        )
        == 0
    )
    return folder


def train(*options: object) -> int:
    return main(["train", *SMALL, "--quiet", *map(str, options)])


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load(folder / LATEST).part("model.")


def assert_same(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert [k for k in first if first[k].tobytes() != second[k].tobytes()] == []


# ------------------------------------------------------------------ train


@pytest.mark.parametrize("schedule", ["onecycle", "constant"])
def test_n_epochs_a_stop_and_m_epochs_are_n_plus_m_epochs(tmp_path: Path, schedule: str) -> None:
    plan = ["--schedule", schedule, "--epochs", 3]
    assert train(*plan, "--output", tmp_path / "whole") == 0
    assert train(*plan, "--output", tmp_path / "parts", "--stop-after", 1) == 0
    assert train("--output", tmp_path / "parts", "--resume", "auto") == 0
    assert_same(tmp_path / "whole", tmp_path / "parts")
    whole, parts = (
        json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "parts")
    )
    assert whole["test"] == parts["test"]
    assert [e["loss"] for e in whole["epochs"]] == [e["loss"] for e in parts["epochs"]]


def test_a_constant_rate_may_go_on_for_more_epochs(tmp_path: Path) -> None:
    constant = ["--schedule", "constant"]
    assert train(*constant, "--epochs", 2, "--output", tmp_path / "whole") == 0
    assert train(*constant, "--epochs", 1, "--output", tmp_path / "parts") == 0
    assert train("--epochs", 2, "--resume", tmp_path / "parts" / LATEST) == 0  # writes there too
    assert_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--epochs", "9"], "cannot resume with --epochs 9: the saved run used 6; omit --epochs"),
        (["--batch-size", "8"], "cannot resume with --batch-size 8"),
        (["--seed", "1"], "cannot resume with --seed 1"),
    ],
)
def test_other_settings_than_those_of_the_run_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(["train", *options, "--resume", "auto", "--output", str(trained)]) == 2
    assert words in capsys.readouterr().err


def test_the_old_name_of_the_standard_augmentation_works_in_options_and_saved_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--epochs", 2, "--output", tmp_path / "new") == 0
    old = tmp_path / "old"
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # not an error, so that it is printed as for a user
        options = ["--epochs", 2, "--stop-after", 1, "--augment", "seed", "--output", old]
        assert train(*options) == 0
    assert "--augment seed is deprecated: use --augment standard" in capsys.readouterr().err
    checkpoint = load(old / LATEST)
    arguments = checkpoint.record["arguments"] | {"augment": "seed"}  # as it was saved then
    write_file(old / LATEST, checkpoint.tensors, checkpoint.record | {"arguments": arguments})
    assert train("--augment", "standard", "--resume", "auto", "--output", old) == 0
    assert_same(tmp_path / "new", old)
    assert repr(augmentation("seed")) == repr(augmentation("standard"))  # of a report, say


def test_resume_auto_starts_where_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    assert train("--epochs", 1, "--resume", "auto", "--output", tmp_path / "new") == 0
    assert len(load(tmp_path / "new" / LATEST).record["progress"]["epochs"]) == 1


@pytest.mark.parametrize("text", ["lanes", "[1]", '{"lanes": 1.5}', '{"lanes": true}'])
def test_tunables_that_are_not_a_json_object_of_integers_are_refused(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        train("--epochs", 1, "--tunables", text)
    assert f"must be a JSON object of integers, got {text!r}" in capsys.readouterr().err


def test_resume_auto_without_a_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--resume", "auto") == 2
    assert "--output" in capsys.readouterr().err


def test_keep_best_tests_the_best_epoch(tmp_path: Path) -> None:
    assert train("--epochs", 3, "--keep", "best", "--output", tmp_path) == 0
    record = json.loads((tmp_path / "history.json").read_text())
    arguments = ["evaluate", str(tmp_path / "best.safetensors"), "--limit", "100", "--json"]
    done = nplenet(*arguments)
    assert json.loads(done.stdout)["test"] == record["test"]


def test_the_folder_is_locked_from_reading_the_checkpoint_to_the_end_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def try_to_enter(*_: object, **__: object) -> Path:
        with pytest.raises(CheckpointError, match="another run is using the folder"):
            CheckpointFolder(tmp_path).__enter__()
        tried.append(1)
        return tmp_path

    def reading(path: Path) -> Checkpoint:
        try_to_enter()
        return load(path)

    assert train("--epochs", 2, "--stop-after", 1, "--output", tmp_path) == 0
    monkeypatch.setattr("nplenet.commands.train_options.load", reading)
    monkeypatch.setattr("nplenet.report.write_report", try_to_enter)
    assert train("--resume", "auto", "--output", tmp_path) == 0
    assert train("--resume", tmp_path / LATEST) == 0
    assert len(tried) == 4
    with CheckpointFolder(tmp_path):
        assert train("--resume", tmp_path / LATEST) == 2


def test_a_run_prints_where_its_images_come_from_and_takes_them_from_nowhere_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train", "t10k"):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", np.zeros((20, 28, 28), np.uint8))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", np.arange(20, dtype=np.uint8) % 10)
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path))
    run = ["train", "--epochs", "1", "--no-download"]
    assert main(run) == 0
    assert f"mnist from {tmp_path}: 19 training, 1 validation, 20 test" in capsys.readouterr().out
    for dataset in ("auto", "mnist"):
        assert main([*run, "--dataset", dataset, "--data-dir", str(tmp_path / "typo")]) == 2
        error = capsys.readouterr().err
        assert f"are not in {tmp_path / 'typo'}, nor in MNIST/raw below it" in error
        assert error.count("\n") == 1


def test_resuming_from_a_file_that_is_not_there_makes_no_folder(tmp_path: Path) -> None:
    assert train("--resume", tmp_path / "typo" / LATEST) == 2
    assert train("--resume", tmp_path / LATEST) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_that_resumes_in_another_folder_is_whole_there(
    trained: Path, tmp_path: Path
) -> None:
    resume = ["--resume", trained / LATEST, "--stop-after", 2, "--output", tmp_path / "other"]
    assert train(*resume) == 0
    assert_same(trained, tmp_path / "other")
    first, second = (
        json.loads((folder / "history.json").read_text())
        for folder in (trained, tmp_path / "other")
    )
    assert (first["epochs"], first["test"]) == (second["epochs"], second["test"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
@pytest.mark.parametrize("limit", [300_000, 0])  # bytes: no checkpoint; nothing at all
def test_a_full_disk_lets_the_run_end_with_its_result_and_status_1(
    tmp_path: Path, limit: int
) -> None:
    program = (
        "import resource, sys; from nplenet.__main__ import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "train", *SMALL, "--epochs", "1", "--quiet"]
    command += ["--tunables", "{}", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=nowhere())
    assert done.returncode == 1
    assert done.stdout.startswith("test accuracy ")
    *warned, last = done.stderr.splitlines()
    assert last == "no report: the files that it reads could not be written"
    assert all(line.startswith("nplenet train: ") for line in warned)
    assert f"the checkpoint {tmp_path / LATEST} could not be written ([Errno 27]" in warned[0]
    assert any("history.json could not be written" in line for line in warned) == (limit == 0)
    left = {"history.json"} if limit else set()
    assert {path.name for path in tmp_path.iterdir()} == {".lock"} | left


def test_a_report_that_cannot_be_written_is_one_line_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> Path:
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr("nplenet.report.write_report", full)
    assert train("--epochs", 1, "--output", tmp_path) == 1
    output = capsys.readouterr()
    assert output.out.startswith("test accuracy ")
    assert output.err == "no report: [Errno 28] No space left on device: 'report.html'\n"


def nplenet(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nplenet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=nowhere())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals to send")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_saves_the_step_at_hand_and_the_run_goes_on_from_there(
    name: str, tmp_path: Path
) -> None:
    number = getattr(signal, name)
    command = [sys.executable, "-u", "-m", "nplenet", "train", "--dataset", "digits"]
    command += ["--limit", "300", "--epochs", "20", "--output", str(tmp_path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=nowhere(),
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup has it ignored
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch   2"):
                break
        time.sleep(0.01)  # somewhere inside the third epoch
        process.send_signal(number)
        output = process.stdout.read()
        assert process.wait(60) == 128 + number
    assert f"interrupted by {name}" in output
    # A signal may come late on a busy machine; two epochs more than that show what there is to see.
    reached = json.loads((tmp_path / "history.json").read_text())["epochs"][-1]["epoch"]
    until = ["--stop-after", str(min(20, reached + 2)), "--quiet"]
    assert main(["train", "--resume", "auto", "--output", str(tmp_path), *until]) == 0
    whole = tmp_path / "whole"
    again = ["train", "--dataset", "digits", "--limit", "300", "--epochs", "20", *until]
    # That process had a cache of its own, and may have chosen other tunables than this one would.
    again += ["--tunables", json.dumps(load(tmp_path / LATEST).record["tunables"])]
    assert main([*again, "--output", str(whole)]) == 0
    assert_same(whole, tmp_path)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_nohup_keeps_a_run_going() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.received == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_a_loss_that_is_not_finite_ends_with_status_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train("--epochs", 3, "--optimizer", "sgd", "--lr", 1e30) == 1
    assert "the loss is" in capsys.readouterr().err


# ------------------------------------------------------------------ evaluate, info, export


def test_evaluate_repeats_the_result_of_the_run(trained: Path) -> None:
    record = json.loads((trained / "history.json").read_text())
    done = nplenet("evaluate", trained / LATEST, "--limit", 100, "--json")
    found = json.loads(done.stdout)
    assert (found["test"], found["inverted_test"]) == (record["test"], record["inverted_test"])
    assert found["source"] == "the package nplenet"
    text = nplenet("evaluate", trained / LATEST, "--limit", 100).stdout
    assert (
        f"digits from the package nplenet: test accuracy {record['test']['accuracy']:.2%}" in text
    )


def test_info_says_what_the_run_is_and_how_far(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(trained / LATEST)]) == 0
    text = capsys.readouterr().out
    for words in ("a training run", "features.0 Conv2d", "dropout 0.1", "epoch   2", "AdamW at"):
        assert words in text
    assert main(["info", str(trained / LATEST), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["tensors"]["model.features.0.weight"] == ["float32", [6, 1, 5, 5]]
    assert len(record["progress"]["epochs"]) == 2


def test_info_of_a_model_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(LeNet5(in_channels=3, seed=0), tmp_path / "m.safetensors")
    assert main(["info", str(tmp_path / "m.safetensors")]) == 0
    assert "a model, written by nplenet" in capsys.readouterr().out


def test_export_for_pytorch_and_onnx(trained: Path, tmp_path: Path) -> None:
    from nplenet.interop import pytorch

    expected = load_model(trained / LATEST)
    for name in ("a.pth", "a.pt", "a.safetensors"):
        path = tmp_path / name
        assert (
            main(["export", str(trained / LATEST), "--to", "pytorch", "--output", str(path)]) == 0
        )
        found = pytorch.load_state_dict(path)
        assert all(np.array_equal(found[k], v) for k, v in expected.state_dict().items())
    pytest.importorskip("onnx")
    runtime: Any = pytest.importorskip("onnxruntime")
    path = tmp_path / "a.onnx"
    assert main(["export", str(trained / LATEST), "--to", "onnx", "--output", str(path)]) == 0
    x = np.random.default_rng(0).random((3, 1, 32, 32), np.float32)
    (logits,) = runtime.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_allclose(logits, expected(x), atol=1e-5)


# ------------------------------------------------------------------ predict


def drawn_seven(path: Path) -> Path:
    """Write a picture of a 7, dark on light."""
    image_module: Any = pytest.importorskip("PIL.Image")
    draw_module: Any = pytest.importorskip("PIL.ImageDraw")
    image = image_module.new("L", (200, 160), 225)
    points = [(60, 40), (140, 40), (95, 130)]
    draw_module.Draw(image).line(points, fill=30, width=12, joint="curve")
    image.save(path)
    return path


def test_predict_prints_what_the_network_saw_and_thinks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = drawn_seven(tmp_path / "seven.png")
    assert main(["predict", "default", str(path)]) == 0
    *seen, head, image, inverse, answer = capsys.readouterr().out.splitlines()
    assert answer.startswith(f"{path}: 7 (")
    assert [len(line) for line in seen] == [32] * 16
    assert head.split() == ["digit", *map(str, range(10))]
    assert float(image.split()[8].rstrip("%")) > 50
    assert inverse.startswith("inverse")


def test_predict_prints_json_and_goes_on_after_a_bad_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = drawn_seven(tmp_path / "seven.jpg"), tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    assert main(["predict", "default", "--json", str(bad), str(good)]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"nplenet predict: {bad}: ")
    assert output.err.count("\n") == 1
    record = json.loads(output.out)
    assert (record["image"], record["digit"]) == (str(good), 7)
    assert sum(record["probabilities"]) == pytest.approx(1)
    assert len(record["inverted"]) == 10


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("command", [["evaluate"], ["info"], ["export", "--to", "onnx"]])
@pytest.mark.parametrize("contents", [None, b"", b"not a checkpoint at all"])
def test_a_bad_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], contents: bytes | None
) -> None:
    path = tmp_path / "bad.safetensors"
    if contents is not None:
        path.write_bytes(contents)
    assert main([command[0], str(path), *command[1:]]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nplenet {command[0]}: ")
    assert str(path) in error
    assert error.count("\n") == 1


def test_export_to_a_name_of_another_format_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--to", "onnx", "--output", "model.pth"]
    assert main(["export", str(trained / LATEST), *arguments]) == 2
    assert "must end with .onnx" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


def test_a_damaged_checkpoint_is_one_line_of_warning(tmp_path: Path) -> None:
    assert train("--epochs", 2, "--output", tmp_path) == 0
    path = tmp_path / LATEST
    path.write_bytes(path.read_bytes()[:-1])
    done = nplenet("info", path)
    assert done.returncode == 0
    assert done.stderr.startswith(f"nplenet info: {path} is damaged")
    assert done.stderr.endswith(f"reading its backup {path}.bak instead\n")
    assert done.stderr.count("\n") == 1
    assert f"{path}.bak" in done.stdout
