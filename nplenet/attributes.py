"""What may be assigned to an object: a setting is checked each time, a name must be known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

from .checks import Checks
from .names import no_attribute


class Attributes:
    """Base of optimizers, schedules, losses, loaders, transforms: the class names their attributes.

    ``Adam(...).momentum = 0.5`` is an error, not an attribute that nothing reads. A class of your
    own, which is not the library's, may have any attributes.

    Attributes
    ----------
    settings : dict of str to function
        The check of each setting by its name (see ``nplenet.checks``): ``loader.batch_size = 0`` is
        refused like ``DataLoader(images, labels, 0)``.
    read_once : tuple of str
        The attributes that are read when the object is made only: a second assignment is an error.
    ours : dict of str to str
        What to write for a name that the class does not have.
    """

    settings: ClassVar[Checks] = {}
    read_once: ClassVar[tuple[str, ...]] = ()
    ours: ClassVar[Mapping[str, str]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        owner = type(self).__name__
        if name in self.read_once and name in vars(self):
            raise AttributeError(f"{owner}: {name} is read once, when it is made: make a new one")
        if name in self.settings:
            value = self.settings[name](value, f"{owner}: {name}")
        elif name[:1] != "_" and is_ours(type(self)) and not self._declares(name):
            raise AttributeError(no_attribute(owner, name, self.ours))
        super().__setattr__(name, value)

    @classmethod
    def _declares(cls, name: str) -> bool:
        kind: Any = cls  # mypy finds no hash in a class
        return bool(is_declared(kind, name))


class Setting:
    """A setting of a layer, declared in its class: each assignment is checked.

        eps: float = setting(not_negative)

    The value lies among the attributes of the layer, where it is read as fast as any other.
    """

    def __init__(self, check: Callable[[Any, str], Any], once: bool) -> None:
        self.check, self.once = check, once

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, layer: object, value: Any) -> None:
        owner, own = type(layer).__name__, vars(layer)
        if self.once and self.name in own:
            raise AttributeError(
                f"{owner}: {self.name} is read once, when it is made: make a new one"
            )
        own[self.name] = self.check(value, f"{owner}: {self.name}")


def setting(check: Callable[[Any, str], Any]) -> Any:
    """Return a ``Setting`` that may be assigned at any time."""
    return Setting(check, once=False)


def size(check: Callable[[Any, str], Any]) -> Any:
    """Return a ``Setting`` that parameters were made for: a second assignment is an error."""
    return Setting(check, once=True)


def is_ours(kind: type) -> bool:
    """Say whether a class is the library's."""
    return kind.__module__.startswith("nplenet.")


@cache  # a step of training assigns some attributes: 0.1 us, not 8
def is_declared(kind: type, name: str) -> bool:
    """Say whether the body of a class or of a base names an attribute: a value or an annotation."""
    return hasattr(kind, name) or any(name in inspect.get_annotations(k) for k in kind.__mro__)
