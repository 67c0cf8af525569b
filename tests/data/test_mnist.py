"""MNIST: where it is looked for, how it is fetched, and every way in which a mirror can fail.

A small stand-in for MNIST with its own checksums is served by an HTTP server on this machine.
"""

import gzip
import hashlib
import os
import re
import socket
import subprocess
import sys
import time
import tracemalloc
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from mirror_server import FAILURES, FILES, SPLITS, SUMS, patience, serving

from nplenet.data import DataError, load_mnist, mnist, write_idx
from nplenet.data.idx import find_idx, open_unpacked

REAL_DATA = os.environ.get("NPLENET_DATA")
REAL_FILES = mnist._FILES


def fill(folder: Path, split="train", packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name in SPLITS[split]:
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(FILES[name]))
        else:
            (folder / name).write_bytes(FILES[name])


def visible(folder: Path):
    """Return the names in a folder, without the lock, which stays."""
    return sorted(name for name in os.listdir(folder) if name != ".nplenet.lock")


@pytest.fixture(autouse=True)
def sealed(tmp_path, monkeypatch):
    """Keep the tests off the network, this user's cache and the real checksums."""
    monkeypatch.setattr(mnist, "_FILES", SUMS)
    monkeypatch.setattr(mnist, "_MIRRORS", ("http://127.0.0.1:9/none/",))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(tmp_path / "cache"))
    monkeypatch.setattr("nplenet.data.fetch._PAUSE_SECONDS", 0.01)
    monkeypatch.delenv("NPLENET_DATA", raising=False)
    monkeypatch.delenv("NPLENET_MIRRORS", raising=False)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def mirrors():
    with serving() as server:
        yield server


# --- where it is looked for ---


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("split", "count"), [("train", 20), ("test", 10)])
def test_files_in_root_are_read(tmp_path, split, count, packed):
    fill(tmp_path, split, packed)
    images, labels = load_mnist(tmp_path, split, download=False)
    assert (images.shape, images.dtype) == ((count, 28, 28), np.uint8)
    assert (labels.shape, labels.dtype) == ((count,), np.uint8)
    assert images.tobytes() == FILES[SPLITS[split][0]][16:]
    np.testing.assert_array_equal(labels, np.arange(count) % 10)


def test_torchvisions_layout_is_found(tmp_path):
    fill(tmp_path / "MNIST" / "raw", packed=False)
    assert len(load_mnist(str(tmp_path), download=False)[0]) == 20


def test_the_environment_variable_names_a_folder(tmp_path, monkeypatch):
    fill(tmp_path / "data")
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path / "data"))
    assert len(load_mnist(download=False)[0]) == 20


def test_the_cache_folder_is_the_last_choice(tmp_path):
    fill(tmp_path / "cache")
    assert len(load_mnist(download=False)[0]) == 20


def test_root_goes_before_the_environment_variable(tmp_path, monkeypatch):
    fill(tmp_path / "data")
    fill(tmp_path / "root")
    (tmp_path / "data" / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path / "data"))
    assert len(load_mnist(tmp_path / "root", download=False)[0]) == 20


@pytest.mark.parametrize("named", ["root", "data", "cache"])
def test_missing_files_without_download_are_refused_with_the_place(tmp_path, monkeypatch, named):
    if named != "cache":
        fill(tmp_path / "cache")
        monkeypatch.setenv("NPLENET_DATA", str(tmp_path / "data"))
    if named == "root":
        fill(tmp_path / "data")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DataError) as refusal:
        load_mnist(tmp_path / "root" if named == "root" else None, download=False)
    for text in (str(tmp_path / named), "train-images-idx3-ubyte", "allow download"):
        assert text in str(refusal.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_missing_files_are_downloaded_into_the_folder_that_was_named(
    tmp_path, monkeypatch, mirrors
):
    fill(tmp_path / "data")
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path / "data"))
    load_mnist(tmp_path / "root", mirrors=[mirrors.url("good")])
    assert visible(tmp_path / "root") == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]


