"""Digits in scenes: a sample of the generator in ``scenes``; tools/try_scenes.py tries all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import HELD_OUT, SCENES, made
from scenes.pieces import Hand, Sheet
from scenes.reader import answers

from nplenet.__main__ import main
from nplenet.checkpoint import DEFAULT_MODEL, load_model
from nplenet.layers import Layer
from nplenet.recognize import find_digits, read_photo
from nplenet.segment import find
from nplenet.segment.boxes import without_boxes
from nplenet.segment.colour import at_working_size, block_of
from nplenet.segment.lines import rules_of, without
from nplenet.segment.notes import RIM, notes_of
from nplenet.segment.parts import labelled
from nplenet.segment.windows import closed, median


@pytest.fixture(scope="module")
def model() -> Layer:
    return load_model(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a picture with the digits 5 2 0 above 3 8, shrunk to a half when it is read."""
    drawn = Sheet(Hand([1], 0), 480, 640, (0.95, 0.95, 0.95))
    for label, at in (
        (5, (-150, -100)),
        (2, (0, -104)),
        (0, (150, -96)),
        (3, (-80, 90)),
        (8, (90, 95)),
    ):
        drawn.write(110, (0.1, 0.1, 0.1), at=at, label=label, pen=0.1, angle=0)
    path = tmp_path_factory.mktemp("sheet") / "sheet.png"
    drawn.slope(0.5).photo().image.resize((2560, 1920)).save(path)
    return path


def test_a_sample_of_all_conditions_is_read(model: Layer, tmp_path: Path) -> None:
    wrong = []
    names = sorted(SCENES)
    for place, name in enumerate(names[::5]):
        picture = made(name, 3 * place % 10, held_out=name in HELD_OUT)
        path = tmp_path / "picture"
        path.write_bytes(picture.file())
        several, _ = answers(model, path)
        if several != picture.digits:
            wrong.append(f"{name}: {picture.digits} read as {several}")
    print(wrong)
    assert len(wrong) <= len(names[::5]) / 10, wrong


def test_several_digits_are_found_in_reading_order_with_their_boxes(sheet: Path) -> None:
    photo = read_photo(sheet)
    assert photo.size == (2560, 1920)
    assert photo.pixels.shape == (960, 1280, 3)
    boxes = [digit.box for digit in find_digits(photo.pixels)]
    middles = [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in boxes]
    expected = [(340, 280), (640, 272), (940, 288), (480, 660), (820, 670)]
    np.testing.assert_allclose(middles, expected, atol=8)  # a hand's digits are not symmetric
    assert all(abs(bottom - top - 220) <= 12 for _, top, _, bottom in boxes)  # and a pen is round


