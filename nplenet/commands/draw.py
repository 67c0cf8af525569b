"""Write and open a web page to draw a digit on and look inside the network.

examples:
  nplenet draw default
  nplenet draw run/checkpoint.safetensors --output page.html --no-open
"""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from ..checkpoint import load_model
from ..page import write_page
from ..terminal import printable, show
from . import add_checkpoint, check_output, nonempty_path


def add_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    add = parser.add_argument
    add(
        "--output",
        type=nonempty_path,
        metavar="FILE",
        default=Path("page.html"),
        help="page to write (default %(default)s)",
    )
    add("--no-open", action="store_true", help="write the page without opening it")


def run(options: argparse.Namespace) -> int:
    check_output("--output", options.output, options.checkpoint)
    write_page(
        load_model(options.checkpoint, allow_non_finite=options.allow_non_finite), options.output
    )
    show(f"wrote {printable(options.output)}")
    if not options.no_open and not webbrowser.open(options.output.resolve().as_uri()):
        show("no browser found: open the file yourself")
    return 0
