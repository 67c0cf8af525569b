"""Draw digits, letters and scribbles as a pen does, for training and for tests.

MNIST's writers were American: a 1 with a long upstroke and a 7 with a bar are missing, and there is
nothing in it that is not a digit. ``sheet`` draws such things from their strokes: grey images of
dark ink on light paper, which ``nplenet.recognize.prepare`` then brings into MNIST's form.

A glyph is a list of strokes; a stroke is a list of points (x, y) in the unit square, x to the
right, y down. The same generator gives the same images.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 112  # pixels of a sheet
HEIGHT = 64  # pixels of a glyph of height 1 on it

Glyph = list[list[tuple[float, float]]]
Random = np.random.Generator

DIGITS: dict[int, list[Glyph]] = {
    0: [[[(0.5, 0), (0.15, 0.15), (0.05, 0.55), (0.25, 0.95), (0.55, 1), (0.85, 0.8), (0.93, 0.4),
          (0.8, 0.1), (0.5, 0)]],
        [[(0.55, 0.02), (0.3, 0.05), (0.1, 0.4), (0.12, 0.75), (0.4, 1), (0.72, 0.9), (0.88, 0.5),
          (0.75, 0.1), (0.42, 0.03)]],
        [[(0.5, 0), (0.15, 0.15), (0.05, 0.55), (0.25, 0.95), (0.55, 1), (0.85, 0.8), (0.93, 0.4),
          (0.8, 0.1), (0.5, 0)], [(0.85, 0.05), (0.15, 0.95)]]],
    1: [[[(0.5, 0), (0.5, 0.5), (0.5, 1)]]],
    2: [[[(0.1, 0.25), (0.3, 0.02), (0.65, 0.02), (0.85, 0.25), (0.6, 0.6), (0.05, 1), (0.5, 0.98),
          (0.95, 1)]],
        [[(0.08, 0.18), (0.4, 0), (0.75, 0.1), (0.78, 0.35), (0.5, 0.7), (0.15, 0.95),
          (0.2, 0.75), (0.5, 0.9), (0.95, 0.95)]],
        [[(0.1, 0.05), (0.5, 0.02), (0.9, 0.02), (0.5, 0.5), (0.08, 1), (0.5, 0.99), (0.95, 1)]]],
    3: [[[(0.1, 0.1), (0.45, 0), (0.8, 0.12), (0.8, 0.35), (0.4, 0.48), (0.8, 0.6), (0.88, 0.85),
          (0.5, 1), (0.08, 0.9)]],
        [[(0.1, 0.02), (0.5, 0.02), (0.9, 0.02), (0.45, 0.42), (0.8, 0.55), (0.85, 0.85),
          (0.45, 1), (0.08, 0.88)]]],
    4: [[[(0.2, 0), (0.1, 0.55), (0.5, 0.58), (0.95, 0.55)], [(0.75, 0.1), (0.7, 0.6), (0.68, 1)]],
        [[(0.7, 1), (0.7, 0.5), (0.7, 0), (0.35, 0.35), (0.02, 0.68), (0.5, 0.69), (1, 0.68)]]],
    5: [[[(0.9, 0), (0.5, 0.01), (0.2, 0.02), (0.15, 0.45), (0.55, 0.38), (0.9, 0.6), (0.8, 0.9),
          (0.4, 1), (0.05, 0.9)]],
        [[(0.25, 0.02), (0.2, 0.45), (0.6, 0.4), (0.85, 0.65), (0.65, 0.97), (0.1, 0.95)],
         [(0.25, 0.02), (0.6, 0.01), (0.95, 0)]]],
    6: [[[(0.7, 0), (0.35, 0.25), (0.12, 0.65), (0.3, 0.98), (0.7, 0.97), (0.85, 0.72),
          (0.55, 0.52), (0.2, 0.68)]],
        [[(0.3, 0), (0.12, 0.4), (0.1, 0.8), (0.4, 1), (0.75, 0.9), (0.75, 0.62), (0.4, 0.55),
          (0.12, 0.75)]]],
    7: [[[(0.05, 0.03), (0.5, 0.02), (0.95, 0), (0.65, 0.5), (0.45, 1)]],
        [[(0.05, 0.15), (0.08, 0), (0.5, 0.02), (0.92, 0), (0.6, 0.5), (0.35, 1)]]],
    8: [[[(0.8, 0.12), (0.5, 0), (0.2, 0.12), (0.3, 0.38), (0.7, 0.58), (0.85, 0.82), (0.5, 1),
          (0.15, 0.82), (0.3, 0.58), (0.7, 0.36), (0.8, 0.12)]],
        [[(0.5, 0), (0.2, 0.2), (0.5, 0.45), (0.8, 0.2), (0.5, 0)],
         [(0.5, 0.45), (0.1, 0.72), (0.5, 1), (0.9, 0.72), (0.5, 0.45)]]],
    9: [[[(0.85, 0.25), (0.55, 0), (0.15, 0.15), (0.2, 0.45), (0.55, 0.5), (0.85, 0.2),
          (0.82, 0.6), (0.75, 1)]],
        [[(0.82, 0.2), (0.5, 0), (0.15, 0.25), (0.45, 0.5), (0.82, 0.25), (0.85, 0.65), (0.6, 0.97),
          (0.2, 0.92)]]],
}  # fmt: skip

LETTERS: dict[str, Glyph] = {
    "A": [[(0.02, 1), (0.25, 0.5), (0.5, 0), (0.75, 0.5), (0.98, 1)], [(0.22, 0.62), (0.78, 0.62)]],
    "B": [[(0.1, 0), (0.1, 0.5), (0.1, 1)],
          [(0.1, 0), (0.75, 0.05), (0.75, 0.4), (0.1, 0.47), (0.9, 0.55), (0.88, 0.95), (0.1, 1)]],
    "C": [[(0.9, 0.18), (0.55, 0), (0.15, 0.2), (0.08, 0.6), (0.35, 0.97), (0.9, 0.85)]],
    "D": [[(0.1, 0), (0.1, 0.5), (0.1, 1)],
          [(0.1, 0), (0.7, 0.1), (0.9, 0.5), (0.7, 0.9), (0.1, 1)]],
    "E": [[(0.9, 0), (0.1, 0.02), (0.1, 0.5), (0.1, 0.98), (0.92, 1)], [(0.1, 0.48), (0.75, 0.48)]],
    "F": [[(0.9, 0), (0.1, 0.02), (0.1, 0.5), (0.1, 1)], [(0.1, 0.46), (0.75, 0.46)]],
    "G": [[(0.9, 0.18), (0.5, 0), (0.1, 0.3), (0.12, 0.75), (0.5, 1), (0.9, 0.85), (0.9, 0.55),
           (0.55, 0.55)]],
    "H": [[(0.08, 0), (0.08, 1)], [(0.9, 0), (0.9, 1)], [(0.08, 0.5), (0.9, 0.5)]],
    "J": [[(0.2, 0), (0.95, 0)], [(0.7, 0), (0.7, 0.7), (0.5, 1), (0.1, 0.85)]],
    "K": [[(0.1, 0), (0.1, 1)], [(0.85, 0), (0.12, 0.55)], [(0.35, 0.4), (0.9, 1)]],
    "L": [[(0.1, 0), (0.1, 0.5), (0.1, 0.98), (0.5, 1), (0.9, 0.98)]],
    "M": [[(0.02, 1), (0.1, 0), (0.5, 0.65), (0.9, 0), (0.98, 1)]],
    "N": [[(0.08, 1), (0.1, 0), (0.88, 1), (0.9, 0)]],
    "P": [[(0.1, 0), (0.1, 1)], [(0.1, 0.02), (0.75, 0.05), (0.85, 0.3), (0.6, 0.5), (0.1, 0.52)]],
    "Q": [[(0.5, 0), (0.1, 0.2), (0.05, 0.65), (0.45, 1), (0.85, 0.75), (0.9, 0.25), (0.5, 0)],
          [(0.55, 0.65), (1, 1.08)]],
    "R": [[(0.1, 0), (0.1, 1)], [(0.1, 0.02), (0.75, 0.05), (0.82, 0.35), (0.1, 0.5)],
          [(0.35, 0.5), (0.9, 1)]],
    "S": [[(0.9, 0.15), (0.5, 0), (0.12, 0.2), (0.4, 0.45), (0.85, 0.7), (0.5, 1), (0.08, 0.85)]],
    "T": [[(0.02, 0.02), (0.98, 0)], [(0.5, 0), (0.5, 1)]],
    "U": [[(0.08, 0), (0.1, 0.7), (0.48, 1), (0.88, 0.7), (0.9, 0)]],
    "V": [[(0.02, 0), (0.5, 1), (0.98, 0)]],
    "W": [[(0.02, 0), (0.25, 1), (0.5, 0.3), (0.75, 1), (0.98, 0)]],
    "X": [[(0.05, 0), (0.95, 1)], [(0.95, 0), (0.05, 1)]],
    "Y": [[(0.02, 0), (0.5, 0.5)], [(0.98, 0), (0.5, 0.5), (0.45, 1)]],
    "a": [[(0.85, 0.2), (0.5, 0), (0.1, 0.4), (0.35, 0.95), (0.85, 0.6), (0.85, 0.1), (0.85, 0.7),
           (1, 1)]],
    "d": [[(0.8, 0.6), (0.4, 0.42), (0.1, 0.7), (0.35, 1), (0.8, 0.8)], [(0.82, 0), (0.82, 1)]],
    "e": [[(0.12, 0.5), (0.85, 0.48), (0.75, 0.12), (0.4, 0), (0.08, 0.4), (0.3, 0.92),
           (0.9, 0.85)]],
    "f": [[(0.8, 0.08), (0.55, 0), (0.4, 0.2), (0.4, 1)], [(0.1, 0.4), (0.75, 0.38)]],
    "h": [[(0.15, 0), (0.15, 1)], [(0.15, 0.6), (0.5, 0.42), (0.8, 0.6), (0.82, 1)]],
    "k": [[(0.15, 0), (0.15, 1)], [(0.75, 0.4), (0.18, 0.7), (0.8, 1)]],
    "m": [[(0.05, 1), (0.05, 0.1)], [(0.05, 0.4), (0.25, 0.1), (0.48, 0.3), (0.5, 1)],
          [(0.5, 0.4), (0.72, 0.1), (0.93, 0.3), (0.95, 1)]],
    "n": [[(0.1, 0), (0.1, 1)], [(0.1, 0.35), (0.5, 0), (0.85, 0.3), (0.88, 1)]],
    "r": [[(0.2, 0), (0.2, 1)], [(0.2, 0.4), (0.5, 0.05), (0.9, 0.12)]],
    "t": [[(0.5, 0), (0.48, 0.8), (0.65, 1), (0.9, 0.9)], [(0.1, 0.3), (0.9, 0.28)]],
    "y": [[(0.05, 0), (0.45, 0.55)], [(0.95, 0), (0.5, 0.55), (0.1, 1)]],
    "x": [[(0.05, 0.05), (0.5, 0.5), (0.95, 1)], [(0.9, 0), (0.5, 0.5), (0.1, 1)]],
    "+": [[(0.5, 0), (0.5, 1)], [(0, 0.5), (1, 0.5)]],
    "=": [[(0, 0.3), (1, 0.3)], [(0, 0.7), (1, 0.7)]],
    "?": [[(0.1, 0.2), (0.4, 0), (0.8, 0.15), (0.7, 0.4), (0.45, 0.7)], [(0.44, 0.95), (0.46, 1)]],
    "v": [[(0, 0.6), (0.35, 1), (1, 0)]],
}  # fmt: skip
"""Strokes of capital and small letters and signs; without O, I, l and Z, which are digits too."""


# --- digits that MNIST lacks ----------------------------------------------------------------------


def european_one(rng: Random) -> Glyph:
    """Return a 1 with an upstroke, from a short hook to one of two thirds of the height.

    Some have a foot; some bend at the top, some have a corner there.
    """
    drop = rng.uniform(0.12, 0.68)
    reach = drop * rng.uniform(0.45, 1.5) + 0.02
    top, lean = (0.6, 0.0), rng.uniform(-0.22, 0.08)
    start = (top[0] - min(reach, 0.75), drop)
    middle = (np.array(start) + top) / 2 + rng.normal(0, 0.02, 2)
    bend = [(top[0] + 0.03, 0.06)] if rng.random() < 0.5 else []
    down = [(top[0] + lean / 2, 0.5), (top[0] + lean, 1.0)]
    strokes = [[start, (float(middle[0]), float(middle[1])), top, *bend, *down]]
    if rng.random() < 0.35:
        left, right = rng.uniform(0.1, 0.4, 2)
        strokes.append([(top[0] + lean - left, 1.0), (top[0] + lean + right, 1.0)])
    return strokes


def printed_one(rng: Random) -> Glyph:
    """Return a 1 as typefaces have it: a stick, most with a flag, half with a bar as its foot."""
    strokes = [[(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)]]
    if rng.random() < 0.85:
        reach, drop = rng.uniform(0.1, 0.38), rng.uniform(0.03, 0.3)
        sag = rng.uniform(0, 0.05)
        strokes.append([(0.5, 0.0), (0.5 - reach / 2, drop / 2 + sag), (0.5 - reach, drop)])
    if rng.random() < 0.5:
        foot = rng.uniform(0.12, 0.36)
        strokes.append([(0.5 - foot, 1.0), (0.5 + foot, 1.0)])
    return strokes


def crossed_seven(rng: Random) -> Glyph:
    """Return a 7 with a bar across its stem; some begin with a serif that hangs down."""
    lean, sag = rng.uniform(0.05, 0.6), rng.uniform(-0.05, 0.05)
    foot = 0.9 - lean
    strokes = [[(0.05, sag), (0.5, 0.0), (0.95, 0.0), ((0.95 + foot) / 2, 0.5), (foot, 1.0)]]
    if rng.random() < 0.4:
        strokes[0].insert(0, (0.05, rng.uniform(0.08, 0.2)))
    height = rng.uniform(0.4, 0.62)
    middle = 0.95 + (foot - 0.95) * height
    tilt = rng.uniform(-0.06, 0.06)
    left, right = rng.uniform(0.15, 0.4, 2)
    strokes.append([(middle - left, height + tilt), (middle + right, height - tilt)])
    return strokes


def any_digit(digit: int, rng: Random) -> Glyph:
    """Return one of the shapes of a digit."""
    return DIGITS[digit][rng.integers(len(DIGITS[digit]))]


def scribble(rng: Random) -> Glyph:
    """Return what a pen does when it writes nothing: a walk, loops, a zigzag, a curve, lines."""
    kind = rng.integers(5)
    if kind == 0:  # a walk that turns at random
        turns = np.cumsum(rng.normal(0, 1.0, 40)) + rng.uniform(0, 2 * np.pi)
        walk = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1), 0)[: rng.integers(20, 41)]
        return [_unit(walk)]
    if kind == 1:  # loops about a centre that moves
        angle = np.linspace(0, rng.uniform(2, 6) * 2 * np.pi, 90)
        drift = rng.uniform(0.3, 1.2, 2) * angle[:, None] / angle[-1]
        radius = 0.25 + 0.2 * np.sin(rng.uniform(0.1, 0.9) * angle + rng.uniform(0, 6))
        return [_unit(np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None] + drift)]
    if kind == 2:  # a zigzag, upright or lying
        corners = rng.integers(6, 12)
        zigzag = np.stack([np.arange(corners) / corners, np.arange(corners) % 2], 1)
        zigzag = zigzag + rng.normal(0, 0.08, zigzag.shape)
        return [_unit(zigzag if rng.random() < 0.5 else zigzag[:, ::-1])]
    if kind == 3:  # one curve by way of random points
        corners = rng.random((rng.integers(6, 14), 2))
        return [_unit(_rounded(corners, 3))]
    return [_unit(rng.random((rng.integers(2, 4), 2))) for _ in range(rng.integers(3, 7))]


def figure(rng: Random) -> Glyph:
    """Return a triangle, a star, a spiral or a Lissajous curve: for tests, never for training.

    (A polygon of more corners is a 0.)
    """
    kind = rng.integers(4)
    angle = np.linspace(0, 2 * np.pi, 1 + int(rng.integers(4, 8))) + rng.uniform(0, 6)
    corners = np.stack([np.cos(angle), np.sin(angle)], 1)
    if kind == 0:
        start = rng.uniform(0, 6)
        return [
            _unit(np.array([[np.cos(start + k), np.sin(start + k)] for k in (0, 2, 4.2, 6.28)]))
        ]
    if kind == 1:
        return [[(float(x / 2 + 0.5), float(y / 2 + 0.5)), (0.5, 0.5)] for x, y in corners[1:]]
    turns = np.linspace(0, rng.uniform(3, 6) * 2 * np.pi, 120)
    if kind == 2:
        return [_unit(np.stack([np.cos(turns), np.sin(turns)], 1) * turns[:, None])]
    a, b, shift = rng.integers(2, 4), rng.integers(4, 6), rng.uniform(0, 3)
    turns = np.linspace(0, 2 * np.pi, 120)
    return [_unit(np.stack([np.sin(a * turns), np.sin(b * turns + shift)], 1))]


def _unit(points: np.ndarray) -> list[tuple[float, float]]:
    """Return points moved and scaled into the unit square, its sides kept in proportion."""
    points = (points - points.min(0)) / max(float(np.ptp(points, 0).max()), 1e-9)
    return [(float(x), float(y)) for x, y in points]


# --- the pen --------------------------------------------------------------------------------------


def sheet(glyph: Glyph, rng: Random, *, wobble: float = 0.025) -> np.ndarray:
    """Draw a glyph: dark ink on light paper, uint8 (112, 112).

    The hand is drawn from ``rng``: size, proportions, slant, a turn of some degrees, the width of
    the pen, corners sharp or round, and each point a little beside its place.

    Parameters
    ----------
    glyph : list of strokes
    wobble : float
        Standard deviation of a point, in heights of the glyph.
    """
    turn, slant = np.radians(rng.normal(0, 4)), rng.normal(0.05, 0.12)
    wide = rng.uniform(0.5, 0.95)
    hand = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    hand = hand @ np.array([[wide, -slant], [0, 1]])
    scale = HEIGHT * rng.uniform(0.75, 1.1)
    radius = max(1.0, scale * rng.choice([0.02, 0.03, 0.04, 0.055, 0.075]) * rng.uniform(0.8, 1.2))
    smooth = rng.integers(0, 3)
    image = Image.new("L", (SIDE, SIDE))
    ink = ImageDraw.Draw(image)
    for stroke in glyph:
        points = np.array(stroke) - 0.5 + rng.normal(0, wobble, (len(stroke), 2))
        points = _rounded(points @ hand.T * scale + SIDE / 2, int(smooth))
        path = [(float(x), float(y)) for x, y in points]
        ink.line(path, 255, max(1, round(2 * radius)), joint="curve")
        for x, y in path:
            ink.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    covered = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7))) / 255
    return np.rint(235 - rng.uniform(120, 215) * covered).astype(np.uint8)


def _rounded(points: np.ndarray, times: int) -> np.ndarray:
    """Cut the corners of a line (Chaikin, 1974), as a hand does."""
    for _ in range(times):
        cut = np.empty((2 * len(points) - 2, 2))
        cut[0::2] = 0.75 * points[:-1] + 0.25 * points[1:]
        cut[1::2] = 0.25 * points[:-1] + 0.75 * points[1:]
        points = np.vstack([points[:1], cut, points[-1:]])
    return points
