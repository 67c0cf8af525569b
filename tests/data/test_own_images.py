"""Images of your own: CSV, NPZ, folders of pictures; each bad file is one clear sentence."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.data import DataError, from_csv, from_folder, from_npz, load_dataset

RNG = np.random.default_rng(0)


def images(count: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, 256, (count, *shape)).astype(np.uint8)


def one_line(error: BaseException, path: Path) -> str:
    """Return the message of an error, which names the file and has no line break."""
    text = str(error)
    assert str(path) in text
    assert "\n" not in text
    return text


# --- CSV ---


def csv(path: Path, rows: np.ndarray, labels: np.ndarray, head: str | None = "first") -> Path:
    flat = rows.reshape(len(rows), -1)
    names = [f"pixel{k}" for k in range(flat.shape[1])]
    table = np.column_stack([labels, flat]) if head != "last" else np.column_stack([flat, labels])
    lines = [",".join(map(str, row)) for row in table.tolist()]
    if head:
        lines.insert(0, ",".join(["label", *names] if head == "first" else [*names, "label"]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("head", [None, "first", "last"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_a_table_is_read_with_and_without_names(
    tmp_path: Path, head: str | None, shape: tuple[int, ...]
) -> None:
    rows, labels = images(7, *shape), np.array([3, 0, 25, 1, 1, 2, 9])
    found = from_csv(csv(tmp_path / "a.csv", rows, labels, head))
    assert (found.images == rows).all()
    assert (found.images.dtype, found.labels.dtype) == (np.uint8, np.int64)
    assert found.labels.tolist() == labels.tolist()
    assert found.classes == tuple(map(str, range(26)))


def test_columns_named_by_their_numbers_are_no_image(tmp_path: Path) -> None:
    """pandas names them so where they have no names; 0, 1, ... is an image of 8 x 8, too."""
    path = tmp_path / "a.csv"
    path.write_text(",".join(map(str, range(65))) + "\n" + ",".join(["7"] * 65) + "\n")
    found = from_csv(path)
    assert found.labels.tolist() == [7]
    assert (found.images == 7).all()


def test_pixels_of_0_and_1_are_named_in_a_warning(tmp_path: Path) -> None:
    """As bytes, of 0 to 255, they are nearly black; True and 1.0 are refused."""
    ones = images(5, 1, 4, 4) % 2
    path = csv(tmp_path / "a.csv", ones, np.arange(5))
    np.savez(tmp_path / "a.npz", images=ones, labels=np.arange(5))
    for read in (lambda: from_csv(path), lambda: from_npz(tmp_path / "a.npz")):
        with pytest.warns(UserWarning, match="all pixels are 0 or 1, of 0 to 255: .* by 255"):
            assert (read().images == ones).all()


def test_a_long_table_is_read_in_parts(tmp_path: Path) -> None:
    rows, labels = images(2501, 1, 2, 2), np.arange(2501) % 300
    path = csv(tmp_path / "a.csv", rows, labels)
    found = from_csv(path)
    assert (found.images == rows).all()
    assert (found.labels == labels).all()
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes().replace(b"\n", b"\r\n\r\n")))
    assert (from_csv(packed).images == rows).all()
    with pytest.raises(DataError, match="more than the 5,000 bytes of max_bytes"):
        from_csv(path, max_bytes=5000)


def test_integers_may_be_written_as_floats_and_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"label","a","b","c","d"\n1.0,2, 3,"4",2.55e2\n')
    found = from_csv(path)
    assert (found.labels.tolist(), found.images.ravel().tolist()) == ([1], [2, 3, 4, 255])


def test_an_image_that_is_not_square_needs_its_shape(tmp_path: Path) -> None:
    rows = images(2, 1, 2, 4)
    path = csv(tmp_path / "a.csv", rows, np.array([0, 1]))
    assert (from_csv(path, shape=(1, 2, 4)).images == rows).all()
    with pytest.raises(DataError, match=r"an image of 8 numbers is not square"):
        from_csv(path)
    with pytest.raises(DataError, match=r"8 pixels on a line, not of shape \(1, 3, 3\)"):
        from_csv(path, shape=(1, 3, 3))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("label,a,b,c,d\n", "has a line of names only"),
        ("label\n1\n", "line 1 has one column"),
        ("label;a;b\n1;2;3\n", "has no column 'label'"),
        ("a,b,c,d,e\n1,2,3,4,5\n", "has no column 'label'; its columns are a, b, c"),
        ("1,2,3,4,5\n1,2,3,4\n", "line 2 has 4 columns, the first line 5"),
        ("label,a,b,c,d\n1,2,3,4,5\n\n1,2,x\x1b,4,5\n", r"line 4, column 3: .*got 'x\\x1b'"),
        ("label,a,b,c,d\n1,2,3,256,5\n", "line 2, column 4: expected a pixel, .* got '256'"),
        ("label,a,b,c,d\n1,2,3,0.5,5\n", "got '0.5'; multiply pixels of 0 to 1 by 255"),
        ("label,a,b,c,d\n1,2,3,,5\n", "column 4: expected a pixel, .* got ''"),
        ("label,a,b,c,d\n1000,2,3,4,5\n", "column 1: expected a label, .* 0 to 999, got '1000'"),
        ("label,a,b,c,d\n-1,2,3,4,5\n", "got '-1'"),
        ("1,2,3,4,5\n1,2,3,4,\n", "line 2, column 5: expected a pixel, .* got ''"),
        ("1,2,3,4,99999999999999999999999\n", "column 5: expected a pixel"),
        ("1,2,3\n1,2,3,4\n1,2\n", "line 2 has 4 columns"),
        ("label,a,b,c,d\nnan,2,3,4,5\n", "got 'nan'"),
        ("label,a,b,c,d\n1,2,3,4,1_0\n", "lines 2 to 2 are not numbers"),
    ],
)
def test_a_bad_table_names_its_line_and_column(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words) as refusal:
        from_csv(path)
    one_line(refusal.value, path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"label,a\n1,\xff\n", "line 2 is not text"),
        (b"1," * (1 << 20), "line 1 has more than 1,048,576 bytes"),
        (gzip.compress(b"1,2,3,4,5\n")[:-9], "cut short|damaged"),
    ],
)
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as refusal:
        from_csv(path)
    one_line(refusal.value, path)


def test_blank_lines_without_end_are_refused_before_all_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n" + b"\n" * 3_000_000))
    with pytest.raises(DataError, match="more than 100,000 blank lines follow line 1") as refusal:
        from_csv(path)
    one_line(refusal.value, path)


@pytest.mark.parametrize("read", [from_csv, from_npz, from_folder])
def test_a_missing_file_is_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(DataError, match="no such") as refusal:
        read(tmp_path / "none")
    one_line(refusal.value, tmp_path / "none")


# --- NPZ ---


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ((5, 28, 28), (5, 1, 28, 28)),
        ((5, 1, 28, 28), (5, 1, 28, 28)),
        ((5, 32, 32, 3), (5, 3, 32, 32)),
        ((5, 3, 32, 32), (5, 3, 32, 32)),
    ],
)
@pytest.mark.parametrize("names", [("x_train", "y_train"), ("images", "labels")])
def test_arrays_are_found_by_their_usual_names(
    tmp_path: Path, stored: Any, expected: Any, names: tuple[str, str]
) -> None:
    pixels, labels = images(*stored), np.array([[4], [0], [1], [2], [11]])
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{names[0]: pixels.astype(np.int32), names[1]: labels, "more": 1})
    found = from_npz(path)
    assert (found.images.shape, found.images.dtype) == (expected, np.uint8)
    moved = pixels.transpose(0, 3, 1, 2) if stored[-1] == 3 else pixels.reshape(expected)
    assert (found.images == moved).all()
    assert found.labels.tolist() == [4, 0, 1, 2, 11]
    assert len(found.classes) == 12
    assert (from_npz(path, images=names[0], labels=names[1]).images == moved).all()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.zeros(3)}, "has the arrays a; expected images and labels named x_train/y_train"),
        ({"x": np.zeros((3, 4), np.uint8), "y": np.zeros(3, int)}, r"x has shape \(3, 4\)"),
        ({"x": np.zeros((3, 4, 4)), "y": np.zeros(3, int)}, "x holds float64, .*multiply"),
        ({"x": np.full((3, 4, 4), 256), "y": np.zeros(3, int)}, "x holds 256 to 256"),
        ({"x": np.zeros((3, 4, 4), int), "y": np.zeros(2, int)}, "x holds 3 images, but y 2"),
        ({"x": np.zeros((3, 4, 4), int), "y": np.zeros((3, 5), int)}, r"one-hot .* argmax"),
        ({"x": np.zeros((3, 4, 4), int), "y": np.zeros(3)}, "y is float64 of shape"),
        ({"x": np.zeros((3, 4, 4), int), "y": np.array([0, -1, 2])}, "y: has the label -1"),
        ({"x": np.zeros((3, 4, 4), int), "y": np.array([0, 1000, 2])}, "y: has the label 1000"),
        ({"x": np.array([None, 1, {}], object), "y": np.zeros(3, int)}, "holds Python objects"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=words) as refusal:
        from_npz(path)
    one_line(refusal.value, path)


def test_damage_and_lies_of_an_npz_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=images(9, 8, 8), y=np.zeros(9, int))
    good = path.read_bytes()
    for content in (b"", b"no zip", good[:-30]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"not an \.npz file") as refusal:
            from_npz(path)
        one_line(refusal.value, path)
    changed = bytearray(good)
    changed[200] ^= 255
    path.write_bytes(changed)
    with pytest.raises(DataError, match="damaged"):
        from_npz(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 8, 8)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.writestr("y.npy", header.getvalue())
    with pytest.raises(DataError, match="x is cut short: its shape is"):
        from_npz(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(1 << 20))
        archive.writestr("y.npy", b"")
    with pytest.raises(DataError, match="has 1,048,576 bytes, the limit is 1,000"):
        from_npz(path, max_bytes=1000)
    with pytest.raises(ValueError, match="split must be one of"):
        from_npz(path, "validation")


# --- folders ---


def test_names_of_arrays_may_lack_their_suffix(tmp_path: Path) -> None:
    expected = {"images": images(3, 4, 4), "labels": np.array([0, 2, 1])}
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, array in expected.items():
            target = io.BytesIO()
            np.save(target, array)
            archive.writestr(name, target.getvalue())
    found = from_npz(tmp_path / "a.npz")
    assert (found.images[:, 0] == expected["images"]).all()
    assert found.labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize("packed", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_damage_in_each_way_of_packing_is_said_in_one_line(tmp_path: Path, packed: int) -> None:
    """The header of an array, too: NumPy reads it with Python's own tokenizer."""
    path = tmp_path / "a.npz"
    header = b"\x93NUMPY\1\0\x10\0{'descr': '|u1'\n\n" + bytes(3000)
    with zipfile.ZipFile(path, "w", packed) as archive:
        archive.writestr("images.npy", header)
        archive.writestr("labels.npy", header)
    whole = path.read_bytes()
    for contents in (whole, whole[:52] + bytes(18) + whole[70:]):
        path.write_bytes(contents)
        with pytest.raises(DataError, match="damaged") as refusal:
            from_npz(path)
        one_line(refusal.value, path)


