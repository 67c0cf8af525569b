"""Photographs and drawings of digits: files, the way to MNIST's form, and what is made of them.

The images are rendered here: ten typefaces, and four pens led along strokes as by a hand.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pen_strokes import STROKES
from PIL import Image, ImageDraw, ImageFont

from nplenet.__main__ import main
from nplenet.checkpoint import DEFAULT_MODEL, load_model
from nplenet.data import DataError, MissingDataError, load_mnist, pad_images
from nplenet.layers import Layer
from nplenet.models import LeNet5
from nplenet.recognize import MIN_DIGIT_SIDE, picture, prepare, read_image, recognize

Draw = Callable[[int], Image.Image]
"""Gives a digit of so many rows, cropped: 255 is ink."""

# Serif and sans serif, upright and slanted, thin and thick, condensed, rounded, hand-lettered:
# package and file, or Pillow's own. Chosen before any was tried.
TYPEFACES: dict[str, tuple[str, str] | None] = {
    "Aileron": None,
    "Roboto Thin": ("font_roboto", "Roboto-Thin.ttf"),
    "Roboto Regular": ("font_roboto", "Roboto-Regular.ttf"),
    "Roboto Black": ("font_roboto", "Roboto-Black.ttf"),
    "Source Serif": ("font_source_serif_pro", "SourceSerifPro-Regular.ttf"),
    "Source Serif Italic": ("font_source_serif_pro", "SourceSerifPro-It.ttf"),
    "Caladea Bold": ("font_caladea", "Caladea-Bold.ttf"),
    "Amatic": ("font_amatic_sc", "AmaticSC-Regular.ttf"),
    "Fredoka": ("font_fredoka_one", "FredokaOne-Regular.ttf"),
    "Intuitive": ("font_intuitive", "Intuitive.ttf"),
}
PENS = {"thin pen": 0.012, "pen": 0.06, "felt pen": 0.13, "brush": 0.2}  # width / height of digit


def printed(typeface: str, digit: int) -> Draw:
    """Return a digit of a typeface."""
    source = TYPEFACES[typeface]
    font: Any
    if source is None:
        font = ImageFont.load_default(400)
    else:
        package = pytest.importorskip(source[0], reason=f"needs the package {source[0]}")
        font = ImageFont.truetype(str(Path(package.font_directory) / source[1]), 400)
    sheet = Image.new("L", (800, 900))
    ImageDraw.Draw(sheet).text((200, 150), str(digit), 255, font=font)
    glyph = sheet.crop(sheet.getbbox())

    def draw(height: int) -> Image.Image:
        width = max(1, round(glyph.width * height / glyph.height))
        return glyph.resize((width, height), Image.Resampling.LANCZOS)

    return draw


def drawn(pen: str, digit: int, seed: int) -> Draw:
    """Return a digit drawn with a pen: slanted, as wide as it comes, and never twice the same."""

    def draw(height: int) -> Image.Image:
        rng = np.random.default_rng(seed)
        tall = 4 * height  # four times as large as wanted, for smooth edges
        sheet = Image.new("L", (2 * tall, 2 * tall))
        hand = np.array(
            [[rng.uniform(0.5, 0.8), rng.uniform(-0.2, 0.1)], [rng.uniform(-0.06, 0.06), 1]]
        )
        for stroke in STROKES[digit]:
            points = np.array(stroke) - 0.5 + rng.normal(0, 0.02, (len(stroke), 2))
            points = rounded(points @ hand.T * tall + tall)
            radius = max(1.0, PENS[pen] * tall) / 2
            path = [(float(x), float(y)) for x, y in points]
            ink = ImageDraw.Draw(sheet)
            ink.line(path, 255, max(1, round(2 * radius)), joint="curve")
            for x, y in path:
                ink.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        glyph = sheet.crop(sheet.getbbox())
        return glyph.resize((glyph.width // 4, glyph.height // 4), Image.Resampling.BOX)

    return draw


def rounded(points: np.ndarray) -> np.ndarray:
    """Cut the corners of a line twice (Chaikin), as a hand does."""
    for _ in range(2):
        cut = np.empty((2 * len(points) - 2, 2))
        cut[0::2] = 0.75 * points[:-1] + 0.25 * points[1:]
        cut[1::2] = 0.25 * points[:-1] + 0.75 * points[1:]
        points = np.vstack([points[:1], cut, points[-1:]])
    return points


def sheet(
    ink: Image.Image, width: int, height: int, x: float = 0.5, y: float = 0.5, angle: float = 0.0
) -> np.ndarray:
    """Return how far ink covers each pixel, 0 ... 1; x and y say where, 0 left and 1 right."""
    if angle:
        ink = ink.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    page = Image.new("L", (width, height))
    page.paste(ink, (round((width - ink.width) * x), round((height - ink.height) * y)))
    return np.asarray(page) / 255.0


def grey(brightness: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(brightness, 0, 255)).astype(np.uint8)


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("L"))


def photograph(light: str, paper: float, ink: float) -> Callable[..., np.ndarray]:
    """Return a scene in uneven light with noise and as JPEG; paper and ink reflect 0 ... 1."""

    def scene(draw: Draw, rng: np.random.Generator) -> np.ndarray:
        cover = sheet(draw(200), 640, 480, 0.3, 0.6, rng.uniform(-6, 6))
        y, x = np.mgrid[0:480, 0:640] / 480
        falloff = 1 - 0.375 * x - 0.3 * ((x - 0.66) ** 2 + (y - 0.5) ** 2)
        shade = np.where(x + 0.3 * y > 0.9, 0.55, 1.0)  # with a hard edge beside the digit
        image = 235 * {"uneven": falloff, "shadow": shade}[light] * (paper + (ink - paper) * cover)
        return as_jpeg(grey(image + rng.normal(0, 5, image.shape)), 60)

    return scene


SCENES: dict[str, Callable[[Draw, np.random.Generator], np.ndarray]] = {
    "dark on light": lambda draw, rng: grey(255 - 255 * sheet(draw(140), 200, 200)),
    "light on dark": lambda draw, rng: grey(255 * sheet(draw(140), 200, 200)),
    "off-centre": lambda draw, rng: grey(250 - 220 * sheet(draw(90), 480, 360, 0.93, 0.08)),
    "tilted": lambda draw, rng: grey(
        255 - 240 * sheet(draw(150), 240, 260, angle=rng.uniform(-12, 12))
    ),
    "JPEG noise": lambda draw, rng: as_jpeg(grey(230 - 180 * sheet(draw(110), 180, 180)), 12),
    "photograph": photograph("uneven", 0.9, 0.25),
    "blackboard": photograph("uneven", 0.12, 0.67),
    "shadow": photograph("shadow", 0.9, 0.25),
    "small": lambda draw, rng: grey(255 - 255 * sheet(draw(20), 28, 28)),
}


@pytest.fixture(scope="module")
def model() -> Layer:
    return load_model(DEFAULT_MODEL)


def answer(model: Layer, image: np.ndarray) -> int:
    return int(recognize(model, prepare(image)).probabilities.argmax())


# --- what the network makes of it -----------------------------------------------------------------


def assert_most_are_right(model: Layer, kinds: list[str], draw: Callable[..., Draw]) -> None:
    """Every kind with every digit, the scenes in turn: at least 90 % must be read right."""
    wrong = []
    scenes = list(SCENES)
    for kind, name in enumerate(kinds):
        for digit in range(10):
            scene = scenes[(kind + digit) % len(scenes)]
            image = SCENES[scene](draw(name, digit), np.random.default_rng([kind, digit]))
            if (found := answer(model, image)) != digit:
                wrong.append(f"{name}, {scene}: {digit} read as {found}")
    count = 10 * len(kinds)
    print(f"{count - len(wrong)} of {count} right; wrong: {wrong}")
    assert len(wrong) <= count / 10, wrong


def test_printed_digits_are_recognised(model: Layer) -> None:
    assert_most_are_right(model, list(TYPEFACES), printed)


def test_drawn_digits_are_recognised(model: Layer) -> None:
    assert_most_are_right(model, list(PENS), lambda pen, digit: drawn(pen, digit, seed=digit))


@pytest.mark.parametrize("enlarge", [1, 10])
def test_mnist_on_a_larger_sheet_is_recognised_as_well_as_in_its_files(
    model: Layer, enlarge: int
) -> None:
    try:
        images, labels = load_mnist(split="test", download=False)
    except MissingDataError as error:
        pytest.skip(str(error))
    images, labels = images[:500], labels[:500]
    right = {"original": 0, "sheet": 0}
    for image, padded, label in zip(images, pad_images(images), labels, strict=True):
        side = 28 * enlarge
        page = np.full((side * 6 // 5, side * 3 // 2), 255, np.uint8)
        page[enlarge : enlarge + side, -side:] -= np.kron(
            image, np.ones((enlarge, enlarge), np.uint8)
        )
        right["original"] += recognize(model, padded[0]).probabilities.argmax() == label
        right["sheet"] += answer(model, page) == label
    print(right)
    assert right["sheet"] >= right["original"] - 5  # 1 % of 500


def test_the_probabilities_of_image_and_inverse_are_those_of_the_model_in_eval_mode() -> None:
    model = LeNet5(seed=0)
    image = prepare(SCENES["dark on light"](drawn("pen", 3, 0), np.random.default_rng(0)))
    result = recognize(model, image)
    assert model.training
    assert all(layer.training for _, layer in model.modules())
    model.eval()
    for probabilities, shown in zip(result, (image, 255 - image), strict=True):
        logits = model(shown[None, None] / np.float32(255))[0].astype(np.float64)
        expected = np.exp(logits) / np.exp(logits).sum()
        # float32; a product of two rows may sum in another order than that of one
        np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_the_mode_of_a_model_is_restored_when_it_fails() -> None:
    model = LeNet5(seed=0, in_channels=3)
    with pytest.raises(ValueError, match="channel"):
        recognize(model, np.zeros((32, 32), np.uint8))
    assert model.training


def test_the_picture_has_a_character_for_every_two_pixels() -> None:
    image = np.zeros((32, 32), np.uint8)
    image[:2, 0] = 255
    image[2, 31] = 255
    lines = picture(image).split("\n")
    assert [len(line) for line in lines] == [32] * 16
    assert lines[0] == "@" + " " * 31
    assert lines[1].strip() in "-="  # one of its two pixels is white
    assert not "".join(lines[2:]).strip()


# --- the form of MNIST ----------------------------------------------------------------------------


@pytest.fixture
def page() -> np.ndarray:
    return SCENES["dark on light"](drawn("pen", 5, 0), np.random.default_rng(0))


def assert_about_equal(got: np.ndarray, expected: np.ndarray, mean: float) -> None:
    assert got.shape == expected.shape == (32, 32)
    assert got.dtype == expected.dtype == np.uint8
    assert np.abs(got.astype(int) - expected).mean() <= mean


@pytest.mark.parametrize("pen", PENS)
@pytest.mark.parametrize("digit", [0, 1, 4, 7])
def test_a_prepared_digit_is_as_large_and_as_centred_as_those_of_mnist(
    pen: str, digit: int
) -> None:
    image = prepare(SCENES["off-centre"](drawn(pen, digit, 0), np.random.default_rng(0)))
    rows, columns = np.nonzero(image > 127)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20, 21)  # the rim may be half covered
    assert image.max() >= 230  # strokes of two pixels that lie between the rows
    assert image[:2].max() == image[-2:].max() == image[:, :2].max() == image[:, -2:].max() == 0
    weight = image / image.sum()
    middle = np.arange(32) - 15.5
    # a quarter of a pixel is the step in which the digit is moved
    assert abs((weight.sum(axis=1) * middle).sum()) <= 0.25
    assert abs((weight.sum(axis=0) * middle).sum()) <= 0.25


def test_ink_may_be_dark_or_light(page: np.ndarray) -> None:
    np.testing.assert_array_equal(prepare(255 - page), prepare(page))


def test_place_and_margin_do_not_matter(page: np.ndarray) -> None:
    moved = np.pad(page, ((5, 90), (70, 3)), constant_values=255)
    # The paper is the same, the pixels too, so nothing differs.
    np.testing.assert_array_equal(prepare(moved), prepare(page))


def test_brightness_and_contrast_do_not_matter(page: np.ndarray) -> None:
    faint = grey(150 + (page.astype(float) - 255) * 0.25)
    assert_about_equal(prepare(faint), prepare(page), 0.5)  # rounding moves the threshold


@pytest.mark.parametrize("height", [60, 300, 3000])
def test_the_size_of_the_image_does_not_matter(height: int) -> None:
    glyph = Image.fromarray(
        255 - SCENES["dark on light"](drawn("felt pen", 3, 0), np.random.default_rng(0))
    )
    small, large = (
        255 - np.asarray(glyph.resize((side, side), Image.Resampling.BOX)) for side in (height, 600)
    )
    # Edges are blurred differently: of some 200 pixels at the rim a few shades each.
    assert_about_equal(prepare(small), prepare(large), 4)


def test_specks_and_what_reaches_the_edge_are_left_out(page: np.ndarray) -> None:
    expected = prepare(page)
    page[190:193, 10:13] = 0
    page[:, 197:] = 0
    assert_about_equal(prepare(page), expected, 0.5)


@pytest.mark.parametrize("typeface", ["Aileron", "Fredoka"])
@pytest.mark.parametrize("digit", [1, 8])
def test_a_digit_may_fill_the_image(typeface: str, digit: int) -> None:
    glyph = np.asarray(printed(typeface, digit)(200))
    near, far = (255 - np.pad(glyph, margin) for margin in (2, 150))
    assert_about_equal(prepare(near), prepare(far), 4)  # the threshold is another one


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_has_no_digit(value: int) -> None:
    with pytest.raises(ValueError, match="no digit in the image"):
        prepare(np.full((60, 80), value, np.uint8))


def test_a_photograph_of_blank_paper_has_no_digit() -> None:
    def nothing(height: int) -> Image.Image:
        return Image.new("L", (height, height))

    with pytest.raises(ValueError, match="no digit in the image"):
        prepare(SCENES["photograph"](nothing, np.random.default_rng(0)))


def test_an_image_of_one_pixel_has_no_digit() -> None:
    with pytest.raises(ValueError, match="no digit in the image"):
        prepare(np.zeros((1, 1), np.uint8))


def test_a_speck_is_no_digit() -> None:
    image = np.full((100, 100), 255, np.uint8)
    image[50 : 50 + MIN_DIGIT_SIDE - 1, 50] = 0
    with pytest.raises(ValueError, match="every part of the ink is smaller than"):
        prepare(image)
    image[50 : 50 + MIN_DIGIT_SIDE, 50] = 0
    prepare(image)


def test_random_images_are_prepared_or_have_no_digit() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.integers(1, 70, 2)
        image = rng.integers(0, 256, (height, width), dtype=np.uint8)
        try:
            shape = prepare(image).shape
        except ValueError as error:
            if "no digit in the image" in str(error):
                continue
            raise
        assert shape == (32, 32)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (5, 5, 4), (25,)])
def test_an_image_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected shape"):
        prepare(np.zeros(shape, np.uint8))


def test_an_image_that_is_not_of_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match="got float64"):
        prepare(np.zeros((5, 5)))  # type: ignore[arg-type]


# --- files ----------------------------------------------------------------------------------------

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
    """Return the path of a file that is no image, or no longer."""
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
