"""What a student wrote: load it, call it on copies, and turn what goes wrong into a sentence."""

from __future__ import annotations

import ast
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import numpy as np

from .compare import WrongAnswer

PACKAGE = Path(__file__).parents[1]
OPEN_TO_ALL = (
    "layers/base",
    "layers/hints",
    "attributes",
    "parameter",
    "backend",
    "names",
    "checks",
    "lab",
)
"""The parts of nplenet that an answer may run: what ``Layer`` and ``Parameter`` are made of."""
OTHER_LIBRARIES = "PIL autograd cv2 jax keras mxnet paddle scipy skimage tensorflow tinygrad torch"
LOADING = "loading the file"
MAX_MESSAGE = 200  # characters of an error's message
TUPLE = "; unpack a tuple first, as in `(x,) = self.recall(dy)` or `kh, kw = kernel`"
HINTS = (
    (("operand", "'tuple'"), TUPLE),
    (("not supported between", "'tuple'"), TUPLE),
    (("can only concatenate tuple",), TUPLE),
    (("'Parameter'",), "; the array of a Parameter is its `.data`"),
    (("matmul", "(has 0"), "; a factor is not an array; the array of a Parameter is its `.data`"),
    (("values to unpack", "recall"), "; recall returns what `remember(y, ...)` has kept after y"),
    (("'NoneType'", "bias"), "; self.bias is None in a layer without a bias: ask before using it"),
    (
        ("could not be broadcast together",),
        "; compare the shapes from the last axis on: is an array transposed, or is an axis of "
        "length 1 missing (keepdims=True, or [:, None])?",
    ),
    (("without a matching forward",), "; end forward with `return self.remember(y, ...)`"),
)
"""Words of an error's message, or of the line, that together point to a cause; and what to do."""


class Answer:
    """The module that a student wrote.

    Parameters
    ----------
    path : pathlib.Path
        Its file; the names of errors say it.
    source : str
    """

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source = path, source
        self.module = ModuleType("answer")
        self.module.__file__ = str(path)

    def load(self) -> None:
        """Run the file."""
        with self.errors(LOADING):
            # A name of its own, so that other modules can't be mistaken for it.
            code = compile(self.source, str(self.path), "exec", dont_inherit=True)
            sys.modules["answer"] = self.module
            if other := sorted(imported(self.source) & set(OTHER_LIBRARIES.split())):
                raise WrongAnswer(f"{self.path.name} imports {other[0]}: an answer uses NumPy only")
            exec(code, self.module.__dict__)

    def get(self, name: str) -> Any:
        """Return a class or function; one that isn't written in the file is a ``WrongAnswer``."""
        found = getattr(self.module, name, None)
        if found is None:
            raise WrongAnswer(f"{self.path.name} has no {name}; keep the skeleton's names")
        if isinstance(found, type):
            for method in ("forward", "backward", "step"):
                if hasattr(found, method):
                    self._check_own(getattr(found, method), f"{name}.{method}")
        elif not callable(found):
            raise WrongAnswer(f"{name} must be a function, found {type(found).__name__}")
        else:
            self._check_own(found, name)
        return found

    def _check_own(self, function: Any, name: str) -> None:
        code = getattr(function, "__code__", None)
        file = Path(code.co_filename) if isinstance(code, CodeType) else None
        if file and file.is_relative_to(PACKAGE) and not is_open(file):
            place = file.relative_to(PACKAGE).as_posix()
            raise WrongAnswer(
                f"{name} is nplenet's own (nplenet/{place}): an answer must be written by yourself"
            )

    def call(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return a copy of what ``function`` returns for copies of ``arguments``.

        Whatever it raises, and a change of an argument, becomes a ``WrongAnswer`` that begins with
        ``what``.
        """
        given = [np.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
        with self.errors(what):
            result = function(*given)
        for argument, after in zip(arguments, given, strict=True):
            if not isinstance(argument, np.ndarray):
                continue
            if not np.array_equal(argument, after, equal_nan=argument.dtype.kind == "f"):
                raise WrongAnswer(
                    f"{what}: writes over an array that it was given, of shape {argument.shape}; "
                    "work on a copy"
                )
        return np.array(result) if isinstance(result, np.ndarray) else result

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn what the student's code raises meanwhile into a ``WrongAnswer``; watch its calls."""
        borrowed: list[str] = []
        profile = sys.getprofile()
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                sys.setprofile(self._watch(borrowed))
                yield
        except BaseException as error:
            sys.setprofile(None)
            if isinstance(error, WrongAnswer):
                raise
            if not borrowed:
                raise WrongAnswer(f"{what}: {self.sentence(error)}") from None
        finally:
            sys.setprofile(profile)
        if borrowed:
            raise WrongAnswer(
                f"{what}: runs nplenet's own {borrowed[0]}: an answer must be written by yourself"
            )

    def _watch(self, borrowed: list[str]) -> Callable[[FrameType, str, Any], None]:
        """Return a profile function that notes calls from the answer into nplenet's layers."""
        package, own = str(PACKAGE), str(self.path)

        def watch(frame: FrameType, event: str, _: Any) -> None:
            if event != "call" or not frame.f_code.co_filename.startswith(package):
                return
            file = Path(frame.f_code.co_filename)
            if is_open(file):
                return
            caller: FrameType | None = frame
            while caller is not None and caller.f_code.co_filename != own:
                if caller.f_code.co_name == "<module>":
                    return  # an import alone borrows nothing
                caller = caller.f_back
            if caller is not None:
                name = frame.f_code.co_name
                borrowed.append(f"{name} (nplenet/{file.relative_to(PACKAGE).as_posix()})")

        return watch

    def sentence(self, error: BaseException) -> str:
        """Say what an error of the answer means, and on which line it arose."""
        line = self.line_of(error)
        if isinstance(error, NotImplementedError):
            return "is blank: write it in place of `raise NotImplementedError`"
        if isinstance(error, SyntaxError):
            return f"is not Python: {error.msg} in line {error.lineno}"
        if isinstance(error, SystemExit):
            return f"ends the program with sys.exit{line}"
        if isinstance(error, KeyboardInterrupt):
            return f"raises KeyboardInterrupt{line}"
        if isinstance(error, MemoryError):
            return f"needs more memory than the limit{line}; are an array's axes exchanged?"
        if isinstance(error, RecursionError):
            return f"calls itself without end{line}"
        if isinstance(error, EOFError):
            return f"waits for input{line}; nothing can be typed while it is graded"
        try:
            text = " ".join(str(error).split())[:MAX_MESSAGE]
        except Exception:  # of an error that the answer defines
            text = ""
        number = int(line.rpartition(" ")[2] or 0)
        place = " ".join([text, *self.source.splitlines()[:number][-1:]])
        hint = next((hint for words, hint in HINTS if all(word in place for word in words)), "")
        return f"raises {type(error).__name__}{line}" + (f": {text}" if text else "") + hint

    def line_of(self, error: BaseException) -> str:
        """Return " in line N", the last one of the answer's file that an error passed."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(self.path)]
        return f" in line {lines[-1]}" if lines else ""


def imported(source: str) -> set[str]:
    """Return the packages that a source imports directly."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def is_open(file: Path) -> bool:
    """Whether an answer may run a file of nplenet."""
    place = file.relative_to(PACKAGE).with_suffix("").as_posix()
    return place.startswith(OPEN_TO_ALL) or place == "__init__"