def picture(path: Path, array: np.ndarray, **options: Any) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.fromarray(array).save(path, **options)


def test_folders_are_classes_and_small_images_are_centred(tmp_path: Path) -> None:
    small, full = images(1, 28, 20)[0], images(1, 32, 32)[0]
    picture(tmp_path / "b" / "2.png", full)
    picture(tmp_path / "b" / "1.png", small)
    picture(tmp_path / "a" / "z.bmp", full)
    for path in (tmp_path / "README.txt", tmp_path / "a" / ".hidden", tmp_path / "a" / "Thumbs.db"):
        path.touch()
    (tmp_path / ".git").mkdir()
    found = from_folder(tmp_path)
    assert (found.classes, found.labels.tolist()) == (("a", "b"), [0, 1, 1])
    assert found.images.shape == (3, 1, 32, 32)
    assert (found.images[0, 0] == full).all()
    assert (found.images[1, 0, 2:30, 6:26] == small).all()
    assert int(found.images[1].sum()) == int(small.sum())


def test_folders_named_by_numbers_are_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    for k in range(12):
        picture(tmp_path / str(k) / "a.png", np.full((4, 4), k, np.uint8))
    found = from_folder(tmp_path, size=4)
    assert found.classes == tuple(map(str, range(12)))
    assert found.images[:, 0, 0, 0].tolist() == list(range(12))


