"""A chain of layers, which is a layer itself; chains nest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, overload

from ..attributes import is_ours
from ..backend import Array
from ..names import OF_A_LAYER, no_attribute
from .base import Layer, check_name, within
from .hints import returned

if TYPE_CHECKING:
    from typing_extensions import Self

Shape = tuple[int, ...]
LAYER_ERRORS = (TypeError, ValueError, NotImplementedError)
"""The errors of a layer to which a network adds the layer's path."""


class Sequential(Layer):
    """Run layers one after another; backward runs them in reverse.

        y = last(... second(first(x)))        dx = first.backward(... last.backward(dy))

    Parameters
    ----------
    *layers : Layer
        Named by their position: ``0``, ``1``, ...
    **named : Layer
        Named by their keyword, after the positional ones. A name may contain neither a dot, which
        separates names in the path of a parameter, nor what cannot be printed.

    Examples
    --------
    >>> features = Sequential(Conv2d(1, 6, 5), ReLU())
    >>> model = Sequential(features=features, classifier=Sequential(Flatten()))
    >>> [p.name for p in model.parameters()]
    ['features.0.weight', 'features.0.bias']
    """

    kept_apart = ("_saved", "layers")

    def __init__(self, /, *layers: Layer, **named: Layer) -> None:
        super().__init__()
        self.layers: dict[str, Layer] = {str(i): layer for i, layer in enumerate(layers)}
        if self.layers.keys() & named.keys():
            raise ValueError("Sequential: a name may not be the number of a positional layer")
        for name in named:
            check_name(name, "Sequential: a name")
        self.layers.update(named)
        self._check(self.layers)

    def _check(self, layers: dict[str, Layer]) -> None:
        """Refuse what is not a layer, and a layer that stands twice."""
        for name, layer in layers.items():
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: {name} must be a Layer, got {not_a_layer(layer)}")
        everything = [inner for layer in layers.values() for _, inner in layer.modules()]
        if len(set(map(id, everything))) != len(everything):
            raise ValueError("Sequential: a layer may stand in the chain only once")

    def children(self) -> dict[str, Layer]:
        if is_chain(self):
            return self.layers
        return self.layers | super().children()  # which a forward of your own may use

    def forward(self, x: Array) -> Array:
        self.check(x)
        for name, layer in self.layers.items():
            with located(name, layer):
                x = returned(layer, layer.forward(x), "forward")
        return x

    def backward(self, dy: Array) -> Array:
        first = next(iter(self), None)
        for name, layer in reversed(self.layers.items()):
            with located(name, layer):
                dy = layer.backward(dy)
                if layer is not first and layer.input_gradient:
                    returned(layer, dy, "backward")
        return dy

    @property
    def input_gradient(self) -> bool:
        """Whether ``backward`` computes ``dx``, which the first layer of the chain decides."""
        return all(layer.input_gradient for layer in list(self.layers.values())[:1])

    @input_gradient.setter
    def input_gradient(self, value: bool) -> None:
        for layer in list(self.layers.values())[:1]:
            layer.input_gradient = value

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers.values())

    @overload
    def __getitem__(self, index: int | str) -> Layer: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | str | slice) -> Layer:
        """Return the layer at a position or of a name; of a slice, a chain of the same layers.

        The layers of a slice keep their names, and its parameters are those of the whole chain.
        """
        if not isinstance(index, slice):
            return self.layers[self._name(index)]
        part = Sequential()
        part.layers = dict(list(self.layers.items())[index])
        part.backend, part.training = self.backend, self.training
        return part

    def __setitem__(self, index: int | str | slice, layer: Layer) -> None:
        """Put another layer in the place of one, whose name it gets."""
        if isinstance(index, slice):
            raise TypeError("Sequential: one layer is replaced at a time, not a slice")
        self._change(self._name(index), layer)

    def append(self, layer: Layer) -> Self:
        """Add a layer at the end, named by its position; return this chain."""
        name = next(name for n in count(len(self)) if (name := str(n)) not in self.layers)
        self._change(name, layer)
        return self

    def _name(self, index: int | str) -> str:
        if isinstance(index, str):
            if index not in self.layers:
                raise KeyError(f"{self._label} has no layer {index!r}, only {list(self.layers)}")
            return index
        return list(self.layers)[index]

    def _change(self, name: str, layer: Layer) -> None:
        layers = self.layers | {name: layer}
        self._check(layers)
        self.layers = layers

    def __getattr__(self, name: str) -> Layer:
        """Return a named layer: ``model.features``."""
        layers: dict[str, Layer] = self.__dict__.get("layers", {})
        if name in layers:
            return layers[name]
        if hasattr(type(self), name):  # a property, whose own error says more
            return object.__getattribute__(self, name)
        owner, kind = type(self).__name__, "attribute or layer"
        raise AttributeError(no_attribute(owner, name, OF_A_LAYER, kind))

    def __setattr__(self, name: str, value: Any) -> None:
        """Replace a named layer: ``model.classifier = Sequential(...)``.

        Raises
        ------
        TypeError
            For a layer under a new name, which the chain would not run; and for an argument of a
            model of the library, which is read once, when the model is made.
        """
        if name in self.__dict__.get("layers", {}) and not hasattr(type(self), name):
            self._change(name, value)
            return
        if name != "layers" and is_chain(self) and any(within(name, value, Layer)):
            raise TypeError(
                f"{self._label}: a chain would not run the new layer {name}; add it with "
                f"append(layer), or replace one of {list(self.layers)}"
            )
        if is_argument(type(self), name) and not hasattr(self, name):
            raise TypeError(
                f"{type(self).__name__}: {name} is read once, when the model is made: "
                f"{type(self).__name__}({name}={value!r})"
            )
        super().__setattr__(name, value)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.check_shape(input_shape)
        shape = input_shape
        for _, _, _, output in self._shapes(input_shape):
            shape = output
        return shape

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        return sum(layer.multiply_adds(shape) for _, layer, shape, _ in self._shapes(input_shape))

    def _shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape, Shape]]:
        """Yield the name of each layer, the layer, and the shapes of its input and output."""
        for name, layer in self.layers.items():
            with located(name, layer):
                output = layer.output_shape(shape)
            yield name, layer, shape, output
            shape = output

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """Return a table of each layer's output shape, parameters and multiply-adds.

        Parameters
        ----------
        input_shape : tuple of int
            With the batch axis, such as (1, 1, 32, 32); multiply-adds count the whole batch, matrix
            products only.
        """
        rows = [("layer", "output shape", "parameters", "multiply-adds")]
        rows += self._summary_rows("", tuple(input_shape))
        rows.append(
            (
                "total",
                str(self.output_shape(tuple(input_shape))),
                f"{sum(p.data.size for p in self.parameters()):,}",
                f"{self.multiply_adds(tuple(input_shape)):,}",
            )
        )
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
            for a, b, c, d in rows
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _summary_rows(self, path: str, shape: tuple[int, ...]) -> list[tuple[str, str, str, str]]:
        rows = []
        for name, layer, before, after in self._shapes(shape):
            if isinstance(layer, Sequential):
                rows += layer._summary_rows(f"{path}{name}.", before)
            else:
                rows.append(
                    (
                        f"{path}{name} {type(layer).__name__}",
                        str(after),
                        f"{sum(p.data.size for p in layer.parameters()):,}",
                        f"{layer.multiply_adds(before):,}",
                    )
                )
        return rows

    @property
    def _label(self) -> str:
        """The name of this network in errors: its class; its layers would fill the screen."""
        return type(self).__name__

    def __repr__(self) -> str:
        return outline(self)


