"""One draws on the board: with a mouse, a finger or keys; the page prepares it as Python does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from browser import opened
from drawing_page import (
    STROKES,
    draw,
    ink,
    prepared,
    settle,
)
from page_controls import OPENED

from nplenet.layers import (
    Layer,
)
from nplenet.models import LeNet5For28x28
from nplenet.page import write_page
from nplenet.recognize import prepare, recognize


class Drawing(NamedTuple):
    """What the page made of strokes: ink and prepared image uint8 (H, W), bars (10, 2)."""

    ink: np.ndarray
    prepared: np.ndarray
    answer: str
    bars: np.ndarray


@pytest.fixture(scope="module")
def drawings(desk: Any) -> dict[str, Drawing]:
    desk.evaluate(OPENED)
    found = {}
    for digit in STROKES:
        desk.click("#clear")
        draw(desk, digit)
        cells = desk.locator("#bars .share-text").all_inner_texts()
        bars = np.array([float(text.removesuffix(" %")) / 100 for text in cells])
        answer = desk.inner_text("#answer")
        found[digit] = Drawing(ink(desk), prepared(desk), answer, bars.reshape(10, 2))
    return found


def test_the_page_opens_with_a_digit_and_reads_it(browser: Any, lenet_file: Path) -> None:
    with opened(browser, lenet_file) as page:
        settle(page)
        assert page.inner_text("#answer") == "5"


@pytest.mark.parametrize("digit", STROKES)
def test_a_drawn_digit_is_read(drawings: dict[str, Drawing], digit: str) -> None:
    assert drawings[digit].answer == digit


def test_a_finger_draws_too(browser: Any, lenet_file: Path) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with opened(browser, lenet_file, **phone) as page:
        box = page.locator("#board").bounding_box()
        session = page.context.new_cdp_session(page)
        (stroke,) = STROKES["3"]
        for n, (x, y) in enumerate(stroke):
            point = {
                "x": box["x"] + box["width"] * (0.3 + 0.4 * x),
                "y": box["y"] + box["height"] * (0.2 + 0.6 * y),
            }
            kind = "touchMove" if n else "touchStart"
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        settle(page)
        assert page.inner_text("#answer") == "3"


def test_the_keyboard_draws_too(page: Any) -> None:
    page.focus("#board")
    page.keyboard.press("Space")
    for _ in range(16):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")  # with the pen lifted
    settle(page)
    assert page.inner_text("#answer") == "1"


def test_undo_goes_back_stroke_by_stroke_and_clear_wipes_all(page: Any) -> None:
    first = ink(page)
    draw(page, "4")
    two_strokes = ink(page)
    page.click("#undo")
    assert 0 < ink(page).sum() < two_strokes.sum()
    page.click("#clear")
    assert not ink(page).any()
    settle(page)
    assert page.inner_text("#answer") == "\N{EN DASH}"
    for _ in range(2):
        page.keyboard.press("Control+z")
    np.testing.assert_array_equal(ink(page), first)


def test_the_pen_is_as_thick_as_its_slider_says(page: Any) -> None:
    def drawn(thickness: int) -> int:
        page.evaluate(
            "v => { const s = document.getElementById('thickness'); s.value = v;"
            " s.dispatchEvent(new Event('input')) }",
            thickness,
        )
        page.click("#clear")
        page.click("#board")
        return int(ink(page).sum())

    # A dot's area grows with the square of its width; pixels at its rim are rounded.
    assert drawn(60) / drawn(20) == pytest.approx(9, rel=0.05)


def test_a_turned_drawing_is_turned_back_by_its_inverse(page: Any) -> None:
    upright = ink(page)
    turn = (
        "v => { const s = document.getElementById('rotate'); s.value = v;"
        " s.dispatchEvent(new Event('input')) }"
    )
    page.evaluate(turn, 90)
    # A quarter turn clockwise maps pixels to pixels; the browser blends them at the rim otherwise.
    difference = np.abs(ink(page).astype(int) - np.rot90(upright, -1).astype(int))
    assert difference.mean() < 1
    page.evaluate(turn, 0)
    np.testing.assert_array_equal(ink(page), upright)


def test_every_example_is_read_as_what_it_is(page: Any) -> None:
    for digit in range(10):
        page.click(f"[aria-label='Example {digit}']")
        settle(page)
        assert page.inner_text("#answer") == str(digit)


@pytest.mark.parametrize("digit", STROKES)
def test_a_drawing_is_prepared_as_python_does(drawings: dict[str, Drawing], digit: str) -> None:
    # Python looks for the paper, and takes white to be 254.9 or 255.1; so some pixels of the rim
    # that are nearly white count or not, each a small part of one of 32x32.
    for grey in (255 - drawings[digit].ink, drawings[digit].ink):
        difference = np.abs(drawings[digit].prepared.astype(int) - prepare(grey))
        assert difference.mean() < 0.05
        assert difference.max() <= 4


@pytest.mark.parametrize("digit", STROKES)
def test_the_bars_are_what_predict_prints(
    drawings: dict[str, Drawing], lenet: Layer, digit: str
) -> None:
    assert lenet.trust is not None  # so these probabilities are calibrated
    expected = recognize(lenet, prepare(255 - drawings[digit].ink))
    # Shown are whole percents, or tenths of one; the image differs by some shades.
    np.testing.assert_allclose(drawings[digit].bars, np.transpose(expected), atol=0.02)


def test_invert_shows_the_network_the_inverse(page: Any) -> None:
    settle(page)
    before = page.locator("#bars .share-text").all_inner_texts()
    drawn = ink(page)
    page.click("#invert")
    settle(page)
    assert page.get_attribute("#invert", "aria-pressed") == "true"
    np.testing.assert_array_equal(ink(page), 255 - drawn)
    after = page.locator("#bars .share-text").all_inner_texts()
    assert (after[0::2], after[1::2]) == (before[1::2], before[0::2])


def test_a_network_for_mnists_own_size_sees_the_middle(browser: Any, tmp_path: Path) -> None:
    model = LeNet5For28x28(seed=0).eval()
    write_page(model, tmp_path / "page.html")
    with opened(browser, tmp_path / "page.html") as page:
        settle(page)
        seen = prepare(ink(page))[2:-2, 2:-2]
        expected = recognize(model, seen).probabilities.max()
        # An untrained network says some 11 %; the drawing is prepared alike but for some shades.
        assert abs(float(page.inner_text("#sure").split()[0]) / 100 - expected) < 0.01
