"""The run report: its numbers are history.json's, it needs nothing else, a browser is content."""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import chromium, opened

import nplenet
from nplenet import report
from nplenet.__main__ import main
from nplenet.augment import rotate
from nplenet.checkpoint import BEST, LATEST, load_model, save_model
from nplenet.commands import report as command
from nplenet.commands import train_options
from nplenet.data import load_dataset
from nplenet.layers import Sequential
from nplenet.report import DEGREES, SEED, write_report
from nplenet.report.html import Html, fill, html, markup, table
from nplenet.terminal import printable
from nplenet.train import evaluate

pytest.importorskip("matplotlib")

LIMIT = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two short epochs, with its report."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--dataset", "digits", "--limit", str(LIMIT), "--epochs", "2", "--batch-size", "16"]
    assert main(["train", *options, "--keep", "all", "--quiet", "--output", str(folder)]) == 0
    assert (folder / "report.html").exists()
    return folder


@pytest.fixture(scope="module")
def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "history.json").read_text())


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text())


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run on twelve images that kept its last epoch only; what the command said of its report."""
    folder = tmp_path_factory.mktemp("few")
    options = ["--dataset", "digits", "--limit", "12", "--epochs", "1", "--batch-size", "4"]
    with pytest.MonkeyPatch.context() as patch:  # one report is enough
        patch.setattr(report, "write_report", lambda folder, *_, **__: folder)
        assert main(["train", *options, "--quiet", "--output", str(folder)]) == 0
    assert not (folder / "report.html").exists()
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    with redirect_stdout(io.StringIO()) as output:
        assert command.run(parser.parse_args([str(folder), "--no-download"])) == 0
    return folder, output.getvalue()


@pytest.fixture(scope="module")
def few(by_command: tuple[Path, str]) -> Page:
    return Page((by_command[0] / "report.html").read_text())


class Page(HTMLParser):
    """An HTML page as tests need it.

    Attributes
    ----------
    tags : list of (tag, attributes)
    tables : dict of caption to rows
        A cell is the value of its ``data`` element, or its text.
    headline : list of float
        The numbers before the first table.
    text : str
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[Any]]] = {}
        self.headline: list[float] = []
        self.text = ""
        self._rows: list[list[Any]] = []
        self._open: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self._open.append(tag)
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag == "data":
            value = json.loads(attributes["value"] or "")
            if "td" in self._open:
                self._rows[-1][-1] = value
            elif not self.tables:
                self.headline.append(value)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:  # meta, link and br have no end
            pass

    def handle_data(self, data: str) -> None:
        self.text += data
        if "caption" in self._open:
            self.tables[data] = self._rows
        elif self._open[-1:] in (["td"], ["th"]) and isinstance(self._rows[-1][-1], str):
            self._rows[-1][-1] += data  # not a unit behind a number

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


# ------------------------------------------------------------------ numbers


def test_the_headline_is_the_result_of_the_run(page: Page, record: dict[str, Any]) -> None:
    test, inverted = record["test"], record["inverted_test"]
    found = page.headline
    assert found[:2] == [test["accuracy"], inverted["accuracy"]]
    assert found[3:] == [test["loss"], record["seconds"]]
    assert f"{test['accuracy']:.2%} of {LIMIT} test images correct" in page.text


def test_the_epochs_are_those_of_the_history(page: Page, record: dict[str, Any]) -> None:
    rows = page.tables["The epochs of the run"][1:]
    expected = [list(epoch.values()) for epoch in record["epochs"]]
    assert [[int(row[0]), *row[1:]] for row in rows] == expected


def test_the_confusion_matrix_is_that_of_the_history(page: Page, record: dict[str, Any]) -> None:
    rows = page.tables["Test images by label (row) and prediction (column)"][1:]
    found = [[0 if cell == "·" else cell for cell in row[1:]] for row in rows]
    assert found == record["test"]["confusion"]


