"""The report of a training run: one HTML file that needs no other file and no network.

The text is in ``report.html`` beside this module. The numbers are those of ``history.json``;
whatever that file does not hold is computed with the network in the checkpoint beside it. Every
rounded number keeps all its digits in ``<data value=...>``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..checkpoint import BEST, LATEST, Checkpoint, load
from ..data import Dataset, load_dataset
from ..data.own import is_own
from ..files import atomic_write
from ..input_shape import input_shape
from ..layers import Layer
from ..names import answer_wrong_names
from ..train import evaluate
from .history import read_history
from .html import fill
from .sections import DEGREES, SEED, inside, learning, notice, over_epochs, repeating, results

__all__ = ["DEGREES", "NAME", "SEED", "write_report"]

NAME = "report.html"
TEMPLATE = Path(__file__).with_name(NAME)
TITLES = {
    "mnist": "MNIST",
    "digits": "the bundled digits",
    "fashion": "Fashion-MNIST",
    "kmnist": "Kuzushiji-MNIST",
    "qmnist": "QMNIST",
}


def write_report(
    folder: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    dataset: str | None = None,
    allow_non_finite: bool = False,
) -> Path:
    """Write ``report.html`` into the folder of a run that has ended.

    Parameters
    ----------
    folder : path
        Output of ``nplenet train --output``: history.json, the tested checkpoint (the last or the
        best) and, if kept, the checkpoint of each epoch.
    data_dir, download
        Folder of the images, and whether to download missing ones: see ``load_dataset``.
    dataset : str, optional
        Name of the data set; None takes the run's. Images of your own must be named here: the
        files of a run may be a stranger's, and nothing is read because they name it.
    allow_non_finite : bool
        Whether weights may be NaN or infinite.

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
    name = dataset or arguments["dataset"]
    if dataset is None and is_own(name):
        raise ValueError(f"{folder}: was trained on {name}; name the data with dataset=")
    checkpoints = _checkpoints(folder)
    models = [checkpoint.model(allow_non_finite=allow_non_finite) for checkpoint in checkpoints]
    shape = input_shape(models[0], checkpoints[0].input_shape)
    if len(shape) != 4:
        raise ValueError(f"{folder}: a report is of images; its network takes {shape[1:]}")
    size, channels = (shape[2], shape[3]), shape[1] if shape[1] in (1, 3) else None
    known = models[0].pictures.classes if models[0].pictures else ()
    data = load_dataset(
        name, data_dir, download, size=size, channels=channels, classes=known or None
    )
    data = data.limited(arguments["limit"]) if arguments["limit"] else data
    if data.test_images.shape[1] != shape[1]:
        raise ValueError(
            f"{folder}: its network takes {shape[1]} channels, the images of {data.name} have "
            f"{data.test_images.shape[1]}"
        )
    model, difference = _tested(folder, models, data, record["test"]["confusion"])
    page = {
        "title": f"LeNet-5 on {TITLES.get(data.name, data.name)}",
        "notice": notice(record["interrupted"], difference),
        **results(record, model, data),
        **learning(history),
        **inside(model, data),
        "histograms": over_epochs(folder, len(history.epochs), data, allow_non_finite),
        **repeating(record, model, data),
    }
    path = folder / NAME
    with atomic_write(path) as file:
        file.write(fill(TEMPLATE.read_text(encoding="utf-8"), page).encode())
    return path


def _checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the last checkpoint and, if it was kept, the best one."""
    names = [LATEST, BEST] if (folder / BEST).exists() else [LATEST]
    return [load(folder / name) for name in names]


def _tested(
    folder: Path, models: list[Layer], data: Dataset, confusion: list[list[int]]
) -> tuple[Layer, int]:
    """Return the tested model, and the number of its predictions that differ from ``confusion``.

    ``--keep best`` tests the best epoch, any other run the last one: the predictions show which.
    """
    classes = len(confusion)
    if int(data.test_labels.max()) >= classes:
        raise ValueError(
            f"{folder / 'history.json'} counts {classes} classes, {data.name} has the label "
            f"{int(data.test_labels.max())}"
        )
    images, labels = data.test_images, data.test_labels
    found = [evaluate(model, images, labels, classes=classes).confusion for model in models]
    if len(found[0]) != len(confusion):
        raise ValueError(
            f"{folder / 'history.json'} counts {len(confusion)} classes, the data set has "
            f"{len(found[0])}"
        )
    differences = [int(np.abs(np.subtract(f, confusion)).sum()) // 2 for f in found]
    nearest = int(np.argmin(differences))
    return models[nearest], differences[nearest]


answer_wrong_names(__name__)
