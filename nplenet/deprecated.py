"""What has moved or turned: the old way works for one release more, with a DeprecationWarning."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from .names import unknown

Given = ParamSpec("Given")
Result = TypeVar("Result")


def moved(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of ``module``, from which each of ``names`` has moved.

    Parameters
    ----------
    module : str
        Its ``__name__``.
    names : mapping of str to str
        From the old name to the new one with its module: ``nplenet.seeds.generator``.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807  the name Python looks for
        if name == "__all__":  # of a module where nothing else is left
            return list(names)
        if name not in names:
            raise unknown(module, name, sys._getframe(1))
        warnings.warn(
            f"{module}.{name} is deprecated: use {names[name]}", DeprecationWarning, stacklevel=2
        )
        home, _, new = names[name].rpartition(".")
        return getattr(import_module(home), new)

    return __getattr__


def model_first(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let ``function(model, path)`` be called as ``function(path, model)`` too, the old order."""
    name = function.__name__

    @wraps(function)
    def either_order(*arguments: Any, **named: Any) -> Result:
        if arguments and isinstance(arguments[0], (str, os.PathLike)):
            warnings.warn(
                f"{name}(path, model) is deprecated: use {name}(model, path)",
                DeprecationWarning,
                stacklevel=2,
            )
            named["path"], *rest = arguments
            return function(*rest, **named)
        return function(*arguments, **named)

    return either_order