def test_colour_is_kept_where_there_is_any_and_converted_as_pillow_does(tmp_path: Path) -> None:
    colour = images(1, 32, 32, 3)[0]
    picture(tmp_path / "a" / "1.png", colour)
    picture(tmp_path / "b" / "1.png", np.repeat(colour[:, :, :1], 3, axis=2))
    assert (from_folder(tmp_path).images[0] == colour.transpose(2, 0, 1)).all()
    pillow = pytest.importorskip("PIL.Image")
    grey = np.asarray(pillow.fromarray(colour).convert("L"))
    found = from_folder(tmp_path, channels=1)
    assert found.images.shape == (2, 1, 32, 32)
    assert (found.images[0, 0] == grey).all()
    (tmp_path / "a" / "1.png").unlink()
    picture(tmp_path / "a" / "1.png", grey)
    assert from_folder(tmp_path).images.shape == (2, 1, 32, 32)
    assert from_folder(tmp_path, channels=3).images.shape == (2, 3, 32, 32)


def test_large_turned_and_deep_images_are_brought_to_the_size(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    halves = np.zeros((300, 200), np.uint8)
    halves[:150] = 200  # light above
    picture(tmp_path / "a" / "1.png", halves)
    exif = pillow.Exif()
    exif[0x0112] = 6  # turn clockwise: light at the right
    picture(tmp_path / "a" / "2.jpg", halves, exif=exif, quality=95)
    picture(tmp_path / "a" / "3.png", halves.astype(np.uint16) * 257)
    found = from_folder(tmp_path, size=(20, 30)).images[:, 0]
    assert found.shape == (3, 20, 30)
    for image, light, dark in (
        (found[0], np.s_[:8], np.s_[12:]),
        (found[1], np.s_[:, 20:], np.s_[:, :10]),
        (found[2], np.s_[:8], np.s_[12:]),
    ):
        assert np.abs(image[light].astype(int) - 200).max() <= 3  # JPEG rounds
        assert image[dark].max() <= 3


def test_transparency_shows_white_around_dark_ink_and_black_around_light(tmp_path: Path) -> None:
    for ink in (0, 255):
        rgba = np.zeros((6, 6, 4), np.uint8)
        rgba[2:4, 2:4] = (ink, ink, ink, 255)
        picture(tmp_path / str(ink) / "a.png", rgba)
    found = from_folder(tmp_path, size=6).images[:, 0]
    assert (found[0, 0, 0], found[0, 2, 2]) == (255, 0)
    assert (found[1, 0, 0], found[1, 2, 2]) == (0, 255)


def empty_class(folder: Path) -> Path:
    (folder / "b").mkdir()
    return folder / "b"


def nested(folder: Path) -> Path:
    (folder / "a" / "more").mkdir()
    return folder / "a" / "more"


def only_a_stray_file(folder: Path) -> Path:
    (folder / "b").mkdir()
    (folder / "b" / "notes.txt").write_text("x")
    return folder / "b"


def damaged(folder: Path) -> Path:
    path = folder / "a" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    return path


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a" / "pipe.png")
    return folder / "a" / "pipe.png"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (empty_class, "has no images"),
        (only_a_stray_file, "has no images"),
        (nested, "is a folder within a class"),
        (damaged, "undamaged, got OSError"),
        (pipe, "is not a regular file"),
    ],
)
def test_what_is_not_an_image_in_a_class_is_named(
    tmp_path: Path, spoil: Callable[[Path], Path], words: str
) -> None:
    picture(tmp_path / "a" / "1.png", images(1, 30, 30)[0])
    path = spoil(tmp_path)
    with pytest.raises(DataError, match=words) as refusal:
        from_folder(tmp_path)
    one_line(refusal.value, path)


