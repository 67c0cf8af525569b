"""Scenes with digits, made from a seed: what people photograph, scan, draw and save.

``SCENES`` maps each condition to a function of a ``Hand`` that returns a ``Picture``: an image, its
digits in reading order, and how its file is written. The conditions and all their ranges were
written before anything was tuned on them. A ``Hand`` draws from one half of each range of numbers
and of each list of choices; ``held_out=True`` draws from the other half, with other digits, which
are looked at once, at the end. The conditions in ``HELD_OUT`` are never looked at before, either.

Digits are the bundled ones, strokes drawn as by a pen, and MNIST's test images where NPLENET_DATA
is set; only such as are legible on white paper, which says nothing about any scene.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pen_strokes
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from nplenet.data import MissingDataError, load_digits, load_mnist

Floats = npt.NDArray[np.floating[Any]]
Colour = tuple[float, float, float]
T = TypeVar("T")

GLYPH = 200  # rows of a glyph before it is placed
BLACK, BLUE, RED, GREEN = (0.1, 0.1, 0.12), (0.12, 0.16, 0.45), (0.7, 0.1, 0.1), (0.1, 0.4, 0.2)
DARK_INKS = (BLACK, BLUE, (0.25, 0.2, 0.2), (0.35, 0.08, 0.3), RED, GREEN)
PAPERS = ((0.93, 0.92, 0.9), (0.96, 0.96, 0.96), (0.94, 0.9, 0.78), (0.85, 0.88, 0.9))
TABLES = ((0.25, 0.16, 0.1), (0.1, 0.1, 0.11), (0.35, 0.25, 0.15), (0.3, 0.32, 0.33))

# A 1 without a flag and an open 4, beside the others' strokes.
STROKES = [*pen_strokes.STROKES]
STROKES[1] = [[(0.5, 0), (0.48, 0.5), (0.47, 1)]]
STROKES[4] = [[(0.15, 0), (0.08, 0.6), (0.95, 0.58)], [(0.72, 0.1), (0.68, 1)]]


@dataclass
class Picture:
    """An image with its digits in reading order, and how it is saved."""

    image: Image.Image
    digits: list[int]
    form: str = "PNG"
    options: dict[str, Any] = field(default_factory=dict)

    def file(self) -> bytes:
        """Return the bytes of the file."""
        written = io.BytesIO()
        self.image.save(written, self.form, **self.options)
        return written.getvalue()


class Hand:
    """Draws numbers, choices and digits; ``held_out`` takes the other half of everything."""

    def __init__(self, seed: Sequence[int], label: int, *, held_out: bool = False) -> None:
        self.rng, self.label, self.held_out = np.random.default_rng(seed), label, held_out

    def between(self, low: float, high: float) -> float:
        """Return a number from every other tenth of the range."""
        tenth = 2 * int(self.rng.integers(5)) + self.held_out
        return float(low + (high - low) * (tenth + self.rng.random()) / 10)

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of every other choice."""
        mine = list(choices)[int(self.held_out) :: 2] or list(choices)
        return mine[int(self.rng.integers(len(mine)))]

    def glyph(self, label: int | None = None, pen: float | None = None) -> Image.Image:
        """Return a digit, cropped, 255 is ink: drawn with this pen, or from a data set."""
        label = self.label if label is None else label
        sources = [name for name in legible() if legible()[name][label]]
        if pen is not None or not sources:  # without MNIST some digits are drawn only
            return drawn(label, pen or self.between(0.06, 0.13), self.rng)
        source = sources[int(self.rng.integers(len(sources) + 1)) - 1]
        if self.rng.random() < 0.3:
            return drawn(label, pen or self.between(0.06, 0.13), self.rng)
        images = legible()[source][label]
        return enlarged(self.pick(images))


