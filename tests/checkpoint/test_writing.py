"""The moment of writing: full disks, leftovers, files of others."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
from small_run import Trainer, saved_run

from nplenet.checkpoint import CheckpointFolder, CheckpointWarning
from nplenet.files import atomic_write


@pytest.mark.parametrize("call", ["write", "fsync", "link", "replace"])
def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = saved_run(tmp_path)
    contents = before.path.read_bytes()

    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full(io.FileIO):
        """Takes half of what is written."""

        def write(self, contents: Any) -> int:
            super().write(contents[: len(contents) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    trainer = Trainer()
    if call == "write":
        monkeypatch.setattr("nplenet.files.open", Full, raising=False)
    elif call == "link":  # a file system without hard links, and then a full one
        monkeypatch.setattr(os, "link", full)
        monkeypatch.setattr(os, "replace", full)
    else:
        monkeypatch.setattr(os, call, full)
    folder = CheckpointFolder(tmp_path)
    with pytest.warns(CheckpointWarning, match="No space left on device.*unchanged"):
        trainer.fit(epochs=2, resume=before, checkpoints=folder)
    assert not folder.saved
    monkeypatch.undo()
    assert before.path.read_bytes() == contents
    assert list(tmp_path.glob(".*.part")) == []


def test_without_hard_links_the_one_before_is_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path, previous = tmp_path / "a", tmp_path / "a.bak"
    for contents in (b"1", b"2", b"3"):
        with atomic_write(path, previous=previous) as file:
            file.write(contents)
    assert (path.read_bytes(), previous.read_bytes()) == (b"3", b"2")


OWN = ("checkpoint.safetensors", "checkpoint.safetensors.bak", "best.safetensors")
OWN += ("epoch-012.safetensors", "history.json", "report.html")


@pytest.mark.parametrize("name", OWN)
def test_leftovers_of_a_killed_write_are_removed(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as file:
        left = Path(file.name)
    left.write_bytes(b"half")
    with CheckpointFolder(tmp_path):
        assert not left.exists()


def test_files_of_others_are_neither_removed_nor_renamed(tmp_path: Path) -> None:
    others = [
        ".firefox-download.iso.part",
        ".checkpoint.safetensors.part",
        "epoch-of-man.safetensors",
    ]
    others += [".checkpoint.safetensors.4711-0123abcd.part", ".a.png.4711-0123abcd.nplenet.part"]
    for name in others:
        (tmp_path / name).write_text("mine")
    folders = [".torrents.part", ".checkpoint.safetensors.4711-0123abcd.nplenet.part"]
    for name in [*folders, "epoch-001.safetensors"]:
        (tmp_path / name).mkdir()
    link = tmp_path / ".history.json.4711-0123abcd.nplenet.part"
    link.symlink_to(tmp_path / others[0])
    before = sorted(tmp_path.iterdir())
    with CheckpointFolder(tmp_path) as folder:
        folder.begin_anew()
    assert sorted(set(tmp_path.iterdir()) - {tmp_path / ".lock"}) == before
    assert all((tmp_path / name).read_text() == "mine" for name in others)


def test_a_lock_that_is_a_symbolic_link_does_no_harm_to_its_target(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("whole")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(victim)
    with pytest.raises(OSError), CheckpointFolder(tmp_path / "run"):  # noqa: PT011  any kind
        pass
    assert victim.read_text() == "whole"