def test_folders_beside_train_and_test_are_named_in_a_warning(tmp_path: Path) -> None:
    for split in ("train", "test", "val"):
        for kind in "ab":
            for k in range(3):
                picture(tmp_path / split / kind / f"{k}.png", images(1, 30, 30)[0])
    with pytest.warns(UserWarning, match=": passed over val; the images are those of tr"):
        data = load_dataset(f"folder:{tmp_path}")
    assert (len(data.train_images), len(data.test_images)) == (6, 6)
    (tmp_path / "val").rename(tmp_path / ".val")  # hidden: put aside on purpose
    assert len(load_dataset(f"folder:{tmp_path}").train_images) == 6


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_images_beside_train_and_test_are_named_in_a_warning(tmp_path: Path, kind: str) -> None:
    """MedMNIST's files have such ones."""
    rows, labels = images(6, 1, 28, 28), np.arange(6) % 3
    arrays = {}
    for split in ("train", "test", "val"):
        csv(tmp_path / f"{split}.csv", rows, labels)
        arrays |= {f"{split}_images": rows, f"{split}_labels": labels[:, None]}
    np.savez(tmp_path / "a.npz", **arrays)
    path = tmp_path if kind == "csv" else tmp_path / "a.npz"
    others = "val" if kind == "csv" else "val_images, val_labels"
    with pytest.warns(UserWarning, match=f": passed over {others}; the images are those of tr"):
        assert len(load_dataset(f"{kind}:{path}").train_images) == 6


