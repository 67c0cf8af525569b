"""Plots of the inside of a network: weights, feature maps, distributions, the last hidden layer.

A plot runs a copy of the model, so the model, its mode and its gradients are not changed.

Legend: N images, C channels, H W height and width, F filters, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..augment import floats
from ..backend import Array, backend_of
from ..layers import Layer, Sequential
from ..layers.sequential import leaves
from ..losses import CrossEntropyLoss
from .style import COLORS, GREY, SEQUENTIAL, bare, calm, montage, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHEET = 200  # pixels of feature maps per row
VECTOR = 7  # pixels; height of a vector, drawn as a strip
BINS = 48


def filters(weight: Array) -> Figure:
    """Draw the kernels of a convolution: one column per filter, one row per input channel.

    Parameters
    ----------
    weight : float array (F, C, KH, KW)
        Such as ``model.features[0].weight.data``.

    Returns
    -------
    Figure
        Middle grey is 0, white the largest magnitude, black its negative.
    """
    if weight.ndim != 4:
        raise ValueError(f"filters got weights of shape {weight.shape}, expected (F, C, KH, KW)")
    kernels = backend_of(weight).to_numpy(weight)
    count, channels, height, width = kernels.shape
    sheet = montage(kernels.swapaxes(0, 1).reshape(-1, height, width), count, gap=1)
    tile = min(0.7, 4.4 / count)
    figure = new_figure(count * tile + 1.2, channels * tile * height / width + 0.6)
    ax = figure.subplots()
    largest = float(np.abs(kernels).max())
    picture = ax.imshow(sheet, cmap=GREY, vmin=-largest, vmax=largest, interpolation="none")
    bare(ax)
    ax.set_xticks(np.arange(count) * (width + 1) + (width - 1) / 2, map(str, range(count)))
    ax.tick_params(length=0)
    ax.set_xlabel("filter")
    if channels > 1:
        rows = np.arange(channels) * (height + 1) + (height - 1) / 2
        ax.set_yticks(rows, map(str, range(channels)))
        ax.set_ylabel("input channel")
    bar = figure.colorbar(picture, ax=ax, ticks=[-largest, 0, largest], format="{x:.2f}", aspect=12)
    bar.outline.set_visible(False)
    return figure


def feature_maps(model: Layer, image: npt.NDArray[np.uint8]) -> Figure:
    """Draw the output of each layer for one image, from top to bottom, all pixels in one size.

    Parameters
    ----------
    model : Layer
        Nested ``Sequential``, for floats (N, C, H, W).
    image : uint8 (C, H, W)

    Returns
    -------
    Figure
        Each layer has a scale of its own from dark to light; its range is written above it. Layers
        that do not change the values (flatten, dropout outside training) are left out.
    """
    if image.ndim != 3:
        raise ValueError(f"feature_maps got an image of shape {image.shape}, expected (C, H, W)")
    rows = [("image", GREY, _sheet(image / 255))]
    for name, values in _maps(model, image):
        shape = " x ".join(map(str, values.shape))
        sheet = _sheet(values) if values.ndim == 3 else values.reshape(1, -1)
        rows.append((f"{name}, {shape}", SEQUENTIAL, sheet))
    # Pixels have one size in all rows; a vector, which has no pixels, fills the width.
    widest = max(sheet.shape[1] for _, _, sheet in rows if len(sheet) > 1)
    sizes = [sheet.shape if len(sheet) > 1 else (VECTOR, widest) for _, _, sheet in rows]
    heights = [height for height, _ in sizes]
    figure = new_figure(5, sum(heights) * 4.9 / widest + 0.26 * len(rows))
    axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (name, colors, sheet), (height, width) in zip(axes, rows, sizes, strict=True):
        ax.imshow(sheet, cmap=colors, interpolation="none", extent=(0, width, height, 0))
        ax.set_xlim(0, widest)
        ax.set_anchor("W")
        bare(ax)
        ax.set_title(name, loc="left", fontsize=9, pad=3)
        span = f"{np.nanmin(sheet):.2f} … {np.nanmax(sheet):.2f}".replace("-", "\N{MINUS SIGN}")
        ax.set_title(span, loc="right", fontsize=9, pad=3)
    return figure


def _maps(model: Layer, image: npt.NDArray[np.uint8]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield the path and the output (C, H, W) or (features,) of each layer that changes values."""
    model = _eval_copy(model)
    x = model.backend.asarray(floats(model.preprocessing, image[None]))
    before = model.backend.to_numpy(x)[0]
    for path, layer in leaves(model):
        x = layer(x)
        values = model.backend.to_numpy(x)[0]
        if not np.array_equal(values.ravel(), before.ravel()):
            yield f"{path} {type(layer).__name__}", values
        before = values


