"""Kernels are pictures and switches."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from drawing_page import (
    network_input,
    settle,
)
from page_controls import BACK, PERCENT, SET, choose, kernel, place, probabilities
from PIL import Image

from nplenet.checkpoint import DEFAULT_MODEL, load_model
from nplenet.layers import (
    Conv2d,
    Layer,
)
from nplenet.losses import softmax


@pytest.mark.parametrize(("k", "f", "channel"), [(1, 2, 0), (5, 3, 4)])
def test_kernels_are_shown_without_pointing(
    page: Any, lenet: Layer, k: int, f: int, channel: int
) -> None:
    layer = [layer for _, layer in lenet.modules() if isinstance(layer, Conv2d)][k > 1]
    weight = layer.weight.data[f, channel] / np.abs(layer.weight.data).max()
    picture, negative, zero, positive = page.evaluate(
        """([k, f]) => {
            const canvas = document.querySelectorAll(`#layer-${k} .kernels canvas`)[f];
            const style = getComputedStyle(document.documentElement);
            const ends = ["--negative", "--zero", "--positive"];
            return [canvas.toDataURL(), ...ends.map((name) => style.getPropertyValue(name))];
        }""",
        [k, f],
    )
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))))
    # Kernels of one channel have cells of 9 pixels; of six channels, three a row, of 4 and a gap.
    cell = 9 if k == 1 else 4
    x, y = (channel % 3) * (5 * cell + 2), (channel // 3) * (5 * cell + 2)
    centres = cell // 2 + cell * np.arange(5)
    found = image[y + centres][:, x + centres, :3]
    ends = [np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) for colour in
            (negative, zero, positive)]  # fmt: skip
    share = np.abs(weight)[..., None]
    end = np.where(weight[..., None] < 0, ends[0], ends[2])
    np.testing.assert_allclose(found, ends[1] + (end - ends[1]) * share, atol=1)


def test_without_a_kernel_the_answer_is_that_of_python(page: Any, lenet: Layer) -> None:
    x = network_input(page)
    with_all = page.inner_text("#small-sure")
    page.evaluate(
        SET, ["temperature", 2]
    )  # of 4, where every class gets a share that can be compared
    off = (1, 2, 6)
    for f in off:
        kernel(page, 5, f).click()
        assert kernel(page, 5, f).get_attribute("aria-checked") == "false"
    settle(page)
    pruned = load_model(DEFAULT_MODEL)
    layer = [layer for _, layer in pruned.modules() if isinstance(layer, Conv2d)][1]
    layer.weight.data[list(off)] = 0
    if layer.bias is not None:
        layer.bias.data[list(off)] = 0
    expected = softmax(pruned(x) / 4)[0]
    whole = softmax(lenet(x) / 4)[0]
    np.testing.assert_allclose(probabilities(page), expected, atol=PERCENT)
    assert np.abs(expected - whole).max() > 0.02  # it is another answer
    assert f"3 kernels off; with all: 5, {100 * whole[5]:.0f} %" == page.inner_text("#switched")
    page.click("#all-on")
    page.evaluate(BACK)
    assert page.inner_text("#switched") == "all kernels on"
    assert page.inner_text("#small-sure") == with_all


def test_the_map_of_a_kernel_that_is_off_is_zero_in_the_arithmetic_too(page: Any) -> None:
    kernel(page, 1, 3).focus()
    page.keyboard.press("Space")
    choose(page, 1, 3, 10, 10)
    assert place(page) == "map 3, row 10, column 10"
    assert page.text_content(".total") == "0.0000"
    assert "used" in kernel(page, 1, 3).get_attribute("class")
