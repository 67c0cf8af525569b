"""What stays in sight: board, answer, and a map of the network."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from drawing_page import (
    draw,
    ink,
    prepared,
    settle,
)
from page_controls import SET, choose, kernel
from PIL import Image


def test_what_the_network_sees_stands_beside_the_board(page: Any) -> None:
    draw(page, "4")
    for canvas in ("seen", "small-seen"):
        url = page.evaluate("id => document.getElementById(id).toDataURL()", canvas)
        seen = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        np.testing.assert_array_equal(np.asarray(seen)[:, :, 0], prepared(page))
    board, seen_box = (page.locator(name).bounding_box() for name in ("#board", "#seen"))
    assert board["x"] + board["width"] < seen_box["x"]
    assert abs(board["y"] - seen_box["y"]) < 2


def test_equal_shares_of_drawing_and_inverse_have_bars_of_equal_length(page: Any) -> None:
    texts = page.locator("#bars tr.most .share-text").all_inner_texts()
    assert texts == ["100 %", "100 %"]
    page.evaluate("() => Promise.all(document.getAnimations().map(moving => moving.finished))")
    first, second = (page.locator(f"#bars tr.most .{kind} .bar") for kind in ("image", "inverse"))
    assert abs(first.bounding_box()["width"] - second.bounding_box()["width"]) < 2


def test_board_and_answer_stay_in_sight_and_one_draws_there_too(page: Any) -> None:
    page.evaluate("() => document.getElementById('layer-12').scrollIntoView()")
    settle(page)
    assert page.locator("#strip").bounding_box()["y"] == 0
    assert page.inner_text("#small-answer") == "5"
    draw(page, "7", "#small-board")
    assert page.inner_text("#small-answer") == "7"
    assert page.inner_text("#small-sure") == page.text_content("#sure")
    assert ink(page).any()


def test_the_map_shows_where_one_is_and_leads_to_every_layer(page: Any) -> None:
    links = page.locator("#overview a")
    assert links.count() == page.locator(".layer").count()
    for k in (5, 17, 1):
        links.nth(k).click()
        page.wait_for_function(
            "k => document.querySelectorAll('#overview a')[k].ariaCurrent === 'true'", arg=k
        )
        assert page.locator("#overview [aria-current]").count() == 1
        title = page.locator(f"#layer-{k} h3").bounding_box()
        strip = page.locator("#strip").bounding_box()
        assert strip["y"] + strip["height"] <= title["y"] < 900
    label = "Conv2d features.4: 10 × 10, 16 maps"  # noqa: RUF001
    assert links.nth(5).get_attribute("aria-label") == label


def test_nothing_moves_when_something_is_switched_chosen_or_slid(page: Any) -> None:
    tops = "() => [...document.querySelectorAll('.layer')].map((layer) => layer.offsetTop)"
    before = page.evaluate(tops)
    kernel(page, 5, 2).click()
    page.evaluate(SET, ["temperature", 3])
    choose(page, 5, 1, 2, 3)
    page.click("#slide-step")
    page.click("#clear")
    settle(page)
    assert page.evaluate(tops) == before
