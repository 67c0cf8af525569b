"""The terminal: what is printed is text only, whatever a file, a server or a name contains."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


def printable(text: object, limit: int | None = None) -> str:
    r"""Return ``text`` on one line, each character that is not printable as its escape: ``\x1b``.

    A terminal obeys control characters: they move its cursor, delete lines and set its title.
    Line breaks, invisible characters, those that reverse the direction of the text, and the bytes
    of a file name that are not UTF-8 become visible too. With ``limit``, what is longer is cut.
    """
    string = str(text)
    if limit is not None and len(string) > limit:
        string = string[: limit - 3] + "..."
    if string.isprintable():
        return string
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in string)


def show(text: object = "", file: TextIO | None = None, *, flush: bool = False) -> None:
    """Print a text, its lines made printable, to ``file`` (default: standard output).

    Characters that the stream cannot encode are escaped as well. The commands print with this
    function only.
    """
    stream = sys.stdout if file is None else file
    if stream is None:  # of a program without a console
        return
    lines = "\n".join(map(printable, str(text).split("\n")))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(lines.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=flush)


def show_json(record: Any, indent: int | None = None) -> None:
    """Print plain values as JSON in ASCII, piece by piece: a stranger's file may hold many."""
    stream = sys.stdout
    if stream is None:
        return
    for piece in json.JSONEncoder(indent=indent).iterencode(record):
        stream.write(piece.replace("\x7f", "\\u007f"))
    stream.write("\n")


def open_missing_streams() -> None:
    """Point standard input, output and error to nothing where the caller has closed them.

    Otherwise the next file that is opened takes their descriptors, and gets what was meant for the
    terminal.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def drop_broken_output() -> None:
    """Point standard output to nothing if it fails, so that the exit of Python does not."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
