"""The report of a training run: one HTML file that needs no other file and no network.

The text is in ``report.html`` beside this module. The numbers are those of ``history.json``;
whatever that file does not hold is computed with the network in the checkpoint beside it. Every
rounded number keeps all its digits in ``<data value=...>``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..checkpoint import BEST, LATEST, load_model
from ..data import Dataset, load_dataset
from ..files import atomic_write
from ..layers import Layer
from ..train import evaluate
from .history import read_history
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
    record, history = read_history(folder / "history.json")
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


def _tested(folder: Path, data: Dataset, confusion: list[list[int]]) -> tuple[Layer, int]:
    """Return the tested model, and the number of its predictions that differ from ``confusion``.

    ``--keep best`` tests the best epoch, any other run the last one: the predictions show which.
    """
    names = [LATEST, BEST] if (folder / BEST).exists() else [LATEST]
    models = [load_model(folder / name) for name in names]
    found = [evaluate(model, data.test_images, data.test_labels).confusion for model in models]
    if len(found[0]) != len(confusion):
        raise ValueError(
            f"{folder / 'history.json'} counts {len(confusion)} classes, the data set has "
            f"{len(found[0])}"
        )
    differences = [int(np.abs(np.subtract(f, confusion)).sum()) // 2 for f in found]
    nearest = int(np.argmin(differences))
    return models[nearest], differences[nearest]
