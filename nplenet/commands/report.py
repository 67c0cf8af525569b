"""Write report.html, the report of a training run, into the folder of the run.

examples:
  nplenet report run
  nplenet report run --dataset folder:letters # of a run on your own images
"""

from __future__ import annotations

import argparse

from .. import report
from ..checkpoint import load
from ..terminal import printable, show
from . import ALLOW_HELP, DATA_DIR_HELP, DATASET_HELP, NO_DOWNLOAD_HELP, dataset, nonempty_path


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="RUN", type=nonempty_path, help="folder that train --output wrote")
    add("--data-dir", type=nonempty_path, metavar="DIR", help=DATA_DIR_HELP)
    add(
        "--dataset",
        type=dataset,
        metavar="NAME",
        help=f"{DATASET_HELP} (default: the data set of the run, unless it is your own)",
    )
    add("--no-download", action="store_true", help=NO_DOWNLOAD_HELP)
    add("--allow-non-finite", action="store_true", help=ALLOW_HELP)


def run(options: argparse.Namespace) -> int:
    if options.folder.is_file():
        load(options.folder)  # of another program's weights it says the next line
        raise ValueError(f"{options.folder} is a file: a report is of the folder of a run")
    path = report.write_report(
        options.folder,
        options.data_dir,
        download=not options.no_download,
        dataset=options.dataset,
        allow_non_finite=options.allow_non_finite,
    )
    show(printable(path))
    return 0
