"""The page is for everyone: light and dark, without JavaScript, with a screen reader."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from browser import opened
from page_controls import GIVE, choose, kernel, photo_of, png


def test_the_button_switches_between_light_and_dark(browser: Any, lenet_file: Path) -> None:
    background = "() => getComputedStyle(document.body).backgroundColor"
    with opened(browser, lenet_file, color_scheme="dark") as page:
        dark = page.evaluate(background)
        page.click("#theme")
        light = page.evaluate(background)
        page.click("#theme")
        assert page.evaluate(background) == dark != light


def test_without_javascript_the_page_says_what_it_needs(browser: Any, lenet_file: Path) -> None:
    with opened(browser, lenet_file, java_script_enabled=False) as page:
        assert page.inner_text(".notice").startswith("This page needs JavaScript.")
        assert not page.is_visible("main")


@pytest.mark.parametrize(
    ("theme", "size"), [("light", (1280, 900)), ("dark", (390, 844))], ids=["desk", "phone"]
)
def test_axe_finds_nothing_in_any_state(
    browser: Any, lenet_file: Path, theme: Any, size: tuple[int, int]
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs `pip install axe-playwright-python`"
    )
    options = {"color_scheme": theme, "viewport": {"width": size[0], "height": size[1]}}
    with opened(browser, lenet_file, **options) as page:
        page.evaluate(GIVE, ["drop", base64.b64encode(png(photo_of("3")[::2, ::2])).decode()])
        page.wait_for_selector("#boxes > div")
        page.click("#invert")
        page.evaluate("() => document.querySelectorAll('summary').forEach((one) => one.click())")
        kernel(page, 5, 2).evaluate("(button) => button.click()")
        if theme == "light":
            choose(page, 5, 1, 2, 3)  # the sums of a convolution
        else:
            page.locator("#layer-10 .maps").focus()  # and of a dense layer
            page.locator("#layer-10 .maps").press("ArrowRight")
        violations = axe.Axe().run(page).response["violations"]
        found = [(v["id"], v["impact"], [n["html"] for n in v["nodes"]]) for v in violations]
        assert found == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0]
