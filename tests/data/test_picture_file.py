"""Files of images: read as grey, whatever their format; damaged and absurd ones are refused."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rendered_digits import grey, printed, sheet

from nplenet.__main__ import main
from nplenet.data import DataError
from nplenet.recognize import prepare, read_image

RAMP = np.arange(0, 256, 15, dtype=np.uint8)[None].repeat(6, 0)  # (6, 18)


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> np.ndarray:
    image.save(folder / name, **options)
    return read_image(folder / name)


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_file_is_read_as_grey(tmp_path: Path, name: str, mode: str) -> None:
    got = saved(tmp_path, Image.fromarray(RAMP).convert(mode), name)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, RAMP)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_is_read_as_grey(tmp_path: Path, mode: str) -> None:
    got = saved(tmp_path, Image.fromarray(RAMP).convert(mode), "a.jpg", quality=95)
    assert got.dtype == np.uint8
    np.testing.assert_allclose(got, RAMP, atol=12)  # what JPEG loses; CMYK inverted would be far


def test_a_file_of_one_bit_is_read(tmp_path: Path) -> None:
    bits = np.where(RAMP > 100, 255, 0).astype(np.uint8)
    got = saved(tmp_path, Image.fromarray(bits).convert("1"), "a.png")
    np.testing.assert_array_equal(got, bits)


def test_of_16_bits_the_upper_8_are_kept(tmp_path: Path) -> None:
    wide = Image.fromarray(RAMP.astype(np.uint16) * 256 + 77)
    np.testing.assert_array_equal(saved(tmp_path, wide, "a.png"), RAMP)


def test_of_16_bits_that_use_8_the_lower_8_are_kept(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        saved(tmp_path, Image.fromarray(RAMP.astype(np.uint16)), "a.png"), RAMP
    )


@pytest.mark.parametrize(("low", "high"), [(-3.0, 7.0), (0.0, 1e-3)])
def test_levels_in_floats_are_scaled_to_their_range(
    tmp_path: Path, low: float, high: float
) -> None:
    wide = (low + (high - low) * RAMP / 255).astype(np.float32)
    np.testing.assert_allclose(saved(tmp_path, Image.fromarray(wide), "a.tiff"), RAMP, atol=1)


@pytest.mark.parametrize(
    ("name", "atol"), [("a.webp", 0), ("a.gif", 0), ("a.tiff", 0), ("a.avif", 12)]
)
def test_other_formats_are_read(tmp_path: Path, name: str, atol: int) -> None:
    options: dict[str, Any] = {"lossless": True} if name == "a.webp" else {}
    try:
        got = saved(tmp_path, Image.fromarray(RAMP).convert("RGB"), name, **options)
    except (KeyError, OSError, ValueError) as error:  # how Pillow says that it lacks a format
        pytest.skip(str(error))
    np.testing.assert_allclose(got, RAMP, atol=max(atol, 1))


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"%PDF-1.7", "a PDF document"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "an SVG drawing"),
        (b"\0\0\0\x20ftypisom", "a film"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 image"),
        (b"PK\3\4", "a zip archive or a document"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "a.png").write_bytes(start + bytes(100))
    with pytest.raises(DataError, match=kind):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0)])
def test_ink_on_nothing_stands_out_from_its_paper(
    tmp_path: Path, mode: str, ink: int, paper: int
) -> None:
    image = Image.new("L", (6, 4), ink).convert(mode)
    alpha = np.zeros((4, 6), np.uint8)
    alpha[1, 2], alpha[1, 3] = 255, 51  # 51 is a fifth
    image.putalpha(Image.fromarray(alpha))
    expected = np.full((4, 6), paper)
    expected[1, 2], expected[1, 3] = ink, round(paper + (ink - paper) / 5)
    np.testing.assert_array_equal(saved(tmp_path, image, "a.png"), expected)


@pytest.mark.parametrize("mode", ["P", "L"])
def test_a_transparent_shade_becomes_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (3, 1), 0)
    image.putpixel((1, 0), 1)
    if mode == "P":
        image.putpalette([90, 90, 90, 10, 10, 10])
    got = saved(tmp_path, image, "a.png", transparency=0)
    np.testing.assert_array_equal(got, [[255, 10 if mode == "P" else 1, 255]])


def test_a_photograph_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its left side: turn clockwise
    got = saved(tmp_path, Image.fromarray(RAMP), "a.jpg", quality=95, exif=exif)
    np.testing.assert_allclose(got, np.rot90(RAMP, -1), atol=12)


def damage(kind: str, folder: Path) -> Path:
    """Return the path of a file that is not an image, or a damaged one."""
    path = folder / f"{kind}.png"
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8))
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
        return path
    if kind in ("empty", "text"):
        path.write_bytes(b"" if kind == "empty" else b"seven\n" * 50)
        return path
    if kind == "bomb":  # a header that promises 3.6 thousand million pixels
        header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + struct.pack(">I", 13)
            + header
            + struct.pack(">I", zlib.crc32(header))
        )
        return path
    form = {"icon": "ICO", "cut jpeg": "JPEG", "cut bmp": "BMP"}.get(kind, "PNG")
    image.save(path, form)
    data = bytearray(path.read_bytes())
    if kind.startswith("cut"):
        del data[len(data) // 2 :]
    elif kind == "header only":
        del data[33:]
    elif kind == "flipped bit":
        data[len(data) // 2] ^= 4
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *("missing", "folder", "empty", "text", "icon", "bomb"),
        *("cut png", "cut jpeg", "cut bmp", "header only", "flipped bit"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    path = damage(kind, tmp_path)
    with pytest.raises(DataError, match=r"expected a PNG, .* or HEIC image") as caught:
        read_image(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def png(width: int, height: int, colour: int, *chunks: bytes) -> bytes:
    """Return a PNG of zeros, 8 bits deep; ``colour`` 0 is grey, 3 a palette, 6 RGBA."""

    def chunk(data: bytes) -> bytes:
        return struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    row = bytes(1 + width * {0: 1, 3: 1, 6: 4}[colour])
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = [header, *chunks, b"IDAT" + packed, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk, parts))


READ_ALONE = """
import sys
from pathlib import Path
from nplenet.recognize import read_image

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))

