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
import zipfile
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
    settings = folder / "jupyter-lite.json"
    values = json.loads(settings.read_text(encoding="utf-8"))
    values["jupyter-config-data"]["exposeAppInBrowser"] = True  # as jupyterapp, for `cells`
    settings.write_text(json.dumps(values), encoding="utf-8")
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
        assert notebook["metadata"]["kernelspec"]["name"] == "python"  # as the kernel there


def write_wheel(path: Path, *metadata: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    name, version = path.name.split("-")[:2]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(metadata))


def test_a_site_that_would_ask_pypi_is_refused(tmp_path: Path) -> None:
    kernel = tmp_path / "extensions" / "@jupyterlite" / "pyodide-kernel-extension" / "static"
    write_wheel(kernel / "pypi" / "pyodide_kernel-1-py3-none-any.whl", "Requires-Dist: comm")
    write_wheel(kernel / "pypi" / "a-1-py3-none-any.whl", "Requires-Dist: pyodide-kernel")
    needs = ("numpy>=2", "b-c (>=1)", "d[e]", "f; extra == 'g'", 'h>1; extra == "g"', "six")
    lines = [f"Requires-Dist: {need}" for need in needs]
    write_wheel(tmp_path / "pypi" / "x-1-py3-none-any.whl", *lines)
    tool = load_tool()
    assert tool.asked_of_pypi(tmp_path) == {"b-c", "comm", "d"}
    with pytest.raises(SystemExit, match="would ask PyPI for b-c, comm, d: in PURE"):
        tool.check(tmp_path)
    for name in ("b_c", "comm", "d"):
        write_wheel(tmp_path / "pypi" / f"{name}-1-py3-none-any.whl")
    tool.check(tmp_path)


def test_a_pyodide_without_its_packages_is_refused(tmp_path: Path) -> None:
    tool = load_tool()
    folder = tmp_path / "static" / "pyodide"
    folder.mkdir(parents=True)
    packages = {name: {"file_name": f"{name}.whl", "depends": []} for name in tool.PART_OF_PYODIDE}
    packages["matplotlib"]["depends"] = ["Some_Thing", "numpy"]
    packages["some-thing"] = {"file_name": "some.whl", "depends": ["matplotlib", "else"]}
    for package in packages.values():
        (folder / package["file_name"]).touch()
    lock = folder / "pyodide-lock.json"
    lock.write_text(json.dumps({"packages": packages}), encoding="utf-8")
    (folder / "numpy.whl").unlink()  # as in pyodide-core: in the list, but not there
    assert tool.missing_files(folder) == ["else", "numpy"]
    with pytest.raises(SystemExit, match="no else, numpy"):
        tool.check(tmp_path)


def test_a_pyodide_is_found_from_where_the_tool_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = load_tool()
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "pyodide-1.tar.bz2"
    file.touch()
    assert tool.located(file.name) == str(file.resolve())
    assert tool.located("https://example.org/pyodide-1.tar.bz2").startswith("https://example.org/")
    (tmp_path / "site").mkdir()
    with pytest.raises(SystemExit, match=r"other\.bz2 is no file"):
        tool.build(tmp_path / "site", "other.bz2")
    assert (tmp_path / "site").is_dir()  # nothing was removed


def without_network(site: str, page: Any) -> None:
    """Let a page and its workers reach the site alone, as in a room without a network."""
    page.context.route(
        "**/*",
        lambda route: route.continue_() if route.request.url.startswith(site) else route.abort(),
    )


@needs_lite
def test_a_browser_lists_and_opens_the_notebooks(site: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(120_000)
        without_network(site, page)
        page.goto(f"{site}/lab/index.html?path=01-first-network.ipynb")
        page.get_by_role("heading", name="A network by hand").wait_for()
        assert "%pip install -q nplenet" in page.locator(".jp-Notebook").inner_text()
        page.locator(".jp-DirListing-item", has_text="04-convolution.ipynb").wait_for()
        assert page.locator(".jp-DirListing-item", has_text="17-cuda.ipynb").count() == 0


CELLS = "jupyterapp.shell.currentWidget.content.model.toJSON().cells"


def cells(page: Any) -> list[dict[str, Any]]:
    """Return the code cells of the open notebook, those that are out of view as well."""
    return [cell for cell in page.evaluate(CELLS) if cell["cell_type"] == "code"]


@needs_lite
@pytest.mark.skipif(not PYODIDE, reason="NPLENET_PYODIDE names no distribution of Pyodide")
@pytest.mark.parametrize("notebook", ["01-first-network", "04-convolution"])
def test_cells_run_in_a_browser(site: str, notebook: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(600_000)
        without_network(site, page)
        page.goto(f"{site}/lab/index.html?path={notebook}.ipynb")
        page.locator(".jp-Notebook").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_function(f"{CELLS}.findLast(c => c.cell_type == 'code').outputs.length")
        ran = cells(page)
    said = {kind: [] for kind in ("stream", "error", "display_data", "execute_result")}
    for cell in ran:
        for output in cell["outputs"]:
            said[output["output_type"]].append(output)
    assert said["error"] == []
    assert len(said["display_data"]) >= 2  # pictures by Matplotlib
    checks = [cell for cell in ran if "check" in cell["metadata"].get("tags", [])]
    assert len(checks) == 3
    for check in checks:
        assert "Not yet: define" in "".join(check["outputs"][0]["text"])


def test_the_book_says_which_chapters_a_browser_can_not_run() -> None:
    tool = load_tool()
    chapters = tool.make_notebooks.chapters()
    numbers = [chapters.index(chapter) + 1 for chapter in tool.LEFT_OUT]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert f"Chapters {numbers[0]} to {numbers[-1]} are left out there" in index
