"""The style of all plots: two colours and one colour map, legible to the colour-blind and in grey.

Figures are made without ``pyplot``: no global state, no window or display, safe in threads. In a
notebook, ``%matplotlib inline`` shows a figure that a cell returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..rounding import ceil_div
from ..terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Distinct in every kind of colour vision (Okabe and Ito, 2008), but not in grey: so lines differ in
# style too, and points in form. Colours after the sixth are less distinct.
BLUE, VERMILLION = "#0072B2", "#D55E00"
OTHERS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6E7781", "#9C6644", "#8073AC", "#999933")
COLORS = (BLUE, VERMILLION, *OTHERS)
FAINT = "#8B949E"  # visible on a white and on a dark page
SEQUENTIAL = "cividis"  # even steps of lightness, for colour-blind eyes and in grey
GREY = "gray"
MAX_NAME = 12  # characters of a class's name
END_OF_FONT = 0x590  # DejaVu Sans has the letters of Latin, Greek, Cyrillic and Armenian


def class_name(names: Sequence[str], k: int) -> str:
    """Return the name of class k as a plot shows it, or k where it has no name.

    Also where Matplotlib's font lacks its letters. A name is never taken for a formula.
    """
    name = printable(names[k], MAX_NAME) if k < len(names) else ""
    in_font = all(ord(character) < END_OF_FONT for character in name)
    return name.replace("$", r"\$") if name and in_font else str(k)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty Figure of ``width`` x ``height`` inches.

    Raises
    ------
    ImportError
        When Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need Matplotlib: pip install 'nplenet[plot]'") from error
    return Figure(figsize=(width, height), layout="compressed", facecolor="white")


def calm(ax: Axes) -> None:
    """Remove the frame of a chart and draw a faint grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=FAINT, alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)


def bare(ax: Axes) -> None:
    """Remove the frame and the ticks of an image."""
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])


def grid(count: int, columns: int, tile: float, text: float) -> tuple[Figure, list[Axes]]:
    """Return a Figure with ``count`` bare axes, row by row.

    Parameters
    ----------
    tile, text : float
        Height in inches of an image and of the text above it.
    """
    columns = min(columns, count)
    rows = ceil_div(count, columns)
    figure = new_figure(columns * tile, rows * (tile + text))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes:
        bare(ax)
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]


def show_image(ax: Axes, image: npt.NDArray[Any]) -> None:
    """Draw an image (C, H, W), C 1 or 3, of uint8 or of floats in 0 ... 1, pixel by pixel."""
    largest = 255 if image.dtype == np.uint8 else 1.0
    pixels = image[0] if len(image) == 1 else np.moveaxis(image, 0, 2)
    ax.imshow(pixels, cmap=GREY, vmin=0, vmax=largest, interpolation="none")


def montage(tiles: npt.NDArray[Any], columns: int, gap: int = 2) -> npt.NDArray[np.float64]:
    """Return tiles (N, H, W) side by side, row by row; NaN, which is not drawn, separates them."""
    count, height, width = tiles.shape
    rows = ceil_div(count, columns)
    padded = np.full((rows * columns, height + gap, width + gap), np.nan)
    padded[:count, :height, :width] = tiles
    sheet = padded.reshape(rows, columns, height + gap, width + gap).swapaxes(1, 2)
    sheet = sheet.reshape(rows * (height + gap), columns * (width + gap))
    return sheet[:-gap, :-gap]
