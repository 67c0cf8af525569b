"""Fashion-MNIST, Kuzushiji-MNIST, QMNIST and EMNIST, from small stand-ins on this machine.

The public mirrors are not reached: a download is tried with the digests of the stand-ins.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import idx2numpy
import numpy as np
import pytest

from nplenet.data import (
    EMNIST_CLASSES,
    DataError,
    MissingDataError,
    emnist,
    load_dataset,
    load_emnist,
    load_fashion_mnist,
    load_kmnist,
    load_mnist,
    load_qmnist,
    mnist,
    mnist_like,
)
from nplenet.data.known import KnownFile

RNG = np.random.default_rng(0)
LIKE = {"fashion": ("FASHION", load_fashion_mnist), "kmnist": ("KMNIST", load_kmnist)}


def idx(array: np.ndarray) -> bytes:
    return bytes(idx2numpy.convert_to_string(array))


def images(count: int) -> np.ndarray:
    return RNG.integers(0, 256, (count, 28, 28)).astype(np.uint8)


def small_set() -> dict[str, bytes]:
    """Return 20 training and 10 test images under MNIST's names, unpacked."""
    files = {}
    for name, count in (("train", 20), ("t10k", 10)):
        files[f"{name}-images-idx3-ubyte"] = idx(images(count))
        files[f"{name}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 10)
    return files


def small_qmnist() -> dict[str, bytes]:
    files = {}
    for name, count in (("train", 20), ("test", 14)):
        files[f"qmnist-{name}-images-idx3-ubyte"] = idx(images(count))
        table = RNG.integers(0, 99, (count, 8)).astype(np.int32)
        table[:, 0] = np.arange(count) % 10
        files[f"qmnist-{name}-labels-idx2-int"] = idx(table)
    return files


def known(data: Any, packed: dict[str, bytes], kind: str = "sha256") -> Any:
    """Return a data set with the digests of these archives."""
    files = {
        split: tuple(
            KnownFile(
                file.name,
                len(packed[file.name]),
                hashlib.new(kind, packed[file.name]).hexdigest(),
                archive=True,
            )
            for file in rows
        )
        for split, rows in data.files.items()
    }
    return replace(data, files=files)


@pytest.fixture(autouse=True)
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests off the network and this user's cache."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(tmp_path / "cache"))
    monkeypatch.setattr("nplenet.data.fetch._PAUSE_SECONDS", 0.01)
    monkeypatch.delenv("NPLENET_DATA", raising=False)
    monkeypatch.setenv("NPLENET_MIRRORS", "http://127.0.0.1:9/")
    monkeypatch.setenv("no_proxy", "*")


class Mirror(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        body = self.server.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("NPLENET_MIRRORS", server.url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def write(folder: Path, files: dict[str, bytes], packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


# --- Fashion-MNIST and Kuzushiji-MNIST ---


@pytest.mark.parametrize("name", LIKE)
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw", "KMNIST/raw"])
def test_files_in_root_or_in_torchvisions_folder_are_read(
    tmp_path: Path, name: str, below: str
) -> None:
    files = small_set()
    write(tmp_path / below, files)
    load = LIKE[name][1]
    if below and not below.lower().startswith(name):
        with pytest.raises(MissingDataError, match="are not in"):
            load(tmp_path, download=False)
        return
    for split, key, count in (("train", "train", 20), ("test", "t10k", 10)):
        found, labels = load(tmp_path, split, download=False)
        assert found.tobytes() == files[f"{key}-images-idx3-ubyte"][16:]
        assert labels.tolist() == [k % 10 for k in range(count)]


@pytest.mark.parametrize("name", LIKE)
def test_without_root_mnists_own_place_is_not_taken_for_another_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(tmp_path / "data", small_set())
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path / "data"))
    assert len(load_mnist(download=False)[0]) == 20
    with pytest.raises(MissingDataError, match=r"are not in .*(FashionMNIST|KMNIST)/raw;"):
        LIKE[name][1](download=False)


@pytest.mark.parametrize("name", LIKE)
def test_mnists_own_files_in_root_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    files = small_set()
    write(tmp_path, files)
    rows = {
        split: [
            (f"{key}-{kind}", len(content), hashlib.sha256(content).hexdigest())
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
            for content in [files[f"{key}-{kind}"]]
        ]
        for split, key in (("train", "train"), ("test", "t10k"))
    }
    monkeypatch.setattr(mnist, "_FILES", rows)
    with pytest.raises(DataError, match="is of MNIST, not of"):
        LIKE[name][1](tmp_path, download=False)


@pytest.mark.parametrize("name", LIKE)
def test_archives_with_the_known_digest_are_downloaded_below_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror, name: str
) -> None:
    variable, load = LIKE[name]
    files = small_set()
    packed = {key: gzip.compress(content) for key, content in files.items()}
    monkeypatch.setattr(mnist_like, variable, known(getattr(mnist_like, variable), packed))
    mirror.files = {f"/{name}/{key}.gz": content for key, content in packed.items()}
    assert load()[0].tobytes() == files["train-images-idx3-ubyte"][16:]
    assert load(split="test")[0].tobytes() == files["t10k-images-idx3-ubyte"][16:]
    assert len(mirror.requests) == 4
    folder = tmp_path / "cache" / getattr(mnist_like, variable).below
    assert len(list(folder.glob("*.gz"))) == 4
    data = load_dataset(name, download=False)
    assert (data.source, len(data.classes)) == (str(folder), 10)
    assert data.train_images.shape == (20, 1, 32, 32)


def test_an_archive_with_another_digest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror
) -> None:
    files = small_set()
    packed = {key: gzip.compress(content) for key, content in files.items()}
    monkeypatch.setattr(mnist_like, "FASHION", known(mnist_like.FASHION, packed))
    other = gzip.compress(files["train-images-idx3-ubyte"], 1, mtime=7)[: -len("x")]
    mirror.files = {f"/fashion/{key}.gz": other for key in packed}
    with pytest.raises(MissingDataError, match="not the official train-images-idx3-ubyte"):
        load_fashion_mnist(tmp_path)
    assert not list(tmp_path.glob("*.gz"))


