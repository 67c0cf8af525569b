"""A photo is opened, taken, dropped or pasted; its digits are found as in Python."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawing_page import (
    STROKES,
    ink,
    prepared,
    settle,
)
from page_controls import GIVE, SET, photo_of, png
from scenes import made

from nplenet.recognize import find_digits, prepare, read_photo

READ = """async ([text, form]) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const begin = performance.now();
    const picture = await nplenet.readPhoto(new Blob([bytes], { type: `image/${form}` }));
    const digits = nplenet.findDigits(picture);
    const seconds = (performance.now() - begin) / 1000;
    return { seconds, digits: digits.map(({ box, image }) => {
        const { top, left, height, width } = box;
        return { box: [left, top, left + width, top + height], image: Array.from(image) };
    }) };
}"""


@pytest.mark.parametrize(
    ("way", "inverted"),
    [("open", False), ("take", False), ("drop", False), ("paste", False), ("open", True)],
)
def test_a_photo_is_prepared_as_python_does(page: Any, way: str, inverted: bool) -> None:
    digit = "4" if inverted else "7"
    grey = photo_of(digit)
    grey = 255 - grey if inverted else grey
    if way != "open":
        grey = grey[::2, ::2].copy()  # which is read in a quarter of the time
    data = png(grey)
    if way in ("drop", "paste"):
        page.evaluate(GIVE, [way, base64.b64encode(data).decode()])
    else:
        file = {"name": "photo.png", "mimeType": "image/png", "buffer": data}
        page.set_input_files({"open": "#file", "take": "#camera"}[way], file)
    page.wait_for_selector("#boxes > div")
    difference = np.abs(prepared(page).astype(int) - prepare(grey))
    assert difference.mean() < 0.1
    assert page.inner_text("#answer") == digit
    box, board = (page.locator(name).bounding_box() for name in ("#boxes > div", "#board"))
    left, right = ((box["x"] + d - board["x"]) * 448 / board["width"] for d in (0, box["width"]))
    xs = [150 + 130 * x for stroke in STROKES[digit] for x, _ in stroke]
    assert (abs(left - (min(xs) - 8)) < 8, abs(right - (max(xs) + 8)) < 8) == (True, True)


def test_a_phone_opens_its_camera_and_undo_removes_a_photo(page: Any) -> None:
    before = ink(page)
    assert page.get_attribute("#camera", "capture") == "environment"
    page.evaluate(GIVE, ["drop", base64.b64encode(png(photo_of("3")[::2, ::2])).decode()])
    page.wait_for_selector("#boxes > div")
    page.click("#undo")
    settle(page)
    assert page.locator("#boxes > div").count() == 0
    np.testing.assert_array_equal(ink(page), before)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no picture", "This browser cannot read the file as a picture."),
        (png(np.full((60, 80), 200, np.uint8)), "No digit: no ink stands out from the paper."),
    ],
)
def test_a_file_without_a_digit_gets_a_reason(page: Any, data: bytes, words: str) -> None:
    before = ink(page)
    file = {"name": "photo.png", "mimeType": "image/png", "buffer": data}
    page.set_input_files("#file", file)
    page.wait_for_function(
        "words => document.getElementById('photo-note').textContent.startsWith(words)", arg=words
    )
    np.testing.assert_array_equal(ink(page), before)


def test_three_digits_of_a_photo_are_read(page: Any) -> None:
    grey = np.full((336, 448), 200, np.uint8)
    for digit, left in (("7", 0), ("3", 130), ("4", 260)):
        grey[:, left : left + 188] = np.minimum(
            grey[:, left : left + 188], np.where(photo_of(digit)[:, 130:318] < 70, 60, 200)
        )
    page.evaluate(GIVE, ["drop", base64.b64encode(png(grey)).decode()])
    page.wait_for_selector("#boxes > div:nth-child(3)")
    assert page.locator("#boxes button").all_inner_texts() == ["7", "3", "4"]


# One digit and several, in colour, enlarged, shrunk, turned, on a table, in boxes, transparent.
SAMPLE = [
    *("coloured_ink_on_coloured_paper", "digits_in_boxes", "digits_on_squared_paper"),
    *("small_note_on_a_table", "strokes_on_nothing", "tiny_8x8", "touching_its_box"),
    *("turned_by_exif", "twelve_megapixels"),
]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_scene_has_the_boxes_and_images_of_python(desk: Any, tmp_path: Path, name: str) -> None:
    scene = made(name, 3)
    if scene.image.size == (640, 480):
        scene.image.thumbnail((320, 240))  # which is read in a third of the time
    path = tmp_path / "scene"
    path.write_bytes(scene.file())
    expected = find_digits(read_photo(path).pixels)
    found = desk.evaluate(READ, [base64.b64encode(scene.file()).decode(), scene.form.lower()])
    boxes = [digit["box"] for digit in found["digits"]]
    # A browser decodes a large JPEG in whole and shrinks it, Pillow decodes it at half its size.
    slack = 1 if scene.form == "JPEG" else 0
    np.testing.assert_allclose(boxes, [digit.box for digit in expected], atol=slack)
    for digit, other in zip(found["digits"], expected, strict=True):
        image = np.reshape(digit["image"], (32, 32))
        assert np.abs(image - other.image.astype(int)).mean() < 0.1
    print(f"{name}: read in {found['seconds']:.2f} s")


def test_a_turned_photo_has_its_digits_turned(page: Any) -> None:
    grey = photo_of("7")
    page.evaluate(GIVE, ["drop", base64.b64encode(png(grey)).decode()])
    page.wait_for_selector("#boxes > div")
    page.evaluate(SET, ["rotate", 90])
    settle(page)
    # A quarter turn clockwise maps pixels to pixels.
    difference = np.abs(prepared(page).astype(int) - prepare(np.rot90(grey, -1).copy()))
    assert difference.mean() < 0.5
