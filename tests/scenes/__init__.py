"""A generator of scenes with digits: see ``pieces``; ``python tools/try_scenes.py`` tries them."""

from . import alone, beside, colours, files, light, paper, several, unseen  # noqa: F401  fill SCENES
from .condition import HELD_OUT, SCENES, SEVERAL
from .pieces import Hand, Picture

__all__ = ["HELD_OUT", "SCENES", "SEVERAL", "Hand", "Picture", "made"]


def made(condition: str, number: int, *, held_out: bool = False) -> Picture:
    """Return picture ``number`` of a condition; its main digit is ``number`` modulo 10."""
    place = sorted(SCENES).index(condition)
    hand = Hand([place, number], number % 10, held_out=held_out)
    return SCENES[condition](hand)