small, large = sys.argv[1:]
read_image(small)
before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
print(read_image(large).shape, memory("VmHWM") - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux")
@pytest.mark.parametrize("kind", ["rgba", "transparent palette", "jpeg"])
def test_an_image_takes_at_most_twice_its_decoded_size(tmp_path: Path, kind: str) -> None:
    side, bytes_per_pixel = 5000, 4
    large, small = tmp_path / "large", tmp_path / "small"
    if kind == "rgba":
        large.write_bytes(png(side, side, 6))
    elif kind == "transparent palette":
        bytes_per_pixel = 1
        large.write_bytes(png(side, side, 3, b"PLTE" + bytes(768), b"tRNS" + bytes(256)))
    else:
        Image.new("RGB", (side, side), (10, 20, 200)).save(large, "JPEG")
    small.write_bytes(png(40, 40, 6))
    done = subprocess.run(
        [sys.executable, "-c", READ_ALONE, small, large], capture_output=True, text=True, timeout=60
    )
    shape, _, taken = done.stdout.strip().rpartition(" ")
    assert shape == "(1250, 1250)", done.stderr
    assert int(taken) < 2 * side * side * bytes_per_pixel


@pytest.mark.parametrize(("width", "height"), [(89_000_000, 1), (1, 89_000_000), (9400, 9400)])
def test_an_image_of_absurd_size_is_refused_and_the_next_one_is_read(
    tmp_path: Path, width: int, height: int, capsys: pytest.CaptureFixture[str]
) -> None:
    absurd, digit = tmp_path / "absurd.png", tmp_path / "digit.png"
    data = bytearray(png(40, 1, 0))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    absurd.write_bytes(data)
    with pytest.raises(DataError, match=rf"absurd\.png: has {width} x {height} pixels"):
        read_image(absurd)
    Image.fromarray(grey(255 - 255 * sheet(printed("Aileron", 3)(140), 200, 200))).save(digit)
    assert main(["predict", "default", str(absurd), str(digit), "--json"]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert json.loads(out)["image"] == str(digit)


def test_a_large_image_is_shrunk_to_what_a_small_one_would_be(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (1100, 700), np.uint8)
    large = small.repeat(3, axis=0).repeat(3, axis=1)[:-1, :-2]  # the last windows are cut
    for mode in ("L", "LA", "RGBA"):
        Image.fromarray(large).convert(mode).save(tmp_path / "large.png")
        np.testing.assert_array_equal(read_image(tmp_path / "large.png"), small)


def test_a_bmp_of_run_lengths_is_refused(tmp_path: Path) -> None:
    pixels = bytes((2, 7, 0, 1))
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    (tmp_path / "runs.bmp").write_bytes(head + header + bytes(1024) + pixels)
    with pytest.raises(DataError, match="BMP of run-length codes"):
        read_image(tmp_path / "runs.bmp")


def test_random_damage_is_an_error_or_an_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    path = tmp_path / "a"
    for form in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"):
        image.save(path, form)
        whole = path.read_bytes()
        for _ in range(100):
            data = np.frombuffer(whole, np.uint8).copy()
            data[rng.integers(0, min(len(data), 200), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(data.tobytes())
            with contextlib.suppress(DataError):
                assert read_image(path).dtype == np.uint8


def test_without_pillow_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = builtins.__import__

    def without_pillow(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "PIL":
            raise ImportError("No module named 'PIL'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    for call in (
        lambda: read_image(tmp_path / "a.png"),
        lambda: prepare(np.eye(9, dtype=np.uint8)),
    ):
        with pytest.raises(ImportError, match=r"pip install 'nplenet\[image\]'"):
            call()
