"""load_dataset: MNIST where it can be had, else bundled digits; damage is never passed over."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from nplenet.data import DataError, MissingDataError, load_dataset, write_idx


@pytest.fixture(autouse=True)
def no_other_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NPLENET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_mnist(folder: Path, count: int = 3) -> None:
    rng = np.random.default_rng(0)
    for name in ("train", "t10k"):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{name}-images-idx3-ubyte", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))


def test_auto_takes_mnist_where_it_lies(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    data = load_dataset("auto", tmp_path, download=False)
    assert (data.name, data.notice) == ("mnist", "")
    assert data.source == data.limited(2).source == str(tmp_path)
    assert data.train_images.shape == data.test_images.shape == (3, 1, 32, 32)
    assert not data.train_images[:, :, :2].any()  # a black border of two pixels


def test_mnist_takes_at_most_twice_the_memory_of_its_files(tmp_path: Path) -> None:
    """Padding makes 1.3 bytes of each, and only one split at a time is there in both forms."""
    write_mnist(tmp_path, count=2000)
    load_dataset("mnist", tmp_path, download=False)  # imports what it needs
    tracemalloc.start()
    load_dataset("mnist", tmp_path, download=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * (2 * 2000 * 28 * 28)


def test_auto_takes_the_bundled_digits_where_mnist_is_missing_and_says_why(tmp_path: Path) -> None:
    data = load_dataset("auto", download=False)
    assert (data.name, data.source) == ("digits", "the package nplenet")
    assert len(data.train_images) == len(data.train_labels) == 1437
    assert str(tmp_path / "cache") in data.notice
    assert "\n" not in data.notice


def test_auto_takes_the_bundled_digits_where_no_mirror_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NPLENET_MIRRORS", "http://127.0.0.1:9/")  # nothing listens on "discard"
    data = load_dataset("auto")
    assert data.name == "digits"
    assert "127.0.0.1" in data.notice


@pytest.mark.parametrize("name", ["auto", "mnist"])
def test_a_folder_that_was_named_is_not_replaced_by_another_copy_or_the_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for folder in ("data", "cache/nplenet"):
        (tmp_path / folder).mkdir(parents=True)
        write_mnist(tmp_path / folder)
    typo = tmp_path / "dada"
    with pytest.raises(MissingDataError, match=f"are not in {typo}, nor in MNIST/raw below it"):
        load_dataset(name, typo, download=False)
    monkeypatch.setenv("NPLENET_MIRRORS", "http://127.0.0.1:9/")
    with pytest.raises(
        MissingDataError, match=r"no mirror delivered it:\n  http://127\.0\.0\.1:9/"
    ):
        load_dataset(name, typo)
    monkeypatch.setenv("NPLENET_DATA", str(tmp_path / "data"))
    assert load_dataset(name, download=False).source == str(tmp_path / "data")
    monkeypatch.setenv("NPLENET_DATA", str(typo))
    if name == "mnist":
        with pytest.raises(MissingDataError, match="dada"):
            load_dataset(name, download=False)
    else:
        assert "dada" in load_dataset(name, download=False).notice


def test_auto_does_not_pass_over_a_damaged_file(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01")
    with pytest.raises(DataError, match="t10k-labels") as caught:
        load_dataset("auto", tmp_path, download=False)
    assert not isinstance(caught.value, MissingDataError)


def test_mnist_itself_is_an_error_where_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="train-images"):
        load_dataset("mnist", tmp_path, download=False)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"auto.*mnist.*digits"):
        load_dataset("cifar")


def test_limited_cuts_training_and_test_images() -> None:
    data = load_dataset("digits").limited(50)
    assert [len(a) for a in (data.train_images, data.train_labels)] == [50, 50]
    assert [len(a) for a in (data.test_images, data.test_labels)] == [50, 50]
