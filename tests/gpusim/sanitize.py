"""Run a program under the address and undefined-behaviour sanitizers.

``python -m gpusim.sanitize pytest tests/cuda``. With no command it prints the environment lines to
set by hand: the sanitizers' libraries must be there before a process begins.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from pathlib import Path

from . import _build


def _nvidia_directories() -> list[str]:
    spec = importlib.util.find_spec("nvidia")
    found = (
        [
            p
            for root in (spec.submodule_search_locations or [])
            if spec
            for p in Path(root).glob("*/lib")
        ]
        if spec
        else []
    )
    return [str(p) for p in found if any(p.glob("libnvrtc*"))]


def environment() -> dict[str, str]:
    """The variables that a sanitized run needs, on top of the present ones."""
    libraries = [
        _build.run([*_build.compiler(), f"-print-file-name={n}"]).strip()
        for n in ("libasan.so", "libubsan.so")
    ]
    # the sanitizer's dlopen forgets NVRTC's own search path
    search = [
        p for p in _nvidia_directories() + os.environ.get("LD_LIBRARY_PATH", "").split(":") if p
    ]
    out = {
        "GPUSIM_SANITIZE": "1",
        "LD_PRELOAD": ":".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=0",
    }
    if search:
        out["LD_LIBRARY_PATH"] = ":".join(dict.fromkeys(search))
    return out


def sanitized() -> bool:
    """Whether this process has the sanitizer loaded."""
    return "libasan" in os.environ.get("LD_PRELOAD", "")


def require() -> None:
    if not sanitized():
        raise RuntimeError(
            "gpusim: sanitizers are asked for but not preloaded; start the program with "
            "'python -m gpusim.sanitize COMMAND ...' (without one it prints the environment to set)"
        )


def main(command: list[str]) -> None:
    if not command:
        for name, value in environment().items():
            print(f"export {name}={shlex.quote(value)}")
        return
    env = {**os.environ, **environment()}
    if command[0] in (
        "python",
        "pytest",
    ):  # the interpreter that runs this, not the first one on the PATH
        command = [
            sys.executable,
            *(["-m", "pytest"] if command[0] == "pytest" else []),
            *command[1:],
        ]
    os.execvpe(command[0], command, env)


if __name__ == "__main__":
    main(sys.argv[1:])
