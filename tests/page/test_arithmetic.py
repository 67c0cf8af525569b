"""Pointing at a value shows how it was made."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import opened
from drawing_page import (
    draw,
    network_input,
    settle,
    shown_number,
)
from page_controls import hover

from nplenet.layers import (
    GELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    GroupNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from nplenet.page import computed_layers, write_page

SHOWN = 1e-4  # four decimals are shown, and the sums differ as above


def every_layer() -> Sequential:
    """Return a model of the page's form with every class of layer in it."""
    rng = np.random.default_rng(0)
    model = Sequential(
        Conv2d(1, 4, 5, padding=2, rng=rng),
        LeakyReLU(0.2),
        MaxPool2d(3, stride=2, padding=1),
        features=Sequential(
            BatchNorm2d(4),
            Conv2d(4, 6, (3, 2), stride=2, bias=False, groups=2, dilation=(1, 2), rng=rng),
            GroupNorm(3, 6),
            Sigmoid(),
            AvgPool2d(2, stride=2, padding=1, count_include_pad=False),
        ),
        block=Residual(
            Sequential(Residual(Tanh()), Conv2d(6, 6, 1, rng=rng)), Conv2d(6, 6, 1, rng=rng)
        ),
        classifier=Sequential(
            GlobalAvgPool2d(),
            Flatten(),
            LayerNorm(6),
            Dense(6, 20, rng=rng),
            BatchNorm1d(20),
            Tanh(),
            Dropout(0.5),
            Dense(20, 12, bias=False, rng=rng),
            GELU(),
            ReLU(),
            Softmax(),
            Dense(12, 7, rng=rng),
        ),
    )
    for _, layer in model.modules():
        if isinstance(layer, (BatchNorm1d, BatchNorm2d)):
            layer.running_mean += 0.3 * rng.standard_normal(layer.num_features, np.float32)
            layer.running_var += rng.uniform(-0.5, 0.5, layer.num_features)
            layer.weight.data -= 0.3
            layer.bias.data += 0.1
    return model.eval()


def result(page: Any) -> float:
    """Return the value that the panel explains."""
    return shown_number(page.text_content(".total"))


def outputs(model: Layer, x: np.ndarray) -> list[np.ndarray]:
    """Return the input and the output of every layer, chains flattened, for one image.

    A residual block has its body's layers, then its shortcut's, then itself.
    """
    return [value[0] for value in [x, *_outputs(model, x)]]


def _outputs(model: Layer, x: np.ndarray) -> list[np.ndarray]:
    if isinstance(model, Sequential):
        values: list[np.ndarray] = []
        for layer in model.layers.values():
            values += _outputs(layer, values[-1] if values else x)
        return values
    if isinstance(model, Residual):
        ways = [way for way in (model.body, model.shortcut) if way is not None]
        return [value for way in ways for value in _outputs(way, x)] + [model(x)]
    return [model(x)]


def test_pointing_at_a_feature_map_shows_its_sum(page: Any, lenet: Layer) -> None:
    page.evaluate("() => document.querySelectorAll('.layer')[1].scrollIntoView()")
    settle(page)
    x = network_input(page)
    place = hover(page, 1)
    expected = outputs(lenet, x)[1][place]
    assert abs(result(page) - expected) < SHOWN
    f, row, column = place
    weight = lenet.features[0].weight.data[f, 0]
    cells = [
        page.locator(".grids figure").nth(n).locator("text").all_text_contents() for n in range(3)
    ]
    window, kernel, products = (
        np.reshape([shown_number(text) for text in texts], (5, 5)) for texts in cells
    )
    expected_window = x[0, 0, row : row + 5, column : column + 5]
    # Cells show two decimals.
    np.testing.assert_allclose(window, expected_window, atol=0.0051)
    np.testing.assert_allclose(kernel, weight, atol=0.0051)
    np.testing.assert_allclose(products, expected_window * weight, atol=0.0051)


