"""The conditions: one function each, from a ``Hand`` to a ``Picture``."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from .pieces import (
    BLACK,
    BLUE,
    DARK_INKS,
    PAPERS,
    TABLES,
    Colour,
    Hand,
    Picture,
    Sheet,
)

SCENES: dict[str, Callable[[Hand], Picture]] = {}
HELD_OUT: list[str] = []  # names of conditions that are looked at once, at the end
SEVERAL: list[str] = []  # names of conditions with several digits
GRID_BLUES = ((0.45, 0.55, 0.8), (0.55, 0.62, 0.75), (0.35, 0.4, 0.6), (0.5, 0.5, 0.55))


def scene(make: Callable[[Hand], Picture]) -> Callable[[Hand], Picture]:
    SCENES[make.__name__] = make
    return make


def held_out(make: Callable[[Hand], Picture]) -> Callable[[Hand], Picture]:
    HELD_OUT.append(make.__name__)
    return scene(make)


def several(make: Callable[[Hand], Picture]) -> Callable[[Hand], Picture]:
    SEVERAL.append(make.__name__)
    return scene(make)


def spot(hand: Hand, reach: float = 60) -> tuple[float, float]:
    return hand.between(-reach, reach), hand.between(-reach, reach)


def lit(sheet: Sheet) -> Sheet:
    return sheet.slope(sheet.hand.between(0.1, 0.5))


# --- one digit and nothing else -------------------------------------------------------------------


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


# --- colours --------------------------------------------------------------------------------------


@scene
def chalk_on_a_blackboard(hand: Hand) -> Picture:
    board = hand.pick(((0.1, 0.2, 0.15), (0.08, 0.08, 0.08), (0.12, 0.15, 0.2), (0.05, 0.12, 0.1)))
    return lit(Sheet(hand, paper=board).write(180, (0.8, 0.8, 0.78), at=spot(hand))).photo(noise=5)


@scene
def highlighter(hand: Hand) -> Picture:
    colour = hand.pick(((0.98, 0.95, 0.2), (0.5, 0.95, 0.4), (1, 0.9, 0.3), (0.98, 0.7, 0.3)))
    sheet = Sheet(hand, paper=(0.97, 0.97, 0.96)).write(180, colour, pen=0.14)
    return lit(sheet).photo(noise=2)


@scene
def ink_as_bright_as_its_paper(hand: Hand) -> Picture:
    ink, paper = hand.pick(
        (
            ((0.92, 0.03, 0.05), (0.0, 0.5, 0.0)),
            ((0.2, 0.35, 0.95), (0.72, 0.28, 0.1)),
            ((0.0, 0.55, 0.55), (0.95, 0.25, 0.25)),
            ((0.85, 0.2, 0.75), (0.2, 0.5, 0.4)),
        )
    )
    return Sheet(hand, 300, 300, paper).write(hand.between(150, 220), ink).drawing()


@scene
def coloured_ink_on_coloured_paper(hand: Hand) -> Picture:
    pairs: list[tuple[Colour, Colour]] = [
        ((0.8, 0.1, 0.1), (0.98, 0.9, 0.3)),
        ((0.95, 0.95, 0.95), (0.4, 0.7, 0.95)),
        ((0.1, 0.2, 0.6), (0.6, 0.9, 0.6)),
        ((0.98, 0.9, 0.2), (0.2, 0.3, 0.7)),
    ]
    ink, paper = hand.pick(pairs)
    return lit(Sheet(hand, paper=paper).write(180, ink, at=spot(hand))).photo()


# --- things beside the digit ----------------------------------------------------------------------


@several
def a_smaller_digit_beside(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 150), BLACK, at=(-60, hand.between(-40, 40)))
    sheet.write(hand.between(75, 100), BLACK, at=(hand.between(120, 240), hand.between(-30, 30)),
                label=int(hand.rng.integers(10)))  # fmt: skip
    return lit(sheet).photo()


@scene
def pen_beside(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 170), BLACK, at=(-90, hand.between(-40, 40)))
    x, lean = 320 + hand.between(70, 180), hand.between(-120, 120)
    colour = hand.pick((BLUE, BLACK, (0.7, 0.1, 0.1), (0.85, 0.7, 0.1)))
    return lit(sheet.line((x, 40, x + lean, 420), hand.between(10, 22), colour)).photo()


@scene
def pen_from_the_edge(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 170), BLACK, at=(-80, hand.between(-40, 40)))
    x = 320 + hand.between(100, 220)
    ends = (x, hand.between(150, 260), x + hand.between(20, 180), 490)
    return lit(sheet.line(ends, hand.between(14, 30), hand.pick(DARK_INKS))).photo()


@scene
def in_a_box(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(90, 130), hand.pick(DARK_INKS))
    half = hand.between(85, 120)
    box = [2 * (c + s) for s in (-half, half) for c in (320, 240)]
    outline = sheet.mask(lambda d: d.rectangle(box, outline=255, width=round(hand.between(3, 9))))
    colour = hand.pick((BLACK, (0.3, 0.3, 0.3), BLUE, (0.5, 0.2, 0.2)))
    return lit(sheet.cover(outline, colour)).photo()


@scene
def in_a_row_of_boxes(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(70, 90), BLUE, at=(hand.pick((-110, 0, 0, 110)), 0))
    for k in range(5):
        box = (90 + 220 * k, 370, 310 + 220 * k, 590)
        outline = sheet.mask(lambda d, box=box: d.rectangle(box, outline=255, width=5))  # type: ignore[misc]  # fmt: skip
        sheet.cover(outline, hand.pick(((0.3, 0.3, 0.3), BLACK)))
    return lit(sheet).photo()


@scene
def touching_its_box(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(120, 140), BLACK)
    half = hand.between(55, 62)
    box = [2 * (c + s) for s in (-1.4 * half, 1.4 * half) for c in (320, 240 + half * 0.4)]
    outline = sheet.mask(lambda d: d.rectangle(box, outline=255, width=round(hand.between(3, 6))))
    return lit(sheet.cover(0.7 * outline, (0.3, 0.3, 0.35))).photo()


@scene
def framed_picture(hand: Hand) -> Picture:
    sheet = Sheet(hand, 300, 300, (1, 1, 1)).write(hand.between(130, 200), (0, 0, 0))
    inset = 2 * hand.between(0, 20)
    box = (inset, inset, 599 - inset, 599 - inset)
    outline = sheet.mask(lambda d: d.rectangle(box, outline=255, width=round(hand.between(2, 12))))
    return sheet.cover(outline, (0, 0, 0)).drawing()


@scene
def underlined(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(100, 150), BLACK)
    y = sheet.box[3] + hand.between(8, 30)
    half = hand.between(60, 120)
    ends = (320 - half, y, 320 + half, y + hand.between(-6, 6))
    return lit(sheet.line(ends, hand.between(3, 8), BLACK)).photo()


@scene
def printed_number_beside(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 160), BLACK, at=(hand.between(0, 80), 30))
    words = hand.pick(("Nr. 4 b)", "Exercise 12", "3.", "Page 7 of 20"))
    return lit(sheet.text(words, hand.between(22, 34), (50, 40), BLACK)).photo()


@scene
def lines_of_print_above(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(130, 180), BLUE, at=(0, 80))
    for k in range(4):
        sheet.text("Write the number of days in a week here:", 18, (90, 20 + 26 * k), BLACK)
    return lit(sheet).photo()


@scene
def circled(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(90, 120), BLACK)
    box = [2 * (c + s) for s in (-hand.between(95, 115), hand.between(95, 115)) for c in (320, 240)]
    ring = sheet.mask(lambda d: d.ellipse(box, outline=255, width=round(hand.between(6, 12))))
    return lit(sheet.cover(ring, hand.pick((BLACK, BLUE, (0.7, 0.1, 0.1), BLUE)))).photo()


@scene
def stains_and_specks(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 170), BLACK)
    for _ in range(25):
        x, y = hand.rng.uniform((0, 0), (640, 480))
        sheet.cover(sheet.blob(x, y, hand.rng.uniform(1, 5), 0.7), (0.4, 0.3, 0.2))
    sheet.cover(0.25 * sheet.blob(hand.between(0, 640), 60, 70, 4), (0.5, 0.35, 0.2))
    return lit(sheet).photo()


@scene
def finger_in_the_corner(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 170), BLACK, at=(-60, -30))
    sheet.cover(sheet.blob(hand.between(560, 640), 460, 90, 1.5), (0.75, 0.5, 0.4))
    return lit(sheet).photo()


@scene
def punched_holes(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 170), BLUE)
    for y in (120, 360):
        sheet.cover(sheet.blob(hand.between(30, 60), y, 17, 0.7), (0.2, 0.15, 0.1))
    return lit(sheet).photo()


@scene
def paint_window(hand: Hand) -> Picture:
    sheet = Sheet(hand, 640, 900, (0.8, 0.84, 0.9))
    sheet.cover(sheet.mask(lambda d: d.rectangle((0, 0, 1800, 200), fill=255)), (0.96, 0.96, 0.97))
    right, bottom = 2 * hand.between(520, 860), 2 * hand.between(480, 600)
    sheet.cover(sheet.mask(lambda d: d.rectangle((10, 220, right, bottom), fill=255)), (1, 1, 1))
    for k in range(8):
        box = (800 + 40 * k, 80, 830 + 40 * k, 110)
        swatch = sheet.mask(lambda d, box=box: d.rectangle(box, fill=255))  # type: ignore[misc]
        sheet.cover(swatch, tuple(hand.rng.random(3)))  # type: ignore[arg-type]
    sheet.text("File  Edit  View  Image", 13, (14, 6), BLACK)
    at = right / 4 - 450, (bottom + 220) / 4 - 320
    return sheet.write(hand.between(150, 220), (0, 0, 0), at=at).drawing()


# --- paper: rules, grids --------------------------------------------------------------------------


def ruled(sheet: Sheet, gap: float, colour: Colour, thick: float, *, grid: bool = False) -> Sheet:
    lean = sheet.hand.between(-8, 8)
    for y in np.arange(-20, 520, gap):
        sheet.line((0, y, 640, y + lean), thick, colour)
    for x in np.arange(-20, 680, gap) if grid else ():
        sheet.line((x, 0, x - lean * 0.75, 480), thick, colour)
    return sheet


@scene
def ruled_paper(hand: Hand) -> Picture:
    sheet = ruled(Sheet(hand), hand.between(40, 60), (0.6, 0.68, 0.85), 1.5)
    sheet.line((90, 0, 88, 480), 1.5, (0.9, 0.5, 0.5))
    return lit(sheet.write(hand.between(100, 180), at=spot(hand))).photo()


@scene
def between_two_rules(hand: Hand) -> Picture:
    gap = hand.between(55, 75)
    sheet = ruled(Sheet(hand), gap, hand.pick(GRID_BLUES), 2)
    return lit(sheet.write(0.75 * gap, BLUE, at=(hand.between(-100, 100), gap * 0.45))).photo()


@scene
def dark_rules_through_the_digit(hand: Hand) -> Picture:
    sheet = ruled(
        Sheet(hand), hand.between(45, 70), hand.pick(GRID_BLUES[2:] + GRID_BLUES[2:]), 2.5
    )
    return lit(sheet.write(hand.between(120, 170), BLUE, at=spot(hand))).photo()


@scene
def squared_paper(hand: Hand) -> Picture:
    sheet = ruled(Sheet(hand), hand.between(22, 34), hand.pick(GRID_BLUES[:2]), 1.2, grid=True)
    return lit(sheet.write(hand.between(110, 180), at=spot(hand))).photo()


@scene
def dark_squared_paper(hand: Hand) -> Picture:
    sheet = ruled(Sheet(hand), hand.between(24, 36), hand.pick(GRID_BLUES[2:]), 2, grid=True)
    return lit(sheet.write(hand.between(110, 180), hand.pick((BLUE, BLACK)), at=spot(hand))).photo()


@scene
def dotted_paper(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 170), hand.pick((BLUE, BLACK)))
    gap = hand.between(24, 36)
    dots = (np.hypot((sheet.x + 9) % gap - gap / 2, (sheet.y + 5) % gap - gap / 2) < 2.2) * 1.0
    return lit(sheet.cover(0.6 * dots, (0.3, 0.3, 0.35))).photo()


# --- the sheet on the table -----------------------------------------------------------------------


def lying(hand: Hand, table: Colour, angle: float, tall: float, wide: float) -> Sheet:
    """Return a table with a sheet of paper on it, somewhere near the middle."""
    sheet = Sheet(hand, paper=table)
    paper = Image.new("L", (1280, 960))
    cx, cy = 640 + 2 * hand.between(-50, 50), 480 + 2 * hand.between(-30, 30)
    turn = math.radians(angle)
    corners = [
        (
            cx + math.cos(turn) * x * wide - math.sin(turn) * y * tall,
            cy + math.sin(turn) * x * wide + math.cos(turn) * y * tall,
        )
        for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    from PIL import ImageDraw

    ImageDraw.Draw(paper).polygon(corners, fill=255)
    sheet.cover(np.asarray(paper.reduce(2)) / 255, hand.pick(PAPERS))
    sheet.middle = cx / 2 - 320, cy / 2 - 240
    return sheet


@scene
def paper_on_a_dark_table(hand: Hand) -> Picture:
    sheet = lying(hand, hand.pick(TABLES), hand.between(-3, 3), 160, 220)
    return lit(sheet.write(hand.between(90, 150), BLACK, at=sheet.middle)).photo()


@scene
def tilted_paper_on_a_table(hand: Hand) -> Picture:
    sheet = lying(hand, hand.pick(TABLES), hand.between(-40, 40), 150, 210)
    return lit(sheet.write(hand.between(90, 140), at=sheet.middle)).photo()


@scene
def paper_over_the_edge(hand: Hand) -> Picture:
    sheet = lying(hand, hand.pick(TABLES), hand.between(-20, 20), 260, 300)
    return lit(sheet.write(hand.between(100, 160), at=sheet.middle)).photo()


@scene
def small_note_on_a_table(hand: Hand) -> Picture:
    sheet = lying(hand, hand.pick(TABLES), hand.between(-25, 25), 85, 90)
    return lit(sheet.write(hand.between(90, 120), at=sheet.middle)).photo()


@scene
def paper_on_a_wooden_table(hand: Hand) -> Picture:
    sheet = lying(hand, (0.45, 0.3, 0.18), hand.between(-15, 15), 160, 220)
    grain = hand.rng.normal(0, 1, (480, 1)) * np.ones((1, 640))
    rows = np.asarray(Image.fromarray(grain.astype(np.float32)).filter(ImageFilter.BoxBlur(0)))
    table = sheet.pixels[:, :, 2] < 0.5
    sheet.pixels[table] *= (1 + 0.12 * rows[table])[:, None]
    return lit(sheet.write(hand.between(90, 150), BLACK, at=sheet.middle)).photo()


@scene
def dark_card_on_white(hand: Hand) -> Picture:
    sheet = Sheet(hand, paper=(0.95, 0.95, 0.95))
    box = (360 + hand.between(-60, 60), 240, 920, 720)
    card = sheet.mask(lambda d: d.rectangle(box, fill=255))
    colours = (0.1, 0.1, 0.1), (0.1, 0.15, 0.4), (0.3, 0.05, 0.1), (0.1, 0.3, 0.2)
    sheet.cover(card, hand.pick(colours))
    return lit(sheet.write(hand.between(110, 160), (0.92, 0.92, 0.9))).photo()


# --- shadows and glare ----------------------------------------------------------------------------


@scene
def hard_shadow_across(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(120, 200), BLACK, at=spot(hand, 30))
    return sheet.shadow(hand.between(0.35, 0.6), 0.8).photo()


@scene
def soft_shadow_across(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(120, 200), BLACK, at=spot(hand, 30))
    return sheet.shadow(hand.between(0.35, 0.6), hand.between(10, 30)).photo()


@scene
def shadow_of_a_phone(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 170), BLACK, at=spot(hand, 30))
    radius = hand.between(70, 140)
    spot_ = sheet.blob(320 + hand.between(-140, 140), 400, radius, hand.between(4, 14))
    sheet.light *= 1 - hand.between(0.35, 0.6) * spot_
    return sheet.photo()


@scene
def shadow_of_a_hand(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 170), BLACK, at=spot(hand, 30))
    for k in range(4):
        x = 300 + 75 * k + hand.between(-10, 10)
        finger = sheet.mask(lambda d, x=x: d.line((2 * x, 960, 2 * x - 160, 380), 255, 70))  # type: ignore[misc]  # fmt: skip
        soft = Image.fromarray((255 * finger).astype(np.uint8)).filter(ImageFilter.GaussianBlur(5))
        sheet.light *= 1 - 0.4 * np.asarray(soft) / 255
    return sheet.photo()


@scene
def stripes_of_a_blind(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(120, 170), BLACK)
    turn, gap = hand.between(-0.6, 0.6), hand.between(70, 140)
    wave = np.sin(2 * np.pi * (sheet.y + turn * sheet.x) / gap)
    sheet.light *= 1 - 0.35 / (1 + np.exp(-8 * wave))
    return sheet.photo()


@scene
def lamp_glare(hand: Hand) -> Picture:
    board = Sheet(hand, paper=(0.72, 0.76, 0.78)).write(
        hand.between(110, 160), hand.pick(DARK_INKS)
    )
    x, y = 320 + hand.pick((-190, 190, 210, -210)), hand.between(80, 400)
    board.cover(board.blob(x, y, hand.between(40, 60), 16), (1.05, 1.05, 1.05))
    return lit(board).photo()


@scene
def dim_corners(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 200), BLACK, at=spot(hand, 100))
    sheet.light *= 1 - 0.7 * (np.hypot(sheet.x - 320, sheet.y - 240) / 400) ** 2
    return sheet.photo()


# --- small images, files --------------------------------------------------------------------------


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


# --- several digits -------------------------------------------------------------------------------


def row(sheet: Sheet, many: int, tall: float, y: float, gap: float, colour: Colour) -> None:
    for k in range(many):
        at = (k - (many - 1) / 2) * gap, y + sheet.hand.rng.uniform(-4, 4)
        sheet.write(tall, colour, at=at, label=int(sheet.hand.rng.integers(10)))


@several
def a_number_of_four_digits(hand: Hand) -> Picture:
    sheet = Sheet(hand)
    row(sheet, 4, 100, 0, hand.between(100, 130), hand.pick(DARK_INKS))
    return lit(sheet).photo()


@several
def digits_on_two_lines(hand: Hand) -> Picture:
    sheet = Sheet(hand)
    for y in (-90, 90):
        row(sheet, 3, 90, y, hand.between(110, 170), BLUE)
    return lit(sheet).photo()


@several
def digits_on_squared_paper(hand: Hand) -> Picture:
    sheet = ruled(Sheet(hand), 30, (0.6, 0.68, 0.85), 1.2, grid=True)
    row(sheet, 3, 90, 0, 120, BLUE)
    return lit(sheet).photo()


@several
def chalk_digits(hand: Hand) -> Picture:
    sheet = Sheet(hand, paper=(0.1, 0.18, 0.14))
    row(sheet, 3, 120, 0, 150, (0.85, 0.85, 0.8))
    return lit(sheet).photo(noise=5)


@several
def digits_in_boxes(hand: Hand) -> Picture:
    sheet = Sheet(hand)
    for k in range(4):
        box = (160 + 240 * k, 360, 400 + 240 * k, 600)
        outline = sheet.mask(lambda d, box=box: d.rectangle(box, outline=255, width=5))  # type: ignore[misc]  # fmt: skip
        sheet.cover(outline, (0.3, 0.3, 0.3))
    row(sheet, 4, 85, 0, 120, BLUE)
    return lit(sheet).photo()


# --- never looked at before the end ---------------------------------------------------------------


@held_out
def ring_of_a_cup(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(120, 160), BLACK)
    ring = sheet.blob(420, 200, 130, 3) - sheet.blob(420, 200, 120, 3)
    return lit(sheet.cover(0.35 * ring, (0.4, 0.25, 0.1))).photo()


@held_out
def paper_clip(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(110, 160), BLACK, at=(-40, 30))
    sheet.line((520, 20, 520, 110), 4, (0.5, 0.5, 0.55)).line(
        (545, 20, 545, 130), 4, (0.5, 0.5, 0.55)
    )
    return lit(sheet.line((520, 110, 545, 130), 4, (0.5, 0.5, 0.55))).photo()


@held_out
def folded_paper(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(120, 170), BLUE, at=spot(hand, 30))
    sheet.light *= np.where(sheet.x + 0.1 * sheet.y < hand.between(250, 420), 1, 0.75)
    sheet.light *= 1 - 0.2 * np.exp(-(((sheet.y - 250) / 3) ** 2))
    return sheet.photo()


@held_out
def on_a_sticky_note(hand: Hand) -> Picture:
    sheet = lying(hand, (0.93, 0.93, 0.92), hand.between(-20, 20), 150, 150)
    note = (sheet.pixels - 0.925).sum(axis=2) != 0
    sheet.pixels = np.where(note[:, :, None], np.array((0.98, 0.9, 0.35)), sheet.pixels)
    return lit(sheet.write(130, hand.pick((BLUE, BLACK)), at=sheet.middle)).photo()


@held_out
def beside_a_drawn_arrow(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(120, 160), BLACK, at=(-50, 0))
    sheet.line((480, 245, 600, 240), 6, BLACK).line((480, 245, 510, 225), 6, BLACK)
    return lit(sheet.line((480, 245, 510, 265), 6, BLACK)).photo()


@held_out
def window_frame_shadow(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(120, 170), BLACK)
    bars = (np.abs(sheet.x + 0.3 * sheet.y - 380) < 22) | (
        np.abs(sheet.y - 0.2 * sheet.x - 190) < 18
    )
    sheet.light *= 1 - 0.5 * bars
    return sheet.photo(blur=1.5)


@held_out
def screen_with_pixels(hand: Hand) -> Picture:
    sheet = Sheet(hand, paper=(0.95, 0.95, 1)).write(hand.between(130, 180), (0.1, 0.1, 0.1))
    sheet.light *= 1 - 0.12 * (sheet.x % 3 < 1) - 0.06 * (sheet.y % 3 < 1)
    return lit(sheet).photo()


@held_out
def chequered_tablecloth(hand: Hand) -> Picture:
    sheet = lying(hand, (0.9, 0.9, 0.9), hand.between(-10, 10), 170, 230)
    cloth = np.abs(sheet.pixels - 0.9).sum(axis=2) < 1e-6
    checks = ((sheet.x // 30 + sheet.y // 30) % 2 < 1) & cloth
    sheet.pixels[checks] = (0.7, 0.15, 0.15)
    return lit(sheet.write(130, BLACK, at=sheet.middle)).photo()
