"""What the library reads in a picture."""

from __future__ import annotations

from pathlib import Path

from nplenet.layers import Layer
from nplenet.recognize import find_digits, prepare, read_photo, recognize


def answers(model: Layer, path: Path) -> tuple[list[int], int | None]:
    """Return the digits in reading order, and the one that ``predict --one`` would read."""
    try:
        pixels = read_photo(path).pixels
        images = [prepare(pixels), *(digit.image for digit in find_digits(pixels))]
    except ValueError:
        return [], None
    one, *several = (int(recognize(model, image).probabilities.argmax()) for image in images)
    return several, one
