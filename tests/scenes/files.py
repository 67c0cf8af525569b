"""Small images and kinds of files."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .alone import photo_sloping_light, plain
from .colours import coloured_ink_on_coloured_paper
from .condition import scene
from .pieces import Hand, Picture, Sheet


def shrunk(hand: Hand, side: int, pen: float | None = None, tall: float = 0.72) -> Picture:
    sheet = Sheet(hand, 16 * side, 16 * side, (1, 1, 1))
    made = sheet.write(16 * side * tall, (0, 0, 0), angle=0, pen=pen).drawing()
    made.image = made.image.convert("L").reduce(16)
    return made


@scene
def small_28x28(hand: Hand) -> Picture:
    return shrunk(hand, 28)


@scene
def thin_strokes_in_28x28(hand: Hand) -> Picture:
    return shrunk(hand, 28, pen=hand.between(0.02, 0.04))


@scene
def faint_strokes_in_28x28(hand: Hand) -> Picture:
    made = shrunk(hand, 28, pen=hand.between(0.03, 0.06))
    made.image = made.image.point(lambda v: 255 - (255 - v) // 4)
    return made


@scene
def tiny_16x16(hand: Hand) -> Picture:
    return shrunk(hand, 16, tall=0.85)


@scene
def tiny_8x8(hand: Hand) -> Picture:
    return shrunk(hand, 8, tall=1.0)


@scene
def sixteen_bits_that_use_eight(hand: Hand) -> Picture:
    made = plain(hand)
    made.image = Image.fromarray(np.asarray(made.image.convert("L")).astype(np.uint16))
    return made


@scene
def sixteen_bits(hand: Hand) -> Picture:
    made = plain(hand)
    made.image = Image.fromarray(np.asarray(made.image.convert("L")).astype(np.uint16) * 257)
    return made


@scene
def palette(hand: Hand) -> Picture:
    made = coloured_ink_on_coloured_paper(hand)
    made.image, made.form, made.options = made.image.quantize(16), "PNG", {}
    return made


@scene
def strokes_on_nothing(hand: Hand) -> Picture:
    made = plain(hand)
    alpha = made.image.convert("L").point(lambda v: 255 - v)
    made.image = Image.new("L", alpha.size, int(hand.pick((0, 255, 255, 0)))).convert("RGBA")
    made.image.putalpha(alpha)
    return made


@scene
def one_bit(hand: Hand) -> Picture:
    made = plain(hand)
    made.image = made.image.convert("1")
    return made


@scene
def turned_by_exif(hand: Hand) -> Picture:
    made = photo_sloping_light(hand)
    exif = Image.Exif()
    exif[0x0112] = 6
    made.image = made.image.transpose(Image.Transpose.ROTATE_90)
    made.options["exif"] = exif
    return made


@scene
def webp(hand: Hand) -> Picture:
    made = photo_sloping_light(hand)
    made.form, made.options = "WEBP", {"quality": 70}
    return made


@scene
def gif(hand: Hand) -> Picture:
    made = plain(hand)
    made.form = "GIF"
    return made


@scene
def tiff(hand: Hand) -> Picture:
    made = photo_sloping_light(hand)
    made.form, made.options = "TIFF", {"compression": "tiff_lzw"}
    return made
