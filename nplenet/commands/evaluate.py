"""Test a trained model on MNIST or the bundled digits, original and inverted.

examples:
  nplenet evaluate default
  nplenet evaluate run/checkpoint.safetensors --dataset digits --json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import augment
from ..backend import get_backend
from ..checkpoint import load
from ..data import Dataset, load_dataset
from ..data.pictures import polarity
from ..input_shape import input_shape
from ..terminal import printable, show, show_json
from ..train import confusion_table, evaluate
from . import (
    BACKEND_HELP,
    DATA_DIR_HELP,
    DATASET_HELP,
    NO_DOWNLOAD_HELP,
    add_checkpoint,
    add_input_shape,
    dataset,
    known_pictures,
    nonempty_path,
    positive,
    recorded_dataset,
)


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    add = parser.add_argument
    add("--backend", choices=("numpy", "cupy"), default="numpy", help=BACKEND_HELP)
    add("--data-dir", type=nonempty_path, metavar="DIR", help=DATA_DIR_HELP)
    add("--no-download", action="store_true", help=NO_DOWNLOAD_HELP)
    add(
        "--dataset",
        type=dataset,
        metavar="NAME",
        help=f"{DATASET_HELP} (default: the data set of the training run, otherwise auto)",
    )
    add_input_shape(parser)
    add("--limit", type=positive, metavar="N", help="test on the first N images only")
    add("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    checkpoint = load(options.checkpoint)
    get_backend(options.backend)  # an unusable backend is reported before the images are read
    model = checkpoint.model(allow_non_finite=options.allow_non_finite)
    shape = input_shape(model, options.input_shape or checkpoint.input_shape)
    if len(shape) != 4:
        raise ValueError(
            f"{checkpoint.path}: takes inputs of shape {shape[1:]}, not images (C, H, W); put "
            "Flatten() before its layers"
        )
    pictures, names = known_pictures(checkpoint, model, shape)
    if options.dataset is None and model.pictures and "arguments" not in checkpoint.record:
        check_public(names, checkpoint.path)
    name = options.dataset or recorded_dataset(checkpoint.record, checkpoint.path)
    data = load_dataset(
        name,
        options.data_dir,
        download=not options.no_download,
        size=(shape[2], shape[3]),
        channels=shape[1] if shape[1] in (1, 3) else None,
        classes=names if pictures.classes else None,
    )
    classes = len(names)
    check_fits(data, shape, classes)
    model.to(options.backend)
    if data.notice:
        show(printable(data.notice), file=sys.stderr)
    data = data.limited(options.limit) if options.limit else data
    images, labels = data.test_images, data.test_labels
    test = evaluate(model, images, labels, classes=classes)
    inverted = evaluate(model, augment.invert(images), labels, classes=classes)
    if options.json:
        record = {
            "dataset": data.name,
            "source": data.source,
            "classes": list(data.classes),
            "test": vars(test),
            "inverted_test": vars(inverted),
        }
        show_json(record)
        return 0
    show(confusion_table(test.confusion, [printable(name) for name in data.classes]))
    where = printable(f"{data.name} from {data.source}")
    show(
        f"{where}: test accuracy {test.accuracy:.2%}, on inverted images "
        f"{inverted.accuracy:.2%}, of {len(data.test_labels):,} images"
    )
    other = polarity(images)
    if None not in (other, pictures.polarity) and other != pictures.polarity:
        show(f"the model was trained on images {pictures.polarity}; these are {other}")
    return 0


def check_public(names: Sequence[str], where: Path) -> None:
    """Refuse a model of classes of your own: its images are not one of the public data sets."""
    if list(names) != [str(k) for k in range(10)]:
        known = printable(", ".join(names), 60)
        raise ValueError(
            f"{where}: was trained on the classes {known}; name the data with --dataset, such as "
            "--dataset folder:DIR"
        )


def check_fits(data: Dataset, shape: tuple[int, ...], classes: int) -> None:
    """Refuse images that the model does not take, and classes that it does not have."""
    channels = data.test_images.shape[1]
    if channels != shape[1]:
        raise ValueError(
            f"the model takes images of {shape[1]} channels, {data.name} has images of {channels}"
        )
    last = int(data.test_labels.max())
    if last >= classes:
        raise ValueError(
            f"{data.name} has the label {last}, the model {classes} classes: 0 to {classes - 1}"
        )
