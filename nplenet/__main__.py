"""The command line: ``python -m nplenet COMMAND`` or ``nplenet COMMAND``; see ``commands``."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from keyword import iskeyword
from textwrap import fill
from typing import Any, NoReturn

from .architecture import UnsupportedLayerError
from .backend import BackendError
from .commands import COMMANDS
from .interrupts import interrupt_from_now_on
from .terminal import (
    drop_broken_output,
    open_missing_streams,
    printable,
    show,
)
from .version import __version__

SIGPIPE = 13  # which ends other programs in this case; Windows has none

# Errors of the user or the machine: one line says it. Any other error is a bug of this library.
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
    open_missing_streams()
    interrupt_from_now_on()
    command = ""
    try:
        words = sys.argv[1:] if arguments is None else list(arguments)
        parser = _parser([word for word in words[:1] if word in COMMANDS])
        options, unknown = parser.parse_known_args(words)
        command = options.command
        if unknown:
            parser.prog += f" {command}"
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return _run(options)
    except KeyboardInterrupt:
        _say(command, "interrupted")
        return 128 + signal.SIGINT


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one printable line: an argument may be a stranger's file name."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}; see {self.prog} --help\n")


def _parser(names: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of these commands, or of all; each imports much that others do not need."""
    parser = _Parser(
        prog="nplenet",
        description="Train, test and inspect a LeNet-5 written by hand on NumPy.",
        epilog="nplenet COMMAND --help shows the options of a command, and examples.",
    )
    parser.add_argument("--version", action="version", version=f"nplenet {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for name in names or COMMANDS:
        module = import_module(f".commands.{name}{'_' * iskeyword(name)}", __package__)
        first, _, examples = (module.__doc__ or "").partition("\n\n")
        summary = first.rstrip(".")
        command = commands.add_parser(
            name,
            help=summary,
            description=fill(summary, 78),
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(command)
        command.add_argument(
            "--debug", action="store_true", help="print where in the program an error arose"
        )
        command.set_defaults(run=module.run)
    return parser


def _run(options: argparse.Namespace) -> int:
    """Run a command; whatever it raises becomes one line and status 2."""

    def say(message: object, *where: Any, **more: Any) -> None:
        _say(options.command, message)

    with warnings.catch_warnings():
        warnings.showwarning = say  # one line, as for errors, and no line of source
        try:
            status = int(options.run(options))
            sys.stdout.flush()
            return status
        except Exception as error:
            if options.debug:
                show(traceback.format_exc().rstrip(), sys.stderr)
            if isinstance(error, BrokenPipeError):
                return 128 + SIGPIPE  # the reader, such as head, has what it wants
            say(_sentence(error))
            return 2
        finally:
            drop_broken_output()


def _say(command: str, message: object) -> None:
    text = "; ".join(line.strip().removesuffix(":") for line in str(message).splitlines())
    with suppress(OSError):  # standard error is broken too
        show(f"nplenet {command}: {text}" if command else f"nplenet: {text}", sys.stderr)


def _sentence(error: Exception) -> str:
    """Return what an error says; for a bug, its type as well, because its message explains little.

    Python's own MemoryError and some others say nothing.
    """
    text = str(error).strip()
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{printable(error.filename)}: {error.strerror}"  # without [Errno 2]
    if isinstance(error, MemoryError):
        return text or "not enough memory"
    if isinstance(error, EXPECTED_ERRORS):
        return text or type(error).__name__
    return f"internal error, {type(error).__name__}: {text}; --debug shows where"


if __name__ == "__main__":
    sys.exit(main())
