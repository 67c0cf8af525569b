"""Data sets of your own from strangers: tables, archives of arrays, folders of images."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from .bench import GOALS as GOALS
from .bench import LEARN, Bench, Case, Figure, Outcome, fault, in_process
from .binary import damaged
from .inputs import jpeg, packed_zeros, png
from .strings import ALL_ESCAPES, MARKUP, Structure

Make = Callable[[Path], Any]
"""Writes a data set at a path; may return the size of what it decodes to, in bytes."""

USES = {
    "evaluate": "evaluate default --dataset {kind}:{path}",
    "train": "train --dataset {kind}:{path} --epochs 1 --output {new}",
}


def without_pictures() -> None:
    mock.patch("nplenet.commands.train.write_report", return_value=True).start()


def data_case(kind: str, name: str, make: Make) -> Case:
    """Test on a data set, and if that ends well train on it: each in no more than one line."""

    def case(bench: Bench) -> str:
        path, owned = bench.new(f".{kind}"), bench.work / "owned"
        decoded = make(path) or (path.stat().st_size if path.is_file() else 0)
        for how, words in USES.items():
            command = words.format(kind=kind, path=path, new=bench.new()).split(" ")
            command += LEARN[2:] if how == "train" else []
            outcome = bench.nplenet(*command, prepare=without_pictures)
            bench.note(f"{kind}: {name}, {how}", outcome, decoded)
            if wrong := fault(outcome):
                return f"{how}: {wrong}"
            if owned.exists():
                return f"{how}: it has run a stranger's code"
            if outcome.status == 2:
                break
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return ""

    return case


# ------------------------------------------------------------------ tables


def table(contents: bytes | Callable[[], bytes], decoded: int = 0) -> Make:
    def make(path: Path) -> int:
        path.write_bytes(contents if isinstance(contents, bytes) else contents())
        return decoded

    return make


ROW = b"1" + b",0" * 784 + b"\n"


def rows(count: int) -> bytes:
    return b"".join(b"%d" % (k % 10) + b",9" * 784 + b"\n" for k in range(count))


def with_cell(cell: bytes, place: int = 7) -> bytes:
    cells = ROW.strip().split(b",")
    cells[place] = cell
    return rows(20) + b",".join(cells) + b"\n"


def names(first: bytes) -> bytes:
    return first + b"".join(b",p%d" % k for k in range(784)) + b"\n" + rows(20)


TABLES: dict[str, Make] = {
    "a right one": table(rows(40)),
    "a field of 10 MB": table(lambda: with_cell(b"9" * 10_000_000)),
    "a field of 900 kB": table(lambda: with_cell(b"9" * 900_000)),
    "a first field of 900 kB": table(lambda: b"9" * 900_000 + ROW),
    "10,000,000 columns": table(lambda: b"0" + b",0" * 10_000_000),
    "500,000 columns": table(lambda: (b"0" + b",0" * 500_000 + b"\n") * 20),
    "500,000 empty names": table(lambda: b"label" + b"," * 500_000 + b"\n" + ROW),
    "blank lines without end": table(
        lambda: gzip.compress(ROW + b"\n" * 100_000_000 + ROW), 100_000_000
    ),
    "spaces without end": table(lambda: gzip.compress(ROW + (b" " * 900 + b"\n") * 100_000)),
    "a packed line without end": table(lambda: packed_zeros(200_000_000, before=ROW)),
    "a packed table": table(lambda: gzip.compress(ROW * 25_000), 25_000 * len(ROW)),
    "a packed one, cut": table(lambda: gzip.compress(rows(40))[:-9]),
    "zero bytes": table(lambda: with_cell(b"\0\0")),
    "all zero bytes": table(bytes(100_000)),
    "an infinity": table(with_cell(b"1e400")),
    "not a number": table(with_cell(b"nan")),
    "an underscore": table(with_cell(b"1_0")),
    "digits of another script": table(with_cell("\u0661".encode())),
    "a hexadecimal number": table(with_cell(b"0x10")),
    "a negative number": table(with_cell(b"-1")),
    "a half": table(with_cell(b"0.5")),
    "a text with escapes": table(with_cell(b"\x1b]0;owned\x07")),
    "a label of 10^9": table(with_cell(b"1000000000", 0)),
    "a label of 10^30": table(with_cell(b"1" + b"0" * 30, 0)),
    "a label of 999": table(with_cell(b"999", 0), 100_000_000),  # two tables of a million counts
    "a ragged line": table(rows(20) + b"1,2,3\n"),
    "a name with escapes": table(names("\x1b[2J\u202e\x9bowned".encode())),
    "a name with a formula": table(names(b'"=cmd|x"')),
    "names only": table(b"label,p0,p1\n"),
    "no line": table(b""),
    "one number": table(b"7"),
    "commas": table(b"," * 784),
    "UTF-16": table("1,2\n".encode("utf-16")),
    "carriage returns": table(rows(20).replace(b"\n", b"\r")),
    "quotes": table(rows(20).replace(b"9", b'"9"')),
    "open quotes": table(b'"' + rows(20)),
}

# ------------------------------------------------------------------ archives of arrays


class Trap:
    """Unpickled, it makes the file ``owned`` in the folder of the attacks."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def npy(array: Any) -> bytes:
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def header(text: str, data: bytes = b"", version: bytes = b"\1\0", length: int = -1) -> bytes:
    head = text.encode() + b"\n"
    size = len(head) if length < 0 else length
    packed = struct.pack("<H" if version == b"\1\0" else "<I", size)
    return b"\x93NUMPY" + version + packed + head + data


