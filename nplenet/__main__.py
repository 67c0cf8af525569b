"""The command line: ``python -m nplenet COMMAND`` or ``nplenet COMMAND``; see ``commands``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from .architecture import UnsupportedLayerError
from .backend import BackendError
from .commands import COMMANDS

# Errors of the user or the machine: one line says it. Any other error is a bug and is not caught.
EXPECTED_ERRORS = (
    BackendError,
    ImportError,
    MemoryError,
    OSError,
    UnsupportedLayerError,
    ValueError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in ``arguments`` (default ``sys.argv``) and return its exit status.

    0: success; 1: a bad result; 2: an error, reported in one line; 128 + N: ended by signal N.
    """
    parser = argparse.ArgumentParser(
        prog="nplenet",
        description="Train, test and inspect a LeNet-5 written by hand on NumPy.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for name in COMMANDS:
        module = import_module(f".commands.{name}", __package__)
        summary = (module.__doc__ or "").splitlines()[0].rstrip(".")
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_options(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)

    def say(message: Warning | Exception | str, *where: Any, **more: Any) -> None:
        print(f"nplenet {options.command}: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = say  # one line, as for errors, and no line of source
        try:
            return int(options.run(options))
        except EXPECTED_ERRORS as error:
            say(error)
            return 2


if __name__ == "__main__":
    sys.exit(main())
