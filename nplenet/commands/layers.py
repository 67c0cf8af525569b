"""List the layers and the forms that each has, such as a CUDA kernel or an ONNX operator."""

from __future__ import annotations

import argparse
import json

from ..cases import ROWS, RUNGS, WITHOUT


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def run(options: argparse.Namespace) -> int:
    if options.json:
        layers = {row.name: {rung: rung in row.rungs for rung in RUNGS} for row in ROWS}
        print(json.dumps({"layers": layers, "rungs": RUNGS, "without": WITHOUT}, indent=2))
        return 0
    width = max(len(row.name) for row in ROWS)
    print("  ".join(["layer".ljust(width), *RUNGS]))
    for row in ROWS:
        marks = [("yes" if rung in row.rungs else "-").ljust(len(rung)) for rung in RUNGS]
        print("  ".join([row.name.ljust(width), *marks]).rstrip())
    print()
    for rung, meaning in RUNGS.items():
        print(f"{rung}: {meaning}")
    print()
    for rung, instead in WITHOUT.items():
        if any(rung not in row.rungs for row in ROWS):
            print(f"without {rung}: {instead}")
    return 0
