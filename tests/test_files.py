"""Files: only regular ones are read and replaced, and no reader waits for a pipe."""

from __future__ import annotations

import os
import stat
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
from nplenet.files import NotRegularError, atomic_write, open_regular
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


def unnamed_device(path: Path) -> None:
    """Make a device like /dev/null under a name of its own, where root may."""
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a device"])
def test_a_write_replaces_neither_a_pipe_nor_a_device_nor_a_folder(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    makes: dict[str, Callable[[Path], None]] = {
        "pipe": os.mkfifo,
        "device": unnamed_device,
        "folder": Path.mkdir,
        "link to a device": lambda link: link.symlink_to("/dev/null"),
    }
    makes[kind](path)
    before = path.lstat().st_mode
    words = "is not a regular file"
    if kind == "folder":
        words = "Is a directory"
    with pytest.raises(OSError, match=words) as caught, atomic_write(path):
        pass
    assert str(path) in str(caught.value)
    assert path.lstat().st_mode == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_keeps_the_permissions_of_the_file_that_it_replaces(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with atomic_write(path) as file:
        assert stat.S_IMODE(os.stat(file.name).st_mode) == 0o600  # before a byte is in it
        file.write(b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)


@pytest.mark.parametrize("name", ["none/a", "very" * 80])
def test_an_error_of_a_write_has_the_name_that_the_user_knows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(OSError) as caught, atomic_write(path):  # noqa: PT011  its text is below
        pass
    assert str(caught.value).endswith(f": {str(path)!r}")
