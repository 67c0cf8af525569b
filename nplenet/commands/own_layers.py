"""Layers in a file of your own, as cases for the gradient check: FILE.py, FILE.py:Class, and more.

``my.py`` names every layer that the file defines, ``my.py:MyConv`` one, ``my.py:MyConv(2, 3, 3)``
one with arguments, in Python. Without arguments a layer gets the cases of the library's layer that
it is built on, or whose name it has; otherwise it is made without arguments.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..cases import ROWS, Case, Row
from ..layers import Layer

FORM = re.compile(r"(?P<file>.*\.py)(:(?P<class>\w+)(?P<arguments>\(.*\))?)?$", re.DOTALL)
SHAPES = {0: (3, 4, 5), 1: (4,), 2: (4, 5), 3: (3, 2, 4), 4: (2, 2, 6, 5)}
"""The shape of an input by its number of axes; 0 stands for a layer that takes any."""
SPECIAL = ("batchnorm2d/average", "dropout/drop-all")
"""Cases with special values, which a class that has only the library's name need not take."""
LIBRARIES = (Path(__file__).parents[1], Path(np.__file__).parent)


class NeedsArgumentsError(TypeError):
    """A class can't be made without arguments; the message says how to give them."""


def is_own(name: str) -> bool:
    """Whether a name means a file."""
    return FORM.fullmatch(name) is not None


def own_cases(name: str, shape: tuple[int, ...] | None = None) -> list[Case]:
    """Return the cases of the layers that ``name`` means.

    Parameters
    ----------
    name : str
        ``FILE.py``, ``FILE.py:Class`` or ``FILE.py:Class(arguments)``.
    shape : tuple of int, optional
        Shape of the input; by default the shape of a case of the library, or what ``ranks`` and
        ``channels`` of the layer ask for.

    Raises
    ------
    OSError, ValueError
        When the file can't be run, or holds no such layer.
    """
    parts = FORM.fullmatch(name)
    assert parts
    path = Path(parts["file"])
    module = load(path)
    if parts["class"] is None:
        kinds = layers_of(module)
        if not kinds:
            raise ValueError(f"{path}: defines no class derived from nplenet.layers.Layer")
    else:
        kinds = [layer_named(module, parts["class"], path)]
    if parts["arguments"] is not None:
        expression, scope = f"{parts['class']}{parts['arguments']}", vars(module)
        return [_case(f"{path.name}:{expression}", lambda rng: eval(expression, scope), shape)]
    return [case for kind in kinds for case in _cases_of(kind, path, shape)]


def load(path: Path) -> ModuleType:
    """Run a file as a module of its own and return it."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    name = f"{path.stem}_to_check"  # so that it hides no module of Python
    spec = spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{path}: {what_is_raised(error, path)}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def what_is_raised(error: BaseException, path: Path | None = None) -> str:
    """Return "raises TypeError in line 3 of my.py: ...".

    The line is the last one of ``path``; by default of a file outside of nplenet and NumPy, or of
    nplenet's own if the error passed no other.
    """
    if isinstance(error, NeedsArgumentsError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    files = [Path(frame.filename) for frame in frames]
    own = [frame for frame, file in zip(frames, files, strict=True) if _is_users(file, path)]
    where = ""
    if last := (own or frames)[-1:]:
        where = f" in line {last[0].lineno} of {Path(last[0].filename).name}"
    if isinstance(error, SyntaxError):
        where = f" in line {error.lineno}"
    text = " ".join(str(error).split())
    return f"raises {type(error).__name__}{where}" + (f": {text}" if text else "")


def _is_users(file: Path, path: Path | None) -> bool:
    if path is not None:
        return file == path
    return file.is_file() and not any(file.is_relative_to(home) for home in LIBRARIES)


def layers_of(module: ModuleType) -> list[type[Layer]]:
    """Return the layers that a module defines, in the order of the file."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Layer)
        and value.__module__ == module.__name__
    ]


def layer_named(module: ModuleType, name: str, path: Path) -> type[Layer]:
    """Return a layer of a module by its name."""
    kind = getattr(module, name, None)
    if not isinstance(kind, type) or not issubclass(kind, Layer):
        known = ", ".join(kind.__name__ for kind in layers_of(module)) or "none"
        said = "no class" if kind is None else "a class or value that is not a Layer called"
        raise ValueError(f"{path}: has {said} {name}; its layers: {known}")
    return kind


def _cases_of(kind: type[Layer], path: Path, shape: tuple[int, ...] | None) -> list[Case]:
    name, parameters = f"{path.name}:{kind.__name__}", inspect.signature(kind).parameters
    needed = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    row = model_of(kind)
    if row is not None and shape is None:
        cases = [c for c in row.cases if issubclass(kind, row.kind) or c.name not in SPECIAL]
        made = [c for c in cases if _fits(c, set(parameters), set(needed))]
        if made:
            return [_like(f"{name}/{c.name.partition('/')[2]}", kind, c) for c in made]
    if needed:

        def refuse(rng: np.random.Generator) -> Any:
            raise NeedsArgumentsError(
                f"{kind.__name__} needs {', '.join(needed)}: write the arguments in the name, "
                f"such as '{name}(2, 3)'"
            )

        return [Case(name, refuse, ())]
    return [_case(name, lambda rng: kind(), shape)]


def model_of(kind: type[Layer]) -> Row | None:
    """Return the library's row whose cases fit a class: of its base, or of its name."""
    for row in ROWS:
        if row.kind in kind.__mro__:
            return row
    return next((row for row in ROWS if row.name == kind.__name__.lower()), None)


def _plain(case: Case) -> dict[str, Any]:
    made = case.make(np.random.default_rng(0))
    return made.arguments() if isinstance(made, Layer) else {}


def _fits(case: Case, accepted: set[str], needed: set[str]) -> bool:
    """Whether a class takes a case's arguments: those it needs, and none that it does not know.

    An argument with the usual value, such as ``ceil_mode=False``, may be unknown.
    """
    given = _plain(case)
    usual = {"ceil_mode": False, "count_include_pad": True}
    unknown = {name for name in given.keys() - accepted if usual.get(name, ...) != given[name]}
    return needed <= given.keys() and not unknown


def _like(name: str, kind: type[Layer], case: Case) -> Case:
    """Return a case of a class with the arguments, mode and input of a case of the library."""
    accepted = inspect.signature(kind).parameters

    def make(rng: np.random.Generator) -> Layer:
        like = case.make(rng)
        assert isinstance(like, Layer)
        given = {k: v for k, v in like.arguments().items() if k in accepted}
        if "rng" in accepted:
            given["rng"] = rng
        return kind(**given).train(like.training)

    return Case(name, make, case.input_shape)


def _case(name: str, make: Callable[[Any], Any], shape: Sequence[int] | None) -> Case:
    """Return a case whose input has the shape given, or one that the layer takes."""
    if shape is None:
        try:
            layer = make(np.random.default_rng(0))
            rank = layer.ranks[0] if layer.ranks else 4 if layer.channels else 0
            sizes = list(SHAPES[rank])
            if layer.channels is not None:
                sizes[1] = layer.channels
            shape = sizes
        except Exception:  # the check makes it again, and reports the error
            shape = SHAPES[0]
    return Case(name, make, tuple(shape))
