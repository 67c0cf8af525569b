"""The run report: what a training run reached, as one HTML file that needs nothing else.

Its words stand in ``report.html`` beside this module. Its numbers are those of ``history.json``;
the network itself, from the checkpoint beside that, is asked only for what is not written there.
Under each rounded number the page keeps all its digits, as ``<data value=...>``.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..augment import RandomRotation
from ..checkpoint import BEST, LATEST, Epoch, load_model
from ..data import Dataset, load_dataset
from ..files import atomic_write
from ..layers import Conv2d, Layer
from ..plots.style import BLUE
from ..recipe import augmentation, input_shape
from ..train import History, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "report.html"
TEMPLATE = Path(__file__).with_name(NAME)
TITLES = {"mnist": "MNIST", "digits": "the bundled digits"}
DEGREES, SEED = 15, 0  # of the rotated test images
MAPPED = 800  # test images on the map of the hidden layer
BATCH = 256  # test images in the histograms

Row = Sequence[str]


def write_report(
    folder: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
) -> Path:
    """Write ``report.html`` into the folder of a run that has ended.

    Parameters
    ----------
    folder : path
        What ``nplenet train --output`` left: history.json, the checkpoint that was tested (the
        last one or the best), and the checkpoint of each epoch where they were kept.
    data_dir, download
        Where the images lie and whether they may be fetched: see ``load_dataset``.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    FileNotFoundError
        When there is no history.json or no checkpoint.
    ValueError
        When one of them is damaged, or no epoch was finished.
    ImportError
        When Matplotlib is not installed.
    """
    folder = Path(folder)
    record, history = _history(folder / "history.json")
    arguments = record["arguments"]
    data = load_dataset(arguments["dataset"], data_dir, download)
    data = data.limited(arguments["limit"]) if arguments["limit"] else data
    model, difference = _tested(folder, data, record["test"]["confusion"])
    page = {
        "title": f"LeNet-5 on {TITLES[data.name]}",
        "notice": _notice(record["interrupted"], difference),
        **_results(record, model, data),
        **_learning(history),
        **_inside(model, data),
        "histograms": _over_epochs(folder, len(history.epochs), data),
        **_repeating(record, model, data),
    }
    path = folder / NAME
    with atomic_write(path) as file:
        file.write(Template(TEMPLATE.read_text(encoding="utf-8")).substitute(page).encode())
    return path


def _history(path: Path) -> tuple[dict[str, Any], History]:
    """Read history.json: all of it, and its epochs."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        epochs = [Epoch(**epoch) for epoch in record["epochs"]]
        history = History(epochs, record["interrupted"], record["seconds"])
        missing = {"arguments", "environment", "test", "inverted_test"} - record.keys()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is not there: a report needs the folder of a run by nplenet train --output "
            "that has ended"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not by nplenet train, or damaged ({error!r})") from None
    if missing or not epochs:
        raise ValueError(f"{path} has no {' and no '.join(sorted(missing)) or 'finished epoch'}")
    return record, history


