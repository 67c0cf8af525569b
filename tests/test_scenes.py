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
from nplenet.segment.lines import rules_of, without
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