def shares(confusion: list[list[int]]) -> list[float]:
    return [row[k] / sum(row) for k, row in enumerate(confusion)]


def test_each_class_has_its_accuracy_as_it_is_inverted_and_rotated(
    page: Page, record: dict[str, Any], folder: Path
) -> None:
    data = load_dataset("digits").limited(LIMIT)
    angles = np.random.default_rng(SEED).uniform(-DEGREES, DEGREES, LIMIT)
    rotated = evaluate(
        load_model(folder / LATEST), rotate(data.test_images, angles), data.test_labels
    )
    *classes, total = page.tables["Accuracy on the test images"][1:]
    columns = list(zip(*classes, strict=True))
    assert columns[2] == tuple(shares(record["test"]["confusion"]))
    assert columns[3] == tuple(shares(record["inverted_test"]["confusion"]))
    assert columns[4] == tuple(shares(rotated.confusion))
    assert total[2:] == [page.headline[0], page.headline[1], rotated.accuracy]
    assert page.headline[2] == rotated.accuracy


def test_a_class_without_images_has_no_accuracy(few: Page) -> None:
    rows = few.tables["Accuracy on the test images"][1:]
    assert ["0", "–"] in [[row[1], row[2]] for row in rows]  # noqa: RUF001


def test_the_command_in_it_repeats_the_run(page: Page, record: dict[str, Any]) -> None:
    words = shlex.split(next(line for line in page.text.splitlines() if "nplenet train" in line))
    parser = argparse.ArgumentParser()
    train_options.add_options(parser)
    options = parser.parse_args(words[2:])
    found = {**vars(options), **vars(train_options.settings_of(options, None))}
    expected = {**record["arguments"], "tunables": record["tunables"]}
    assert {name: found[name] for name in expected} == expected


def test_it_says_what_it_ran_on_and_shows_the_network(page: Page, record: dict[str, Any]) -> None:
    rows = dict(page.tables["Environment"])
    assert rows.items() >= record["environment"].items()
    for words in ("features.0 Conv2d", "(1, 16, 10, 10)", "61,728"):
        assert words in page.text


# ------------------------------------------------------------------ which network was tested


def test_the_network_that_was_tested_is_found_among_the_kept(
    folder: Path, record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("figure", "charts"):  # to spare a second or two
        monkeypatch.setattr(f"nplenet.report.sections.{name}", lambda *_: Html())
    shutil.copy(folder / LATEST, tmp_path)
    first = folder / "epoch-001.safetensors"
    data = load_dataset("digits").limited(LIMIT)
    tested = vars(evaluate(load_model(first), data.test_images, data.test_labels))
    assert tested != record["test"]
    (tmp_path / "history.json").write_text(json.dumps(record | {"test": tested}))
    assert "differently than in the test" in write_report(tmp_path).read_text()
    shutil.copy(first, tmp_path / BEST)
    assert "differently than in the test" not in write_report(tmp_path).read_text()


def test_a_run_with_one_test_image_has_a_report(tmp_path: Path) -> None:
    """Ten images of one's own leave one for the test: too few for a map, enough for the rest."""
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "few.npz", images=images, labels=np.arange(10) % 2)
    options = ["--dataset", f"npz:{tmp_path / 'few.npz'}", "--epochs", "1", "--quiet"]
    assert main(["train", *options, "--output", str(tmp_path / "run")]) == 0
    text = (tmp_path / "run" / "report.html").read_text()
    assert "No map: it needs 3 test images." in text
    assert "The first test image, a " in text


def test_histograms_are_there_when_every_epoch_was_kept(page: Page, few: Page) -> None:
    assert "Outputs and gradients over the epochs" in page.text
    assert "Outputs and gradients over the epochs" not in few.text


# ------------------------------------------------------------------ the file


