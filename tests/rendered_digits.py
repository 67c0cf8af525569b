"""Digits on paper, rendered: ten typefaces, and four pens led along strokes as by a hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pen_strokes
import pytest
from pen_strokes import STROKES
from PIL import Image, ImageDraw, ImageFont

Draw = Callable[[int], Image.Image]
"""Takes a number of rows; returns a digit as high as that, cropped: 255 is ink."""

# Serif and sans serif, upright and slanted, thin and thick, condensed, rounded, hand-lettered:
# package and file, or Pillow's own. Chosen before any was tried.
TYPEFACES: dict[str, tuple[str, str] | None] = {
    "Aileron": None,
    "Roboto Thin": ("font_roboto", "Roboto-Thin.ttf"),
    "Roboto Regular": ("font_roboto", "Roboto-Regular.ttf"),
    "Roboto Black": ("font_roboto", "Roboto-Black.ttf"),
    "Source Serif": ("font_source_serif_pro", "SourceSerifPro-Regular.ttf"),
    "Source Serif Italic": ("font_source_serif_pro", "SourceSerifPro-It.ttf"),
    "Caladea Bold": ("font_caladea", "Caladea-Bold.ttf"),
    "Amatic": ("font_amatic_sc", "AmaticSC-Regular.ttf"),
    "Fredoka": ("font_fredoka_one", "FredokaOne-Regular.ttf"),
    "Intuitive": ("font_intuitive", "Intuitive.ttf"),
}
PENS = {"thin pen": 0.012, "pen": 0.06, "felt pen": 0.13, "brush": 0.2}  # width / height of digit


def printed(typeface: str, digit: int) -> Draw:
    """Return a digit of a typeface."""
    source = TYPEFACES[typeface]
    font: Any
    if source is None:
        font = ImageFont.load_default(400)
    else:
        package = pytest.importorskip(source[0], reason=f"needs the package {source[0]}")
        font = ImageFont.truetype(str(Path(package.font_directory) / source[1]), 400)
    sheet = Image.new("L", (800, 900))
    ImageDraw.Draw(sheet).text((200, 150), str(digit), 255, font=font)
    glyph = sheet.crop(sheet.getbbox())

    def draw(height: int) -> Image.Image:
        width = max(1, round(glyph.width * height / glyph.height))
        return glyph.resize((width, height), Image.Resampling.LANCZOS)

    return draw


def drawn(pen: str, digit: int, seed: int) -> Draw:
    """Return a digit drawn with a pen: slanted, as wide as it comes, and never twice the same."""

    def draw(height: int) -> Image.Image:
        rng = np.random.default_rng(seed)
        hand = np.array(
            [[rng.uniform(0.5, 0.8), rng.uniform(-0.2, 0.1)], [rng.uniform(-0.06, 0.06), 1]]
        )
        tall = 4 * height  # four times as large as wanted, for smooth edges
        radius = max(1.0, PENS[pen] * tall) / 2
        glyph = pen_strokes.drawn(STROKES[digit], hand, 0.02, tall, radius, rng)
        glyph = glyph.crop(glyph.getbbox())
        return glyph.resize((glyph.width // 4, glyph.height // 4), Image.Resampling.BOX)

    return draw


def sheet(
    ink: Image.Image, width: int, height: int, x: float = 0.5, y: float = 0.5, angle: float = 0.0
) -> np.ndarray:
    """Return how far ink covers each pixel, 0 ... 1; x and y say where, 0 left and 1 right."""
    if angle:
        ink = ink.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    page = Image.new("L", (width, height))
    page.paste(ink, (round((width - ink.width) * x), round((height - ink.height) * y)))
    return np.asarray(page) / 255.0


def grey(brightness: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(brightness, 0, 255)).astype(np.uint8)


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("L"))


def photograph(light: str, paper: float, ink: float) -> Callable[..., np.ndarray]:
    """Return a scene in uneven light with noise and as JPEG; paper and ink reflect 0 ... 1."""

    def scene(draw: Draw, rng: np.random.Generator) -> np.ndarray:
        cover = sheet(draw(200), 640, 480, 0.3, 0.6, rng.uniform(-6, 6))
        y, x = np.mgrid[0:480, 0:640] / 480
        falloff = 1 - 0.375 * x - 0.3 * ((x - 0.66) ** 2 + (y - 0.5) ** 2)
        shade = np.where(x + 0.3 * y > 0.9, 0.55, 1.0)  # with a hard edge beside the digit
        image = 235 * {"uneven": falloff, "shadow": shade}[light] * (paper + (ink - paper) * cover)
        return as_jpeg(grey(image + rng.normal(0, 5, image.shape)), 60)

    return scene


SCENES: dict[str, Callable[[Draw, np.random.Generator], np.ndarray]] = {
    "dark on light": lambda draw, rng: grey(255 - 255 * sheet(draw(140), 200, 200)),
    "light on dark": lambda draw, rng: grey(255 * sheet(draw(140), 200, 200)),
    "off-centre": lambda draw, rng: grey(250 - 220 * sheet(draw(90), 480, 360, 0.93, 0.08)),
    "tilted": lambda draw, rng: grey(
        255 - 240 * sheet(draw(150), 240, 260, angle=rng.uniform(-12, 12))
    ),
    "JPEG noise": lambda draw, rng: as_jpeg(grey(230 - 180 * sheet(draw(110), 180, 180)), 12),
    "photograph": photograph("uneven", 0.9, 0.25),
    "blackboard": photograph("uneven", 0.12, 0.67),
    "shadow": photograph("shadow", 0.9, 0.25),
    "small": lambda draw, rng: grey(255 - 255 * sheet(draw(20), 28, 28)),
}
