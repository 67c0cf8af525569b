"""Test a trained model on MNIST or the bundled digits, original and inverted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import augment
from ..checkpoint import CheckpointError, load
from ..data import DATASETS, load_dataset
from ..recipe import SETTINGS
from ..terminal import printable, show, show_json
from ..train import confusion_table, evaluate
from . import BACKEND_HELP, DATA_DIR_HELP, NO_DOWNLOAD_HELP, add_checkpoint, positive


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    add = parser.add_argument
    add("--backend", choices=("numpy", "cupy"), default="numpy", help=BACKEND_HELP)
    add("--data-dir", type=Path, metavar="DIR", help=DATA_DIR_HELP)
    add("--no-download", action="store_true", help=NO_DOWNLOAD_HELP)
    add(
        "--dataset",
        choices=DATASETS,
        help="data set to test on (default: the data set of the training run, otherwise auto)",
    )
    add("--limit", type=positive, metavar="N", help="test on the first N images only")
    add("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    checkpoint = load(options.checkpoint)
    model = checkpoint.model().to(options.backend)
    name = options.dataset or checkpoint.record.get("arguments", {}).get("dataset", "auto")
    try:
        SETTINGS["dataset"](name, "arguments.dataset")
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: in its record {error}") from None
    data = load_dataset(name, options.data_dir, download=not options.no_download)
    if data.notice:
        show(printable(data.notice), file=sys.stderr)
    data = data.limited(options.limit) if options.limit else data
    test = evaluate(model, data.test_images, data.test_labels)
    inverted = evaluate(model, augment.invert(data.test_images), data.test_labels)
    if options.json:
        record = {
            "dataset": data.name,
            "source": data.source,
            "test": vars(test),
            "inverted_test": vars(inverted),
        }
        show_json(record)
        return 0
    show(confusion_table(test.confusion))
    show(
        f"{data.name} from {data.source}: test accuracy {test.accuracy:.2%}, on inverted images "
        f"{inverted.accuracy:.2%}, of {len(data.test_labels):,} images"
    )
    return 0