def _sheet(maps: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return montage(maps, max(1, min(len(maps), SHEET // (maps.shape[2] + 2))))


def histograms(
    models: Sequence[Layer], images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]
) -> Figure:
    """Draw how the values of each layer, and their gradients, are distributed, epoch by epoch.

    Every layer with parameters has a row: on the left its output, on the right the magnitude of
    the gradient of the loss with respect to its output (Glorot and Bengio, 2010). Both are computed
    on one batch in eval mode: without dropout, batch norm with its running statistics.

    Parameters
    ----------
    models : sequence of Layer
        The models after epochs 1, 2, ..., as saved by ``--keep all``.
    images : uint8 (N, C, H, W)
    labels : int (N,)

    Returns
    -------
    Figure
        A column of a panel is the histogram of one epoch: the lighter, the more values. Gradients
        of 0 are left out, because they have no logarithm.
    """
    if not models:
        raise ValueError("histograms got no models, expected one per epoch")
    epochs = [_distributions(model, images, labels) for model in models]
    rows = list(epochs[0])
    figure = new_figure(8, 0.9 + 1.1 * len(rows))
    from matplotlib.colors import PowerNorm

    panels = figure.subplots(len(rows), 2, sharex=True, squeeze=False)
    for name, pair in zip(rows, panels, strict=True):
        for side, ax in enumerate(pair):
            values = [epoch[name][side] for epoch in epochs]
            densities, low, high = _densities(values)
            ax.imshow(
                densities.T,
                cmap=SEQUENTIAL,
                norm=PowerNorm(
                    0.5, 0, 1
                ),  # otherwise a peak, such as a blank border, hides the rest
                aspect="auto",
                origin="lower",
                interpolation="none",
                extent=(0.5, len(epochs) + 0.5, low, high),
            )
            ax.tick_params(labelsize=8)
            ax.locator_params(axis="y", nbins=3)
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.set_title(name, loc="left", fontsize=8)
            ax.set_title(("output", "log₁₀ |gradient|")[side], loc="right", fontsize=8)
    for ax in panels[-1]:
        ax.set_xlabel("epoch")
    return figure


def _distributions(
    model: Layer, images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]
) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Return, for each layer with parameters, its outputs and log10 of its nonzero gradients."""
    model = _eval_copy(model)
    backend, loss = model.backend, CrossEntropyLoss()
    layers = list(leaves(model))
    x = backend.asarray(floats(model.preprocessing, images))
    values = [x := layer(x) for _, layer in layers]
    loss(x, backend.asarray(labels))
    dy = loss.backward()
    found = {}
    for (path, layer), y in reversed(list(zip(layers, values, strict=True))):
        if layer.parameters():
            gradients = np.abs(backend.to_numpy(dy).ravel())
            name = f"{path} {type(layer).__name__}"
            found[name] = backend.to_numpy(y).ravel(), np.log10(gradients[gradients > 0])
        dy = layer.backward(dy)
    return dict(reversed(found.items()))


def _densities(
    values: list[npt.NDArray[Any]],
) -> tuple[npt.NDArray[np.float64], float, float]:
    """Return the histograms (epochs, BINS), each divided by its highest bin, and their range.

    The range leaves out the outermost thousandth at both ends, so that an outlier does not
    compress all the other values.
    """
    together = np.concatenate(values)
    low, high = np.quantile(together, (0.001, 0.999)) if together.size else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = np.array([np.histogram(v, BINS, (low, high))[0] for v in values], np.float64)
    return counts / np.maximum(counts.max(axis=1, keepdims=True), 1), float(low), float(high)


def hidden_map(
    model: Layer,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    names: Sequence[str] = (),
) -> Figure:
    """Draw images as points of the last hidden layer, in the plane in which they vary most.

    The layer's outputs h (N, D) are projected on the first two right singular vectors of
    h - mean (principal component analysis). The sign of each is chosen so that its largest
    component is positive.

    Parameters
    ----------
    model : Layer
        Nested ``Sequential``. The input of its last layer with parameters is drawn.
    images : uint8 (N, C, H, W)
        N at least 3; a few hundred are enough.
    labels : int (N,)
    names : sequence of str
        Of the classes.

    Returns
    -------
    Figure
        Every image is drawn as the name of its class where that is a letter or two, otherwise as
        its label.
    """
    if len(images) != len(labels) or len(images) < 3:
        raise ValueError(
            f"hidden_map got {len(images)} images and {len(labels)} labels, expected as many "
            "labels as images, at least 3"
        )
    layers = [layer for _, layer in leaves(model)]
    last = max((i for i, layer in enumerate(layers) if layer.parameters()), default=0)
    hidden = outputs(Sequential(*layers[:last]), images).reshape(len(images), -1)
    if hidden.shape[1] < 2:
        raise ValueError("hidden_map got a model whose last hidden layer has only one output")
    centred = hidden - hidden.mean(axis=0)
    _, singular_values, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.sign(directions[[0, 1], largest])[:, None]
    points = centred @ directions.T
    shares = singular_values**2 / max(float((singular_values**2).sum()), 1e-30)
    figure = new_figure(6.5, 6)
    ax = figure.subplots()
    calm(ax)
    for label, color in zip(np.unique(labels), cycle(COLORS)):
        x, y = points[np.asarray(labels) == label].T
        name = names[label] if label < len(names) else ""
        mark = name if name.isascii() and name.isalnum() and len(name) <= 2 else label
        ax.scatter(x, y, s=45, marker=f"${mark}$", color=color, linewidths=0.2)
    ax.tick_params(labelsize=11)
    ax.set_xlabel(f"first direction, {shares[0]:.0%} of the variance", fontsize=12)
    ax.set_ylabel(f"second direction, {shares[1]:.0%} of the variance", fontsize=12)
    return figure


def outputs(model: Layer, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Return the outputs in eval mode for uint8 images (N, C, H, W), as a NumPy array."""
    model = _eval_copy(model)
    batches = (images[i : i + 256] for i in range(0, len(images), 256))
    asarray, to_numpy = model.backend.asarray, model.backend.to_numpy
    ready = (floats(model.preprocessing, batch) for batch in batches)
    return np.concatenate([to_numpy(model(asarray(each))) for each in ready])


def _eval_copy(model: Layer) -> Layer:
    """Return a copy of a model in eval mode."""
    return copy.deepcopy(model).eval()