@pytest.mark.parametrize("which", ["lenet5", "every layer"])
def test_every_layer_explains_the_value_that_python_computes(
    browser: Any, lenet: Layer, tmp_path: Path, which: str
) -> None:
    model = lenet if which == "lenet5" else every_layer()
    write_page(model, tmp_path / "page.html")
    with opened(browser, tmp_path / "page.html") as page:
        draw(page, "3")
        values = outputs(model, network_input(page))
        assert page.locator(".layer").count() == len(values) + 1  # softmax too
        for k, value in enumerate(values):
            place = hover(page, k)
            assert abs(result(page) - value[place]) < SHOWN, page.inner_text("#which")
        (unit,) = hover(page, len(values))
        trust = model.trust
        logits = values[-1] / (1 if trust is None else trust.temperature)
        powers = np.exp(logits - logits.max())
        assert abs(result(page) - powers[unit] / powers.sum()) < SHOWN


def test_the_strongest_inputs_of_a_dense_unit_are_named(page: Any, lenet: Layer) -> None:
    settle(page)
    x = outputs(lenet, network_input(page))[9]
    (unit,) = hover(page, 10)
    products = x * lenet.classifier[1].weight.data[unit]
    rows = page.locator(".terms tbody tr").all()
    strongest = np.argsort(-np.abs(products))[: len(rows) - 1]
    for row, i in zip(rows, strongest, strict=False):
        name = tuple(int(n) for n in row.locator("th").inner_text().split(","))
        assert name == tuple(int(n) for n in np.unravel_index(i, (16, 5, 5)))
        assert abs(shown_number(row.locator("b").inner_text()) - products[i]) < SHOWN
    others = shown_number(rows[-1].locator("b").inner_text())
    assert abs(others - np.delete(products, strongest).sum()) < SHOWN


def test_a_click_keeps_a_value_until_it_is_closed(page: Any) -> None:
    first = hover(page, 1)
    page.mouse.down()
    page.mouse.up()
    assert hover(page, 1, x=70) == first
    page.click("#close")
    assert page.is_visible("#hint")
    assert hover(page, 1, x=70) != first


def test_the_keyboard_reaches_every_value_and_the_arithmetic_is_spoken(page: Any) -> None:
    page.locator(".layer .maps").nth(1).focus()
    for key in ("PageDown", "ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert page.inner_text("#place") == "map 1, row 2, column 1"
    spoken = page.text_content("#spoken")
    assert spoken.startswith("map 1, row 2, column 1. The sum of 25 products")
    assert page.text_content(".total") in spoken


WIDTHS = {"desktop": (1280, 900), "phone": (360, 640)}


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_reaches_beyond_the_screen(browser: Any, lenet_file: Path, width: str) -> None:
    w, h = WIDTHS[width]
    with opened(browser, lenet_file, viewport={"width": w, "height": h}) as page:
        for k in (5, 10, 2):
            hover(page, k)
            panel = page.evaluate(
                "() => { const p = document.getElementById('panel');"
                " return [p.scrollWidth, p.clientWidth] }"
            )
            assert panel[0] <= panel[1]
        assert page.evaluate("() => document.documentElement.scrollWidth") <= w


def test_every_layer_that_is_computed_is_tried_on_a_page() -> None:
    tried = {type(layer).__name__ for _, layer in every_layer().modules()} - {"Sequential"}
    assert tried == computed_layers()


@pytest.mark.parametrize("place", ["explain.js const EXPLAIN", "sentences.js const sentences"])
def test_every_layer_that_is_computed_is_explained(place: str) -> None:
    module, _, table = place.partition(" ")
    source = (resources.files("nplenet.page") / module).read_text("utf-8")
    entries = re.search(rf"{table} = {{(.*?)^ *}};", source, re.MULTILINE | re.DOTALL)
    assert entries
    names = re.findall(r"^ +([A-Z]\w+):", entries[1], re.MULTILINE)
    assert sorted(names) == sorted(computed_layers())
