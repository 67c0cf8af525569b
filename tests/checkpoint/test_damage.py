"""Damaged files, and files that never were checkpoints: refused, or read from the backup."""

from __future__ import annotations

import json
import random
import resource
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from small_run import Stop, Trainer, saved_run

from nplenet.checkpoint import (
    CheckpointError,
    CheckpointFolder,
    CheckpointWarning,
    file,
    load,
    save_model,
)
from nplenet.checkpoint.file import backup
from nplenet.layers import Conv2d


def damaged(contents: bytes, rng: random.Random) -> bytes:
    """Return contents with one damage of a random kind."""
    data = bytearray(contents)
    length = int.from_bytes(data[:8], "little")
    kind = rng.randrange(8)
    if kind == 0:  # bits flipped anywhere
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:  # a bit flipped in the header
        data[8 + rng.randrange(length)] ^= 1 << rng.randrange(8)
    elif kind == 2:  # the end cut off
        del data[rng.randrange(len(data)) :]
    elif kind == 3:  # the header's length
        data[:8] = rng.choice([0, 1, length - 1, length + 1, 1 << 40, 2**64 - 1]).to_bytes(
            8, "little"
        )
    elif kind == 4:  # something behind the end
        data += rng.randbytes(rng.randint(1, 100))
    elif kind == 5:  # a block of noise or zeros
        start = rng.randrange(len(data))
        block = rng.choice([bytes(64), rng.randbytes(64)])
        data[start : start + 64] = block[: len(data) - start]
    else:  # the header rewritten: a huge size, another dtype, two tensors swapped, one left out
        header = json.loads(data[8 : 8 + length])
        names = [name for name in header if name != "__metadata__"]
        a, b = rng.sample(names, 2)
        change = rng.randrange(4)
        if change == 0:
            header[a]["shape"] = [1 << rng.randint(20, 62)]
        elif change == 1:
            header[a]["dtype"] = rng.choice(["F64", "I64", "BF16", "F8_E4M3", "BOOL", "C64", "?"])
        elif change == 2:
            header[a], header[b] = header[b], header[a]
        else:
            del header[a]
        text = json.dumps(header).encode()
        data[: 8 + length] = len(text).to_bytes(8, "little") + text
    return bytes(data)


def test_300_damages_are_refused_or_harmless(tmp_path: Path) -> None:
    whole = saved_run(tmp_path)
    contents = whole.path.read_bytes()
    rng, messages = random.Random(0), list[str]()
    path = tmp_path / "damaged.safetensors"
    tracemalloc.start()
    try:
        for _ in range(300):
            path.write_bytes(damaged(contents, rng))
            tracemalloc.reset_peak()
            try:
                found = load(path)
            except CheckpointError as error:
                messages.append(str(error))
            else:
                assert found.record == whole.record
                assert found.tensors.keys() == whole.tensors.keys()
                for name, tensor in whole.tensors.items():
                    assert found.tensors[name].tobytes() == tensor.tobytes()
            assert tracemalloc.get_traced_memory()[1] < 100e6 + len(contents)
    finally:
        tracemalloc.stop()
    assert len(messages) > 250
    assert all(str(path) in message and "\n" not in message for message in messages)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4e6  # KiB: no 100 GB header


def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(tmp_path: Path) -> None:
    whole = saved_run(tmp_path)
    Trainer().fit(epochs=2, resume=whole, checkpoints=CheckpointFolder(tmp_path))
    assert len(load(whole.path).record["progress"]["epochs"]) == 2
    whole.path.write_bytes(whole.path.read_bytes()[:-1])
    with pytest.warns(CheckpointWarning, match=r"damaged.*reading its backup"):
        older = load(whole.path)
    assert len(older.record["progress"]["epochs"]) == 1
    # A run that resumes from there must not replace the good backup by the damaged file.
    with pytest.raises(Stop):
        Trainer().fit(9, resume=older, checkpoints=CheckpointFolder(tmp_path, every_steps=1))
    assert load(whole.path).record["optimizer"]["step"] == 8
    assert len(load(backup(whole.path)).record["progress"]["epochs"]) == 1
    backup(whole.path).write_bytes(b"")
    whole.path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"and .*\.bak"):
        load(whole.path)


@pytest.mark.filterwarnings("ignore:.*is from another environment")  # sense, of another version
def test_records_that_make_no_sense_are_refused_even_with_a_right_digest(tmp_path: Path) -> None:
    whole = saved_run(tmp_path)
    rng, path = random.Random(0), tmp_path / "other.safetensors"
    nonsense = [None, 3, -1.5, "word", [], {}, [[]], {"type": "SGD"}, float("nan"), True]
    refused = 0
    for _ in range(200):
        record = json.loads(json.dumps(whole.record))
        place = record
        while True:  # walk to a random place in it
            key = rng.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
            if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.3:
                break
            place = place[key]
        if rng.random() < 0.3:
            del place[key]
        else:
            place[key] = rng.choice(nonsense)
        file.write_file(path, whole.tensors, record)
        trainer = Trainer(seed=5)
        before = trainer.model.state_dict()
        try:
            load(path).model()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CheckpointWarning)  # of another environment
                trainer.fit(epochs=1, resume=load(path))  # which has no epoch left to do
        except (CheckpointError, TypeError, ValueError):  # the last two of tunables that can't be
            refused += 1
            after = trainer.model.state_dict()
            assert all(np.array_equal(before[k], after[k]) for k in before)
    assert refused > 50


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: None, FileNotFoundError, "No such file"),
        (lambda p: p.mkdir(), IsADirectoryError, "is a folder"),
        (lambda p: p.write_bytes(b""), CheckpointError, "damaged, or not a safetensors file"),
        (lambda p: p.write_text("hello " * 99), CheckpointError, "damaged, or not a safetensors"),
        (
            lambda p: safetensors.numpy.save_file({"a": np.ones(3)}, p),
            CheckpointError,
            "not by nplenet",
        ),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, make: Any, error: type[Exception], words: str
) -> None:
    path = tmp_path / "file.safetensors"
    make(path)
    with pytest.raises(error, match=words):
        load(path)


def test_a_file_of_a_later_format_is_refused_with_who_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "FORMAT", 9)
    save_model(Conv2d(1, 2, 3), tmp_path / "m.safetensors")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"format 9, written by nplenet \d.* reads format 1"):
        load(tmp_path / "m.safetensors")
