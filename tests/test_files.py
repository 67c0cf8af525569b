"""Files: only regular ones are read, and no reader waits for a pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nplenet.__main__ import main
from nplenet.checkpoint import load, load_model
from nplenet.compiled.cpu import tuning_cache
from nplenet.compiled.cpu.tuning import Tunables
from nplenet.data.idx import read_idx
from nplenet.files import NotRegularError, open_regular
from nplenet.interop.pytorch import load_state_dict
from nplenet.recognize import read_image

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")

READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "checkpoint": (load, "a.safetensors"),
    "model": (load_model, "a.safetensors"),
    "image": (read_image, "a.png"),
    "idx": (read_idx, "a-idx3-ubyte"),
    "pth": (load_state_dict, "a.pth"),
    "safetensors": (load_state_dict, "a.safetensors"),
}


def in_time(work: Callable[[], Any]) -> Any:
    """Return what a call returns or raises, within 20 seconds."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it waits for ever"
    return found[0]


@pytest.mark.parametrize("kind", ["pipe", "folder", "/dev/zero", "/dev/null"])
@pytest.mark.parametrize(("read", "name"), READERS.values(), ids=READERS)
def test_only_a_regular_file_is_read(
    read: Callable[[Path], Any], name: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    error = in_time(lambda: read(path))
    assert isinstance(error, (OSError, ValueError))
    assert str(path) in str(error)
    kinds = ("a directory", "a folder") if kind == "folder" else ("not a regular file",)
    assert any(each in str(error) for each in kinds)
    assert "\n" not in str(error)


def test_a_command_names_the_pipe_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for arguments in (["evaluate", str(pipe)], ["predict", "default", str(pipe)]):
        assert in_time(lambda arguments=arguments: main(arguments)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{pipe}: is not a regular file" in line


def test_a_pipe_in_the_place_of_the_tunables_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tunables.json"
    os.mkfifo(path)
    monkeypatch.setattr(tuning_cache, "cache_file", lambda: path)
    assert in_time(tuning_cache.read) == {}
    in_time(lambda: tuning_cache.keep(64, tuning_cache.Kept(Tunables())))
    assert path.is_file()


def test_a_file_that_became_a_pipe_before_it_was_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pipe, real = tmp_path / "a", tmp_path / "pipe", os.stat
    path.write_bytes(b"abc")
    with open_regular(path) as file:
        assert file.read() == b"abc"
    os.mkfifo(pipe)
    monkeypatch.setattr(os, "stat", lambda name: real(path))
    assert isinstance(in_time(lambda: open_regular(pipe)), NotRegularError)