def test_a_folder_that_lacks_one_of_two_files_is_not_passed_over(tmp_path):
    fill(tmp_path / "cache")
    fill(tmp_path / "root")
    (tmp_path / "root" / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"holds only train-images-idx3-ubyte\.gz"):
        load_mnist(tmp_path / "root", download=False)


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"split must be one of.*'val'"):
        load_mnist(tmp_path, "val")


# --- what the user's own files must be ---


def test_another_data_set_of_the_same_form_is_read(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.full((3, 28, 28), 9, np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([1, 2, 9], np.uint8))
    images, labels = load_mnist(tmp_path, download=False)
    assert images.min() == 9
    assert labels.tolist() == [1, 2, 9]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 28, 28), np.uint8), np.zeros(2, np.uint8), "3 images, but .* 2 labels"),
        (np.zeros((2, 28, 28), np.uint8), np.array([3, 10], np.uint8), "label 1 is 10"),
        (np.zeros((2, 28, 28), np.uint8), np.array([-1, 3], np.int8), "holds int8, expected uint8"),
        (np.zeros((2, 28, 28), np.float32), np.zeros(2, np.uint8), "holds float32"),
        (np.zeros((2, 32, 32), np.uint8), np.zeros(2, np.uint8), r"expected \(any, 28, 28\)"),
        (np.zeros((2, 784), np.uint8), np.zeros(2, np.uint8), r"has shape \(2, 784\)"),
        (np.zeros((2, 28, 28), np.uint8), np.zeros((2, 1), np.uint8), r"has shape \(2, 1\)"),
    ],
)
def test_files_that_are_no_images_with_labels_are_refused(tmp_path, images, labels, message):
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    with pytest.raises(DataError, match=message):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"<html>Not found</html>", FILES[SPLITS["train"][0]][:99]]
)
def test_a_damaged_file_is_refused_and_kept(tmp_path, content):
    fill(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(path))):
        load_mnist(tmp_path)
    assert path.read_bytes() == content


def test_a_directory_in_place_of_a_file_is_refused(tmp_path):
    fill(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    with pytest.raises(DataError, match="is a directory"):
        load_mnist(tmp_path)


# --- fetching ---


@pytest.mark.parametrize(
    "behaviour", ["good", "repacked", "unpacked", "without_length", "failing_once"]
)
def test_a_mirror_that_delivers_fills_the_folder(tmp_path, mirrors, behaviour):
    root = tmp_path / "new" / "root"
    images, labels = load_mnist(root, mirrors=[mirrors.url(behaviour)])
    assert images.tobytes() == FILES["train-images-idx3-ubyte"][16:]
    assert len(labels) == 20
    assert visible(root) == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]


def test_what_was_fetched_once_is_not_fetched_again(tmp_path, mirrors):
    load_mnist(tmp_path, mirrors=[mirrors.url("good")])
    load_mnist(tmp_path, mirrors=[mirrors.url("good")])
    assert len(mirrors.requests) == 2


def test_without_root_the_download_goes_to_the_folder_of_the_environment_variable(
    tmp_path, monkeypatch, mirrors
):
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path / "data"))
    load_mnist(mirrors=[mirrors.url("good")])
    assert visible(tmp_path) == ["data"]


def test_without_root_and_environment_variable_it_goes_to_the_cache(tmp_path, mirrors):
    load_mnist(mirrors=[mirrors.url("good")])
    assert visible(tmp_path) == ["cache"]


def test_what_training_keeps_in_the_cache_does_not_keep_the_data_out(tmp_path, mirrors):
    """Tunables of a training on other images; only a folder that is named must be new or empty."""
    kept = tmp_path / "cache" / "tunables-0123456789abcdef.json"
    kept.parent.mkdir()
    kept.write_text("{}")
    images, _ = load_mnist(mirrors=[mirrors.url("good")])
    assert len(images) == 20
    assert kept.read_text() == "{}"