def test_an_unpacked_file_is_not_completed_as_it_has_no_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror
) -> None:
    files = small_set()
    packed = {key: gzip.compress(content) for key, content in files.items()}
    monkeypatch.setattr(mnist_like, "FASHION", known(mnist_like.FASHION, packed))
    name = "train-images-idx3-ubyte"
    (tmp_path / name).write_bytes(files[name])
    with pytest.raises(DataError, match=f"{name}: is not the official"):
        load_fashion_mnist(tmp_path)
    assert mirror.requests == []


# --- QMNIST ---


def test_the_class_of_qmnist_is_the_first_of_eight_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = small_qmnist()
    write(tmp_path, files, packed=True)
    found, labels = load_qmnist(tmp_path, download=False)
    assert found.tobytes() == files["qmnist-train-images-idx3-ubyte"][16:]
    assert (labels.dtype, labels.tolist()) == (np.uint8, [k % 10 for k in range(20)])
    everything = load_qmnist(tmp_path, "test", download=False)
    first, rest = (load_qmnist(tmp_path, split, False) for split in ("test10k", "test50k"))
    assert (len(everything[0]), len(first[0]), len(rest[0])) == (14, 14, 0)
    with pytest.raises(ValueError, match=r"one of \['train', 'test', 'test10k', 'test50k'\]"):
        load_qmnist(tmp_path, "nist")


def test_qmnist_is_downloaded_by_its_md5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror
) -> None:
    packed = {key: gzip.compress(content) for key, content in small_qmnist().items()}
    monkeypatch.setattr(mnist_like, "QMNIST", known(mnist_like.QMNIST, packed, "md5"))
    mirror.files = {f"/qmnist/{key}.gz": content for key, content in packed.items()}
    assert len(load_qmnist(tmp_path / "new")[0]) == 20
    mirror.files = {path: content + b"x" for path, content in mirror.files.items()}
    with pytest.raises(MissingDataError, match=r"its MD5 of the archive differs|more than the"):
        load_qmnist(tmp_path / "other")