def _tested(folder: Path, data: Dataset, confusion: Any) -> tuple[Layer, int]:
    """Return the model that was tested, and how many of its answers differ from ``confusion``.

    ``--keep best`` has the best epoch tested, else it is the last one: the answers tell which.
    """
    names = [LATEST, BEST] if (folder / BEST).exists() else [LATEST]
    models = [load_model(folder / name) for name in names]
    found = [evaluate(model, data.test_images, data.test_labels).confusion for model in models]
    differences = [int(np.abs(np.subtract(f, confusion)).sum()) // 2 for f in found]
    nearest = int(np.argmin(differences))
    return models[nearest], differences[nearest]


# ------------------------------------------------------------------ pieces of HTML


def _number(value: float | None, form: str) -> str:
    """Return a number as ``form`` rounds it, with all its digits underneath."""
    return "&ndash;" if value is None else f'<data value="{value!r}">{value:{form}}</data>'


def _table(caption: str, head: Row, rows: Iterable[Row], kind: str = "figures") -> str:
    """Return a table of HTML cells; the first one of each row is its heading."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    header = f"<thead><tr>{columns}</tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    inner = f"<caption>{caption}</caption>{header}<tbody>{body}</tbody>"
    return _scrolling(caption, f'<table class="{kind}">{inner}</table>')


def _scrolling(label: str, inner: str) -> str:
    """Let what is wider than a phone scroll on its own, by the keyboard too."""
    name = escape(label)
    return f'<div class="wide" role="region" aria-label="{name}" tabindex="0">{inner}</div>'


def _figure(name: str, figure: Figure, alt: str) -> str:
    """Return a Figure as SVG, in the page's ink and blue; ``name`` keeps its ids apart."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.05)
    svg = file.getvalue()
    found = re.search(r'<svg[^>]* viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>', svg, re.DOTALL)
    if found is None:
        raise ValueError("Matplotlib wrote an SVG file without a viewBox")
    width, height, drawing = float(found[1]), float(found[2]), found[3]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = drawing.replace("xlink:href", "href").replace('id="', f'id="{name}-')
    drawing = drawing.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    drawing = drawing.replace("#000000", "currentColor").replace(BLUE.lower(), "var(--blue)")
    label = escape(alt)
    # On a phone a wide one would be too small to read: it scrolls.
    style = f"max-width:{1.4 * width:.0f}px;min-width:{490 if width > 480 else 320}px"
    return _scrolling(
        alt,
        f'<svg viewBox="0 0 {width} {height}" style="{style}" role="img" aria-label="{label}">'
        f"{drawing}</svg>",
    )


# ------------------------------------------------------------------ what the template asks for


def _notice(interrupted: str, difference: int) -> str:
    words = []
    if interrupted:
        words.append(f"The run was interrupted by {escape(interrupted)}.")
    if difference:
        words.append(
            f"The network reads {difference} test images otherwise than when it was tested. "
            "Rounding, which differs from machine to machine, explains one or two; more mean that "
            "the checkpoint is not the one that was tested."
        )
    return f'<p class="notice">{" ".join(words)}</p>' if words else ""


def _results(record: dict[str, Any], model: Layer, data: Dataset) -> dict[str, str]:
    images, labels = data.test_images, data.test_labels
    angles = np.random.default_rng(SEED)
    rotated = evaluate(model, RandomRotation(DEGREES)(images, angles), labels)
    test, inverted = record["test"], record["inverted_test"]
    confusion = test["confusion"]
    recalls = [_recalls(c) for c in (confusion, inverted["confusion"], rotated.confusion)]
    totals = (test["accuracy"], inverted["accuracy"], rotated.accuracy)
    shares = [*zip(*recalls, strict=True), totals]
    names = [*map(str, range(len(confusion))), "all"]
    counts = [*map(sum, confusion), len(labels)]
    classes = [
        (name, f"{count:,}", *(_number(share, ".2%") for share in row))
        for name, count, row in zip(names, counts, shares, strict=True)
    ]
    cells = [
        (str(k), *(_number(n, ",") if n else "&middot;" for n in row))
        for k, row in enumerate(confusion)
    ]
    mistakes = plots.worst_mistakes(model, images, labels)
    words = [ax.get_title().replace("\n", ", ") for ax in mistakes.axes if ax.get_title()]
    return {
        "accuracy": _number(test["accuracy"], ".2%"),
        "inverted": _number(inverted["accuracy"], ".2%"),
        "rotated": _number(rotated.accuracy, ".2%"),
        "loss": _number(test["loss"], ".4f"),
        "images": f"{len(labels):,}",
        "degrees": str(DEGREES),
        "seed": str(SEED),
        "classes_table": _table(
            "Test images read right",
            ("class", "images", "as they are", "inverted", "rotated"),
            classes,
        ),
        "confusion_matrix": _figure(
            "confusion",
            plots.confusion_matrix(confusion),
            f"Confusion matrix of the test images. Most frequent mistakes: {_frequent(confusion)}.",
        ),
        "confusion_table": _table(
            "Test images by label (row) and answer (column)", ("label", *names[:-1]), cells
        ),
        "worst_mistakes": _figure(
            "mistakes", mistakes, f"Test images it mistook. {'; '.join(words) or 'None'}."
        ),
    }


def _recalls(confusion: Sequence[Sequence[int]]) -> list[float | None]:
    """Return the share of each class that was read right; None for a class without images."""
    return [row[k] / sum(row) if sum(row) else None for k, row in enumerate(confusion)]


def _frequent(confusion: Any) -> str:
    """Return the five most frequent mistakes in words."""
    mistakes = np.array(confusion)
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:5]
    found = zip(*np.unravel_index(order, mistakes.shape), strict=True)
    words = [f"{mistakes[k, a]} times {k} read as {a}" for k, a in found if mistakes[k, a]]
    return ", ".join(words) or "none"


