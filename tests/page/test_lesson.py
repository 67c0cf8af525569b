"""Tasks for a lesson, and links to the book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drawing_page import (
    settle,
)
from page_controls import SET

from nplenet.page.book import CHAPTERS


def test_tasks_have_answers_and_are_marked_when_done(page: Any) -> None:
    tasks = page.locator("#tasks li")
    assert tasks.count() == 8
    done = (
        "() => [...document.querySelectorAll('#tasks .done p:first-child')].map(p => p.innerText)"
    )
    page.evaluate(SET, ["temperature", 5])
    page.click("#invert")
    settle(page)
    found = page.evaluate(done)
    assert [text.partition(":")[0] for text in found if text.startswith("Press Invert")]
    assert [text for text in found if text.startswith("Without touching the drawing")]
    for item in tasks.all():
        item.locator("summary").click()
        assert len(item.locator("details p").inner_text()) > 50
    assert "28 × 28 = 784" in tasks.nth(3).inner_text()  # noqa: RUF001


def test_without_a_book_there_are_no_links(page: Any) -> None:
    assert page.locator(".chapter").count() == 0


@pytest.mark.parametrize(("name", "title"), sorted(set(CHAPTERS.values())))
def test_the_chapters_are_those_of_the_book(name: str, title: str) -> None:
    chapter = Path(__file__).parents[2] / "docs" / f"{name}.md"
    assert f"\n# {title}\n" in chapter.read_text("utf-8")
