"""Conditions that are looked at once, at the end."""

from __future__ import annotations

import numpy as np

from .condition import held_out, lit, spot
from .paper import lying
from .pieces import BLACK, BLUE, Hand, Picture, Sheet


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