def test_it_refers_to_nothing_outside_itself(folder: Path, page: Page) -> None:
    source = (folder / "report.html").read_text()
    assert not re.search(r"https?:|@import|<script", source)
    assert "default-src 'none'" in source  # of the Content-Security-Policy: browsers watch over it
    addresses = [a[k] or "" for _, a in page.tags for k in ("src", "href", "srcset") if k in a]
    addresses += re.findall(r"url\((.*?)\)", source)
    assert len(addresses) > 100  # glyphs and pictures
    assert {address for address in addresses if not address.startswith(("data:", "#"))} == set()


def test_names_inside_figures_are_unique_and_found(folder: Path, page: Page) -> None:
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    source = (folder / "report.html").read_text()
    used = re.findall(r'href="#(.*?)"', source) + re.findall(r"url\(#(.*?)\)", source)
    assert set(used) <= set(names)


def test_it_can_be_read_without_seeing_it(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    figures = [attributes for _, attributes in page.tags if attributes.get("role") == "img"]
    assert len(figures) == 9
    assert all(len(f["aria-label"] or "") > 30 for f in figures)
    parts = [svg for svg in page.all("svg") if svg.get("role") != "img"]  # of the figures above
    assert len(parts) >= 9  # two curves, two histograms, four strips of digits, mistakes
    assert all(svg["aria-hidden"] == "true" for svg in parts)
    assert {cell.get("scope") for cell in page.all("th")} == {"row", "col"}
    assert len(page.all("caption")) == len(page.all("table"))


def test_the_command_makes_it_again_and_says_where(by_command: tuple[Path, str], few: Page) -> None:
    folder, printed = by_command
    assert printed == f"{folder / 'report.html'}\n"
    record = json.loads((folder / "history.json").read_text())
    assert few.headline[0] == record["test"]["accuracy"]


# ------------------------------------------------------------------ strings of strangers

ATTACKS = (
    '<meta http-equiv="refresh" content="0;url=//evil/">',
    "</pre><script>self['title'] = 'evil'</script>",
    "\"><form action='//evil/'><input type='submit'>",
    "'><base href='//evil/'><a href='//evil/'>",
    "\x1b]0;evil\x07 \ud800",  # neither printable nor UTF-8
)


@pytest.fixture(scope="module")
def attacked(few: Page, by_command: tuple[Path, str], tmp_path_factory: Any) -> Path:
    """The report of a run in which every string that may be a stranger's is an attack."""
    folder = tmp_path_factory.mktemp("attacked")
    record = json.loads((by_command[0] / "history.json").read_text())
    record["arguments"] |= {text: text for text in ATTACKS}
    record["environment"] |= {text: text for text in ATTACKS}
    record["interrupted"] = "".join(ATTACKS)
    (folder / "history.json").write_text(json.dumps(record))
    names = [name for name in ATTACKS if name.isprintable()]
    model = load_model(by_command[0] / LATEST)
    layers = [*model.features, *model.classifier]
    named = dict(zip(names, layers, strict=False)) | {
        f"{i}": layer for i, layer in enumerate(layers[len(names) :])
    }
    save_model(Sequential(**named), folder / LATEST)
    return write_report(folder)


def test_strings_of_a_stranger_are_text_in_the_report(attacked: Path, few: Page) -> None:
    page = Page(attacked.read_text())
    template = Page((Path(report.__file__).with_name("report.html")).read_text())
    assert page.all("meta") == template.all("meta")
    assert page.all("link") == template.all("link")
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in few.tags}
    assert {key for _, keys in page.tags for key in keys} == {k for _, ks in few.tags for k in ks}
    for name in ATTACKS:
        assert [printable(name)] * 2 == [
            *next(row for row in page.tables["Environment"] if row[0] == printable(name))
        ]
    assert f"{ATTACKS[0]}.weight" in page.text


def test_text_meets_html_in_one_place() -> None:
    """``Html`` stays, any other string is escaped, and what is made of ``Html`` is text again."""
    assert html("<b>") == "&lt;b&gt;"
    assert html(Html("<b>")) == "<b>"
    assert html(Html("<b>") + "<i>") == "&lt;b&gt;&lt;i&gt;"
    assert markup("<b>{x}</b>", x="a&b") == "<b>a&amp;b</b>"
    assert fill("<p>$x</p>", {"x": '"'}) == "<p>&quot;</p>"
    cells = table("<c>", ["<h>"], [["<1>", Html("<br>")]], kind='"')
    assert "<br>" in cells
    assert not re.search(r"<[ch1]>", cells)


