"""Several digits."""

from __future__ import annotations

from .condition import lit, several
from .paper import ruled
from .pieces import BLUE, DARK_INKS, Colour, Hand, Picture, Sheet


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
        sheet.frame((80 + 120 * k, 180, 200 + 120 * k, 300), 2.5, (0.3, 0.3, 0.3))
    row(sheet, 4, 85, 0, 120, BLUE)
    return lit(sheet).photo()
