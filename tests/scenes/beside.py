"""Things beside the digit: pens, boxes, print, stains."""

from __future__ import annotations

from .condition import lit, scene, several
from .pieces import BLACK, BLUE, DARK_INKS, Hand, Picture, Sheet


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
    box = [c + s for s in (-half, half) for c in (320, 240)]
    thick = hand.between(1.5, 4.5)
    colour = hand.pick((BLACK, (0.3, 0.3, 0.3), BLUE, (0.5, 0.2, 0.2)))
    return lit(sheet.frame(box, thick, colour)).photo()


@scene
def in_a_row_of_boxes(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(70, 90), BLUE, at=(hand.pick((-110, 0, 0, 110)), 0))
    for k in range(5):
        box = (45 + 110 * k, 185, 155 + 110 * k, 295)
        sheet.frame(box, 2.5, hand.pick(((0.3, 0.3, 0.3), BLACK)))
    return lit(sheet).photo()


@scene
def touching_its_box(hand: Hand) -> Picture:
    sheet = Sheet(hand).write(hand.between(120, 140), BLACK)
    half = hand.between(55, 62)
    box = [c + s for s in (-1.4 * half, 1.4 * half) for c in (320, 240 + half * 0.4)]
    return lit(sheet.frame(box, hand.between(1.5, 3), (0.3, 0.3, 0.35), share=0.7)).photo()


@scene
def framed_picture(hand: Hand) -> Picture:
    sheet = Sheet(hand, 300, 300, (1, 1, 1)).write(hand.between(130, 200), (0, 0, 0))
    inset = hand.between(0, 20)
    box = (inset, inset, 299.5 - inset, 299.5 - inset)
    return sheet.frame(box, hand.between(1, 6), (0, 0, 0)).drawing()


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
    sheet.fill((0, 0, 900, 100), (0.96, 0.96, 0.97))
    right, bottom = hand.between(520, 860), hand.between(480, 600)
    sheet.fill((5, 110, right, bottom), (1, 1, 1))
    for k in range(8):
        red, green, blue = hand.rng.random(3)
        sheet.fill((400 + 20 * k, 40, 415 + 20 * k, 55), (red, green, blue))
    sheet.text("File  Edit  View  Image", 13, (14, 6), BLACK)
    at = right / 2 - 450, (bottom + 110) / 2 - 320
    return sheet.write(hand.between(150, 220), (0, 0, 0), at=at).drawing()
