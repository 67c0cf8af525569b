"""What the tests of the page for drawing a digit share: a mouse that draws, and what it made."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pen_strokes import STROKES as PEN_STROKES
from PIL import Image

from nplenet.augment import ToFloat

Strokes = Sequence[Sequence[tuple[float, float]]]

STROKES = {digit: PEN_STROKES[int(digit)] for digit in "0347"}
SCRIBBLE = [[(0, 0.1), (0.9, 0.2), (0.1, 0.4), (1, 0.5), (0.1, 0.7), (0.9, 0.8), (0, 1)],
            [(0.2, 0), (0.3, 1), (0.6, 0.1), (0.7, 1), (0.95, 0)]]  # fmt: skip


def draw(
    page: Any,
    digit: str,
    board: str = "#board",
    left: float = 0.3,
    width: float = 0.4,
    top: float = 0.2,
    height: float = 0.6,
) -> None:
    """Lead the mouse over a board; left, width, top and height are shares of its side."""
    lead(page, SCRIBBLE if digit == "scribble" else STROKES[digit], board, left, width, top, height)


def lead(
    page: Any,
    strokes: Strokes,
    board: str = "#board",
    left: float = 0.3,
    width: float = 0.4,
    top: float = 0.2,
    height: float = 0.6,
) -> None:
    """Lead the mouse along strokes, as ``draw`` does."""
    box = page.locator(board).bounding_box()
    for stroke in strokes:
        points = [
            (
                box["x"] + box["width"] * (left + width * x),
                box["y"] + box["height"] * (top + height * y),
            )
            for x, y in stroke
        ]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()
    settle(page)


def settle(page: Any) -> None:
    """Wait until what was drawn last has been computed and shown."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")


def ink(page: Any) -> np.ndarray:
    """Return what is on the board, uint8 (H, W)."""
    url = page.evaluate("() => document.getElementById('board').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))[:, :, 0]


def prepared(page: Any) -> np.ndarray:
    """Return what the page makes of what is on the board, uint8 (32, 32)."""
    values = page.evaluate("() => Array.from(nplenet.digits()[0].image)")
    return np.reshape(values, (32, 32)).astype(np.uint8)


def network_input(page: Any) -> np.ndarray:
    """Return what the network sees, float32 (1, 1, 32, 32)."""
    return ToFloat()(prepared(page)[None, None])


def shown_number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))
