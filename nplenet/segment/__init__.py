"""Find the digits in a picture.

picture -> grey (colour) -> paper and ink, per window and polarity (ink, windows)
        -> rules of paper removed (lines) -> connected parts (parts) -> boxes around a digit
        removed (boxes) -> groups of parts (groups) -> papers as small as a digit (notes)
        -> the groups that are digits (choose, contest, shapes)
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from .boxes import without_boxes
from .choose import digits, ranked
from .colour import at_working_size, block_of, grey_of
from .groups import groups
from .ink import Papers, ink_of, papers_of
from .lines import Line, rules_of, without
from .notes import notes_of
from .parts import Part, parts_of
from .windows import Mask

__all__ = ["Part", "find"]

MIN_SIDE = 1 / 64  # of the image's longer side: a smaller part is a speck
AT_EDGE, AT_EDGE_OF_SMALL = 0.2, 0.8  # a digit often fills a small image
WINDOWS_FOR_LINES = (0, 2)


def find(picture: npt.NDArray[np.uint8]) -> tuple[list[Part], list[Part], float]:
    """Find the digits in a picture, uint8 (H, W, C) with C of 1 or 3.

    Returns
    -------
    ranked : list of Part
        All candidates, the best first.
    digits : list of Part
        The digits among them, in reading order.
    scale : float
        Pixels of the parts per pixel of the picture.
    """
    block = block_of(picture)
    image, scale = at_working_size(picture[::block, ::block])
    grey = grey_of(image)
    side = max(grey.shape)
    min_side = max(5, round(side * MIN_SIDE))
    dark, light = (papers_of(level, max(1.0, scale)) for level in (grey, 255 - grey))
    dark_groups, dark_ink = _groups_of(dark, light, min_side)
    light_groups, light_ink = _groups_of(light, dark, min_side)
    for group in light_groups:
        group.light = True
    notes = [
        *notes_of(light_ink, dark_ink, light=False),
        *notes_of(dark_ink, light_ink, light=True),
    ]
    at_edge = AT_EDGE if scale <= 1 else AT_EDGE_OF_SMALL
    best = ranked(dark_groups + light_groups, notes, side, at_edge)
    return best, digits(best), scale / block


def _groups_of(papers: Papers, opposite: Papers, min_side: int) -> tuple[list[Part], Mask]:
    """Return the groups that all windows show, and all that the widest window takes for ink."""
    found: list[Part] = []
    across: list[Line] = []
    down: list[Line] = []
    for step in range(len(papers.windows)):
        if step not in WINDOWS_FOR_LINES and papers.same(step, step - 1):
            continue  # it shows the same parts
        ink = ink_of(papers, step)
        if step in WINDOWS_FOR_LINES:
            lines = rules_of(ink.mask), rules_of(np.ascontiguousarray(ink.mask.T))
            if sum(map(len, lines)) > len(across) + len(down):
                across, down = lines
        mask = without(without(ink.mask, across).T, down).T if across or down else ink.mask
        measured = partial(
            parts_of, ink=ink, papers=papers, step=step, opposite=opposite, min_side=min_side
        )
        parts = without_boxes(mask, measured)
        for group in groups(parts):
            group.window = step
            found.append(group)
    return found, ink.mask
