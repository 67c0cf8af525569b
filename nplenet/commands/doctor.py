"""Find out whether a backend can be used here, and what to type if not."""

from __future__ import annotations

import argparse

from ..doctor import examine


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")


def run(options: argparse.Namespace) -> int:
    usable = True
    for finding in examine(options.backend):
        print(finding, flush=True)
        usable = usable and not finding.fatal
    print(f"the {options.backend} backend is {'usable' if usable else 'not usable'}")
    return int(not usable)
