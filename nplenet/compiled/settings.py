"""What of layers and loss a plan is made for: a change of any makes it anew.

Every attribute of a layer counts, whoever added it, except for what is read in each step (arrays,
the generator of dropout) and what is not arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from ..layers import Layer, Parameter
from ..layers.sequential import leaves
from ..losses import CrossEntropyLoss

NOT_ARITHMETIC = (
    "backend",
    "group",
    "input_gradient",
    "preprocessing",
    "pictures",
    "trust",
    "key_there",
    "_saved",
)


class Settings:
    """Reads the settings of a model and its loss; it takes some microseconds.

    Parameters
    ----------
    model : Layer
    loss : CrossEntropyLoss
    """

    def __init__(self, model: Layer, loss: CrossEntropyLoss) -> None:
        self.model, self.loss = model, loss
        self.layers = [layer for _, layer in leaves(model)]
        self._members = [(a, dict(a.children())) for _, a in model.modules() if a.children()]
        self._readers: list[tuple[Layer, Callable[[Layer], Any]]] = [
            (layer, attrgetter(*names_of(layer))) for layer in self.layers
        ]
        self._parameters = model.parameters()

    def __call__(self) -> tuple[Any, ...]:
        """Return the settings as they are.

        Raises
        ------
        ValueError
            When a layer or a parameter was replaced by another one.
        """
        for network, members in self._members:
            now = network.children()
            if now != members:
                names = [n for n in {**members, **now} if now.get(n) is not members.get(n)]
                raise ValueError(
                    f"the compiled step: the layers {names} of {type(network).__name__} were "
                    "replaced since; make an optimizer of the new parameters and compile it again"
                )
        loss = self.loss
        own = (loss.reduction, loss.label_smoothing, loss.weight is None, loss.ignore_index)
        try:
            return (own, *(read(layer) for layer, read in self._readers))
        except AttributeError as error:  # such as a bias that became None
            raise ValueError(
                f"the compiled step: a layer has changed ({error}); compile it again"
            ) from None

    def check_parameters(self) -> None:
        """Raise a ValueError if the model has other parameters than those compiled for."""
        now, then = self.model.parameters(), self._parameters
        if [*map(id, now)] != [*map(id, then)]:
            raise ValueError(
                "the compiled step: a parameter of the model was replaced since; compile it again"
            )


def names_of(layer: Layer) -> Sequence[str]:
    """Return the attributes of a layer that are settings; of parameters whether they are trained.

    A parameter itself is one, too: another object in its place is another setting.
    """
    names = ["training"]
    for name, value in vars(layer).items():
        if isinstance(value, Parameter):
            names += [name, f"{name}.requires_grad"]
        elif not isinstance(value, np.random.Generator) and not hasattr(value, "dtype"):
            names.append(name)
    return [name for name in dict.fromkeys(names) if name not in NOT_ARITHMETIC] or ["training"]
