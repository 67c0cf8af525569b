"""Ink and paper of other colours."""

from __future__ import annotations

from .condition import lit, scene, spot
from .pieces import Colour, Hand, Picture, Sheet


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