def described(shape: str, dtype: str = "'|u1'", data: bytes = bytes(7840)) -> bytes:
    return header(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}", data)


GOOD = npy(np.zeros((40, 28, 28), np.uint8))
GIVEN = npy(np.arange(40) % 10)


def archive(
    images: bytes | Callable[[Path], bytes] = GOOD,
    labels: bytes | Callable[[Path], bytes] = GIVEN,
    *,
    names: tuple[str, str] = ("images.npy", "labels.npy"),
    packed: int = zipfile.ZIP_DEFLATED,
    decoded: int = 0,
) -> Make:
    def make(path: Path) -> int:
        with zipfile.ZipFile(path, "w", packed) as file:
            for name, contents in zip(names, (images, labels), strict=True):
                made = contents if isinstance(contents, bytes) else contents(path)
                file.writestr(name, made)
        return decoded

    return make


def changed(make: Make, change: Callable[[bytearray], Any]) -> Make:
    def changing(path: Path) -> None:
        make(path)
        contents = bytearray(path.read_bytes())
        change(contents)
        path.write_bytes(contents)

    return changing


def trap(path: Path) -> bytes:
    array = np.empty(40, object)
    array[:] = Trap(path.parent / "owned")
    return npy(array)


def bare_pickle(path: Path) -> bytes:
    return pickle.dumps(Trap(path.parent / "owned"))


def encrypted(contents: bytearray) -> None:
    contents[6] |= 1
    contents[contents.rindex(b"PK\1\2", 0, contents.rindex(b"PK\1\2")) + 8] |= 1


def announced(contents: bytearray) -> None:
    """Let the directory announce 4 GB for each entry."""
    at = -1
    while (at := contents.find(b"PK\1\2", at + 1)) >= 0:
        contents[at + 24 : at + 28] = b"\xf0\xff\xff\xff"


def many_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for k in range(60_000):
            file.writestr(f"{k}.npy", b"")


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file, mock.patch("warnings.warn"):
        for contents in (GOOD, GIVEN):
            for name in ("images.npy", "labels.npy"):
                file.writestr(name, contents)


def zeros(*shape: int) -> Callable[[Path], bytes]:
    return lambda path: npy(np.zeros(shape, np.uint8))


