"""The folder that the user names: read whatever its files are called, never mixed, never filled.

The data set is the small stand-in of ``test_mnist``; its mirror is a server on this machine.
"""

import gzip
import shutil

import numpy as np
import pytest
from data.test_mnist import FILES, SPLITS, fill, mirrors, sealed, visible  # noqa: F401

from nplenet.data import DataError, MissingDataError, load_dataset, load_mnist, write_idx
from nplenet.data.mnist import find_mnist

NAMES = [*SPLITS["train"], *SPLITS["test"]]


def dotted(name):
    return name.replace("-idx", ".idx")


@pytest.mark.parametrize(
    "place",
    [
        lambda folder, name: folder / dotted(name),
        lambda folder, name: folder / name / name,
        lambda folder, name: folder / dotted(name) / dotted(name),
    ],
    ids=["a dot as 7-Zip writes it", "Kaggle's folders", "both"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_found_by_the_names_that_programs_give_them(tmp_path, place, packed):
    for name in NAMES:
        path = place(tmp_path, name)
        path.parent.mkdir(exist_ok=True)
        if packed:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(FILES[name]))
        else:
            path.write_bytes(FILES[name])
    for split, (name, _) in SPLITS.items():
        images, _ = load_mnist(tmp_path, split, download=False)
        assert images.tobytes() == FILES[name][16:]
    assert find_mnist(tmp_path) == tmp_path


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.touch()])
def test_an_empty_file_or_folder_does_not_hide_a_good_archive(tmp_path, make):
    fill(tmp_path)
    make(tmp_path / "train-images-idx3-ubyte")
    assert load_mnist(tmp_path, download=False)[0].tobytes() == FILES[NAMES[0]][16:]


def test_an_empty_file_alone_is_an_error_that_names_it(tmp_path):
    fill(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    (tmp_path / "train-images-idx3-ubyte").touch()
    with pytest.raises(DataError, match="train-images-idx3-ubyte: is empty"):
        load_mnist(tmp_path, download=False)


def own_training_files(folder):
    """Write the training files of somebody's own data set, without test files."""
    write_idx(folder / "train-images-idx3-ubyte", np.full((6, 28, 28), 200, np.uint8))
    write_idx(folder / "train-labels-idx1-ubyte", np.arange(6, dtype=np.uint8))


def test_the_test_images_of_another_data_set_are_not_downloaded_beside_training_images(
    tmp_path,
    mirrors,  # noqa: F811
):
    own_training_files(tmp_path)
    before = visible(tmp_path)
    with pytest.raises(DataError, match="train-images-idx3-ubyte: is not the official"):
        load_mnist(tmp_path, "test", mirrors=[mirrors.url("good")])
    assert mirrors.requests == []
    assert visible(tmp_path) == before


@pytest.mark.parametrize("name", ["auto", "mnist"])
def test_the_splits_of_a_run_come_from_one_folder(tmp_path, monkeypatch, name):
    own, whole = tmp_path / "own", tmp_path / "whole"
    own.mkdir()
    own_training_files(own)
    for split in SPLITS:
        fill(whole, split)
        fill(own / "MNIST" / "raw", split)
        fill(tmp_path / "cache", split)
    monkeypatch.setenv("NPLENET_DATA", str(whole))
    expected = f"{own}: needs t10k-images.*holds only train-images-idx3-ubyte"
    with pytest.raises(MissingDataError, match=expected):
        load_dataset(name, own, download=False)
    assert find_mnist(own) is None


def test_official_files_are_completed_by_the_other_split(tmp_path, mirrors):  # noqa: F811
    fill(tmp_path)
    assert len(load_mnist(tmp_path, "test", mirrors=[mirrors.url("good")])[0]) == 10
    assert [name for _, name in mirrors.requests] == [f"{name}.gz" for name in SPLITS["test"]]


@pytest.mark.parametrize("named", ["root", "variable"])
def test_a_folder_of_other_things_is_not_filled(tmp_path, monkeypatch, mirrors, named):  # noqa: F811
    folder = tmp_path / "letters"
    folder.mkdir()
    for k in range(7):
        (folder / f"{k}\x1b.txt").touch()
    monkeypatch.setenv("NPLENET_DATA", str(folder))
    root = folder if named == "root" else None
    with pytest.raises(MissingDataError) as refusal:
        load_mnist(root, mirrors=[mirrors.url("good")])
    assert r"which holds 0\x1b.txt, 1\x1b.txt," in str(refusal.value)
    assert "4\\x1b.txt, ...: add the files of MNIST there, or name a new" in str(refusal.value)
    assert mirrors.requests == []
    assert len(visible(folder)) == 7


def test_a_line_says_what_is_downloaded_where(tmp_path, mirrors, capsys):  # noqa: F811
    root = tmp_path / "new"
    load_mnist(root, mirrors=[mirrors.url("good")])
    names = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz"
    assert capsys.readouterr().err == f"nplenet: downloading {names} into {root}\n"
    load_mnist(root, mirrors=[mirrors.url("good")])
    assert capsys.readouterr().err == ""
    shutil.rmtree(root)
    load_mnist(root, mirrors=[mirrors.url("good")], progress=False)
    assert capsys.readouterr().err == ""
