"""Find the digits in a picture.

picture -> grey (colour) -> paper and ink, per window and polarity (ink, windows)
        -> rules of paper removed (lines) -> connected parts (parts) -> groups of parts (groups)
        -> the groups that are digits (choose)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .choose import digits, ranked
from .colour import at_working_size, block_of, grey_of
from .groups import groups
from .ink import ink_of, papers_of
from .lines import Line, rules_of, without
from .notes import notes_of
from .parts import Part, parts_of

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
    both = [papers_of(level, max(1.0, scale)) for level in (grey, 255 - grey)]
    side = max(grey.shape)
    min_side = max(5, round(side * MIN_SIDE))
    found: list[Part] = []
    widest = []
    for light, papers in enumerate(both):
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
            parts = groups(parts_of(mask, ink, papers, step, both[1 - light], min_side))
            for part in parts:
                part.light, part.window = bool(light), step
            found += parts
        widest.append(ink.mask)
    notes = [
        *notes_of(widest[1], widest[0], light=False),
        *notes_of(widest[0], widest[1], light=True),
    ]
    best = ranked(found, notes, side, AT_EDGE if scale <= 1 else AT_EDGE_OF_SMALL)
    return best, digits(best), scale / block