ARCHIVES: dict[str, Make] = {
    "a right one": archive(),
    "objects as images": archive(trap),
    "objects as labels": archive(labels=trap),
    "a pickle as images": archive(bare_pickle),
    "a pickle as labels": archive(labels=bare_pickle),
    "a pickle as the archive": lambda path: path.write_bytes(bare_pickle(path)) * 0,
    "an object in a record": archive(described("(10,)", "[('a', '|O'), ('b', '<i8')]")),
    "objects, said to be numbers": archive(
        lambda path: trap(path).replace(b"'|O'", b"'|u1'"), labels=trap
    ),
    "names without .npy": archive(names=("images", "labels")),
    "one name without .npy": archive(names=("images.npy", "labels")),
    "a name that leaves": archive(names=("../images.npy", "/labels.npy")),
    "names with escapes": archive(names=("\x1b[2J\u202eowned.npy", "labels.npy")),
    "each name twice": twice,
    "60,000 entries": many_entries,
    "a secret": changed(archive(), encrypted),
    "4 GB announced": changed(archive(), announced),
    "packed by bzip2": archive(packed=zipfile.ZIP_BZIP2),
    "packed by LZMA": archive(packed=zipfile.ZIP_LZMA),
    "packed by LZMA, damaged": changed(
        archive(packed=zipfile.ZIP_LZMA), lambda b: b.__setitem__(slice(52, 70), bytes(18))
    ),
    "packed by bzip2, damaged": changed(
        archive(packed=zipfile.ZIP_BZIP2), lambda b: b.__setitem__(slice(52, 70), bytes(18))
    ),
    "LZMA of a dictionary of 4 GB": changed(
        archive(packed=zipfile.ZIP_LZMA), lambda b: b.__setitem__(slice(45, 49), b"\xff" * 4)
    ),
    "a bomb of 200 MB beside ten images": archive(
        lambda path: described("(10, 28, 28)", data=bytes(200_000_000)),
        npy(np.arange(10)),
        decoded=1,
    ),
    "a bomb of 200 MB": archive(
        lambda path: bytes(200_000_000),
    ),
    "images of 2100 x 2100": archive(
        zeros(10, 2100, 2100), npy(np.zeros(10, int)), decoded=10 * 4_410_000
    ),
    "10^5 images of one pixel": archive(
        zeros(10**5, 1, 1), npy(np.zeros(10**5, int)), decoded=2 * 10**5 * 1024
    ),
    "a shape of 2^62": archive(described(f"({2**62}, 28, 28)")),
    "a shape of 10^400": archive(described(f"(1{'0' * 400}, 28, 28)")),
    "a negative shape": archive(described("(-10, 28, 28)")),
    "a shape of zeros": archive(described(f"({2**62}, 0, 28)")),
    "a shape of booleans": archive(described("(True, 28, 28)")),
    "a shape of texts": archive(described("('10', 28, 28)")),
    "no shape": archive(described("()")),
    "60 axes": archive(described(f"({'1,' * 60})")),
    "a header of nonsense": archive(header("__import__('os').mkdir('owned')")),
    "a deep header": archive(header("(" * 5000 + ")" * 5000)),
    "a header of 60 kB": archive(header(" " * 60_000)),
    "a header announced to have 4 GB": archive(header("{}", version=b"\2\0", length=2**32 - 1)),
    "version 9": archive(header("{}", version=b"\x09\0")),
    "cut": archive(described("(10, 28, 28)", data=bytes(100))),
    "texts of 10^9": archive(described("(1, 28, 28)", "'|S1000000000'")),
    "texts": archive(labels=npy(np.array(["1"] * 40))),
    "times": archive(labels=npy(np.zeros(40, "M8[s]"))),
    "complex numbers": archive(labels=npy(np.zeros(40, complex))),
    "halves": archive(npy(np.full((40, 28, 28), 0.5))),
    "booleans": archive(npy(np.zeros((40, 28, 28), bool))),
    "big-endian numbers": archive(labels=npy((np.arange(40) % 10).astype(">i8"))),
    "labels of 2^63": archive(labels=npy(np.full(40, 2**63, np.uint64))),
    "negative labels": archive(labels=npy(np.full(40, -(2**63)))),
    "labels of 999": archive(labels=npy(np.full(40, 999))),
    "labels as a number": archive(labels=npy(np.array(1))),
    "fewer labels": archive(labels=npy(np.arange(3))),
    "no images": archive(npy(np.zeros((0, 28, 28), np.uint8)), npy(np.zeros(0, int))),
    "empty entries": archive(b"", b""),
    "not an archive": lambda path: path.write_bytes(b"PK\3\4" + bytes(1000)) * 0,
    "nothing": lambda path: path.write_bytes(b"") * 0,
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
}

# ------------------------------------------------------------------ folders of images


def folder(*classes: str, images: int = 10) -> Make:
    """Write a folder of small images in classes of these names."""

    def make(path: Path) -> None:
        for name in classes or ("cat", "dog"):
            (path / name).mkdir(parents=True)
            for k in range(images):
                (path / name / f"{k}.png").write_bytes(png(20, 20, 0))

    return make


def folder_with(add: Callable[[Path], Any], decoded: int = 0) -> Make:
    """Add something to the first class of a folder of images."""

    def make(path: Path) -> int:
        folder()(path)
        add(path / "cat")
        return decoded

    return make


def image_file(contents: Callable[[], bytes], decoded: int) -> Make:
    return folder_with(lambda path: (path / "x.png").write_bytes(contents()), decoded)


def many_folders(path: Path) -> None:
    for k in range(5000):
        (path / str(k)).mkdir(parents=True)


def loops(path: Path) -> None:
    folder()(path)
    (path / "ape").symlink_to(path)


