"""Make the report of a training run again: report.html in its folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..report import write_report


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="DIR", type=Path, help="what train --output left")
    add("--data-dir", type=Path, help="folder of MNIST's four IDX files, plain or .gz")
    add("--no-download", action="store_true", help="never fetch MNIST")


def run(options: argparse.Namespace) -> int:
    print(write_report(options.folder, options.data_dir, download=not options.no_download))
    return 0
