"""Check everything a run needs on a backend, and show how to install what is missing.

examples:
  nplenet doctor
  nplenet doctor --backend cupy
"""

from __future__ import annotations

import argparse

from ..doctor import examine
from ..terminal import show
from . import BACKEND_HELP


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy", help=BACKEND_HELP)


def run(options: argparse.Namespace) -> int:
    usable = True
    for finding in examine(options.backend):
        show(finding, flush=True)
        usable = usable and not finding.fatal
    show(f"the {options.backend} backend is {'usable' if usable else 'not usable'}")
    return int(not usable)
