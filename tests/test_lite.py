"""JupyterLite with the book's notebooks: a browser lists and opens them, without a network.

Pyodide, which runs their cells, comes from its CDN or from the distribution that the environment
variable NPLENET_PYODIDE names; only with the latter are cells run here.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium

ROOT = Path(__file__).parents[1]
PYODIDE = os.environ.get("NPLENET_PYODIDE")

needs_lite = pytest.mark.skipif(
    importlib.util.find_spec("jupyterlite_core") is None
    or importlib.util.find_spec("jupyterlite_pyodide_kernel") is None,
    reason="JupyterLite is built with `pip install '.[lite]'`",
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build the site and serve it on this machine."""
    folder = tmp_path_factory.mktemp("lite") / "site"
    command = [sys.executable, str(ROOT / "tools" / "make_lite.py"), str(folder)]
    command += ["--pyodide", PYODIDE] if PYODIDE else []
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def load_tool() -> Any:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import make_lite
    finally:
        sys.path.pop(0)
    return make_lite


def test_what_cannot_run_in_a_browser_is_left_out_and_named(tmp_path: Path) -> None:
    tool = load_tool()
    tool.write_contents(tmp_path)
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    for chapter, reason in tool.LEFT_OUT.items():
        assert not (tmp_path / tool.make_notebooks.file_name(chapter)).exists()
        assert f"not in a browser, because {reason}" in readme
    notebooks = sorted(tmp_path.glob("*.ipynb"))
    assert len(notebooks) == len(tool.make_notebooks.chapters()) - len(tool.LEFT_OUT)
    for file in notebooks:
        assert f"]({file.name})" in readme
        notebook = json.loads(file.read_text(encoding="utf-8"))
        assert notebook["cells"][0]["source"] == tool.INSTALL


@needs_lite
def test_a_browser_lists_and_opens_the_notebooks(site: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.route(
            "**/*",
            lambda route: (
                route.continue_() if route.request.url.startswith(site) else route.abort()
            ),
        )
        page.goto(f"{site}/lab/index.html?path=01-first-network.ipynb")
        page.get_by_role("heading", name="A network by hand").wait_for()
        assert "%pip install -q nplenet" in page.locator(".jp-Notebook").inner_text()
        page.locator(".jp-DirListing-item", has_text="04-convolution.ipynb").wait_for()
        assert page.locator(".jp-DirListing-item", has_text="17-cuda.ipynb").count() == 0


@needs_lite
@pytest.mark.skipif(not PYODIDE, reason="NPLENET_PYODIDE names no distribution of Pyodide")
@pytest.mark.parametrize("notebook", ["01-first-network", "04-convolution"])
def test_cells_run_in_a_browser(site: str, notebook: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(f"{site}/lab/index.html?path={notebook}.ipynb")
        page.locator(".jp-Notebook").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.get_by_text("Not yet: define").last.wait_for()


def test_the_book_says_which_chapters_a_browser_can_not_run() -> None:
    tool = load_tool()
    chapters = tool.make_notebooks.chapters()
    numbers = [chapters.index(chapter) + 1 for chapter in tool.LEFT_OUT]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert f"Chapters {numbers[0]} to {numbers[-1]} are left out there" in index
