"""Digits as a pen draws them, for tests that draw with a mouse, Pillow or a simulated pen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Floats = npt.NDArray[np.float64]
Stroke = Sequence[tuple[float, float]]

# The way of a pen through the unit square, x to the right, y down.
STROKES: list[list[Stroke]] = [
    [[(0.5, 0), (0.2, 0.12), (0.08, 0.5), (0.2, 0.88), (0.5, 1), (0.8, 0.88), (0.92, 0.5),
      (0.8, 0.12), (0.5, 0)]],
    [[(0.3, 0.2), (0.55, 0), (0.5, 1)]],
    [[(0.1, 0.25), (0.25, 0.05), (0.5, 0), (0.75, 0.06), (0.85, 0.25), (0.75, 0.48), (0.4, 0.78),
      (0.08, 1), (0.95, 0.97)]],
    [[(0.12, 0.1), (0.4, 0), (0.75, 0.06), (0.82, 0.25), (0.65, 0.43), (0.38, 0.48), (0.7, 0.54),
      (0.88, 0.75), (0.7, 0.95), (0.38, 1), (0.08, 0.9)]],
    [[(0.6, 0), (0.08, 0.65), (0.95, 0.62)], [(0.68, 0.35), (0.64, 1)]],
    [[(0.22, 0.03), (0.17, 0.45), (0.5, 0.38), (0.82, 0.52), (0.86, 0.75), (0.65, 0.95), (0.35, 1),
      (0.08, 0.9)], [(0.22, 0.03), (0.85, 0)]],
    [[(0.75, 0.02), (0.4, 0.2), (0.15, 0.55), (0.15, 0.82), (0.4, 1), (0.7, 0.95), (0.82, 0.75),
      (0.7, 0.55), (0.4, 0.52), (0.16, 0.72)]],
    [[(0.08, 0.05), (0.9, 0), (0.6, 0.45), (0.4, 1)]],
    [[(0.75, 0.12), (0.5, 0), (0.22, 0.1), (0.25, 0.32), (0.6, 0.52), (0.8, 0.78), (0.55, 1),
      (0.25, 0.92), (0.2, 0.72), (0.45, 0.48), (0.75, 0.28), (0.75, 0.12)]],
    [[(0.82, 0.2), (0.6, 0), (0.3, 0.05), (0.15, 0.28), (0.3, 0.48), (0.6, 0.45), (0.8, 0.22),
      (0.8, 0.5), (0.7, 1)]],
]  # fmt: skip


def drawn(
    strokes: Sequence[Stroke], hand: Floats, jitter: float, tall: int, pen: float,
    rng: np.random.Generator,
) -> Image.Image:  # fmt: skip
    """Return strokes as a pen draws them, uncut: 255 is ink.

    ``hand`` (2, 2) maps a stroke's (x, y) to those of the hand, which misses by ``jitter`` (both of
    the height 1); ``tall`` is the height in pixels, ``pen`` the radius of its tip in pixels.
    """
    sheet = Image.new("L", (2 * tall, 2 * tall))
    ink = ImageDraw.Draw(sheet)
    for stroke in strokes:
        points = np.array(stroke) - 0.5 + rng.normal(0, jitter, (len(stroke), 2))
        path = [(float(x), float(y)) for x, y in rounded(points @ hand.T * tall + tall)]
        ink.line(path, 255, max(1, round(2 * pen)), joint="curve")
        for x, y in path:
            ink.ellipse((x - pen, y - pen, x + pen, y + pen), fill=255)
    return sheet


def rounded(points: Floats) -> Floats:
    """Cut the corners of a line (N, 2) twice (Chaikin), as a hand does."""
    for _ in range(2):
        cut = np.empty((2 * len(points) - 2, 2))
        cut[0::2] = 0.75 * points[:-1] + 0.25 * points[1:]
        cut[1::2] = 0.25 * points[:-1] + 0.75 * points[1:]
        points = np.vstack([points[:1], cut, points[-1:]])
    return points
