"""Several digits on the board, and several strokes that are one digit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawing_page import (
    draw,
    ink,
    lead,
    settle,
)
from page_controls import SET

SINGLE = {
    "4, two strokes that cross": [[(0.6, 0), (0.08, 0.65), (0.95, 0.62)],
                                  [(0.68, 0.35), (0.64, 1)]],
    "4, its strokes apart": [[(0.3, 0), (0, 0.6), (0.6, 0.6)], [(0.86, 0.3), (0.84, 1)]],
    "5, its bar above": [[(0.2, 0.18), (0.15, 0.45), (0.6, 0.42), (0.85, 0.7), (0.6, 0.98),
                          (0.1, 0.95)], [(0.25, 0), (0.95, -0.03)]],
    "5, its bar to the right": [[(0.1, 0), (0.1, 0.42), (0.5, 0.4), (0.8, 0.7), (0.5, 1),
                                 (0, 0.95)], [(0.36, -0.02), (1, 0)]],
    "8, two circles": [[(0.5, 0), (0.2, 0.2), (0.5, 0.4), (0.8, 0.2), (0.5, 0)],
                       [(0.5, 0.54), (0.1, 0.77), (0.5, 1), (0.9, 0.77), (0.5, 0.54)]],
    "3, a dry pen": [[(0.12, 0.1), (0.4, 0), (0.75, 0.06), (0.82, 0.25), (0.65, 0.4)],
                     [(0.75, 0.56), (0.88, 0.75), (0.7, 0.95), (0.38, 1), (0.08, 0.9)]],
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_a_digit_of_several_strokes_is_one(page: Any, name: str) -> None:
    page.evaluate(SET, ["thickness", 24])
    page.click("#clear")
    lead(page, SINGLE[name])
    boxes = page.evaluate(
        """() => nplenet.findDrawnDigits(nplenet.ink(), 448, 448).map(
            ({ box: { top, left, height, width } }) => [top, left, top + height, left + width])"""
    )
    rows, columns = np.nonzero(ink(page) > 127)  # the rim's threshold may be another one
    sides = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    np.testing.assert_allclose(boxes, [sides], atol=2)


def test_of_several_digits_one_is_chosen_by_its_box(page: Any) -> None:
    page.click("#clear")
    draw(page, "3", left=0.08, width=0.3)
    draw(page, "7", left=0.58, width=0.3)
    buttons = page.locator("#boxes button")
    assert buttons.all_inner_texts() == ["3", "7"]
    assert page.inner_text("#reading") == "In reading order: 3 7"
    assert page.inner_text("#answer") == "3"
    buttons.nth(1).press("Enter")
    settle(page)
    assert page.inner_text("#answer") == "7"
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    assert buttons.nth(1).get_attribute("aria-label") == "digit 2 of 2: 7"


def test_a_stroke_may_begin_at_the_corner_of_another_digits_box(page: Any) -> None:
    page.evaluate(SET, ["thickness", 20])
    page.click("#clear")
    draw(page, "3", left=0.08, width=0.25)
    for stroke in SINGLE["5, its bar above"]:  # the bar begins where the rest has its corner
        lead(page, [stroke], left=0.55, width=0.3)
    assert page.locator("#boxes button").all_inner_texts() == ["3", "5"]


def test_a_digit_at_the_edge_of_the_board_is_read_too(page: Any) -> None:
    page.click("#clear")
    draw(page, "3", left=-0.02, width=0.3)
    draw(page, "7", left=0.5, width=0.3)
    assert ink(page)[:, 0].any()
    assert page.locator("#boxes button").all_inner_texts() == ["3", "7"]


def test_digits_are_read_line_by_line_each_from_left_to_right(page: Any) -> None:
    page.evaluate(SET, ["thickness", 20])
    page.click("#clear")
    for digit, left, top in (("3", 0.3, 0.57), ("7", 0.55, 0.1), ("4", 0.15, 0.13)):
        draw(page, digit, left=left, top=top, width=0.22, height=0.32)
    assert page.locator("#boxes button").all_inner_texts() == ["4", "7", "3"]


def test_slanted_digits_are_two_though_their_boxes_overlap(page: Any) -> None:
    page.evaluate(SET, ["thickness", 20])
    page.click("#clear")
    lead(page, [[(0.4, 0), (0.1, 1)], [(0.7, 0), (0.4, 1)]])
    assert page.locator("#boxes button").count() == 2


def test_specks_and_the_line_below_digits_are_not_digits(page: Any) -> None:
    page.evaluate(SET, ["thickness", 20])
    page.click("#clear")
    draw(page, "4", left=0.1, width=0.25, height=0.4)
    draw(page, "7", left=0.5, width=0.25, height=0.4)
    lead(page, [[(0, 0), (1, 0.02)]], left=0.1, width=0.7, top=0.66)
    page.evaluate(SET, ["thickness", 8])
    lead(page, [[(0, 0), (0.1, 0)]], left=0.9, top=0.3)
    assert page.locator("#boxes button").all_inner_texts() == ["4", "7"]