def test_stray_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png", images(1, 30, 30)[0])
    picture(tmp_path / "__MACOSX" / "1.png", images(1, 30, 30)[0])
    for name in (".DS_Store", "._1.png", "desktop.ini"):
        (tmp_path / "a" / name).write_bytes(b"x")
    assert from_folder(tmp_path).classes == ("a",)
    for name in ("notes\x1b.txt", "labels.csv"):
        (tmp_path / "a" / name).write_text("x")
    words = r"passed over 2 files that are not images, such as a/labels\.csv"
    with pytest.warns(UserWarning, match=words):
        assert len(from_folder(tmp_path).images) == 1
    (tmp_path / "a" / "labels.csv").unlink()
    with pytest.warns(UserWarning, match=r"such as a/notes\\x1b\.txt"):
        from_folder(tmp_path)


def test_a_folder_without_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no folders; expected one folder of images per class"):
        from_folder(tmp_path)
    with pytest.raises(ValueError, match="channels must be 1, 3 or None"):
        from_folder(tmp_path, channels=2)


# --- as a data set, in one word ---


def test_a_tenth_is_held_out_class_by_class_and_always_the_same(tmp_path: Path) -> None:
    rows, labels = images(200, 1, 28, 28), np.arange(200) % 20
    path = csv(tmp_path / "a.csv", rows, labels)
    data = load_dataset(f"csv:{path}")
    assert (len(data.train_labels), len(data.test_labels)) == (180, 20)
    assert sorted(data.test_labels) == list(range(20))
    assert data.classes == tuple(map(str, range(20)))
    assert data.source == f"{path}, a tenth held out as test images"
    both = np.concatenate([data.train_images, data.test_images])[:, :, 2:30, 2:30]
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in rows)
    again = load_dataset(f"csv:{path}")
    assert (again.test_images == data.test_images).all()


