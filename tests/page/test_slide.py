"""The window slides over the maps, step by step or by itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from browser import opened
from page_controls import choose, place
from PIL import Image


def test_step_and_back_move_the_window_by_one_value(page: Any) -> None:
    choose(page, 1, 2, 0, 27)
    page.focus("#slide-step")
    page.keyboard.press("Enter")
    assert place(page) == "map 2, row 1, column 0"
    assert page.text_content("#spoken").startswith("map 2, row 1, column 0. The sum of 25")
    page.click("#slide-back")
    page.click("#slide-back")
    assert place(page) == "map 2, row 0, column 26"


def test_play_goes_to_the_end_of_the_map_and_grows_it(page: Any) -> None:

    def last_cell() -> np.ndarray:
        url = page.evaluate("() => document.getElementById('slide-after').toDataURL()")
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
        return picture[-10:-5, -10:-5].astype(int)  # within the last value's frame

    choose(page, 4, 0, 13, 9)
    before = last_cell()
    play = (
        "() => { const b = document.getElementById('slide-play'); b.click(); return b.innerText }"
    )
    assert page.evaluate(play) == "Pause"
    page.wait_for_function("() => document.getElementById('slide-play').textContent === 'Play'")
    assert place(page) == "map 0, row 13, column 13"
    assert np.abs(last_cell() - before).max() > 10


def test_play_stops_when_one_pauses_chooses_or_closes(page: Any) -> None:
    page.locator("#layer-5 .slide-it").click()
    assert place(page) == "map 0, row 0, column 0"
    page.wait_for_function("() => /column 1$/.test(document.getElementById('place').textContent)")
    for stop in ("click", "Escape"):
        page.click("#slide-play")  # pause; then play again, and close
        if stop == "Escape":
            page.keyboard.press("Escape")
        assert page.text_content("#slide-play") == "Play"
        where = page.text_content("#place")
        page.wait_for_timeout(450)  # a step of this map takes 200 ms
        assert page.text_content("#place") == where


def test_with_less_motion_play_goes_row_by_row(browser: Any, lenet_file: Path) -> None:
    with opened(browser, lenet_file, reduced_motion="reduce") as page:
        page.locator("#layer-1 .slide-it").click()
        page.wait_for_timeout(400)
        assert place(page) == "map 0, row 0, column 0"
        page.wait_for_function(
            "() => /row 1, column 0$/.test(document.getElementById('place').textContent)"
        )
