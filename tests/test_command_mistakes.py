"""Mistakes on the command line: each is one line, with status 2, that names what to change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nplenet.__main__ import main
from nplenet.checkpoint import save_model
from nplenet.models import LeNet5


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the line of an error, without the line break."""
    try:
        status: object = main(arguments)
    except SystemExit as end:
        status = end.code
    line = capsys.readouterr().err
    assert status == 2
    assert line.count("\n") == 1
    return line.rstrip("\n")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("", "nplenet: the following arguments are required: COMMAND; see nplenet --help"),
        ("layers conv", "nplenet layers: unrecognized arguments: conv; see nplenet layers --help"),
        (
            "train --epochs two",
            "nplenet train: argument --epochs: must be an integer of at least 1, got 'two'; see "
            "nplenet train --help",
        ),
        (
            "gradcheck ReLU --tolerance -1",
            "nplenet gradcheck: --tolerance must be a number in (0, inf), got -1.0",
        ),
        (
            "lab grade",
            "nplenet lab grade: the following arguments are required: FOLDER; see nplenet lab "
            "grade --help",
        ),
        (
            "train --output=",
            "nplenet train: argument --output: must be a path, got an empty text; see nplenet "
            "train --help",
        ),
        ("evaluate nowhere", "nplenet evaluate: nowhere: No such file or directory"),
        (
            "train --dataset digits --validation 0 --patience 2",
            "nplenet train: --patience needs validation images, and --validation 0 holds out none",
        ),
        (
            "train --dataset digits --validation 0 --keep best",
            "nplenet train: --keep best needs validation images, and --validation 0 holds out none",
        ),
        (
            "gradcheck dense/plane",
            "nplenet gradcheck: unknown name 'dense/plane', expected one of dense/bias, "
            "dense/no-bias, dense/one-output",
        ),
    ],
    ids=[
        *("no-command", "one-too-many", "no-number", "tolerance", "no-folder", "empty-path"),
        *("no-file", "patience", "best-epoch", "no-case"),
    ],
)
def test_a_mistake_is_one_line(typed: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(typed.split(), capsys) == line


def test_a_file_that_cannot_be_written_is_named_as_it_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by the temporary name under which it is written first."""
    file = tmp_path / "missing" / "page.html"
    draw = ["draw", "default", "--no-open", "--output"]
    assert answer([*draw, str(file)], capsys) == f"nplenet draw: {file}: No such file or directory"
    assert answer([*draw, str(tmp_path)], capsys) == f"nplenet draw: {tmp_path}: Is a directory"
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_missing_file_is_printable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = answer(["info", str(tmp_path / "red\x1b[31m\nname")], capsys)
    assert line == f"nplenet info: {tmp_path}/red\\x1b[31m\\nname: No such file or directory"


def test_a_file_of_another_kind_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays, text, model = tmp_path / "a.npz", tmp_path / "a.txt", tmp_path / "a.safetensors"
    np.savez(arrays, a=np.ones(3))
    text.write_text("hello")
    save_model(LeNet5(seed=0), model)
    expected = "is an .npz file of NumPy, not a model of nplenet"
    assert answer(["info", str(arrays)], capsys).startswith(f"nplenet info: {arrays} {expected}")
    line = answer(["import", str(model), "--like", "lenet5", "--output", "new"], capsys)
    assert line == f"nplenet import: {model} is already a file of nplenet: it needs no import"
    pytest.importorskip("PIL")
    line = answer(["predict", "default", str(text)], capsys)
    assert line.startswith(f"nplenet predict: {text}: expected a PNG, JPEG")
    assert line.endswith("image, undamaged, which this is not")


def test_a_layer_may_be_named_as_its_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "ReLU"]) == 0
    assert "relu/plain" in capsys.readouterr().out


@pytest.mark.parametrize("other_name", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        "export FILE --to pytorch --output FILE",
        "draw FILE --no-open --output FILE",
        "import FILE --like lenet5 --output FILE",
        "predict default FILE --boxes FILE",
    ],
)
def test_a_command_does_not_write_over_the_file_that_it_reads(
    command: str,
    other_name: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # An export to the checkpoint of a run replaced it by weights: the run could not be resumed.
    name = "photo.png" if "predict" in command else "model.safetensors"
    path = tmp_path / name
    save_model(LeNet5(seed=0), tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").rename(path)
    before, target = path.read_bytes(), path
    if other_name:
        (tmp_path / "folder").symlink_to(tmp_path)
        target = tmp_path / "folder" / name
    first, _, rest = command.rpartition("FILE")
    typed = (first.replace("FILE", str(path)) + str(target) + rest).split()
    option = "--boxes" if "predict" in command else "--output"
    line = f"nplenet {typed[0]}: {option} {target} is the file that is read: name another"
    assert answer(typed, capsys) == line
    assert path.read_bytes() == before


def test_boxes_are_a_png_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["predict", "default", "photo.jpg", "--boxes", str(tmp_path / "boxes.jpg")]
    line = answer(typed, capsys)
    assert line == f"nplenet predict: --boxes must end with .png, got {tmp_path / 'boxes.jpg'}"
