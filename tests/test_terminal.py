"""What reaches the terminal: text only, one line for each error, and a status of the manual."""

from __future__ import annotations

import ast
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import nplenet
from nplenet.__main__ import main
from nplenet.terminal import printable, show, show_json

PACKAGE = Path(nplenet.__file__).parent
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
TITLE = "\x1b]0;owned\x07"  # sets the title of a terminal's window


def program(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nplenet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Have the command ``layers`` raise an error."""

    def run(options: object) -> int:
        raise error

    monkeypatch.setattr("nplenet.commands.layers.run", run)


# ------------------------------------------------------------------ characters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a digit: é 数 7", "a digit: é 数 7"),
        (TITLE, "\\x1b]0;owned\\x07"),
        ("one\ntwo\r\t", "one\\ntwo\\r\\t"),
        ("\x9b2J", "\\x9b2J"),  # the same as ESC [ in one character
        ("left\u202eright", "left\\u202eright"),  # reverses the direction of what follows
        ("caf\udce9", "caf\\udce9"),  # a byte of a file name that is not UTF-8
    ],
)
def test_characters_that_a_terminal_obeys_are_shown_as_escapes(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 5000, 10) == "xxxxxxx..."


def test_lines_remain_lines_and_the_stream_can_encode_them() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    show(f"数\n{TITLE}", stream)
    assert raw.getvalue().split() == [b"\\u6570", b"\\x1b]0;owned\\x07"]


def test_json_remains_json(capsys: pytest.CaptureFixture[str]) -> None:
    record = {TITLE: ["\x7f", "\udce9", "\u202e"]}
    show_json(record)
    text = capsys.readouterr().out
    assert text.strip().isprintable()
    assert json.loads(text) == record


def test_the_commands_print_with_show_only() -> None:
    for file in [*(PACKAGE / "commands").glob("*.py"), PACKAGE / "__main__.py"]:
        calls = [n.func for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        assert "print" not in [f.id for f in calls if isinstance(f, ast.Name)], file.name


def test_the_name_of_a_missing_file_is_inert(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{TITLE}\n.safetensors"]) == 2
    assert capsys.readouterr().err.rstrip("\n").isprintable()
    with pytest.raises(SystemExit, match="2"):
        main(["info", "a", TITLE])
    assert TITLE not in capsys.readouterr().err


@POSIX
def test_names_that_are_not_utf_8_do_not_stop_a_command(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    page = os.fsdecode(folder + b"/\xff.html")
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = program("draw", "default", "--no-open", "--output", page, env=strict)
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\udce9/\\udcff.html" in done.stdout
    assert os.path.getsize(page) > 10_000


@POSIX
def test_images_whose_names_are_not_utf_8_are_all_read(tmp_path: Path) -> None:
    image: Any = pytest.importorskip("PIL.Image")
    names = [os.fsdecode(os.fsencode(tmp_path) + b"/" + name) for name in (b"a.png", b"\xff.png")]
    for name in names:
        image.new("L", (40, 40)).save(name)
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = program("predict", "default", *names, env=strict)
    assert done.returncode == 2  # blank images, each of which is named
    assert [
        name in line
        for name, line in zip(map(printable, names), done.stderr.splitlines(), strict=True)
    ] == [True, True]


# ------------------------------------------------------------------ errors


def test_an_error_that_nobody_expected_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, KeyError("weight"))
    assert main(["layers"]) == 2
    expected = "nplenet layers: internal error, KeyError: 'weight'; --debug shows where\n"
    assert capsys.readouterr() == ("", expected)


def test_debug_shows_where_an_error_arose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, ValueError(TITLE))
    assert main(["layers", "--debug"]) == 2
    *traceback, line = capsys.readouterr().err.splitlines()
    assert traceback[0] == "Traceback (most recent call last):"
    assert line == f"nplenet layers: {printable(TITLE)}"


@pytest.mark.parametrize(
    ("error", "words"), [(MemoryError(), "not enough memory"), (ValueError(), "ValueError")]
)
def test_an_error_without_a_message_has_words(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    words: str,
) -> None:
    failing(monkeypatch, error)
    assert main(["layers"]) == 2
    assert capsys.readouterr().err == f"nplenet layers: {words}\n"


# ------------------------------------------------------------------ Ctrl-C


def test_ctrl_c_is_one_line_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert main(["layers"]) == 130
    assert capsys.readouterr().err == "nplenet layers: interrupted\n"


@POSIX
@pytest.mark.parametrize("command", [["gradcheck"], ["train", "--dataset", "digits", "--quiet"]])
def test_ctrl_c_at_any_moment_leaves_no_traceback(command: list[str]) -> None:
    """While modules are loaded, and while the command runs."""
    statuses: list[int] = []
    for seconds in (0.15, 0.5, 1.2, 2.4, 4.8):  # the last ones where the machine is busy
        if 130 in statuses and len(statuses) > 2:
            break
        with subprocess.Popen(
            [sys.executable, "-m", "nplenet", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background job, as this test may be, ignores SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
        # Until the first line of nplenet is reached, a Ctrl-C is Python's own.
        if process.returncode == -signal.SIGINT or "Could not import runpy" in error:
            assert "nplenet/" not in error
            statuses.append(-signal.SIGINT)
            continue
        statuses.append(process.returncode)
        assert error.count("\n") <= 1, error
        assert "Traceback" not in error
    assert set(statuses) <= {0, 130, -signal.SIGINT}
    assert 130 in statuses


@POSIX
def test_ctrl_c_where_python_ignores_exceptions_is_not_lost() -> None:
    code = """
import signal, sys, time
sys.argv = ["nplenet"]
from nplenet.interrupts import interrupt_from_now_on
interrupt_from_now_on()
signal.signal(signal.SIGINT, signal.default_int_handler)
class Gone:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
try:
    Gone()
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


# ------------------------------------------------------------------ streams


@POSIX
@pytest.mark.parametrize(
    ("closed", "words"), [("2>&-", "test accuracy"), ("0<&- 1>&- 2>&-", ""), ("1>&-", "")]
)
def test_a_closed_stream_stops_no_training(closed: str, words: str) -> None:
    command = f"{sys.executable} -m nplenet train --dataset digits --limit 60 --epochs 1 --eager"
    done = subprocess.run(
        f"{command} {closed}", shell=True, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert words in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["info", "default"], ["layers"]])
def test_output_that_cannot_be_written_is_one_line_and_status_2(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        run = [sys.executable, "-m", "nplenet", *command]
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


@POSIX
@pytest.mark.parametrize("command", [["info", "default"], ["layers"], ["gradcheck", "relu"]])
def test_a_reader_that_has_enough_ends_a_command_without_a_word(command: list[str]) -> None:
    """As ``nplenet layers | head -1``: the status is that of a program ended by SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    run = [sys.executable, "-m", "nplenet", *command]
    done = subprocess.run(run, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
