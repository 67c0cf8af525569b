"""The pictures that several chapters draw: matrices of numbers, images, signed images."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats

set_matplotlib_formats("svg")
plt.rcParams.update(
    {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 10,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "image.interpolation": "nearest",
        "legend.frameon": False,
        "svg.fonttype": "path",  # the same letters on every machine
        "svg.hashsalt": "nplenet",  # and the same file in every build
    }
)

# Okabe & Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
CELL = 0.36  # inches: the side of one number in a picture of a matrix


def matrices(**named: np.ndarray) -> tuple[plt.Figure, dict[str, Axes]]:
    """Draw matrices side by side, each number in its square; return the figure and the axes."""
    arrays = {name: np.atleast_2d(a) for name, a in named.items()}
    widths = [a.shape[1] for a in arrays.values()]
    height = max(a.shape[0] for a in arrays.values())
    size = (CELL * (sum(widths) + 1.2 * len(widths)), CELL * (height + 1.4))
    figure, axes = plt.subplots(
        1, len(arrays), figsize=size, width_ratios=widths, squeeze=False, layout="constrained"
    )
    for ax, (name, a) in zip(axes[0], arrays.items(), strict=True):
        matrix(ax, a, name)
    return figure, dict(zip(arrays, axes[0], strict=True))


def matrix(ax: Axes, a: np.ndarray, title: str = "") -> None:
    """Draw one matrix of small numbers."""
    rows, columns = a.shape
    ax.imshow(np.zeros_like(a, float), cmap=ListedColormap(["#f4f4f4"]))
    for i in range(rows):
        for j in range(columns):
            ax.text(j, i, f"{a[i, j]:g}", ha="center", va="center", fontsize=8)
    ax.set_xticks(np.arange(columns + 1) - 0.5, [""] * (columns + 1))
    ax.set_yticks(np.arange(rows + 1) - 0.5, [""] * (rows + 1))
    ax.grid(color="white", linewidth=1.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title)


def mark(ax: Axes, row: int, column: int, height: int, width: int, colour: str = RED) -> None:
    """Draw a frame around a part of a matrix."""
    frame = Rectangle(
        (column - 0.5, row - 0.5), width, height, fill=False, edgecolor=colour, linewidth=2
    )
    frame.set(zorder=3, clip_on=False)  # above the grid, and whole at the border
    ax.add_patch(frame)


def images(
    pictures: Sequence[np.ndarray],
    titles: Sequence[str] = (),
    *,
    columns: int = 8,
    size: float = 0.95,
    signed: bool = False,
    vmin: float | None = None,
    vmax: float | None = None,
) -> plt.Figure:
    """Draw grey images (H, W) in a grid.

    With ``signed``, orange is positive, white is zero and purple is negative, on one scale.
    """
    count = len(pictures)
    columns = min(columns, count)
    rows = -(-count // columns)
    extra = 0.25 if titles else 0.0
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * size, rows * (size + extra)), squeeze=False
    )
    if signed:
        vmax = max(float(np.abs(p).max()) for p in pictures)
        vmin = -vmax
    for ax in axes.flat:
        ax.axis("off")
    for i, picture in enumerate(pictures):
        ax = axes.flat[i]
        ax.imshow(picture, cmap="PuOr_r" if signed else "gray", vmin=vmin, vmax=vmax)
        if titles:
            ax.set_title(titles[i], fontsize=8)
    return figure
