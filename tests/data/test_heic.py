"""HEIC, as iPhones save photos: eight and ten bits, turned, transparent, damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nplenet.data import DataError
from nplenet.recognize import read_image, read_photo

pillow_heif: Any = pytest.importorskip(
    "pillow_heif", reason="HEIC is read and written with `pip install pillow-heif`"
)

# A ramp from black to white with a black block, which tells top from bottom and left from right.
RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
RAMP[6:18, 40:52] = 0
ROUNDED = 12  # levels: HEVC at quality 95, at the edges of the block


@pytest.fixture(autouse=True)
def heif() -> None:
    """Let Pillow write the pictures of these tests."""
    pillow_heif.register_heif_opener()


def saved(folder: Path, image: Image.Image, **options: Any) -> Path:
    path = folder / "photo.heic"
    image.save(path, "HEIF", quality=95, **options)
    return path


def colours() -> Image.Image:
    return Image.fromarray(RAMP).convert("RGB")


def test_eight_bits_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path, colours())
    assert path.read_bytes()[4:12] == b"ftypheic"
    np.testing.assert_allclose(read_image(path), RAMP, atol=ROUNDED)


def test_ten_bits_are_read(tmp_path: Path) -> None:
    levels = np.repeat((RAMP.astype(np.uint16) * 257)[:, :, None], 3, axis=2)
    path = tmp_path / "photo.heic"
    ten = pillow_heif.from_bytes(mode="RGB;16", size=RAMP.shape[::-1], data=levels.tobytes())
    ten.save(path, quality=95)
    assert pillow_heif.open_heif(path, convert_hdr_to_8bit=False).info["bit_depth"] == 10
    np.testing.assert_allclose(read_image(path), RAMP, atol=ROUNDED)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, RAMP),
        (3, np.rot90(RAMP, 2)),
        (6, np.rot90(RAMP, -1)),
        (8, np.rot90(RAMP)),
        (2, RAMP[:, ::-1]),
    ],
)
def test_a_turned_photo_becomes_upright_once(
    tmp_path: Path, orientation: int, upright: np.ndarray
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # As phones do, the writer says it twice: in the container and in the EXIF data.
    path = saved(tmp_path, colours(), exif=exif.tobytes())
    np.testing.assert_allclose(read_image(path), upright, atol=ROUNDED)
    photo = read_photo(path)
    assert photo.size == upright.shape[::-1]
    np.testing.assert_allclose(photo.pixels, np.repeat(upright[:, :, None], 3, 2), atol=ROUNDED)


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (64, 48), (0, 0, 0, 255))
    image.putalpha(Image.fromarray(np.where(RAMP > 100, 0, 255).astype(np.uint8)))
    found = read_image(saved(tmp_path, image))
    assert found[0, 0] < ROUNDED
    assert found[0, -1] > 255 - ROUNDED


def test_a_large_photo_is_shrunk_by_a_whole_factor(tmp_path: Path) -> None:
    photo = read_photo(saved(tmp_path, colours().resize((2560, 1920))))
    assert photo.size == (2560, 1920)
    assert photo.pixels.shape == (960, 1280, 3)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, colours())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match="undamaged"):
        read_image(path)
