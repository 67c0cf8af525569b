"""The command line: ``python -m nplenet COMMAND``; ``--help`` lists the commands.

Each command is a function that adds its options and one that runs it and returns the exit status.
Modules a command needs are imported when it runs, so that ``--help`` stays quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command given by ``arguments`` (default: the process's) and return its exit status.

    0: done; 1: done, with a bad result; 2: the arguments make no sense.
    """
    parser = argparse.ArgumentParser(prog="python -m nplenet", description="LeNet-5 on arrays.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_doctor(commands)
    _add_gradcheck(commands)
    options = parser.parse_args(arguments)
    return int(options.run(options))


def _add_doctor(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor", help="find out whether a backend can be used here, and what to type if not"
    )
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import examine

    usable = True
    for finding in examine(options.backend):
        print(finding, flush=True)
        usable = usable and not finding.fatal
    print(f"the {options.backend} backend is {'usable' if usable else 'not usable'}")
    return int(not usable)


def _add_gradcheck(commands: Any) -> None:
    parser = commands.add_parser(
        "gradcheck", help="compare every backward with finite differences in float64"
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="an operation such as lenet5 or conv2d, or a case: conv2d/stride (default: all)",
    )
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    parser.add_argument("--seed", type=int, default=0, help="of weights, inputs and directions")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="on the relative error")
    parser.set_defaults(run=_gradcheck)


def _gradcheck(options: argparse.Namespace) -> int:
    from .backend import BackendError, get_backend
    from .gradcheck import HEADER, check_case
    from .operations import select

    try:
        cases = select(options.names)
        get_backend(options.backend)
    except (ValueError, BackendError) as error:
        print(f"gradcheck: {error}", file=sys.stderr)
        return 2
    width = max(len(case.name) for case in cases)
    print(f"{'case':<{width}}  {HEADER}")
    failed = 0
    for case in cases:
        report = check_case(
            case, backend=options.backend, tolerance=options.tolerance, seed=options.seed
        )
        for check in report.checks:
            print(f"{case.name:<{width}}  {check}", flush=True)
        failed += not report.ok
    print(f"{len(cases) - failed} of {len(cases)} cases passed at {options.tolerance:g}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
