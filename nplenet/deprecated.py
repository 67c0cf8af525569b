"""Names that have moved: the old names keep working for one release, with a DeprecationWarning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


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
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} is deprecated: use {names[name]}", DeprecationWarning, stacklevel=2
        )
        home, _, new = names[name].rpartition(".")
        return getattr(import_module(home), new)

    return __getattr__
