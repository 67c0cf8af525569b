"""One Chromium and one page serve most tests; each test begins with the example 5, as it opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, opened
from drawing_page import settle
from page_controls import OPENED

from nplenet.checkpoint import DEFAULT_MODEL, load_model
from nplenet.layers import Layer
from nplenet.page import write_page


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium, headless; skips where there is none."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def lenet() -> Layer:
    """The bundled model."""
    return load_model(DEFAULT_MODEL)


@pytest.fixture(scope="package")
def lenet_file(lenet: Layer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the bundled model."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(lenet, path)
    return path


@pytest.fixture(scope="package")
def desk(browser: Any, lenet_file: Path) -> Iterator[Any]:
    """The page that the tests share."""
    with opened(browser, lenet_file, viewport={"width": 1280, "height": 900}) as page:
        yield page


@pytest.fixture
def page(desk: Any) -> Any:
    """The shared page, as it opens."""
    desk.evaluate(OPENED)
    settle(desk)
    return desk
