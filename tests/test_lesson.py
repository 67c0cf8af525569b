"""The lesson plan and its slides: the times add up, the numbers are right, the pictures exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chapters import DOCS, cells

TEXT = (DOCS / "lesson.md").read_text(encoding="utf-8")


def load_tool() -> Any:
    file = Path(__file__).parents[1] / "tools" / "make_slides.py"
    spec = importlib.util.spec_from_file_location("make_slides", file)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


tool = load_tool()


def test_the_minutes_of_the_lesson_follow_each_other_to_90() -> None:
    rows = re.findall(r"^\| (\d):(\d\d) \| (\d+) \|", TEXT, re.M)
    now = 0
    for hours, minutes, duration in rows:
        assert 60 * int(hours) + int(minutes) == now
        now += int(duration)
    assert len(rows) == 9
    assert now == 90


def test_the_lesson_shows_each_slide_once_in_order() -> None:
    column = [
        line.rsplit("|", 2)[1] for line in TEXT.splitlines() if re.match(r"\| \d:\d\d ", line)
    ]
    shown = [int(number) for cell in column for number in re.findall(r"\d+", cell)]
    assert shown == list(range(1, len(tool.SLIDES) + 1))


def test_the_numbers_with_pencil_are_right() -> None:
    weight, bias = np.array([[1.0, -1.0], [-1.0, 1.0], [0.5, 1.0]]), np.array([0.0, 0.5, 0.0])
    v, c, t, x = np.array([1.0, 3.0, -0.5]), 0.5, 2.0, np.array([1.0, 2.0])
    z = weight @ x + bias
    h = np.maximum(z, 0)
    y = v @ h + c
    dy = 2 * (y - t)
    dz = np.where(z > 0, dy * v, 0)

    def said(before: str) -> list[float]:
        match = re.search(re.escape(before) + r"\s*\(([^)]*)\)", TEXT)
        assert match is not None, before
        return [float(number) for number in match[1].split(",")]

    assert said("$z =") == z.tolist()
    assert said("$h =") == h.tolist()
    assert said("\\text{dh} =") == (dy * v).tolist()
    assert said("\\text{dz} =") == dz.tolist()
    rows = [said(before) for before in ("$\\text{dW}$ are $", "$(0, 0)$, $", "$(10.5, 21)$ and $")]
    assert rows == np.outer(dz, x).tolist()
    assert y == 3.75
    assert (y - t) ** 2 == 3.0625
    assert dy == 3.5


@pytest.mark.parametrize("slide", [s for s in tool.SLIDES if s.chapter], ids=lambda s: s.title)
def test_a_slide_shows_a_picture_of_the_book(slide: Any) -> None:
    text = (DOCS / f"{slide.chapter}.md").read_text(encoding="utf-8")
    alts = [
        " ".join(match[1].split())
        for cell in cells(text)
        if (match := re.search(r"alt: (.*?)\n(?!      )", cell.options, re.S))
    ]
    assert len([alt for alt in alts if alt.startswith(slide.alt)]) == 1


def test_slides_are_one_file_that_asks_for_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("<svg/>", encoding="utf-8")
    page = '<img alt="A picture of &quot;x&quot;, and more." class="x" src="a.svg" />'
    (tmp_path / "chapter.html").write_text(page, encoding="utf-8")
    found = tool.section(
        tool.Slide("1 < 2", ("\tx = 3", "text"), "chapter", "A picture of"), tmp_path
    )
    assert "<h1>1 &lt; 2</h1>" in found
    assert "<pre>x = 3</pre>" in found
    assert (
        'alt="A picture of &quot;x&quot;, and more." src="data:image/svg+xml;base64,PHN2Zy8+"'
        in found
    )
    with pytest.raises(SystemExit, match="has no picture whose alt text begins with 'Another'"):
        tool.section(tool.Slide("", (), "chapter", "Another"), tmp_path)
    assert not re.search(r"(src|href)=|url\(", tool.PAGE)
