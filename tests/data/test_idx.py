"""IDX files: what is written is read back, and every damaged file is refused with a DataError."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import idx2numpy
import numpy as np
import pytest

from nplenet.data import DataError, read_idx, write_idx

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]
IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def idx_bytes(shape, payload=b"", code=0x08, start=b"\0\0"):
    return start + struct.pack(f">BB{len(shape)}I", code, len(shape), *shape) + payload


@pytest.fixture(params=["plain", "gzip"])
def save(request, tmp_path):
    """Save bytes under one name, plain or packed; the reader must tell by itself."""

    def save_bytes(content: bytes) -> Path:
        path = tmp_path / "some-file"
        path.write_bytes(content if request.param == "plain" else gzip.compress(content, 1))
        return path

    return save_bytes


def peak_of_reading(path):
    """Return the most memory held while a file is read, in bytes, and the array or the error."""
    tracemalloc.start()
    try:
        result = read_idx(path)
    except DataError as error:
        result = error
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, result


# --- round trips ---


@pytest.mark.parametrize("name", ["a.idx", "a.idx.gz"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_that_is_written_is_read_back(tmp_path, dtype, name):
    array = (np.arange(24).reshape(2, 3, 4) - 7).astype(dtype)
    write_idx(tmp_path / name, array)
    read = read_idx(tmp_path / name)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_array_read_is_writable_and_contiguous(save, dtype):
    read = read_idx(save(idx2numpy.convert_to_string(np.ones((3, 2), dtype))))
    assert read.flags.writeable
    assert read.flags.c_contiguous
    assert read.flags.aligned


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bytes_written_are_those_of_idx2numpy(tmp_path, dtype):
    array = (np.arange(30).reshape(5, 6) - 7).astype(dtype)
    write_idx(tmp_path / "a.idx", array)
    assert (tmp_path / "a.idx").read_bytes() == idx2numpy.convert_to_string(array)


@pytest.mark.parametrize("array", [IMAGES.T, IMAGES[::2, ::-1], IMAGES.astype(">i4")])
def test_arrays_of_any_memory_layout_and_byte_order_are_written(tmp_path, array):
    write_idx(tmp_path / "a.idx", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a.idx"), array)


def test_packing_the_same_array_twice_gives_the_same_bytes(tmp_path):
    write_idx(tmp_path / "a.gz", IMAGES)
    write_idx(tmp_path / "b.gz", IMAGES)
    packed = (tmp_path / "a.gz").read_bytes()
    assert packed == (tmp_path / "b.gz").read_bytes()
    assert packed[4:8] == b"\0\0\0\0"  # gzip's time stamp


def test_an_existing_file_is_replaced(tmp_path):
    path = tmp_path / "a.idx"
    write_idx(path, IMAGES)
    write_idx(path, IMAGES[:2])
    assert read_idx(path).shape == (2, 4, 3)
    assert os.listdir(tmp_path) == ["a.idx"]


# --- what the writer refuses ---


@pytest.mark.parametrize("dtype", ["bool", "uint16", "uint32", "int64", "float16", "complex64"])
def test_writing_a_type_that_idx_lacks_is_refused(tmp_path, dtype):
    with pytest.raises(DataError, match=f"no element type for {dtype}.*convert"):
        write_idx(tmp_path / "a.idx", np.zeros(3, dtype))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_writing_an_array_without_elements_or_dimensions_is_refused(tmp_path, shape):
    with pytest.raises(DataError, match="cannot hold an array of shape"):
        write_idx(tmp_path / "a.idx", np.zeros(shape, np.uint8))


def test_writing_into_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        write_idx(tmp_path / "no" / "a.idx", IMAGES)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.idx"
    write_idx(path, IMAGES)
    before = path.read_bytes()

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DataError, match="No space left"):
        write_idx(path, IMAGES[:1])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.idx"]


# --- what the reader refuses ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\0\0", "is not an IDX file"),
        (idx_bytes((2,), b"ab", start=b"\0\1"), "is not an IDX file"),
        (b"PK\3\4 a zip archive", "is not an IDX file.*50 4b 03 04"),
        (b"<!DOCTYPE html><html>Not found</html>", "HTML or XML page"),
        (b"\n <html>Not found</html>", "HTML or XML page"),
        (idx_bytes((2,), b"ab", code=0x0A), "unknown element type 0x0a"),
        (idx_bytes((2,), b"ab", code=0x00), "unknown element type 0x00"),
        (idx_bytes(()) + b"a", "announces 0 dimensions"),
        (idx_bytes((1,) * 65, b"a"), "announces 65 dimensions"),
        (idx_bytes((5, 4, 3))[:9], "is cut short: ends inside its header, after 9 of 16 bytes"),
        (idx_bytes((0,)), "dimension 0 .* is zero"),
        (idx_bytes((3, 0)), "dimension 1 .* is zero"),
        (idx_bytes((2**32 - 1,), b"ab"), r"dimension 0 .* is negative \(-1"),
        (idx_bytes((1, 2**31), b"ab"), "dimension 1 .* is negative"),
        (idx_bytes((2**31 - 1,) * 4, b"ab"), "announces 2147483647 x 2147483647"),
        (idx_bytes((2**16,) * 64, b"ab"), "announces 65536 x 65536"),  # 2^1024 elements
        (idx_bytes((2, 2), b"abc"), "is cut short at 15 bytes"),
        (idx_bytes((2, 2), b"abcd", code=0x0C), "is cut short at 16 bytes"),
        (idx_bytes((2, 2)), "is cut short at 12 bytes"),
        (idx_bytes((2, 2), b"abcde"), "bytes past the end of its data"),
        (idx_bytes((2, 2), b"abcd" * 1000), "bytes past the end of its data"),
    ],
)
def test_a_bad_file_is_refused_and_the_message_says_why(save, content, message):
    path = save(content)
    with pytest.raises(DataError, match=message) as refusal:
        read_idx(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("path_of", [Path, str])
def test_a_missing_file_is_refused(tmp_path, path_of):
    with pytest.raises(DataError, match="no such file"):
        read_idx(path_of(tmp_path / "none"))


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a directory"):
        read_idx(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        read_idx(tmp_path / "pipe")


def test_a_path_through_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "file" / "a.idx")


@pytest.mark.parametrize("keep", [2, 9, 15, -9, -8, -1])
def test_a_truncated_archive_is_refused(tmp_path, keep):
    write_idx(tmp_path / "a.gz", IMAGES)
    path = tmp_path / "cut.gz"
    path.write_bytes((tmp_path / "a.gz").read_bytes()[:keep])
    with pytest.raises(DataError, match="cut short"):
        read_idx(path)


@pytest.mark.parametrize("position", [12, -8, -4])  # in the data, the checksum, the length
def test_a_corrupt_archive_is_refused(tmp_path, position):
    path = tmp_path / "a.gz"
    write_idx(path, IMAGES)
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"damaged|cut short"):
        read_idx(path)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"dtype": np.float32}, "holds uint8, expected float32"),
        ({"shape": (None, 28, 28)}, r"has shape \(5, 4, 3\), expected \(any, 28, 28\)"),
        ({"shape": (None,)}, r"has shape \(5, 4, 3\), expected \(any\)"),
        ({"shape": (5, 4, 3, None)}, "has shape"),
        ({"max_bytes": 59}, "more than the limit of 59"),
    ],
)
def test_a_sound_file_of_another_kind_than_asked_for_is_refused(save, expected, message):
    path = save(idx2numpy.convert_to_string(IMAGES))
    with pytest.raises(DataError, match=message):
        read_idx(path, **expected)


def test_a_file_of_the_kind_asked_for_is_read(save):
    path = save(idx2numpy.convert_to_string(IMAGES))
    read = read_idx(path, dtype="uint8", shape=(None, 4, 3), max_bytes=60)
    np.testing.assert_array_equal(read, IMAGES)


# --- memory ---


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_reading_needs_less_than_twice_the_memory_of_the_data(save, dtype):
    random = np.random.default_rng(0).integers(0, 255, 6_000_000, np.uint8)
    array = random.astype(dtype)[: 6_000_000 // np.dtype(dtype).itemsize]
    content = idx_bytes(array.shape, array.astype(f">{array.dtype.str[1:]}").tobytes())
    content = content[:2] + {"uint8": b"\x08", "float64": b"\x0e"}[dtype] + content[3:]
    path = save(content)
    peak, read = peak_of_reading(path)
    np.testing.assert_array_equal(read, array)
    assert peak < 1.5 * array.nbytes


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((10, 28, 28), "bytes past the end"),  # 64 MB follow where 8 kB are announced
        ((2**31 - 1, 28, 28), "more than a gzip archive of .* bytes can hold"),
    ],
)
def test_a_gzip_bomb_is_refused_without_unpacking_it(tmp_path, shape, message):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as bomb:
        bomb.write(idx_bytes(shape))
        for _ in range(64):
            bomb.write(bytes(1 << 20))
    peak, error = peak_of_reading(path)
    with pytest.raises(DataError, match=message):
        raise error
    assert peak < 2_000_000  # the reader's buffers


# --- fuzzing ---


def damages(content, count):
    """Yield `count` damaged copies: a byte changed, the end cut off, or bytes added."""
    rng = np.random.default_rng(20)
    for _ in range(count):
        damaged = bytearray(content)
        position = int(rng.integers(len(content)))
        kind = rng.integers(3)
        if kind == 0:
            damaged[position] ^= int(rng.integers(1, 256))
        elif kind == 1:
            del damaged[position:]
        else:
            damaged += rng.bytes(int(rng.integers(1, 40)))
        yield bytes(damaged)


def test_a_damaged_plain_file_is_refused_or_keeps_its_size_and_bytes(tmp_path):
    path = tmp_path / "a.idx"
    write_idx(path, IMAGES)
    refused = 0
    for content in damages(path.read_bytes(), 400):
        path.write_bytes(content)
        try:
            read = read_idx(path)
        except DataError:
            refused += 1
        else:  # a changed byte of the data, which nothing can tell, or int8 for uint8
            assert read.tobytes() == content[16:]
            assert read.shape == IMAGES.shape
    assert 250 < refused < 400  # all cuts, all additions, and changes of the header


def test_a_damaged_archive_is_refused_or_read_right(tmp_path):
    path = tmp_path / "a.gz"
    write_idx(path, IMAGES)
    refused = 0
    for content in damages(path.read_bytes(), 400):
        path.write_bytes(content)
        try:
            read = read_idx(path)
        except DataError:
            refused += 1
        else:  # a changed byte that holds no data, such as gzip's time stamp
            np.testing.assert_array_equal(read, IMAGES)
    assert 350 < refused < 400