def not_a_layer(given: object) -> str:
    """Return what was given in place of a layer, and what to write."""
    if isinstance(given, (list, tuple)):
        return f"a {type(given).__name__}; pass its layers one by one: Sequential(*layers)"
    if isinstance(given, type) and issubclass(given, Layer):
        return f"the class {given.__name__}; make a layer of it: {given.__name__}(...)"
    return type(given).__name__


def outline(network: Layer) -> str:
    """Return the ``repr`` of a layer that holds others: each with its name, on lines of its own."""
    inner = "\n".join(f"{name}: {layer!r}" for name, layer in network.children().items())
    return f"{type(network).__name__}(\n  " + inner.replace("\n", "\n  ") + "\n)"


def is_argument(kind: type, name: str) -> bool:
    """Say whether ``name`` is an argument of the constructor of a model of the library."""
    if not is_ours(kind):
        return False
    code = kind.__init__.__code__  # type: ignore[misc]
    return name in code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]


def is_chain(layer: Layer) -> bool:
    """Say whether a layer runs its children as ``Sequential`` does, like ``LeNet5``."""
    kind = type(layer)
    return (
        isinstance(layer, Sequential)
        and kind.forward is Sequential.forward
        and kind.backward is Sequential.backward
    )


def is_patched(layer: Layer) -> bool:
    """Say whether a layer has a forward or backward that is not its class's: ``layer.forward = f``.

    Then it computes what no compiled form of its class does.
    """
    return not {"forward", "backward"}.isdisjoint(vars(layer))


def leaves(model: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield (path, layer) in the order in which a nest of Sequentials runs them.

    A chain with a forward or backward of its own counts as a layer, not as a chain.
    """
    if not is_chain(model) or is_patched(model):
        yield path or type(model).__name__, model
        return
    for name, child in model.children().items():
        yield from leaves(child, f"{path}.{name}" if path else name)


class located:  # noqa: N801  read as a statement: ``with located(name, layer):``
    """Add the path of a layer to an error raised meanwhile; see ``locate``.

    Each layer of each pass enters one: ``contextlib.contextmanager`` takes four times as long.
    """

    def __init__(self, name: str, layer: Layer) -> None:
        self.name, self.layer = name, layer

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LAYER_ERRORS):
            locate(error, self.name, self.layer)


def locate(error: Exception, name: str, layer: Layer) -> None:
    """Add the path of a layer to the message of its error; each network on the way completes it.

    "Dense(400, 120, bias=True): takes 400 ..." becomes "1 (Dense(400, 120, bias=True)): takes
    400 ..." in ``classifier``, and begins with "classifier.1 (Dense(" after ``LeNet5``.
    """
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return  # its message is made of other things
    text = error.args[0]
    with suppress(Exception):  # a repr of the user's own that fails must not hide this error
        own = layer, text.removeprefix(f"{layer._label}: ")
        failed, reason = getattr(error, "located", own)
        paths = {id(inner): path for path, inner in layer.modules(f"{name}.")}
        if id(failed) not in paths:  # of a network that ``layer`` does not show as its child
            failed, reason = own
        error.args = (f"{paths[id(failed)].removesuffix('.')} ({failed._label}): {reason}",)
        error.located = failed, reason  # type: ignore[attr-defined]
