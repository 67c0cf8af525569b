"""Ruled, squared and dotted paper; a sheet on a table."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .condition import lit, scene, spot
from .pieces import BLACK, BLUE, PAPERS, TABLES, Colour, Hand, Picture, Sheet

GRID_BLUES = ((0.45, 0.55, 0.8), (0.55, 0.62, 0.75), (0.35, 0.4, 0.6), (0.5, 0.5, 0.55))


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
    box = (180 + hand.between(-30, 30), 120, 460, 360)
    colours = (0.1, 0.1, 0.1), (0.1, 0.15, 0.4), (0.3, 0.05, 0.1), (0.1, 0.3, 0.2)
    sheet.fill(box, hand.pick(colours))
    return lit(sheet.write(hand.between(110, 160), (0.92, 0.92, 0.9))).photo()
