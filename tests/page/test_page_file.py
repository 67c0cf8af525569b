"""The one file of the page, and the command that writes it."""

from __future__ import annotations

import posixpath
import re
import webbrowser
from importlib import resources
from pathlib import Path

import pytest

from nplenet.__main__ import main
from nplenet.layers import (
    Layer,
)
from nplenet.page import MODULES, render


def test_the_file_refers_to_no_other(lenet: Layer) -> None:
    html = render(lenet)
    assert "://" not in html
    assert not re.search(r"\b(src|srcset|@import|url)\s*[=(]", html)
    assert "default-src 'none'" in html


def test_draw_writes_the_page_and_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not seen.append(url))
    path = tmp_path / "a page.html"
    assert main(["draw", "default", "--output", str(path)]) == 0
    assert seen == [path.as_uri()]
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert capsys.readouterr().out == f"wrote {path}\n"


def test_draw_opens_nothing_when_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail("opened"))
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "default", "--no-open"]) == 0
    assert (tmp_path / "page.html").is_file()


def test_the_file_is_smaller_than_700_kb(lenet_file: Path) -> None:
    assert lenet_file.stat().st_size < 700_000


def test_the_colours_are_those_of_the_report() -> None:
    style = (resources.files("nplenet.page") / "style.css").read_text("utf-8")
    report = (resources.files("nplenet.report") / "report.html").read_text("utf-8")
    pairs = {"background": "page", "text": "ink", "quiet": "quiet", "line": "line",
             "surface": "panel", "accent": "accent"}  # fmt: skip
    for theme in (0, 1):  # light, then dark
        for own, other in pairs.items():
            ours = re.findall(rf"--{own}: (#\w+)", style)
            assert ours[theme] == re.findall(rf"--{other}: (#\w+)", report)[theme], own
    for name, kind in (("--positive: #0072b2;", "--blue: #0072b2;"),
                       ("--negative: #d55e00;", "#d55e00")):  # fmt: skip
        assert name in style
        assert kind in report


def test_a_module_stands_behind_those_that_it_imports_and_imports_what_they_export() -> None:
    exported: dict[str, set[str]] = {}
    for module in MODULES:
        source = (resources.files("nplenet.page") / module).read_text("utf-8")
        for names, path in re.findall(r'^import {([^}]+)} from "([^"]+)";$', source, re.MULTILINE):
            found = exported[posixpath.normpath(posixpath.join(posixpath.dirname(module), path))]
            assert {name.split()[0] for name in names.split(",") if name.strip()} <= found, module
        pattern = r"^export (?:async )?(?:function|class|const) (\w+)"
        exported[module] = set(re.findall(pattern, source, re.MULTILINE))
    folder = resources.files("nplenet.page")
    files = {file.name for file in folder.iterdir() if file.name.endswith(".js")}
    files |= {f"segment/{file.name}" for file in (folder / "segment").iterdir()}
    assert files == set(MODULES)


def test_the_search_for_digits_has_the_modules_and_functions_of_python() -> None:
    """Each function of nplenet.segment stands in the module of that name, in camel case."""
    # What Pillow does is in resample.js; a flat array needs no slices; "in" is a reserved word.
    elsewhere = {"resized", "_rows", "_in"}
    folder = resources.files("nplenet.segment")
    modules = {file.name.removesuffix(".py") for file in folder.iterdir() if file.name[0] != "_"}
    for module in sorted(modules):
        python = (resources.files("nplenet.segment") / f"{module}.py").read_text("utf-8")
        script = (resources.files("nplenet.page") / "segment" / f"{module}.js").read_text("utf-8")
        for name in re.findall(r"^def (\w+)", python, re.MULTILINE):
            camel = re.sub(r"_(\w)", lambda found: found[1].upper(), name.strip("_"))
            assert name in elsewhere or re.search(
                rf"^(export )?function {camel}\(", script, re.MULTILINE
            ), f"{module}: {name}"
