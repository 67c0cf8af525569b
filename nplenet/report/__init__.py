"""The report of a training run: one HTML file that needs no other file and no network.

The text is in ``report.html`` beside this module. The numbers are those of ``history.json``;
whatever that file does not hold is computed with the network in the checkpoint beside it. Every
rounded number keeps all its digits in ``<data value=...>``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import BEST, LATEST, Epoch, load_model
from ..data import Dataset, load_dataset
from ..files import atomic_write
from ..layers import Layer
from ..train import History, evaluate
from .html import fill
from .sections import DEGREES, SEED, inside, learning, notice, over_epochs, repeating, results

__all__ = ["DEGREES", "NAME", "SEED", "write_report"]

NAME = "report.html"
TEMPLATE = Path(__file__).with_name(NAME)
TITLES = {"mnist": "MNIST", "digits": "the bundled digits"}


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
        Output of ``nplenet train --output``: history.json, the tested checkpoint (the last or the
        best) and, if kept, the checkpoint of each epoch.
    data_dir, download
        Folder of the images, and whether to download missing ones: see ``load_dataset``.

    Returns
    -------
    Path
        The path of the report.

    Raises
    ------
    FileNotFoundError
        When history.json or the checkpoint is missing.
    ValueError
        When one of them is damaged, or no epoch was completed.
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
        "notice": notice(record["interrupted"], difference),
        **results(record, model, data),
        **learning(history),
        **inside(model, data),
        "histograms": over_epochs(folder, len(history.epochs), data),
        **repeating(record, model, data),
    }
    path = folder / NAME
    with atomic_write(path) as file:
        file.write(fill(TEMPLATE.read_text(encoding="utf-8"), page).encode())
    return path


def _history(path: Path) -> tuple[dict[str, Any], History]:
    """Return the contents of history.json, and its epochs as a ``History``."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        epochs = [Epoch(**epoch) for epoch in record["epochs"]]
        history = History(epochs, record["interrupted"], record["seconds"])
        missing = {"arguments", "environment", "test", "inverted_test"} - record.keys()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist: a report needs the output folder of a completed "
            "`nplenet train --output`"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} was not written by nplenet train, or is damaged ({error!r})"
        ) from None
    if missing or not epochs:
        raise ValueError(f"{path} has no {' and no '.join(sorted(missing)) or 'completed epoch'}")
    return record, history


def _tested(folder: Path, data: Dataset, confusion: Any) -> tuple[Layer, int]:
    """Return the tested model, and the number of its predictions that differ from ``confusion``.

    ``--keep best`` tests the best epoch, any other run the last one: the predictions show which.
    """
    names = [LATEST, BEST] if (folder / BEST).exists() else [LATEST]
    models = [load_model(folder / name) for name in names]
    found = [evaluate(model, data.test_images, data.test_labels).confusion for model in models]
    differences = [int(np.abs(np.subtract(f, confusion)).sum()) // 2 for f in found]
    nearest = int(np.argmin(differences))
    return models[nearest], differences[nearest]
