"""Who may import whom, and what ``import nplenet`` costs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nplenet

PACKAGE = Path(nplenet.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A module or subpackage, and those parts of nplenet that it may import, itself aside. A new one
# must be given its place here.
ALLOWED: dict[str, set[str]] = {
    "window": set(),
    "backend": {"window", "cuda"},  # cuda only when it is asked for, see below
    "launch": {"backend"},
    "cuda": {"backend", "launch", "window"},
    "parallel": {"backend"},
    "layers": {"backend", "parallel", "window"},
    "losses": {"backend"},
    "optim": {"backend"},
    "schedules": {"backend", "optim"},
    "augment": {"backend"},
    "data": {"augment", "backend", "parallel"},
    "models": {"backend", "layers"},
    "compiled": {"backend", "data", "layers", "losses", "optim", "parallel", "window"},
}
ALLOWED["architecture"] = {"layers"}
BELOW_TRAIN = set(ALLOWED) - {"cuda", "launch", "window"}
ALLOWED["checkpoint"] = BELOW_TRAIN
ALLOWED["evaluation"] = BELOW_TRAIN
ALLOWED["train"] = BELOW_TRAIN | {"checkpoint", "evaluation"}
ALLOWED["operations"] = BELOW_TRAIN
ALLOWED["gradcheck"] = BELOW_TRAIN | {"operations"}
ALLOWED["doctor"] = BELOW_TRAIN
ON_TOP = {"__init__", "__main__", "commands", "interop", "recognize", "show"}
SLOW_OR_OPTIONAL = ("cupy", "cupyx", "PIL", "matplotlib", "torch", "onnx", "mpi4py")


def part(file: Path) -> str:
    """Return the part of nplenet that a file belongs to: ``layers`` for nplenet/layers/conv.py."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> list[str]:
    """Return the absolute names of all modules that ``file`` imports, lazily or not."""
    names = []
    package = ["nplenet", *file.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            names += [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            names += [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
    return names


def imported_parts(file: Path) -> set[str]:
    """Return the parts of nplenet that ``file`` imports, its own aside."""
    parts = set()
    for name in imports(file):
        root, _, rest = name.partition(".")
        if root == "nplenet":
            first = rest.partition(".")[0]
            inside = (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").is_file()
            parts.add(first if first and inside else "__init__")
    return parts - {part(file)}


def relative(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_a_module_imports_only_what_it_may_know(file: Path) -> None:
    if part(file) in ON_TOP:
        return
    assert part(file) in ALLOWED, f"give {part(file)} a place in ALLOWED"
    own_version = {"__init__"} if "nplenet.__version__" in imports(file) else set()
    assert imported_parts(file) - own_version <= ALLOWED[part(file)]


def test_every_file_is_found() -> None:
    assert {part(file) for file in FILES} >= {"layers", "backend", "losses", "gradcheck"}
    assert imported_parts(PACKAGE / "layers" / "conv.py") == {"backend", "window"}


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_only_the_cuda_modules_import_cupy(file: Path) -> None:
    touches = {name.partition(".")[0] for name in imports(file)} & {"cupy", "cupyx"}
    assert not touches or relative(file) == "cuda.py" or relative(file).startswith("compiled/cuda/")


def test_layers_never_ask_which_backend_they_run_on() -> None:
    for file in (PACKAGE / "layers").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "cupy" not in text.replace('layer.to("cupy")', ""), file.name


def test_importing_nplenet_imports_nothing_slow_or_optional() -> None:
    program = f"import sys, nplenet; print([m for m in {SLOW_OR_OPTIONAL} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def import_seconds() -> float:
    """Return what ``import nplenet`` takes once numpy is imported, all it imports included.

    With compiled modules, as pip leaves them, also where the environment asks for none.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import numpy, nplenet"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for line in done.stderr.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if fields[-1].strip() == "nplenet":
            return int(fields[1]) / 1e6
    raise AssertionError("nplenet is missing in the output of -X importtime")


def test_importing_nplenet_adds_less_than_150_ms_to_numpy() -> None:
    assert min(import_seconds() for _ in range(5)) < 0.15  # the best: other processes only add
