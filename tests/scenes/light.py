"""Shadows and glare."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from .condition import lit, scene, spot
from .pieces import BLACK, DARK_INKS, Hand, Picture, Sheet


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
