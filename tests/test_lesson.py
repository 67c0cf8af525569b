"""The lesson plan and its slides: the times add up, the numbers are right, the pictures exist."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chapters import DOCS, cells

TEXT = (DOCS / "lesson.md").read_text(encoding="utf-8")


def load_tool() -> Any:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
    try:
        import make_slides
    finally:
        sys.path.pop(0)
    return make_slides


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


def test_the_learning_rates_of_the_lesson_do_what_it_says() -> None:
    """The ring with 32 neurons: some die at 0.3, all at 1, and at 3 the loss is NaN."""
    chapter = DOCS / "first-network.md"
    (body,) = [c.body for c in cells(chapter.read_text(encoding="utf-8")) if "def ring(" in c.body]
    names: dict[str, Any] = {"np": np}
    exec(body, names)
    points, inside = names["ring"](1000, seed=0)
    dead, losses, spread = {}, {}, {}
    for rate in (0.1, 0.3, 1.0, 3.0):
        network = names["new_network"](2, 32, 1, seed=0)
        with np.errstate(all="ignore"):
            losses[rate] = names["train"](network, points, inside, rate, epochs=100, batch=20)
            y, (_, _, h) = names["forward"](network, points)
        dead[rate], spread[rate] = int((h.max(axis=0) == 0).sum()), np.ptp(y)
    assert dead[0.1] == 0
    assert 0 < dead[0.3] < 32
    assert dead[1.0] == 32
    assert spread[1.0] == 0
    assert np.isnan(losses[3.0][-1])


def test_the_slides_show_the_pictures_of_the_book_in_one_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("matplotlib_inline")
    output = tmp_path / "slides.html"
    script = Path(__file__).parents[1] / "tools" / "make_slides.py"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, script, output], check=True, timeout=300, env=environment)
    text = output.read_text(encoding="utf-8")
    assert text.count("<section>") == len(tool.SLIDES)
    found = re.findall(r'<img alt="([^"]+)" src="data:image/svg\+xml;base64,([^"]+)">', text)
    expected = [slide.alt for slide in tool.SLIDES if slide.chapter]
    assert [alt[: len(begin)] for (alt, _), begin in zip(found, expected, strict=True)] == expected
    for _, data in found:
        assert b"<svg" in base64.b64decode(data)
    assert not re.search(r"(src|href)=(?!\"data:)|url\(", re.sub('base64,[^"]*', "", text))