# Numbers of test images that are easy to read, by source and label.
LEGIBLE: dict[str, list[list[int]]] = {
    "bundled": [
        [41, 51, 93, 102, 108, 142],
        [49, 60, 103, 177, 212, 261],
        [96, 163, 238, 267],
        [14, 19, 81, 117, 126, 144],
        [149],
        [13, 30, 44, 64, 127, 150],
        [],
        [1, 175, 237],
        [10, 24, 36, 88, 104, 109],
        [],
    ],
    "MNIST": [
        [3, 10, 13, 25, 28, 55],
        [2, 5, 14, 29, 31, 37],
        [1, 35, 38, 43, 47, 72],
        [30, 32, 44, 51, 63, 68],
        [4, 6, 19, 24, 27, 33],
        [15, 23, 45, 52, 53, 59],
        [11, 21, 22, 50, 54, 66],
        [0, 17, 26, 34, 36, 41],
        [61, 84, 110, 128, 134, 146],
        [7, 9, 12, 16, 20, 58],
    ],
}


@cache
def legible() -> dict[str, list[list[npt.NDArray[np.uint8]]]]:
    """Return images uint8 (H, W) by source and label."""
    sources = {"bundled": load_digits("test")[0]}
    with suppress(MissingDataError):
        sources["MNIST"] = load_mnist(split="test", download=False)[0]
    return {
        name: [[np.asarray(images[k]) for k in numbers] for numbers in LEGIBLE[name]]
        for name, images in sources.items()
    }


def enlarged(image: npt.NDArray[np.uint8]) -> Image.Image:
    """Return a small digit as large as if it had been written so, with sharp edges."""
    small = Image.fromarray(image)
    large = small.resize((320, 320), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(5))
    ink = np.clip((np.asarray(large, float) - 90) * 8, 0, 255).astype(np.uint8)
    return cropped(Image.fromarray(ink))


def drawn(label: int, pen: float, rng: np.random.Generator) -> Image.Image:
    """Return a digit drawn with a pen whose width is a share of the digit's height."""
    hand = np.array(
        [[rng.uniform(0.55, 0.75), rng.uniform(-0.15, 0.05)], [rng.uniform(-0.05, 0.05), 1]]
    )
    tall = 2 * GLYPH
    radius = max(1.0, pen * tall / 2)
    return cropped(pen_strokes.drawn(STROKES[label], hand, 0.015, tall, radius, rng))


def cropped(ink: Image.Image) -> Image.Image:
    box = ink.getbbox()
    assert box is not None
    return ink.crop(box)


# --- pieces of a scene ----------------------------------------------------------------------------


