"""The sections of the report: each function returns what fills its places in ``report.html``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..augment import RandomRotation
from ..checkpoint import load_model
from ..data import Dataset
from ..layers import Conv2d, Layer
from ..recipe import augmentation
from ..train import History, evaluate
from .html import Html, charts, figure, html, lines, markup, number, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEGREES, SEED = 15, 0  # of the rotated test images
MIN_MAPPED_IMAGES, MAX_MAPPED_IMAGES = 3, 800  # on the map of the hidden layer; more would cover it
HISTOGRAM_IMAGES = 256


def notice(interrupted: str, difference: int) -> str:
    words = []
    if interrupted:
        words.append(f"The run was interrupted by {interrupted}.")
    if difference:
        words.append(
            f"The network classifies {difference} test images differently than in the test of the "
            "run. Rounding, which differs between machines, explains one or two; more mean that "
            "the checkpoint is not the tested one."
        )
    return markup('<p class="notice">{words}</p>', words=" ".join(words)) if words else ""


def results(record: dict[str, Any], model: Layer, data: Dataset) -> dict[str, str]:
    images, labels = data.test_images, data.test_labels
    rotate = RandomRotation(DEGREES)
    test, inverted = record["test"], record["inverted_test"]
    names = class_names(data, len(test["confusion"]))
    turned, classes = rotate(images, np.random.default_rng(SEED)), len(test["confusion"])
    rotated = vars(evaluate(model, turned, labels, classes=classes))
    mistakes = plots.worst_mistakes(model, images, labels, names=names)
    words = [ax.get_title().replace("\n", ", ") for ax in mistakes.axes if ax.get_title()]
    return {
        "accuracy": number(test["accuracy"], ".2%"),
        "inverted": number(inverted["accuracy"], ".2%"),
        "rotated": number(rotated["accuracy"], ".2%"),
        "loss": number(test["loss"], ".4f"),
        "images": f"{len(labels):,}",
        "degrees": str(DEGREES),
        "seed": str(SEED),
        "classes_table": _classes_table(names, test, inverted, rotated),
        "worst_mistakes": charts(
            "mistakes",
            mistakes,
            f"Misclassified test images. {'; '.join(words) or 'None'}.",
            strips(mistakes, 3),
        ),
        **_confusion(test["confusion"], names),
    }


def strips(drawn: Figure, length: int) -> list[list[Axes]]:
    """Return the axes of a Figure, ``length`` by ``length``: a narrow page stacks these strips."""
    shown = [ax for ax in drawn.axes if ax.get_visible()]
    return [shown[i : i + length] for i in range(0, len(shown), length)]


def class_names(data: Dataset, count: int) -> list[str]:
    """Return the names of ``count`` classes: numbers for those that the data set lacks."""
    return [*data.classes[:count], *map(str, range(len(data.classes), count))]


def _classes_table(names: Sequence[str], *tests: dict[str, Any]) -> str:
    """Return the accuracy of each class in several tests, the unchanged images first."""
    columns = [[*_recalls(test["confusion"]), test["accuracy"]] for test in tests]
    counts = [sum(row) for row in tests[0]["confusion"]]
    rows = [
        (name, f"{count:,}", *(number(accuracy, ".2%") for accuracy in accuracies))
        for name, count, *accuracies in zip(
            [*names, "all"], [*counts, sum(counts)], *columns, strict=True
        )
    ]
    head = ("class", "images", "unchanged", "inverted", "rotated")
    return table("Accuracy on the test images", head, rows)


def _confusion(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, str]:
    rows = [
        (names[label], *(number(n, ",") if n else "\N{MIDDLE DOT}" for n in row))
        for label, row in enumerate(confusion)
    ]
    head = ("label", *names)
    return {
        "confusion_matrix": figure(
            "confusion",
            plots.confusion_matrix(confusion, names),
            "Confusion matrix of the test images. Most frequent mistakes: "
            f"{_frequent(confusion, names)}.",
        ),
        "confusion_table": table("Test images by label (row) and prediction (column)", head, rows),
    }


def _recalls(confusion: Sequence[Sequence[int]]) -> list[float | None]:
    """Return the accuracy of each class; None for a class without images."""
    return [row[k] / sum(row) if sum(row) else None for k, row in enumerate(confusion)]


def _frequent(confusion: Any, names: Sequence[str]) -> str:
    """Return the five most frequent mistakes in words."""
    mistakes = np.array(confusion)
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:5]
    found = zip(*np.unravel_index(order, mistakes.shape), strict=True)
    words = [
        f"{mistakes[k, a]} times {names[k]} read as {names[a]}" for k, a in found if mistakes[k, a]
    ]
    return ", ".join(words) or "none"


def learning(history: History) -> dict[str, str]:
    first, last = history.epochs[0], history.epochs[-1]
    head = (
        "epoch",
        "learning rate at the end",
        "training loss",
        "training accuracy",
        "validation loss",
        "validation accuracy",
        "seconds",
        "images/s",
    )
    curves = plots.learning_curves(history)
    forms = (".2e", ".4f", ".2%", ".4f", ".2%", ".1f", ",.0f")
    rows = []
    for epoch in history.epochs:
        count, *metrics = vars(epoch).values()
        cells = (number(value, form) for value, form in zip(metrics, forms, strict=True))
        rows.append((str(count), *cells))
    return {
        "epochs": str(len(history.epochs)),
        "seconds": number(history.seconds, ".1f", " s"),
        "epochs_table": table("The epochs of the run", head, rows, "figures stacked"),
        "learning_curves": charts(
            "curves",
            curves,
            f"Loss and accuracy over {len(history.epochs)} epochs. Training loss from "
            f"{first.loss:.3f} to {last.loss:.3f}, training accuracy from {first.accuracy:.1%} to "
            f"{last.accuracy:.1%}.",
            strips(curves, 1),
        ),
    }


def inside(model: Layer, data: Dataset) -> dict[str, str]:
    images, labels = data.test_images, data.test_labels
    names = class_names(data, int(labels.max()) + 1)
    first = names[labels[0]]
    filters: list[Html] = []
    for path, layer in model.modules():
        if isinstance(layer, Conv2d):
            count, channels, height, width = layer.weight.data.shape
            drawn = figure(
                f"filters{len(filters)}",
                plots.filters(layer.weight.data),
                f"{count} filters of {channels} kernels of {height} by {width} each.",
            )
            filters.append(
                markup(
                    "<figure><figcaption><code>{name}</code></figcaption>{drawn}</figure>",
                    name=f"{path}weight",
                    drawn=drawn,
                )
            )
    return {
        "filters": Html("\n".join(filters)),
        "label": first,
        "feature_maps": figure(
            "maps",
            plots.feature_maps(model, images[0]),
            f"The feature maps of every layer for the first test image, a {first}.",
        ),
        "mapped": str(len(labels[:MAX_MAPPED_IMAGES])),
        "hidden_map": _hidden_map(model, images[:MAX_MAPPED_IMAGES], labels, names),
    }


def _hidden_map(model: Layer, images: np.ndarray, labels: np.ndarray, names: list[str]) -> Html:
    if len(images) < MIN_MAPPED_IMAGES:
        return markup("<p>No map: it needs {n} test images.</p>", n=str(MIN_MAPPED_IMAGES))
    return figure(
        "hidden",
        plots.hidden_map(model, images, labels[: len(images)], names),
        "Test images in the plane of the two main directions of the last hidden layer, each "
        "drawn as its label.",
    )


def over_epochs(folder: Path, epochs: int, data: Dataset, allow_non_finite: bool = False) -> str:
    """Return the histograms; empty if the checkpoints of the epochs were not kept."""
    paths = [folder / f"epoch-{number + 1:03d}.safetensors" for number in range(epochs)]
    if not all(path.exists() for path in paths):
        return ""
    models = [load_model(path, allow_non_finite=allow_non_finite) for path in paths]
    images, labels = data.test_images[:HISTOGRAM_IMAGES], data.test_labels[:HISTOGRAM_IMAGES]
    drawn = plots.histograms(models, images, labels)
    histograms = charts(
        "histograms",
        drawn,
        "Histograms of each layer's outputs and of their gradients, epoch by epoch.",
        [drawn.axes[::2], drawn.axes[1::2]],
    )
    return markup(
        "<h3>Outputs and gradients over the epochs</h3><figure>{histograms}"
        "<figcaption>One batch of test images, without dropout. A column is the histogram of one "
        "epoch: the lighter, the more values.</figcaption></figure>",
        histograms=histograms,
    )


def repeating(record: dict[str, Any], model: Layer, data: Dataset) -> dict[str, str]:
    arguments = record["arguments"]
    training = sum(epoch["seconds"] for epoch in record["epochs"])
    environment = list(record["environment"].items())
    times = [
        ("whole run", number(record["seconds"], ".1f", " s")),
        ("training alone", f"{training:.1f} s"),
    ]
    settings = [(name.replace("_", " "), str(arguments[name])) for name in arguments]
    preview = plots.augmentation_preview(
        data.train_images[0],
        augmentation(arguments["augment"]),
        np.random.default_rng(SEED),
    )
    return {
        "command": _command(record),
        "environment_table": table("Environment", (), environment + times, "words"),
        "settings_table": table("Settings of the run", (), settings, "words"),
        "summary": lines(model.summary((1, *data.train_images.shape[1:]))),  # type: ignore[attr-defined]
        "augment": arguments["augment"],
        "augmentation": charts(
            "augmentation",
            preview,
            "A training image and random augmentations of it.",
            strips(preview, 6),
        ),
    }


def _command(record: dict[str, Any]) -> Html:
    """Return the command that repeats a run, bit for bit where it has tunables."""
    # A line may not break within the name of an option, at its hyphens.
    words = [html("nplenet train")]
    tunables = record.get("tunables") or None  # textbook layers have none
    for name, value in {**record["arguments"], "tunables": tunables, "output": "again"}.items():
        if value is None or value is False:
            continue
        words.append(markup("<span>{name}</span>", name=quote(f"--{name.replace('_', '-')}")))
        if value is not True:
            text = json.dumps(value) if isinstance(value, dict) else str(value)
            words.append(html(quote(text)))
    return Html(" ".join(words))
