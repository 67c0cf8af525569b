"""What the library reads in a picture."""

from __future__ import annotations

from pathlib import Path

from nplenet.layers import Layer
from nplenet.recognize import prepare, read_image, recognize


def answers(model: Layer, path: Path) -> tuple[list[int], int | None]:
    """Return the digits in reading order, and the one that ``predict --one`` would read."""
    try:
        image = prepare(read_image(path))
    except ValueError:
        return [], None
    one = int(recognize(model, image).probabilities.argmax())
    return [one], one