def pairs(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    """Return images without their border, each with its label, in an order of their own."""
    inner = images[:, :, 2:30, 2:30] if images.shape[2] == 32 else images
    return sorted(zip((image.tobytes() for image in inner), labels.tolist(), strict=True))


def test_the_first_images_are_of_all_classes(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", images(200, 1, 4, 4), np.repeat(np.arange(10), 20))
    assert set(load_dataset(f"csv:{path}").limited(100).train_labels) == set(range(10))


def test_test_images_of_ones_own_are_taken(tmp_path: Path) -> None:
    rows, labels = images(30, 1, 28, 28), np.arange(30) % 3
    csv(tmp_path / "train.csv", rows, labels)
    csv(tmp_path / "test.csv", rows[:4], labels[:4])
    x, y = rows[:, 0], labels
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    for name in ("train", "test"):
        for k in range(3):
            picture(tmp_path / "pictures" / name / f"class {k}" / "1.png", x[k])
    for spec in (f"csv:{tmp_path}", f"npz:{tmp_path / 'a.npz'}"):
        data = load_dataset(spec)
        assert pairs(data.train_images, data.train_labels) == pairs(rows, labels)
        assert pairs(data.test_images, data.test_labels) == pairs(rows[:4], labels[:4])
    data = load_dataset(f"folder:{tmp_path / 'pictures'}")
    assert data.classes == ("class 0", "class 1", "class 2")
    assert pairs(data.test_images, data.test_labels) == pairs(rows[:3], np.arange(3))
    picture(tmp_path / "pictures" / "test" / "class 9" / "1.png", x[0])
    with pytest.raises(DataError, match="has the folder 'class 9', which is none of the 3"):
        load_dataset(f"folder:{tmp_path / 'pictures'}")


def test_data_of_another_size_are_padded_or_refused(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", images(20, 1, 28, 28), np.arange(20) % 2)
    assert load_dataset(f"csv:{path}", size=(28, 30)).train_images.shape == (18, 1, 28, 30)
    with pytest.raises(DataError, match=r"28 x 28 do not fit into 20 x 20") as refusal:
        load_dataset(f"csv:{path}", size=(20, 20))
    one_line(refusal.value, path)
    assert load_dataset("digits", size=(28, 28)).test_images.shape == (360, 1, 28, 28)
    with pytest.raises(DataError, match="do not fit into 20 x 20"):
        load_dataset("digits", size=(20, 20))


@pytest.mark.parametrize("name", ["cifar", "csv:", "csv", "tar:x", "Mnist", "x" * 5000])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    words = r"one of auto, mnist, digits, fashion, .*csv:FILE.*folder:DIR, got"
    with pytest.raises(ValueError, match=words) as refusal:
        load_dataset(name)
    assert len(str(refusal.value)) < 400


def test_a_folder_beside_ones_own_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is read where its name says"):
        load_dataset(f"csv:{tmp_path}", tmp_path)


def test_too_few_images_to_hold_some_out_are_refused(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", images(4, 1, 4, 4), np.arange(4))
    with pytest.raises(DataError, match="has 4 images; at least 5 are needed"):
        load_dataset(f"csv:{path}")


def test_of_five_images_one_is_held_out(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", images(5, 1, 4, 4), np.arange(5) % 2)
    found = load_dataset(f"csv:{path}")
    assert (len(found.train_images), len(found.test_images)) == (4, 1)
