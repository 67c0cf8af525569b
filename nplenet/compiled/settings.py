"""What of layers and loss a plan is made for: a change of any makes it anew.

Every attribute of a layer of the library counts, whoever added it, except for what is read in each
step (arrays, the generator of dropout) and what is not arithmetic. A layer of your own runs as it
is: a plan is made for its mode, its parameters and the shape of its output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from ..attributes import is_ours
from ..layers import BatchNorm1d, BatchNorm2d, Layer, Parameter
from ..layers.hints import array_in_words
from ..layers.sequential import is_patched, leaves
from ..losses import CrossEntropyLoss
from ..optim import Optimizer

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

    Attributes
    ----------
    layers : dict of str to Layer
        By their paths, in the order in which they run.
    """

    def __init__(self, model: Layer, loss: CrossEntropyLoss) -> None:
        self.model, self.loss = model, loss
        self.layers = dict(leaves(model))
        self._members = [(a, dict(a.children())) for _, a in model.modules() if a.children()]
        self._readers: list[tuple[Layer, Callable[[Layer], Any]]] = [
            (layer, attrgetter(*names_of(layer))) for layer in self.layers.values()
        ]
        self._ours = {path: layer for path, layer in model.modules() if is_ours(type(layer))}
        self._patched = [*map(is_patched, self._ours.values())]
        self._attributes = [vars(layer) for layer in self._ours.values()]
        self._sizes = [*map(len, self._attributes)]
        self._arrays = [(p, p.data, p.grad) for p in model.parameters()]
        norms: dict[str, Any] = self.layers
        self._tracked = [
            (path, norm, *kind)
            for path, norm in norms.items()
            if type(norm) in (BatchNorm1d, BatchNorm2d)
            for kind in tracked(norm.num_features, self.dtype)
        ]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters."""
        dtype: np.dtype[Any] = self._arrays[0][1].dtype
        return dtype

    def others_of(self, optimizer: Optimizer) -> list[Parameter]:
        """Return the parameters that an optimizer updates and that are not of this model."""
        own = {id(parameter) for parameter, _, _ in self._arrays}
        return [p for flat in optimizer.flats for p in flat.parameters if id(p) not in own]

    def __call__(self) -> tuple[Any, ...]:
        """Return the settings as they are.

        Raises
        ------
        ValueError
            When a layer, its forward or its backward, or a parameter was replaced by another one.
        """
        if [*map(len, self._attributes)] != self._sizes:
            self._check_methods()
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
            found = (own, *(read(layer) for layer, read in self._readers))
        except AttributeError as error:  # such as a bias that became None
            raise ValueError(
                f"the compiled step: a layer has changed ({error}); compile it again"
            ) from None
        return found if has_hash(found) else tuple(map(comparable, found))

    def _check_methods(self) -> None:
        """Raise a ValueError if a layer of the library got a forward or backward of its own."""
        for (path, layer), before in zip(self._ours.items(), self._patched, strict=True):
            if is_patched(layer) != before:
                raise ValueError(
                    f"the compiled step: forward or backward of {path.rstrip('.') or 'the model'} "
                    f"({layer._label}) was replaced since; compile it again"
                )
        self._sizes = [*map(len, self._attributes)]

    def check_arrays(self) -> None:
        """Raise a ValueError if an array is not of the kind that the calls and kernels take.

        That is, if a parameter has other arrays than those compiled for, or a batch norm tracks its
        statistics in another dtype or shape.
        """
        for parameter, data, grad in self._arrays:
            if parameter.data is not data or parameter.grad is not grad:
                raise ValueError(
                    f"the compiled step: {parameter} has other arrays than those it was compiled "
                    "for: the model was moved or converted, or a new optimizer took it over; "
                    "compile it again. Or a backward replaced a gradient; add to it, "
                    "parameter.grad += ..."
                )
        for path, norm, name, dtype, shape in self._tracked:
            array = getattr(norm, name)
            if getattr(array, "dtype", None) != dtype or array.shape != shape:
                raise ValueError(
                    f"the compiled step: {name} of {path} ({norm}) must be an array of {dtype} "
                    f"{shape}, got {array_in_words(array)}; assign to its elements: "
                    f"norm.{name}[...] = ..."
                )

    def check_parameters(self) -> None:
        """Raise a ValueError if the model has other parameters than those compiled for."""
        if [*map(id, self.model.parameters())] != [id(p) for p, _, _ in self._arrays]:
            raise ValueError(
                "the compiled step: a parameter of the model was replaced since; compile it again"
            )


def tracked(
    features: int, dtype: np.dtype[Any]
) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
    """Return name, dtype and shape of a batch norm's statistics: a kernel reads nothing else."""
    shape = (features,)
    return [
        ("running_mean", dtype, shape),
        ("running_var", dtype, shape),
        ("num_batches_tracked", np.dtype(np.int64), ()),
    ]


def names_of(layer: Layer) -> Sequence[str]:
    """Return the attributes of a layer that are settings; of parameters whether they are trained.

    A parameter itself is one, too: another object in its place is another setting.
    """
    names, own = ["training"], not is_ours(type(layer))
    for name, value in vars(layer).items():
        if isinstance(value, Parameter):
            names += [name, f"{name}.requires_grad"]
        elif not (own or isinstance(value, np.random.Generator) or hasattr(value, "dtype")):
            names.append(name)
    return [name for name in dict.fromkeys(names) if name not in NOT_ARITHMETIC] or ["training"]


def has_hash(value: Any) -> bool:
    """Say whether a value can be compared by ``==``: an array, or a list of arrays, can't."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def comparable(values: Any) -> Any:
    """Return settings without those that cannot be compared, which no plan depends on."""
    if not isinstance(values, tuple):  # of a layer with a single setting
        return values if has_hash(values) else None
    return tuple(value if has_hash(value) else None for value in values)
