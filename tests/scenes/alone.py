"""One digit and nothing else, in ways of writing and of photographing."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .condition import lit, scene, spot
from .pieces import BLACK, BLUE, Hand, Picture, Sheet


@scene
def plain(hand: Hand) -> Picture:
    return Sheet(hand, 300, 300, (1, 1, 1)).write(hand.between(120, 220), (0, 0, 0)).drawing()


@scene
def light_on_dark(hand: Hand) -> Picture:
    return Sheet(hand, 300, 300, (0, 0, 0)).write(hand.between(120, 220), (1, 1, 1)).drawing()


@scene
def photo_sloping_light(hand: Hand) -> Picture:
    return Sheet(hand).write(hand.between(90, 250), at=spot(hand)).slope(0.7).photo()


@scene
def pencil(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(90, 200), (0.62, 0.62, 0.63), at=spot(hand))
    return lit(sheet).photo()


@scene
def very_faint_pencil(hand: Hand) -> Picture:
    sheet = Sheet(hand, paper=(0.93, 0.92, 0.9)).write(150, (0.8, 0.8, 0.79), at=spot(hand))
    return lit(sheet).photo(noise=2)


@scene
def ballpoint(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(100, 200), BLUE, at=spot(hand), pen=0.025)
    return lit(sheet).photo()


@scene
def dry_pen(hand: Hand) -> Picture:
    sheet = Sheet(hand)
    paper = sheet.pixels.copy()
    sheet.write(180, BLACK, pen=0.1)
    grain = np.asarray(
        Image.fromarray(hand.rng.integers(0, 256, (60, 80), np.uint8)).resize((640, 480))
    )
    sheet.pixels = np.where((grain > 185)[:, :, None], paper, sheet.pixels)
    return lit(sheet).photo()


@scene
def thick_marker(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(150, 250), BLACK, pen=hand.between(0.18, 0.26))
    return lit(sheet).photo()


@scene
def small_in_a_large_photo(hand: Hand) -> Picture:
    sheet = Sheet(hand, 1200, 1600).write(hand.between(70, 140), at=spot(hand, 400))
    return lit(sheet).photo()


@scene
def twelve_megapixels(hand: Hand) -> Picture:
    sheet = lit(Sheet(hand, 750, 1000).write(hand.between(120, 400), at=spot(hand, 100)))
    taken = sheet.photo()
    taken.image = taken.image.resize((4000, 3000), Image.Resampling.BICUBIC)
    return taken


@scene
def fills_the_picture(hand: Hand) -> Picture:
    return lit(Sheet(hand, 320, 300).write(hand.between(270, 310), angle=0)).photo()


@scene
def cut_out_without_margin(hand: Hand) -> Picture:
    sheet = Sheet(hand, 300, 300, (1, 1, 1)).write(200, BLACK)
    drawing = sheet.drawing()
    drawing.image = drawing.image.crop(sheet.box)
    return drawing


@scene
def in_a_corner(hand: Hand) -> Picture:
    side = hand.pick((-1, 1, 1, -1)), hand.pick((1, -1, -1, 1))
    return lit(Sheet(hand).write(80, at=(250 * side[0], 170 * side[1]))).photo()


@scene
def tilted(hand: Hand) -> Picture:
    angle = hand.between(10, 20) * hand.pick((-1, -1, 1, 1))
    return lit(Sheet(hand).write(180, angle=angle)).photo()


@scene
def out_of_focus(hand: Hand) -> Picture:
    return lit(Sheet(hand).write(hand.between(120, 200), at=spot(hand))).photo(blur=5)


@scene
def moved_camera(hand: Hand) -> Picture:
    taken = lit(Sheet(hand).write(hand.between(140, 200), at=spot(hand))).photo()
    pixels = np.asarray(taken.image, float)
    mean = np.mean([np.roll(pixels, k, 1) for k in range(-5, 6)], axis=0)
    taken.image = Image.fromarray(mean.astype(np.uint8))
    return taken


@scene
def noisy_low_light(hand: Hand) -> Picture:
    return lit(Sheet(hand).write(hand.between(120, 200), BLACK)).photo(noise=9, gain=0.25)


@scene
def low_jpeg_quality(hand: Hand) -> Picture:
    return lit(Sheet(hand).write(hand.between(120, 200))).photo(quality=5)


@scene
def perspective(hand: Hand) -> Picture:
    taken = lit(Sheet(hand).write(200)).photo()
    k = hand.between(0.1, 0.3)
    corners = (0, 0, -640 * k, 480, 640 + 640 * k, 480, 640, 0)
    taken.image = taken.image.transform(
        (640, 480), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR
    )
    return taken


@scene
def crumpled_paper(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 200), BLACK)
    grain = Image.fromarray(hand.rng.integers(110, 256, (12, 16), np.uint8))
    sheet.light *= np.asarray(grain.resize((640, 480), Image.Resampling.BICUBIC)) / 255
    return sheet.photo()


@scene
def show_through(hand: Hand) -> Picture:
    sheet = Sheet(hand)
    for k in range(8):
        sheet.text("otto sees anna", 26, (60, 30 + 55 * k), tuple(0.9 * sheet.pixels[0, 0]))  # type: ignore[arg-type]  # fmt: skip
    sheet.pixels = np.ascontiguousarray(sheet.pixels[:, ::-1])
    return lit(sheet.write(hand.between(120, 200), BLACK)).photo(blur=1)