def test_an_environment_variable_names_other_mirrors(tmp_path, monkeypatch, mirrors):
    monkeypatch.setenv("NPLENET_MIRRORS", f"{mirrors.url('missing')} {mirrors.url('good')}")
    load_mnist(tmp_path)
    assert [behaviour for behaviour, _ in mirrors.requests] == ["missing", "good"] * 2


def test_a_folder_that_lacks_one_file_is_completed(tmp_path, mirrors):
    fill(tmp_path, packed=False)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert len(load_mnist(tmp_path, mirrors=[mirrors.url("good")])[1]) == 20
    assert mirrors.requests == [("good", "train-labels-idx1-ubyte.gz")]


def test_another_data_set_that_lacks_one_file_is_not_completed_with_mnist(tmp_path, mirrors):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((20, 28, 28), np.uint8))
    with pytest.raises(DataError, match="not the official train-images-idx3-ubyte"):
        load_mnist(tmp_path, mirrors=[mirrors.url("good")])
    assert mirrors.requests == []


def test_the_leftover_of_a_killed_download_is_cleared_away(tmp_path, mirrors):
    name = ".train-images-idx3-ubyte.gz"
    (tmp_path / f"{name}.123-0123abcd.nplenet.part").write_bytes(b"half")
    (tmp_path / f"{name}.part").write_bytes(b"of another program")
    load_mnist(tmp_path, mirrors=[mirrors.url("good")])
    expected = [f"{name}.part", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    assert visible(tmp_path) == expected


@pytest.mark.parametrize("behaviour", FAILURES)
def test_a_mirror_that_fails_gives_way_to_the_next(tmp_path, mirrors, behaviour):
    urls = [mirrors.url(behaviour), mirrors.url("good")]
    started = time.monotonic()
    assert len(load_mnist(tmp_path, mirrors=urls, timeout=patience(behaviour))[0]) == 20
    assert time.monotonic() - started < 30  # bounded, also on a busy machine
    assert visible(tmp_path) == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize(("behaviour", "reason"), FAILURES.items())
def test_when_no_mirror_delivers_each_is_listed_and_nothing_is_left(
    tmp_path, mirrors, behaviour, reason
):
    urls = [mirrors.url(behaviour), mirrors.url("missing")]
    with pytest.raises(DataError, match="no mirror delivered") as refusal:
        load_mnist(tmp_path, mirrors=urls, timeout=patience(behaviour))
    listed = [line for line in str(refusal.value).splitlines() if "http://" in line]
    assert [line.split(".gz: ")[0].strip() for line in listed] == [
        url + "train-images-idx3-ubyte" for url in urls
    ]
    assert reason in listed[0]
    assert visible(tmp_path) == []


def test_a_socket_that_loses_patience_first_is_no_answer_either(tmp_path, mirrors, monkeypatch):
    def lose_patience(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", lose_patience)
    with pytest.raises(DataError, match=r"no answer within 0\.5 s"):
        load_mnist(tmp_path, mirrors=[mirrors.url("good")], timeout=0.5)


def test_a_mirror_that_is_down_gives_way_to_the_next(tmp_path, mirrors):
    with socket.socket() as reserved:  # bound but not listening: connections are refused
        reserved.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{reserved.getsockname()[1]}/"
        assert len(load_mnist(tmp_path, mirrors=[down, mirrors.url("good")])[0]) == 20
        with pytest.raises(DataError, match=r"cannot be reached: .*refused"):
            load_mnist(tmp_path, "test", mirrors=[down])


@pytest.mark.parametrize("address", ["file:///etc/", "ftp://127.0.0.1/", "nonsense"])
def test_only_http_addresses_are_mirrors(tmp_path, address):
    with pytest.raises(DataError, match="not an http or https address"):
        load_mnist(tmp_path, mirrors=[address])


def test_an_endless_answer_costs_no_memory(tmp_path, mirrors):
    tracemalloc.start()
    with pytest.raises(DataError):
        load_mnist(tmp_path, mirrors=[mirrors.url("endless")])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000  # modules imported on the way, and buffers of the server


def read_only_folder(tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    if not os.access(folder, os.W_OK):
        return folder
    # An administrator may write everywhere, but nobody below a file.
    (tmp_path / "file").touch()
    return tmp_path / "file" / "cache"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, mirrors):
    folder = read_only_folder(tmp_path)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(folder))
    with pytest.raises(
        DataError, match=f"{re.escape(str(folder))}: cannot be written .*NPLENET_DATA"
    ):
        load_mnist(mirrors=[mirrors.url("good")])
    assert mirrors.requests == []


def test_a_full_disk_is_not_blamed_on_the_mirror(tmp_path, monkeypatch, mirrors):
    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        load_mnist(tmp_path, mirrors=[mirrors.url("good")])
    assert visible(tmp_path) == []


def test_an_interrupted_download_leaves_nothing(tmp_path, monkeypatch, mirrors):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_mnist(tmp_path, mirrors=[mirrors.url("good")])
    assert visible(tmp_path) == []


# --- two at once ---


def test_two_processes_at_once_fetch_each_file_once(tmp_path, mirrors):
    program = (
        "import sys; from nplenet.data import load_mnist, mnist\n"
        f"mnist._FILES = {SUMS!r}\n"
        "print(len(load_mnist(sys.argv[1], mirrors=sys.argv[2:])[0]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path), mirrors.url("slow")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == ["20\n", "20\n"]
    assert sorted(name for _, name in mirrors.requests) == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]


def test_a_lock_held_for_too_long_is_reported(tmp_path, monkeypatch, mirrors):
    filelock = pytest.importorskip("filelock")
    monkeypatch.setattr("nplenet.data.fetch._LOCK_SECONDS", 0.1)
    with (
        filelock.FileLock(tmp_path / ".nplenet.lock"),
        pytest.raises(DataError, match="another process has been downloading"),
    ):
        load_mnist(tmp_path, mirrors=[mirrors.url("good")])


def test_a_lock_that_is_a_symbolic_link_leaves_what_it_points_to(tmp_path, mirrors):
    target = tmp_path / "precious"
    target.write_text("kept")
    folder = tmp_path / "mnist"
    folder.mkdir()
    try:
        (folder / ".nplenet.lock").symlink_to(target)
    except OSError:
        pytest.skip("this system does not let us make symbolic links")
    with pytest.raises(DataError, match="cannot be written"):
        load_mnist(folder, mirrors=[mirrors.url("good")])
    assert target.read_text() == "kept"


# --- cost ---


def test_importing_the_package_imports_no_network_or_progress_modules():
    program = (
        "import sys; import nplenet.data\n"
        "print(*{'urllib.request', 'http.client', 'tqdm', 'filelock', 'platformdirs', 'PIL'}"
        " & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("\n", "")


# --- the real thing ---


@pytest.fixture
def real_mnist(sealed, monkeypatch):
    """Undo the seal as far as the real files on this machine need it."""
    if not REAL_DATA:
        pytest.skip("NPLENET_DATA does not name a folder with MNIST's files")
    monkeypatch.setattr(mnist, "_FILES", REAL_FILES)
    return REAL_DATA


@pytest.mark.parametrize(
    ("split", "count", "first_labels"),
    [("train", 60_000, [5, 0, 4, 1, 9]), ("test", 10_000, [7, 2, 1, 0, 4])],
)
def test_real_mnist_is_read(real_mnist, split, count, first_labels):
    images, labels = load_mnist(real_mnist, split, download=False)
    assert images.shape == (count, 28, 28)
    assert labels[:5].tolist() == first_labels


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_checksums_in_the_package_are_those_of_real_mnist(real_mnist, split):
    for name, size, sha256 in REAL_FILES[split]:
        path = find_idx(Path(real_mnist), name)
        with open_unpacked(path) as stream:
            content = stream.read()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, sha256)


def test_reading_real_mnist_needs_less_than_twice_its_memory(real_mnist):
    tracemalloc.start()
    images, _ = load_mnist(real_mnist, download=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * images.nbytes
