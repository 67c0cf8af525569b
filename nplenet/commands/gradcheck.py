"""Check every backward against finite differences in float64.

examples:
  nplenet gradcheck
  nplenet gradcheck conv2d maxpool2d --seed 1
  nplenet gradcheck my.py:MyConv            # a layer of your own
  nplenet gradcheck "my.py:Scale(2.0)" --input-shape 4,3
  nplenet gradcheck my.py                   # all layers of the file
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .. import checks
from ..backend import BackendError, get_backend
from ..cases import Case, select
from ..gradcheck import HEADER, Report, TensorCheck, check_case
from ..terminal import printable, show
from . import BACKEND_HELP, positive, seed
from .own_layers import is_own, own_cases, what_is_raised


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="layer, loss or model such as conv2d, a case such as conv2d/stride, or layers of "
        "your own: FILE.py, FILE.py:CLASS, FILE.py:CLASS(ARGUMENTS) (default: all of nplenet)",
    )
    parser.add_argument(
        "--input-shape",
        type=input_shape,
        metavar="N,C,...",
        help="shape of the input of your own layers, batch axis first (default: what they take)",
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
    checks.positive(options.tolerance, "--tolerance")
    cases = chosen(options.names, options.input_shape)
    get_backend(options.backend)  # an unusable backend is reported before the table begins
    width = max(len(case.name) for case in cases)
    show(f"{'case':<{width}}  {HEADER}")
    failed = 0
    for case in cases:
        report = checked(case, options)
        for check in report.checks:
            show(printable(f"{case.name:<{width}}  {check}"), flush=True)
        failed += not report.ok
    show(f"{len(cases) - failed} of {len(cases)} cases passed at {options.tolerance:g}")
    return int(failed > 0)


def chosen(names: Sequence[str], shape: tuple[int, ...] | None) -> list[Case]:
    """Return the cases that are named, of the library and of files."""
    if shape is not None and not any(map(is_own, names)):
        raise ValueError("--input-shape is for layers of your own: name a file, such as my.py")
    library = [name.lower() for name in names if not is_own(name)]
    cases = select(library) if library or not names else []
    return cases + [case for name in names if is_own(name) for case in own_cases(name, shape)]


def checked(case: Case, options: argparse.Namespace) -> Report:
    """Return the report of a case; whatever a layer raises is a row that fails."""
    try:
        return check_case(
            case, backend=options.backend, tolerance=options.tolerance, seed=options.seed
        )
    except BackendError:
        raise
    except Exception as error:
        fault = what_is_raised(error)
        kind = case.name.rpartition(":")[2].partition("/")[0].partition("(")[0]
        none = TensorCheck(kind, "-", float("nan"), 0, 0, 0, "elements", options.tolerance, fault)
        return Report((none,))


def input_shape(text: str) -> tuple[int, ...]:
    """Return the value of --input-shape."""
    try:
        return tuple(positive(part) for part in text.replace("x", ",").split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"must be sizes of at least 1, got {text!r}") from None
