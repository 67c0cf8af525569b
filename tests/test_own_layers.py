"""`nplenet gradcheck my.py:MyConv`: layers of your own, and what they raise as rows that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from nplenet.__main__ import main
from nplenet.commands.own_layers import own_cases
from nplenet.lab.source import KEYS
from nplenet.layers import Conv2d

SOURCE = '''
import numpy as np
from helper import FACTOR
from nplenet.layers import Conv2d, Layer, Parameter


class MyConv(Conv2d):
    """Built on the library's layer."""


class Blank(Conv2d):
    def backward(self, dy):
        raise NotImplementedError("to be written")


class Scale(Layer):
    ranks = (2,)

    def __init__(self, factor=FACTOR, sign=1):
        super().__init__()
        self.factor, self.sign = Parameter(np.array([factor])), sign

    def forward(self, x):
        return self.remember(x * self.factor.data, x)

    def backward(self, dy):
        (x,) = self.recall(dy)
        self.factor.grad += (dy * x).sum()
        return self.sign * dy * self.factor.data


class Two(Layer):
    def __init__(self, one, two):
        super().__init__()
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text("FACTOR = 3.0\n")
    path = tmp_path / "my.py"
    path.write_text(SOURCE)
    return path


def check(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main(["gradcheck", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return status, out, err


def test_a_layer_built_on_the_librarys_gets_its_cases(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = check(capsys, f"{file}:MyConv")
    assert status == 0
    assert "my.py:MyConv/rectangular" in out
    assert "11 of 11 cases passed" in out
    assert all(isinstance(case.build(), Conv2d) for case in own_cases(f"{file}:MyConv"))


def test_what_a_layer_raises_is_a_row_that_fails_with_its_words(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = check(capsys, f"{file}:Blank")
    assert status == 1
    line = SOURCE.splitlines().index('        raise NotImplementedError("to be written")') + 1
    words = f"FAIL: raises NotImplementedError in line {line} of my.py: to be written"
    assert out.count(words) == 11
    assert "0 of 11 cases passed" in out


def test_a_blank_backward_in_the_library_is_a_row_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def backward(self: Conv2d, dy: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(Conv2d, "backward", backward)
    status, out, _ = check(capsys, "conv2d/3x3", "relu")
    assert status == 1
    assert "FAIL: raises NotImplementedError" in out
    assert "1 of 2 cases passed" in out


def test_arguments_and_the_shape_of_the_input_can_be_given(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = check(capsys, f"{file}:Scale(2.0)", "--input-shape", "3,7")
    assert status == 0
    assert "21 elements" in out
    status, out, _ = check(capsys, f"{file}:Scale(2.0, sign=-1)")
    assert status == 1
    assert out.count("FAIL") == 1  # of x; the factor's gradient is right
    status, _, err = check(capsys, "relu", "--input-shape", "3,7")
    assert status == 2
    assert "name a file, such as my.py" in err


def test_a_whole_file_is_checked_and_what_needs_arguments_says_so(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = check(capsys, file)
    assert status == 1
    assert "12 of 24 cases passed" in out
    assert "Two needs one, two: write the arguments in the name, such as 'my.py:Two(2, 3)'" in out


def test_a_class_with_the_librarys_name_gets_the_cases_whose_arguments_it_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("dense", "activations", "conv_backward", "pooling", "batch_norm", "dropout")
    status, out, _ = check(capsys, *(KEYS / f"{name}.py" for name in names))
    assert status == 0
    assert "pooling.py:AvgPool2d/padding" in out
    assert "AvgPool2d/ceil" not in out


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (None, "absent.py", "absent.py is not a file"),
        ("x = 1\n", "my.py", "defines no class derived from nplenet.layers.Layer"),
        ("x = 1\n", "my.py:Conv", "has no class Conv; its layers: none"),
        ("Conv = 1\n", "my.py:Conv", "not a Layer called Conv"),
        ("1 / 0\n", "my.py", "raises ZeroDivisionError in line 1 of my.py: division by zero"),
        ("def (\n", "my.py", "raises SyntaxError in line 1"),
        ("import sys; sys.exit(1)\n", "my.py", "raises SystemExit"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    text: str | None, name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "my.py").write_text(text)
    status, out, err = check(capsys, tmp_path / name)
    assert (status, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1