def _learning(history: History) -> dict[str, str]:
    first, last = history.epochs[0], history.epochs[-1]
    head = (
        "epoch",
        "learning rate<br>at its end",
        "training<br>loss",
        "training<br>accuracy",
        "validation<br>loss",
        "validation<br>accuracy",
        "seconds",
        "images/s",
    )
    forms = (".2e", ".4f", ".2%", ".4f", ".2%", ".1f", ",.0f")
    rows = []
    for epoch in history.epochs:
        number, *figures = vars(epoch).values()
        cells = (_number(value, form) for value, form in zip(figures, forms, strict=True))
        rows.append((str(number), *cells))
    return {
        "epochs": str(len(history.epochs)),
        "seconds": _number(history.seconds, ".1f") + " s",
        "epochs_table": _table("The epochs of the run", head, rows),
        "learning_curves": _figure(
            "curves",
            plots.learning_curves(history),
            f"Loss and accuracy over {len(history.epochs)} epochs. Training loss from "
            f"{first.loss:.3f} to {last.loss:.3f}, training accuracy from {first.accuracy:.1%} to "
            f"{last.accuracy:.1%}.",
        ),
    }


def _inside(model: Layer, data: Dataset) -> dict[str, str]:
    images, labels = data.test_images, data.test_labels
    filters: list[str] = []
    for path, layer in model.modules():
        if isinstance(layer, Conv2d):
            count, channels, height, width = layer.weight.data.shape
            filters.append(
                f"<figure><figcaption><code>{path}weight</code></figcaption>"
                + _figure(
                    f"filters{len(filters)}",
                    plots.filters(layer.weight.data),
                    f"{count} filters of {channels} kernels of {height} by {width} each.",
                )
                + "</figure>"
            )
    return {
        "filters": "\n".join(filters),
        "label": str(labels[0]),
        "feature_maps": _figure(
            "maps",
            plots.feature_maps(model, images[0]),
            f"The feature maps of every layer for the first test image, a {labels[0]}.",
        ),
        "mapped": str(len(labels[:MAPPED])),
        "hidden_map": _figure(
            "hidden",
            plots.hidden_map(model, images[:MAPPED], labels[:MAPPED]),
            "Test images in the plane of the two main directions of the last hidden layer; each is "
            "a mark in the form of its label.",
        ),
    }


def _over_epochs(folder: Path, epochs: int, data: Dataset) -> str:
    """Return the histograms, or nothing where the epochs' checkpoints were not kept."""
    paths = [folder / f"epoch-{number + 1:03d}.safetensors" for number in range(epochs)]
    if not all(path.exists() for path in paths):
        return ""
    models = [load_model(path) for path in paths]
    figure = plots.histograms(models, data.test_images[:BATCH], data.test_labels[:BATCH])
    return (
        "<h3>Outputs and gradients over the epochs</h3><figure>"
        + _figure(
            "histograms",
            figure,
            "Histograms of each layer's outputs and of their gradients, epoch by epoch.",
        )
        + "<figcaption>One batch of test images, without dropout. A column is the histogram of an "
        "epoch: the lighter, the more values.</figcaption></figure>"
    )


def _repeating(record: dict[str, Any], model: Layer, data: Dataset) -> dict[str, str]:
    arguments = record["arguments"]
    training = sum(epoch["seconds"] for epoch in record["epochs"])
    environment = [(escape(name), escape(value)) for name, value in record["environment"].items()]
    times = [
        ("whole run", _number(record["seconds"], ".1f") + " s"),
        ("training alone", f"{training:.1f} s"),
    ]
    settings = [(name.replace("_", " "), escape(str(arguments[name]))) for name in arguments]
    preview = plots.augmentation_preview(
        data.train_images[0],
        augmentation(arguments["augment"]),
        np.random.default_rng(SEED),
    )
    return {
        "command": escape(_command(record)),
        "environment_table": _table("What it ran on", (), environment + times, "words"),
        "settings_table": _table("Settings of the run", (), settings, "words"),
        "summary": escape(model.summary(input_shape(model))),  # type: ignore[attr-defined]
        "augment": escape(arguments["augment"]),
        "augmentation": _figure(
            "augmentation", preview, "A training image, and draws of what augmentation makes of it."
        ),
    }


def _command(record: dict[str, Any]) -> str:
    """Return the command that repeats a run; with its tunables, bit for bit."""
    words = ["nplenet", "train"]
    tunables = record.get("tunables") or None  # the textbook layers have none
    for name, value in {**record["arguments"], "tunables": tunables}.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, json.dumps(value) if isinstance(value, dict) else str(value)]
    return shlex.join([*words, "--output", "again"])