HOSTILE_NAMES = tuple(
    text.replace("/", "|").replace("\0", "").replace("\ud800", "")
    for text in (*ALL_ESCAPES, *MARKUP[:3])
)
PICTURES: dict[str, Make] = {
    "right ones": folder(),
    "hostile names of classes": folder(*HOSTILE_NAMES),
    "a class whose name is a number": folder("1", "\u0661", "-1", "1e5"),
    "a class whose name has 4,400 digits": folder(*["9" * 250, "8" * 255]),
    "5,000 folders": many_folders,
    "1,001 classes of one image": folder(*map(str, range(1001)), images=1),
    "hostile names of images": folder_with(
        lambda path: [(path / name).write_bytes(b"x") for name in HOSTILE_NAMES]
    ),
    "a folder of classes that links to itself": loops,
    "a class that links to itself": folder_with(lambda path: (path / "x").symlink_to(path)),
    "an image that links to itself": folder_with(
        lambda path: (path / "x.png").symlink_to(path / "x.png")
    ),
    "a link to nothing": folder_with(lambda path: (path / "x.png").symlink_to("/nothing")),
    "a link to /dev/zero": folder_with(lambda path: (path / "x.png").symlink_to("/dev/zero")),
    "a class that links to /dev": folder_with(
        lambda path: (path.parent / "ant").symlink_to("/dev")
    ),
    "a class that links to /proc/self/fd": folder_with(
        lambda path: (path.parent / "ant").symlink_to("/proc/self/fd")
    ),
    "a pipe": folder_with(lambda path: os.mkfifo(path / "x.png")),
    "a folder in a class": folder_with(lambda path: (path / "more").mkdir()),
    "an empty class": folder_with(lambda path: (path.parent / "ant").mkdir()),
    "an empty folder": os.mkdir,
    "a file": lambda path: path.write_bytes(b"x") * 0,
    "a text": folder_with(lambda path: (path / "x.png").write_bytes(b"x")),
    "a PNG of 8000x8000 RGBA": image_file(lambda: png(8000, 8000, 6), 8000 * 8000 * 4),
    "a PNG of 8000x8000 grey": image_file(lambda: png(8000, 8000, 0), 8000 * 8000),
    "a PNG of 8000x8000 of 16 bits": image_file(lambda: png(8000, 8000, 0, 16), 8000 * 8000 * 2),
    "a PNG of 8000x8000 grey and alpha": image_file(lambda: png(8000, 8000, 4), 8000 * 8000 * 4),
    "a PNG of a transparent palette": image_file(
        lambda: png(8000, 8000, 3, 8, b"tRNS" + bytes(256)), 8000 * 8000
    ),
    "a PNG of one bit": image_file(lambda: png(8000, 8000, 0, 1), 8000 * 8000),
    "a PNG of 1x32768": image_file(lambda: png(1, 32768, 6), 32768 * 4),
    "a PNG of 89,000,000x1": image_file(lambda: png(89_000_000, 1, 0), 89_000_000),
    "a JPEG of 8000x8000": image_file(lambda: jpeg(8000, 8000), 8000 * 8000 * 3),
}


def report_of_names(bench: Bench) -> str:
    """Names of classes with HTML and escapes: train, recognise, draw, report; compare the pages."""
    pages = []
    for number, name in enumerate(HOSTILE_NAMES[:1] + HOSTILE_NAMES[1:2] + ("harmless",)):
        path, run = bench.new(".folder"), bench.new()
        folder(name, "dog", images=20)(path)
        data, checkpoint = f"folder:{path}", run / "checkpoint.safetensors"
        commands = (
            ["train", *LEARN[2:], "--dataset", data, "--epochs", "1", "--output", run],
            ["predict", checkpoint, path / name / "0.png"],
            ["predict", checkpoint, path / name / "0.png", "--json"],
            ["draw", checkpoint, "--no-open", "--output", run / "page.html"],
            ["info", checkpoint],
            ["evaluate", checkpoint, "--dataset", data],
            ["report", run, "--dataset", data],
        )
        for words in commands:
            if wrong := fault(bench.nplenet(*words), (0,)):
                return f"{words[0]} of class {number}: {wrong}"
        pages.append(
            [Structure((run / f).read_text()).kinds() for f in ("report.html", "page.html")]
        )
    return "" if pages[0] == pages[1] == pages[2] else f"the pages differ: {pages}"


# ------------------------------------------------------------------ at random


def at_random(bench: Bench) -> Iterator[tuple[str, str]]:
    place = bench.new()
    place.mkdir()
    first = place / "first.npz"
    archive()(first)
    originals = {"npz": first.read_bytes(), "csv": rows(40)}

    def attack(rng: random.Random) -> tuple[str, Outcome]:
        kind = rng.choice(sorted(originals))
        path = place / f"damaged.{kind}"
        path.write_bytes(bytes(damaged(originals[kind], rng)))
        return kind, in_process(["evaluate", "default", "--dataset", f"{kind}:{path}"])

    yield from bench.batch("own data", attack)


FIGURES = [
    Figure(
        "data sets of your own",
        {f"csv: {name}": data_case("csv", name, make) for name, make in TABLES.items()}
        | {f"npz: {name}": data_case("npz", name, make) for name, make in ARCHIVES.items()}
        | {f"folder: {name}": data_case("folder", name, make) for name, make in PICTURES.items()}
        | {"folder: a report of hostile names": report_of_names},
        at_random,
        0.06,
    ),
]
