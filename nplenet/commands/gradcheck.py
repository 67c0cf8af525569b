"""Check every backward against finite differences in float64.

examples:
  nplenet gradcheck
  nplenet gradcheck conv2d maxpool2d --seed 1
"""

from __future__ import annotations

import argparse

from ..backend import get_backend
from ..cases import select
from ..gradcheck import HEADER, check_case
from ..terminal import show
from . import BACKEND_HELP, seed


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="layer, loss or model such as conv2d, or a case such as conv2d/stride (default: all)",
    )
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy", help=BACKEND_HELP)
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        help="random seed for weights, inputs and directions (default %(default)s)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-6,
        help="largest relative error that passes (default %(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    cases = select(options.names)
    get_backend(options.backend)  # an unusable backend is reported before the table begins
    width = max(len(case.name) for case in cases)
    show(f"{'case':<{width}}  {HEADER}")
    failed = 0
    for case in cases:
        report = check_case(
            case, backend=options.backend, tolerance=options.tolerance, seed=options.seed
        )
        for check in report.checks:
            show(f"{case.name:<{width}}  {check}", flush=True)
        failed += not report.ok
    show(f"{len(cases) - failed} of {len(cases)} cases passed at {options.tolerance:g}")
    return int(failed > 0)
