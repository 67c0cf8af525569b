"""Some parameters and the hyper-parameters of their update, as attributes and by key."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..checks import Checks
from ..parameter import Parameter


class ParameterGroup:
    """The parameters that an optimizer updates by the same numbers.

    ``group.lr`` and ``group["lr"]`` are the same: the latter is how PyTorch writes it. What is
    assigned is checked, and kept as a plain number.

    Parameters
    ----------
    owner : str
        The optimizer's name, for errors.
    checks : dict of str to function
        Of the hyper-parameters by name.
    params : sequence of Parameter
        Kept as a tuple.
    values : dict
        The hyper-parameters.
    """

    def __init__(
        self, owner: str, checks: Checks, params: Sequence[Parameter], values: Mapping[str, Any]
    ) -> None:
        vars(self).update(owner=owner, checks=checks, params=tuple(params))
        for name in checks:
            setattr(self, name, values[name])

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.checks:
            raise AttributeError(f"{self.owner}: a group of parameters has no {name}")
        vars(self)[name] = self.checks[name](value, f"{self.owner}: {name}")

    def __getattr__(self, name: str) -> Any:
        owner = vars(self).get("owner", "")
        raise AttributeError(f"{owner}: a group of parameters has no {name}")

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def values(self) -> dict[str, Any]:
        """Return the hyper-parameters by name."""
        return {name: getattr(self, name) for name in self.checks}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.values().items())
        return f"ParameterGroup({len(self.params)} parameters, {settings})"


def settings_of_groups(
    owner: str, checks: Checks, params: Any, defaults: Mapping[str, Any]
) -> list[tuple[list[Any], dict[str, Any]]]:
    """Return the parameters of each group with its hyper-parameters.

    ``params`` is a list of parameters, which are one group, or a list of dicts as in PyTorch:
    ``{"params": [...], "lr": 0.1}``.
    """
    if inspect.ismethod(params):
        raise TypeError(
            f"{owner}: params is the method {params.__name__} itself; call it: "
            f"model.{params.__name__}()"
        )
    if not isinstance(params, Iterable):
        raise TypeError(
            f"{owner}: params must be a list of Parameter, such as model.parameters(), got "
            f"{type(params).__name__}"
        )
    given = list(params)
    if not any(isinstance(each, Mapping) for each in given):
        return [(given, dict(defaults))]
    groups = []
    for i, each in enumerate(given):
        if not isinstance(each, Mapping) or "params" not in each:
            raise TypeError(
                f"{owner}: params must be parameters, or dicts with 'params', such as "
                f"{{'params': model.parameters(), 'lr': 0.1}}, got {each!r} among dicts"
            )
        own = dict(each)
        members = own.pop("params")
        unknown = sorted(own.keys() - checks.keys())
        if unknown:
            raise ValueError(f"{owner}: group {i} has {unknown}, an update takes {[*checks]}")
        members = [members] if isinstance(members, Parameter) else list(members)
        if not members:
            raise ValueError(f"{owner}: group {i} has no parameters")
        groups.append((members, {**defaults, **own}))
    return groups
