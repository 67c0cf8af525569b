"""The chapters of the book that explain the layers, where the built book lies beside the page."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

CHAPTERS = {
    "Conv2d": ("convolution", "Convolution as one matrix product"),
    "BatchNorm1d": ("batch-norm", "Batch normalisation"),
    "BatchNorm2d": ("batch-norm", "Batch normalisation"),
    "AvgPool2d": ("pooling", "Pooling"),
    "GlobalAvgPool2d": ("pooling", "Pooling"),
    "MaxPool2d": ("pooling", "Pooling"),
    "Dropout": ("dropout", "Dropout"),
    "Softmax": ("cross-entropy", "Softmax and cross entropy"),
    "GELU": ("own-layer", "A layer of your own"),
    "GroupNorm": ("own-layer", "A layer of your own"),
}
"""For a class of layer: the file of its chapter without the ending, and its title."""

PLACES = (".", "docs/_build/html", "html")
"""Where the book is looked for, from the folder of the page."""


def chapters_beside(page: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Return the chapters that lie beside a page: for a class of layer, href and title."""
    folder = Path(page).absolute().parent
    for place in PLACES:
        book = folder / place
        found = {
            kind: {"href": quote(f"{place}/{name}.html"), "title": title}
            for kind, (name, title) in CHAPTERS.items()
            if (book / f"{name}.html").is_file()
        }
        if found:
            return found
    return {}