@pytest.mark.parametrize("page", ["report/report.html", "page/page.html"])
def test_the_policy_stops_forms_and_other_bases(page: str) -> None:
    source = (Path(nplenet.__file__).parent / page).read_text()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', source)
    assert policy
    assert {"default-src 'none'", "form-action 'none'", "base-uri 'none'"} <= set(
        policy[1].split("; ")
    )


# ------------------------------------------------------------------ refusals


def test_a_folder_without_a_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"history\.json does not exist"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:100], "damaged"),
        (lambda text: "{}", "not written by nplenet train"),
        (lambda text: text.replace('"inverted_test"', '"other"'), "has no inverted_test"),
        (lambda text: json.dumps(json.loads(text) | {"epochs": []}), "has no completed epoch"),
    ],
)
def test_a_bad_history_is_refused(folder: Path, tmp_path: Path, change: Any, words: str) -> None:
    text = (folder / "history.json").read_text()
    (tmp_path / "history.json").write_text(change(text))
    with pytest.raises(ValueError, match=words):
        write_report(tmp_path)


def test_a_folder_without_a_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "history.json", tmp_path)
    with pytest.raises(FileNotFoundError, match=LATEST):
        write_report(tmp_path)


# ------------------------------------------------------------------ a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_opens_it_without_an_error_a_request_or_a_serious_violation(
    browser: Any, folder: Path, theme: str
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs `pip install axe-playwright-python`"
    )
    with opened(browser, folder / "report.html", color_scheme=theme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        violations = axe.Axe().run(page).response["violations"]
        assert [v for v in violations if v["impact"] in ("serious", "critical")] == []


def test_a_browser_stays_on_a_report_with_strings_of_a_stranger(
    browser: Any, attacked: Path
) -> None:
    with opened(browser, attacked) as page:  # no request, no line on the console
        page.wait_for_timeout(300)
        assert page.url == attacked.as_uri()
        assert page.title() == "LeNet-5 on the bundled digits"


WIDER = """() => [...document.querySelectorAll('*')]
    .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1 && !e.closest('svg'))
    .map(e => `${e.tagName} ${e.className} ${e.scrollWidth} in ${e.clientWidth}`)"""
TEXT_SIZES = """() => [...document.querySelectorAll('[role=img]')].map(e => {
    const svg = e.matches('svg') ? e : e.querySelector('svg')
    return svg.getBoundingClientRect().width / svg.viewBox.baseVal.width
})"""


@pytest.mark.parametrize("width", [360, 390])
def test_on_a_phone_nothing_scrolls_sideways(browser: Any, folder: Path, width: int) -> None:
    viewport = {"width": width, "height": 844}
    with opened(browser, folder / "report.html", viewport=viewport) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(WIDER) == []


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (1280, 2)])
def test_charts_stand_side_by_side_on_a_desk_and_are_stacked_on_a_phone(
    browser: Any, folder: Path, width: int, columns: int
) -> None:
    with opened(browser, folder / "report.html", viewport={"width": width, "height": 844}) as page:
        figures = page.query_selector_all(".charts")
        assert len(figures) == 4
        for figure in figures:
            boxes = [part.bounding_box() for part in figure.query_selector_all("svg")]
            assert len({box["x"] for box in boxes}) == columns
            assert all(0 <= box["x"] <= width - box["width"] for box in boxes)
            assert len({(round(box["width"]), round(box["height"])) for box in boxes}) == 1
        scales = page.evaluate(TEXT_SIZES)  # pixels a point; 8 points are the smallest text
        assert len(scales) == 9
        assert min(scales) * 8 >= 5.8
