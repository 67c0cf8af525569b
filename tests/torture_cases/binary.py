"""Damaged binary files: each is refused in words, or read; never a bug's error, never for ever."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nplenet.__main__ import EXPECTED_ERRORS
from nplenet.checkpoint import load_model, save_model
from nplenet.data import write_idx
from nplenet.data.idx import read_idx
from nplenet.interop.pytorch import load_state_dict, save
from nplenet.layers import BatchNorm2d, Conv2d, Dense, Flatten, ReLU, Sequential
from nplenet.recognize import read_image

from .bench import GOALS as GOALS
from .bench import Bench, Case, Figure, More, Outcome

HOLES = (0, 1, 0x7F, 0x80, 0xFF)
NUMBERS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
Repair = Callable[[bytearray], bytes]
READERS: dict[str, Callable[[Path], Any]] = {
    "idx": read_idx,
    "gz": read_idx,
    "pth": load_state_dict,
    "safetensors": load_state_dict,
    "checkpoint": load_model,
    "png": read_image,
    "jpg": read_image,
    "bmp": read_image,
}


def small_model() -> Sequential:
    return Sequential(Conv2d(1, 2, 3), BatchNorm2d(2), ReLU(), Flatten(), Dense(2 * 30 * 30, 10))


def originals(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return the files that are damaged, by name: the name of their reader, their bytes."""
    rng, model = np.random.default_rng(0), small_model()
    write_idx(folder / "a.idx", rng.integers(0, 256, (6, 28, 28)).astype(np.uint8))
    write_idx(folder / "b.idx", rng.random((3, 5)))
    write_idx(folder / "c.idx.gz", np.arange(60, dtype=np.uint8))
    save(model, folder / "a.pth")
    save(model, folder / "a.safetensors")
    save_model(model, folder / "c.safetensors")
    picture = rng.integers(0, 256, (20, 30, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "text"
    Image.fromarray(picture).save(folder / "a.png", exif=exif)
    Image.fromarray(picture[..., 0]).convert("P").save(folder / "b.png", transparency=3)
    Image.fromarray(picture[..., :3]).save(folder / "a.jpg", exif=exif)
    Image.fromarray(picture[..., 0]).save(folder / "b.jpg", progressive=True)
    Image.fromarray(picture[..., :3]).save(folder / "a.bmp")
    Image.fromarray(picture[..., 0]).convert("1").save(folder / "b.bmp")
    (folder / "legacy.pth").write_bytes(legacy())
    readers = {"c.safetensors": "checkpoint"}
    return {
        path.name: (readers.get(path.name, path.suffix[1:]), path.read_bytes())
        for path in sorted(folder.iterdir())
    }


def legacy() -> bytes:
    """Return a file in the form of PyTorch before 1.6: pickles one after the other."""
    state = OrderedDict(weight=np.arange(4.0).tolist())
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, state, ["0"])
    return b"".join(pickle.dumps(part, protocol=2) for part in parts) + bytes(32)


# ------------------------------------------------------------------ damage


def damaged(data: bytes, rng: random.Random) -> bytearray:
    """Return bytes with one to four faults: bits, bytes, numbers, parts lost, doubled or moved."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        end = min(len(found), rng.choice((16, 200, len(found) or 1)))  # headers more often
        at = rng.randrange(max(end, 1))
        size = rng.choice((1, 2, 4, 8, 50, 1000))
        action = rng.randrange(8)
        if not found:
            break
        if action == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            found[at] = rng.choice(HOLES)
        elif action == 2:
            form = rng.choice((">I", "<I", ">H", "<H", "<Q"))
            number = struct.pack(form, rng.choice(NUMBERS) % 256 ** struct.calcsize(form))
            found[at : at + len(number)] = number
        elif action == 3:
            del found[at:]
        elif action == 4:
            del found[at : at + size]
        elif action == 5:
            found[at:at] = found[at : at + size] * rng.choice((1, 1, 20))
        elif action == 6:
            found[at : at + size] = rng.randbytes(size)
        else:
            found += rng.randbytes(size)
    return found


def with_png_sums(data: bytearray) -> bytes:
    """Make the sums of a PNG's parts right again, so that the damage is read."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        struct.pack_into(">I", data, at + 8 + length, zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(data)


def damaged_zip(data: bytes, rng: random.Random) -> bytes:
    """Return a zip archive of which one entry is damaged, its sum right."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        names = old.namelist()
        chosen = rng.choice([n for n in names if n.endswith("data.pkl")] * 4 + names)
        for name in names:
            entry = old.read(name)
            new.writestr(name, bytes(damaged(entry, rng)) if name == chosen else entry)
    return target.getvalue()


def damaged_gzip(data: bytes, rng: random.Random) -> bytes:
    return gzip.compress(bytes(damaged(gzip.decompress(data), rng)), 1)


def mutant(kind: str, data: bytes, rng: random.Random) -> bytes:
    if kind == "pth" and data.startswith(b"PK") and rng.random() < 0.6:
        return damaged_zip(data, rng)
    if kind == "gz" and rng.random() < 0.5:
        return damaged_gzip(data, rng)
    found = damaged(data, rng)
    return with_png_sums(found) if kind == "png" and rng.random() < 0.8 else bytes(found)


# ------------------------------------------------------------------ reading


def read(kind: str, path: Path) -> Outcome:
    """Read a file; an error that the commands print in one line is an answer."""
    try:
        READERS[kind](path)
    except EXPECTED_ERRORS as error:
        words = " ".join(str(error).split())
        empty = not words and not isinstance(error, MemoryError)  # for which there are words
        return Outcome(99 if empty else 2, "", f"nplenet x: {words.isprintable()}")
    return Outcome(0, "", "")


def at_random(*suffixes: str) -> More:
    def more(bench: Bench) -> Iterator[tuple[str, str]]:
        folder = bench.new()
        folder.mkdir()
        files = originals(folder)
        names = [name for name in files if name.rpartition(".")[2] in suffixes]

        def attack(rng: random.Random) -> tuple[str, Outcome]:
            name = rng.choice(names)
            kind, data = files[name]
            path = folder / f"mutant-{name}"
            path.write_bytes(mutant(kind, data, rng))
            return name, read(kind, path)

        yield from bench.batch(suffixes[0], attack)

    return more


def cut(name: str) -> Case:
    """Cut a file at each of 40 places, from empty to whole."""

    def case(bench: Bench) -> str:
        folder = bench.new()
        folder.mkdir()
        kind, data = originals(folder)[name]

        def work() -> int:
            for part in range(41):
                (folder / name).write_bytes(data[: len(data) * part // 40])
                outcome = read(kind, folder / name)
                if outcome.status not in (0, 2) or (part == 40) != (outcome.status == 0):
                    return 99
            return 0

        outcome = bench.forked(work)
        return "" if outcome.status == 0 else f"{outcome.status}: {outcome.err[-300:]}"

    return case


FIGURES = [
    Figure(
        "damaged IDX files",
        {"cut": cut("a.idx"), "cut gz": cut("c.idx.gz")},
        at_random("idx", "gz"),
        0.06,
    ),
    Figure(
        "damaged .pth and safetensors",
        {
            "cut pth": cut("a.pth"),
            "cut safetensors": cut("a.safetensors"),
            "cut checkpoint": cut("c.safetensors"),
        },
        at_random("pth", "safetensors"),
        0.1,
    ),
    Figure("damaged images", {"cut bmp": cut("a.bmp")}, at_random("png", "jpg", "bmp"), 0.06),
]
