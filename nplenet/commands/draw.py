"""Write a page on which one draws a digit and sees inside the network; open it in the browser."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from ..checkpoint import load_model
from ..page import write_page
from . import add_checkpoint


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    add = parser.add_argument
    add("--output", type=Path, metavar="FILE", default=Path("page.html"), help="default: page.html")
    add("--no-open", action="store_true", help="only write the file")


def run(options: argparse.Namespace) -> int:
    write_page(options.output, load_model(options.checkpoint))
    print(f"wrote {options.output}")
    if not options.no_open and not webbrowser.open(options.output.resolve().as_uri()):
        print("no browser was found: open the file yourself")
    return 0
