"""List the layers and the forms that each has, such as a CUDA kernel or an ONNX operator.

examples:
  nplenet layers
  nplenet layers --json
"""

from __future__ import annotations

import argparse

from ..cases import ROWS, RUNGS, WITHOUT
from ..terminal import show, show_json


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def run(options: argparse.Namespace) -> int:
    if options.json:
        layers = {row.name: {rung: rung in row.rungs for rung in RUNGS} for row in ROWS}
        show_json({"layers": layers, "rungs": RUNGS, "without": WITHOUT}, 2)
        return 0
    width = max(len(row.name) for row in ROWS)
    show("  ".join(["layer".ljust(width), *RUNGS]))
    for row in ROWS:
        marks = [("yes" if rung in row.rungs else "-").ljust(len(rung)) for rung in RUNGS]
        show("  ".join([row.name.ljust(width), *marks]).rstrip())
    show()
    for rung, meaning in RUNGS.items():
        show(f"{rung}: {meaning}")
    show()
    for rung, instead in WITHOUT.items():
        if any(rung not in row.rungs for row in ROWS):
            show(f"without {rung}: {instead}")
    return 0