class Sheet:
    """A scene in the making: reflectances (H, W, 3) of 0 to 1, rows down, columns to the right."""

    def __init__(self, hand: Hand, height: int = 480, width: int = 640,
                 paper: Colour | None = None) -> None:  # fmt: skip
        self.hand, self.height, self.width = hand, height, width
        self.pixels = np.empty((height, width, 3))
        self.pixels[:] = paper or hand.pick(PAPERS)
        self.light: Floats = np.ones((height, width))
        self.y, self.x = np.mgrid[0:height, 0:width].astype(float)
        self.digits: list[int] = []

    def cover(self, share: npt.NDArray[Any], colour: Colour) -> Sheet:
        """Lay a colour over the share (H, W) of each pixel."""
        self.pixels += share[:, :, None] * (np.array(colour) - self.pixels)
        return self

    def mask(self, draw: Callable[[ImageDraw.ImageDraw], Any]) -> Floats:
        """Return what is drawn with 255, 0 to 1, drawn twice as large for smooth edges."""
        big = Image.new("L", (2 * self.width, 2 * self.height))
        draw(ImageDraw.Draw(big))
        return np.asarray(big.reduce(2), float) / 255

    def fill(self, box: Sequence[float], colour: Colour) -> Sheet:
        """Fill a box of left, top, right, bottom."""
        doubled = [2 * side for side in box]
        return self.cover(self.mask(lambda d: d.rectangle(doubled, fill=255)), colour)

    def frame(self, box: Sequence[float], thick: float, colour: Colour, share: float = 1) -> Sheet:
        """Draw the outline of a box of left, top, right, bottom."""
        doubled = [2 * side for side in box]
        wide = max(1, round(2 * thick))
        outline = self.mask(lambda d: d.rectangle(doubled, outline=255, width=wide))
        return self.cover(share * outline, colour)

    def line(self, ends: Sequence[float], thick: float, colour: Colour, share: float = 1) -> Sheet:
        """Draw a straight line from x, y to x, y."""
        doubled = [2 * end for end in ends]
        wide = max(1, round(2 * thick))
        return self.cover(share * self.mask(lambda d: d.line(doubled, 255, wide)), colour)

    def write(self, tall: float, colour: Colour | None = None, *, at: tuple[float, float] = (0, 0),
              label: int | None = None, pen: float | None = None, angle: float | None = None,
              blur: float = 0, share: float = 1) -> Sheet:  # fmt: skip
        """Write a digit: ``at`` x, y of its middle from the middle of the sheet, in pixels."""
        hand = self.hand
        glyph = hand.glyph(label, pen)
        wide = max(1, round(glyph.width * tall / glyph.height))
        if wide > 1.2 * tall:
            wide, tall = round(1.2 * tall), 1.2 * tall * glyph.height / glyph.width
        glyph = glyph.resize((wide, max(1, round(tall))), Image.Resampling.LANCZOS)
        angle = hand.between(-6, 6) if angle is None else angle
        glyph = glyph.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        page = Image.new("L", (self.width, self.height))
        left = round(self.width / 2 + at[0] - glyph.width / 2)
        top = round(self.height / 2 + at[1] - glyph.height / 2)
        page.paste(glyph, (left, top))
        self.box = left, top, left + glyph.width, top + glyph.height
        if blur:
            page = page.filter(ImageFilter.GaussianBlur(blur))
        self.digits.append(hand.label if label is None else label)
        return self.cover(share * np.asarray(page) / 255, colour or hand.pick(DARK_INKS))

    def text(self, words: str, size: float, at: tuple[float, float], colour: Colour) -> Sheet:
        """Print words, ``at`` their left upper corner."""
        font = ImageFont.load_default(2 * size)
        place = 2 * at[0], 2 * at[1]
        return self.cover(self.mask(lambda d: d.text(place, words, 255, font=font)), colour)

    def slope(self, strength: float = 0.4) -> Sheet:
        """Light that falls off to one side."""
        angle = self.hand.between(0, 2 * np.pi)
        along = (np.cos(angle) * self.x / self.width + np.sin(angle) * self.y / self.height) / 1.5
        self.light *= 1 - strength * (along - along.min())
        return self

    def shadow(self, depth: float, soft: float) -> Sheet:
        """A straight shadow over one side, through the digit's surroundings."""
        hand = self.hand
        angle = hand.between(0, 2 * np.pi)
        along = np.cos(angle) * (self.x - self.width / 2) + np.sin(angle) * (
            self.y - self.height / 2
        )
        edge = 1 / (1 + np.exp(np.clip((along - hand.between(-60, 60)) / soft, -50, 50)))
        self.light *= 1 - depth * edge
        return self

    def blob(self, x: float, y: float, radius: float, soft: float) -> Floats:
        """Return a round spot of 0 to 1."""
        distance = np.hypot(self.x - x, self.y - y) - radius
        return 1 / (1 + np.exp(np.clip(distance / soft, -50, 50)))

    def photo(self, noise: float = 3, quality: int = 85, blur: float = 0.7,
              gain: float = 0.95) -> Picture:  # fmt: skip
        """Return the scene as a camera saves it."""
        image = self.pixels * (255 * gain * self.light)[:, :, None]
        image = np.asarray(shade(image, blur), float)
        image = image + self.hand.rng.normal(0, noise, (self.height, self.width, 1))
        image += self.hand.rng.normal(0, noise / 2, image.shape)
        taken = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
        return Picture(taken, self.digits, "JPEG", {"quality": quality})

    def drawing(self) -> Picture:
        """Return the scene as a program saves it: no noise, no JPEG."""
        return Picture(shade(255 * self.pixels, 0), self.digits)


def shade(image: Floats, blur: float) -> Image.Image:
    image = np.rint(np.clip(image, 0, 255)).astype(np.uint8)
    return Image.fromarray(image).filter(ImageFilter.GaussianBlur(blur))
