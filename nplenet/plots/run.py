"""Plots of a run: learning curves, confusion matrix, worst mistakes, augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..augment import Transform
from ..layers import Layer
from ..losses import softmax
from ..train import History
from .network import outputs
from .style import BLUE, FAINT, VERMILLION, bare, calm, class_name, grid, new_figure, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curves(history: History) -> Figure:
    """Draw loss and accuracy of each epoch, on training and on validation images.

    Parameters
    ----------
    history : History
        The result of ``fit``. Training metrics are means over an epoch, on augmented images and
        with dropout, so they may be worse than the validation metrics after the epoch.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        When ``history`` has no epochs.
    """
    if not history.epochs:
        raise ValueError("learning_curves got a history without epochs; expected at least one")
    figure = new_figure(8, 3)
    from matplotlib.ticker import PercentFormatter

    panels = figure.subplots(1, 2)
    for ax, name in zip(panels, ("loss", "accuracy"), strict=True):
        calm(ax)
        numbers = [epoch.epoch for epoch in history.epochs]
        training = [getattr(epoch, name) for epoch in history.epochs]
        ax.plot(numbers, training, "o-", color=BLUE, markersize=4, label="training")
        validation = [getattr(epoch, f"validation_{name}") for epoch in history.epochs]
        if None not in validation:
            ax.plot(numbers, validation, "s--", color=VERMILLION, markersize=4, label="validation")
        ax.set_xlabel("epoch")
        ax.set_title(name, loc="left")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(frameon=False)
    losses, accuracies = panels
    if any(max(line.get_ydata()) > 0 for line in losses.lines):  # of one class all are 0
        losses.set_yscale("log", subs=(2, 5))
    losses.yaxis.set_major_formatter("{x:g}")
    losses.yaxis.set_minor_formatter("{x:g}")
    accuracies.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def confusion_matrix(confusion: npt.ArrayLike, names: Sequence[str] = ()) -> Figure:
    """Draw the confusion matrix: the number of images per label and prediction.

    The darker a mistake, the more frequent it is. Correct predictions are not shaded: beside their
    counts no mistake would be visible.

    Parameters
    ----------
    confusion : int (K, K)
        ``confusion[label][prediction]`` counts images, as in ``Evaluation``.
    names : sequence of str
        Of the classes; the others are written as numbers.

    Returns
    -------
    Figure
    """
    counts = np.asarray(confusion)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"confusion_matrix got an array of shape {counts.shape}, expected (K, K)")
    classes = range(len(counts))
    side = 0.8 + 0.46 * len(counts)
    figure = new_figure(side, side)
    from matplotlib.colors import to_rgb

    ax = figure.subplots()
    # One translucent colour: light to dark on paper, dark to light on a dark page.
    mistakes = counts * (1 - np.eye(len(counts), dtype=int))
    shade = np.empty((*counts.shape, 4))
    shade[..., :3] = to_rgb(VERMILLION)
    shade[..., 3] = np.where(mistakes, 0.15 + 0.6 * mistakes / max(mistakes.max(), 1), 0)
    ax.imshow(shade, interpolation="none")
    for label, prediction in np.argwhere(counts):
        weight = "bold" if label == prediction else "normal"
        text = str(counts[label, prediction])
        ax.text(prediction, label, text, ha="center", va="center", fontsize=9, weight=weight)
    bare(ax)
    words = [class_name(names, k) for k in classes]
    ax.set_xticks(classes, words, rotation=90 if max(map(len, words)) > 3 else 0)
    ax.set_yticks(classes, words)
    ax.set_xticks(np.arange(len(counts) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(counts) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color=FAINT, alpha=0.3, linewidth=0.6)
    ax.tick_params(which="both", length=0)
    ax.set_xlabel("prediction")
    ax.set_ylabel("label")
    return figure


def worst_mistakes(
    model: Layer,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    count: int = 18,
    names: Sequence[str] = (),
) -> Figure:
    """Draw the misclassified images whose label has the lowest probability, lowest first.

    Parameters
    ----------
    model : Layer
        From floats (N, C, H, W) to logits (N, K); it is not changed.
    images : uint8 (N, C, H, W)
    labels : int (N,)
    count : int
        The largest number of images to draw.
    names : sequence of str
        Of the classes; the others are written as numbers.

    Returns
    -------
    Figure
        Above each image: label and prediction, with their probabilities.
    """
    if len(images) != len(labels) or count < 1:
        raise ValueError(
            f"worst_mistakes got {len(images)} images, {len(labels)} labels and count={count}; "
            "expected as many labels as images, and a count of at least 1"
        )
    labels = np.asarray(labels)
    probabilities = softmax(outputs(model, images))
    predictions = probabilities.argmax(axis=1)
    right = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predictions != labels)
    worst = wrong[np.argsort(right[wrong], kind="stable")][:count]
    if not len(worst):
        figure = new_figure(8, 1)
        figure.text(0.5, 0.5, f"no mistake in {len(labels):,} images", ha="center", va="center")
        return figure
    figure, axes = grid(len(worst), 6, tile=1.25, text=0.4)
    for ax, i in zip(axes, worst, strict=True):
        show_image(ax, images[i])
        found, label = (class_name(names, int(k)) for k in (predictions[i], labels[i]))
        words = f"read as {found}: {probabilities[i].max():.1%}\nis {label}: {right[i]:.1%}"
        ax.set_title(words, fontsize=8, linespacing=1.3)
    return figure


def augmentation_preview(
    image: npt.NDArray[np.uint8],
    transform: Transform,
    rng: np.random.Generator,
    count: int = 23,
) -> Figure:
    """Draw an image and several random augmentations of it.

    Parameters
    ----------
    image : uint8 (C, H, W)
        C is 1 or 3.
    transform : transform(images, rng) -> images
        Such as ``standard_augmentation()``.
    rng : numpy.random.Generator
    count : int
        The number of augmentations.

    Returns
    -------
    Figure
    """
    if image.ndim != 3 or count < 1:
        raise ValueError(
            f"augmentation_preview got an image of shape {image.shape} and count={count}; "
            "expected (C, H, W) and at least 1"
        )
    draws = transform(np.repeat(image[None], count, axis=0), rng)
    figure, axes = grid(1 + count, 12, tile=0.68, text=0.1)
    show_image(axes[0], image)
    axes[0].set_title("original", fontsize=8)
    for ax, draw in zip(axes[1:], draws, strict=True):
        show_image(ax, draw)
    return figure
