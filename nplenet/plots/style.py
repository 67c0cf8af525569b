"""How every plot looks: two colours, one map, and marks that survive colour blindness and grey ink.

Figures are made without ``pyplot``: nothing global changes, no window or display is needed, threads
do not meet. In a notebook, ``%matplotlib inline`` shows a figure that a cell returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by every kind of colour vision (Okabe and Ito, 2008), but not in grey: a line has a
# style of its own beside its colour, and a point a form. Those after the sixth are less distinct.
BLUE, VERMILLION = "#0072B2", "#D55E00"
OTHERS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6E7781", "#9C6644", "#8073AC", "#999933")
COLORS = (BLUE, VERMILLION, *OTHERS)
FAINT = "#8B949E"  # seen on a white page and on a dark one
SEQUENTIAL = "cividis"  # even steps of lightness, for colour-blind eyes and in grey
GREY = "gray"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty Figure of so many inches.

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
    """Leave out of a chart what says nothing: the frame; and draw a faint grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=FAINT, alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)


def bare(ax: Axes) -> None:
    """Take the frame and the ticks off an image."""
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])


def grid(count: int, columns: int, tile: float, text: float) -> tuple[Figure, list[Axes]]:
    """Return a Figure with ``count`` bare axes, row by row.

    Parameters
    ----------
    tile, text : float
        Inches that an image, and the text above it, take.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
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
    """Lay tiles (N, H, W) side by side, row by row, with NaN, which is not drawn, between them."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    padded = np.full((rows * columns, height + gap, width + gap), np.nan)
    padded[:count, :height, :width] = tiles
    sheet = padded.reshape(rows, columns, height + gap, width + gap).swapaxes(1, 2)
    sheet = sheet.reshape(rows * (height + gap), columns * (width + gap))
    return sheet[:-gap, :-gap]