# --- EMNIST ---


def small_emnist(split: str) -> dict[str, bytes]:
    """Return the files of a split, whose images lie on their side as in the public ones."""
    classes, first = len(EMNIST_CLASSES[split]), 1 if split == "letters" else 0
    files = {}
    for part, count in (("train", 70), ("test", 64)):
        files[f"emnist-{split}-{part}-images-idx3-ubyte"] = idx(images(count))
        labels = (np.arange(count) % classes + first).astype(np.uint8)
        files[f"emnist-{split}-{part}-labels-idx1-ubyte"] = idx(labels)
    return files


@pytest.mark.parametrize("split", EMNIST_CLASSES)
def test_emnists_images_are_turned_and_its_labels_begin_at_0(tmp_path: Path, split: str) -> None:
    files = small_emnist(split)
    write(tmp_path / "EMNIST" / "raw", files)
    found, labels = load_emnist(split, tmp_path, "test", download=False)
    raw = np.frombuffer(files[f"emnist-{split}-test-images-idx3-ubyte"][16:], np.uint8)
    for k, image in enumerate(raw.reshape(-1, 28, 28)):
        assert (found[k] == image.T).all()
    assert labels[:3].tolist() == [0, 1, 2]
    assert int(labels.max()) == len(EMNIST_CLASSES[split]) - 1
    data = load_dataset(f"emnist-{split}", tmp_path, download=False)
    assert data.classes == EMNIST_CLASSES[split]
    assert data.train_images.shape == (70, 1, 32, 32)


def test_the_classes_of_emnist_are_counted_as_published() -> None:
    assert {split: len(classes) for split, classes in EMNIST_CLASSES.items()} == {
        "byclass": 62,
        "bymerge": 47,
        "balanced": 47,
        "letters": 26,
        "digits": 10,
        "mnist": 10,
    }
    assert "".join(EMNIST_CLASSES["balanced"][36:]) == "abdefghnqrt"


def test_emnist_is_downloaded_as_one_archive_which_serves_all_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Mirror
) -> None:
    files = small_emnist("letters") | small_emnist("balanced")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"gzip/{name}.gz", gzip.compress(content))
    zipped = buffer.getvalue()
    digest = hashlib.sha256(zipped).hexdigest()
    monkeypatch.setattr(emnist, "_ARCHIVE", KnownFile("gzip.zip", len(zipped), digest, True))
    mirror.files = {"/emnist/gzip.zip": zipped}
    found, _ = load_emnist("letters")
    raw = np.frombuffer(files["emnist-letters-train-images-idx3-ubyte"][16:], np.uint8)
    assert (found == raw.reshape(-1, 28, 28).transpose(0, 2, 1)).all()
    assert len(load_emnist("balanced", part="test", download=False)[0]) == 64
    assert mirror.requests == ["/emnist/gzip.zip"]
    with pytest.raises(DataError, match=r"has no gzip/emnist-digits-train-images"):
        load_emnist("digits")


def test_a_part_of_emnists_files_is_not_completed(tmp_path: Path, mirror: Mirror) -> None:
    files = small_emnist("letters")
    name = "emnist-letters-train-images-idx3-ubyte"
    write(tmp_path, {name: files[name]})
    with pytest.raises(DataError, match=f"needs emnist-letters-train-labels.*holds only {name}"):
        load_emnist("letters", tmp_path)
    assert mirror.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("letter",), "split must be one of"), (("letters", None, "val"), "part must be one of")],
)
def test_an_unknown_part_of_emnist_is_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load_emnist(*arguments)


def test_missing_files_name_the_place_and_a_full_folder_is_not_filled(
    tmp_path: Path, mirror: Mirror
) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MissingDataError, match=r"gzip\.zip are not in .*which holds notes\.txt"):
        load_emnist("letters", tmp_path)
    with pytest.raises(MissingDataError, match="allow download"):
        load_emnist("letters", tmp_path / "empty", download=False)
    assert mirror.requests == []