def test_predict_prints_several_digits_line_by_line(
    sheet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = tmp_path / "boxes.png"
    assert main(["predict", "default", str(sheet), "--boxes", str(boxes)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{sheet}: 5 2 0 / 3 8"
    assert [line.split()[0] for line in lines[1:-1]] == list("52038")
    drawn = np.asarray(Image.open(boxes))
    assert drawn.shape == (960, 1280, 3)
    assert (drawn == (220, 0, 120)).all(axis=2).sum() > 5 * 4 * 100


def test_predict_gives_boxes_in_the_pixels_of_the_file_as_json(
    sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "default", str(sheet), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [digit["digit"] for digit in found["digits"]] == [5, 2, 0, 3, 8]
    left, top, right, bottom = found["digits"][0]["box"]
    np.testing.assert_allclose([left + right, top + bottom], [2 * 680, 2 * 560], atol=32)
    assert {name: found[name] for name in found["digits"][0]} == found["digits"][0]


def test_predict_reads_one_digit_on_request(
    sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "default", str(sheet), "--json", "--one"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["digits"]) == 1
    assert found["digit"] in (5, 2, 0, 3, 8)


def test_boxes_are_for_one_image(sheet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "default", str(sheet), str(sheet), "--boxes", "x.png"]) == 2
    assert "--boxes takes one IMAGE of digits" in capsys.readouterr().err


# --- what they are made of ------------------------------------------------------------------------


def test_pixels_that_touch_are_one_part() -> None:
    mask = (
        np.array([list(row) for row in ("##..##.", "..##...", ".......", "#.....#", "#.#####")])
        == "#"
    )
    numbers, count = labelled(mask)
    where = np.full(mask.shape, -1)
    where[mask] = numbers
    assert count == 3
    assert where.tolist() == [
        [0, 0, -1, -1, 0, 0, -1],
        [-1, -1, 0, 0, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1, -1],
        [1, -1, -1, -1, -1, -1, 2],
        [1, -1, 2, 2, 2, 2, 2],
    ]


def test_a_spiral_is_one_part() -> None:
    mask = np.zeros((41, 41), bool)
    for k in range(0, 20, 2):
        mask[k, k : 41 - k] = mask[40 - k, k : 41 - k] = True
        mask[k : 41 - k, k] = mask[k : 41 - k, 40 - k] = True
        mask[k + 1 : k + 3, k] = False
        mask[k + 2, k + 1] = True
    _, count = labelled(mask)
    assert count == 1


def test_a_closing_fills_strokes_and_keeps_edges() -> None:
    image = np.full((40, 60), 200, np.uint8)
    image[:, 30:] = 90  # a shadow
    expected = image.copy()
    image[5:35, 10:14] = 20  # a stroke of 4 pixels
    np.testing.assert_array_equal(closed(image, 5), expected)
    assert closed(image, 3)[20, 12] == 20


def test_the_median_of_nine_is_the_median() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 11)).astype(np.uint8)
    got = median(image)
    for y in range(1, 8):
        for x in range(1, 10):
            assert got[y, x] == np.median(image[y - 1 : y + 2, x - 1 : x + 2])


def test_rules_are_removed_and_the_strokes_across_them_stay() -> None:
    mask = np.zeros((200, 300), bool)
    stroke = np.zeros_like(mask)
    stroke[60:140, 150:158] = True
    for row in (40, 80, 120, 160):
        for x in range(300):
            mask[row + x // 100 : row + x // 100 + 2, x] = True  # a slope of 1 in 100
    lines = rules_of(mask | stroke)
    assert len(lines) == 4
    assert all(abs(line.slope - 0.01) < 0.003 for line in lines)
    left = without(mask | stroke, lines)
    assert left[stroke].all()
    assert (left & ~stroke).sum() <= 20  # beside the stroke, where a run is longer than the rule


def test_a_1_is_not_a_rule() -> None:
    mask = np.zeros((200, 200), bool)
    mask[40:160, 100:105] = True
    assert rules_of(mask.T.copy()) == []


def test_pixels_that_were_enlarged_are_counted() -> None:
    small = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    for side in (3, 10):
        large = small.repeat(side, axis=0).repeat(side, axis=1)
        assert block_of(large) == side
        assert block_of(large[:-1, :-2]) == side  # the last ones may be cut
        assert block_of(large[1:]) == 1
    assert block_of(small) == 1
    assert block_of(np.zeros((50, 60, 1), np.uint8)) == 1
    assert block_of(np.eye(2, dtype=np.uint8).repeat(30, axis=0).repeat(30, axis=1)[..., None]) == 1


def test_nothing_light_is_drawn_around_ink_when_an_image_is_enlarged() -> None:
    image = np.full((30, 40, 1), 240, np.uint8)
    image[6:24, 18:21] = 20
    large, scale = at_working_size(image)
    assert (scale, large.shape) == (4, (120, 160, 1))
    assert (large.min(), large.max()) == (20, 240)
    np.testing.assert_allclose(large[60, [60, 71, 78, 84, 95], 0], [240, 164, 20, 164, 240], atol=2)


def test_boxes_of_enlarged_pixels_are_in_the_pixels_of_the_picture() -> None:
    image = np.full((30, 40), 255, np.uint8)
    image[6:24, 18:21] = 0
    large = image.repeat(10, axis=0).repeat(10, axis=1)
    for picture, side in ((image, 1), (large, 10)):
        (digit,) = find_digits(picture)
        assert digit.box == pytest.approx((18 * side, 6 * side, 21 * side, 24 * side), abs=side)


def drawn_note(digit: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks of a paper of 80 x 80 and of a cross that cuts it into four pieces."""
    paper, ink = np.zeros((2, 200, 300), bool)
    paper[50:130, 100:180] = True
    if digit:
        ink[45:135, 130:142] = ink[80:92, 95:185] = True
    return paper & ~ink, ink


def test_a_paper_in_pieces_is_a_note() -> None:
    paper, ink = drawn_note()
    (note,) = notes_of(paper, ink, light=False)
    inside = np.zeros_like(ink)
    inside[50:130, 100:180] = True
    assert (note.where ^ inside).sum() <= 4 * 80 * 2  # to a grid of 64 pixels
    assert not (note.ink & ~ink).any()
    assert (note.ink ^ (ink & inside)).sum() <= 4 * 12 * 2
    rows = np.flatnonzero(note.inner.any(axis=1))
    assert (rows[0], rows[-1]) == pytest.approx((50 + RIM, 129 - RIM), abs=2)
    assert notes_of(*drawn_note(digit=False), light=False) == []


def test_the_strokes_of_a_round_digit_and_the_spaces_between_them_are_no_note() -> None:
    y, x = np.indices((200, 300))
    disc = np.hypot(y - 90, x - 140) < 45
    hole = np.hypot(y - 90, x - 140) < 28
    assert notes_of(disc & ~hole, hole, light=False) == []


def test_a_digit_that_crosses_its_note_is_found() -> None:
    picture = np.full((300, 400), 40, np.uint8)
    picture[100:190, 150:240] = 230
    picture[95:195, 188:200] = 30  # a 1 from table to table
    (digit,) = find_digits(picture)
    left, top, right, bottom = digit.box
    assert (left, right) == pytest.approx((188, 200), abs=2)
    assert (top, bottom) == pytest.approx((98, 192), abs=8)


def box_with(stroke: tuple[slice, slice] | None) -> np.ndarray:
    picture = np.full((300, 400), 240, np.uint8)
    picture[100:200, 150:250] = 20
    picture[104:196, 154:246] = 240
    if stroke:
        picture[stroke] = 20
    return picture


def test_a_box_that_its_digit_crosses_is_taken_away() -> None:
    (digit,) = find_digits(box_with((slice(90, 180), slice(195, 207))))
    np.testing.assert_allclose(digit.box, (195, 90, 207, 180), atol=1)


def test_a_box_with_nothing_but_a_line_in_it_stays() -> None:
    for stroke in (None, (slice(148, 152), slice(150, 250))):  # the 0 and the 8 of a display
        (digit,) = find_digits(box_with(stroke))
        np.testing.assert_allclose(digit.box, (150, 100, 250, 200), atol=1)


def test_boxes_are_looked_for_again_only_where_there_is_one() -> None:
    masks = []
    mask = np.zeros((50, 50), bool)
    assert without_boxes(mask, lambda m: masks.append(m) or []) == []
    assert len(masks) == 1


def test_an_i_keeps_its_dot() -> None:
    picture = np.full((200, 200), 240, np.uint8)
    picture[80:150, 95:105] = 20
    ranked, _, _ = find(picture[..., None])
    assert len(ranked[0].labels) == 1
    picture[55:66, 94:105] = 20
    ranked, _, _ = find(picture[..., None])
    assert (len(ranked[0].labels), ranked[0].top, ranked[0].bottom) == (2, 55, 150)
