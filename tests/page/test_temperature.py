"""How sure the network is: the temperature of the softmax, and when an answer is unsure."""

from __future__ import annotations

from typing import Any

import numpy as np
from drawing_page import (
    draw,
    network_input,
    prepared,
    settle,
    shown_number,
)
from page_controls import PERCENT, SET, probabilities

from nplenet.layers import (
    Layer,
)
from nplenet.losses import softmax
from nplenet.trust import calibrated, judged


def test_the_temperature_divides_the_outputs(page: Any, lenet: Layer) -> None:
    logits = lenet(network_input(page))
    for exponent, shown in ((5, "32"), (2, "4"), (-3, "0.13")):
        page.evaluate(SET, ["temperature", exponent])
        assert page.inner_text("#kelvin") == shown
        expected = softmax(logits / np.float32(float(shown)))[0]
        np.testing.assert_allclose(probabilities(page), expected, atol=PERCENT)
    page.evaluate(SET, ["temperature", 3])
    page.locator(".maps").last.focus()
    page.locator(".maps").last.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert abs(shown_number(page.text_content(".total")) - softmax(logits / 8)[0, 0]) < 1e-4


def test_it_begins_at_the_models_own_which_is_marked(page: Any, lenet: Layer) -> None:
    x, own = network_input(page), lenet.trust.temperature
    assert page.inner_text("#kelvin") == f"{own:.2g}"
    assert f"this model\u2019s own, {own:.2g}:" in page.inner_text("#own-words")
    slider, mark = (page.locator(name).bounding_box() for name in ("#temperature", "#own-mark"))
    share = (np.log2(own) + 3) / 8  # from 2 ** -3 to 2 ** 5; the slider's steps are 2 ** 0.1
    middle = mark["x"] + mark["width"] / 2 - slider["x"]
    assert abs(middle - (8 + share * (slider["width"] - 16))) < slider["width"] / 80
    expected = calibrated(lenet(x), lenet.trust)[0]
    np.testing.assert_allclose(probabilities(page), expected, atol=PERCENT)


def test_one_comes_back_to_the_models_own_temperature(page: Any, lenet: Layer) -> None:
    begun = probabilities(page)
    back = page.locator("#own-temperature")
    assert not back.is_visible()
    page.evaluate(SET, ["temperature", 4])
    assert np.abs(probabilities(page) - begun).max() > 0.05
    assert back.inner_text() == f"Back to {lenet.trust.temperature:.2g}"
    back.click()
    assert not back.is_visible()
    np.testing.assert_array_equal(probabilities(page), begun)
    page.evaluate(SET, ["temperature", 4])
    page.evaluate(SET, ["temperature", np.log2(lenet.trust.temperature)])  # by the slider, too
    np.testing.assert_array_equal(probabilities(page), begun)


def test_an_unsure_answer_says_why(page: Any, lenet: Layer) -> None:
    found = {}
    for drawn in ("4", "scribble"):
        page.click("#clear")
        draw(page, drawn)
        p = calibrated(lenet(network_input(page)), lenet.trust)[0]
        answer = judged(p, lenet.trust, prepared(page))
        assert page.inner_text("#doubt") == ("" if answer.sure else f"unsure: {answer.reason}")
        found[drawn] = answer.sure
    assert found == {"4": True, "scribble": False}
    page.click("#clear")
    settle(page)
    assert page.inner_text("#doubt") == ""
