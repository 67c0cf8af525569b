"""The base of all layers: parameters, buffers, a forward and an explicit backward.

A layer of your own subclasses ``Layer``, checks its input with ``check``, keeps what backward
needs with ``remember``, and takes it back with ``recall``:

    class Double(Layer):
        def forward(self, x):
            self.check(x)
            return self.remember(2 * x)

        def backward(self, dy):
            self.recall(dy)
            return 2 * dy

Names: ``dy`` is the gradient of the loss with respect to the output ``y``, ``dx`` to the input
``x``. Arrays are kept, not copied: leave what forward took and returned unchanged until backward.
Gradients of parameters accumulate (``+=``) until ``zero_grad``; gradients of activations are
assigned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import checks
from ..backend import Array, Backend, get_backend
from ..backend.base import A
from ..names import OF_A_LAYER, no_attribute
from ..parameter import FLOAT_CHARS, FLOATS, Parameter
from . import hints
from .hints import array_in_words

if TYPE_CHECKING:
    from typing_extensions import Self


H = TypeVar("H")
CONTAINERS = (list, tuple, dict, set, frozenset)  # in which ``within`` looks


class Layer:
    """Base of all layers. Holds its parameters and sub-layers as attributes, or in lists of theirs.

    Attributes
    ----------
    ranks : tuple of int
        The numbers of axes an input may have; empty for any.
    channels : int or None
        The required size of axis 1 of an input; None for any.
    training : bool
        True after ``train()``, False after ``eval()``; batch norm and dropout depend on it.
    input_gradient : bool
        Whether ``backward`` computes ``dx``. The training loop clears it for the first layer, whose
        input is data: its ``dx`` is not used and would be a fifth of the work of a step.
    preprocessing : transform or None
        Of a whole model: what its images get before it when they are evaluated, such as
        ``Normalize``; ``fit`` notes it, and a checkpoint holds it (see ``nplenet.augment``).
    pictures : nplenet.data.Pictures or None
        Of a whole model: how pictures became its images, and the names of its classes; a file by
        ``save_model`` and a checkpoint hold it.
    trust : Trust or None
        Of a whole model: what was measured of its probabilities (see ``nplenet.trust``). A file by
        ``save_model`` holds it; ``fit`` and ``load_state_dict`` remove it, as the weights change.
    buffers : tuple of str
        Names of attributes that are state but not learned, such as ``running_mean``.
    kept_apart : tuple of str
        Names of attributes in which no layers and parameters are looked for.
    """

    buffers: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    channels: int | None = None
    kept_apart: tuple[str, ...] = ("_saved",)
    training = True
    input_gradient = True
    preprocessing: Any = None
    pictures: Any = None
    trust: Any = None

    def __init__(self) -> None:
        self.backend: Backend = get_backend("numpy")
        self._saved: tuple[Any, ...] | None = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Give the constructor the docstring of its class, for ``help(Conv2d.__init__)``."""
        super().__init_subclass__(**arguments)
        own = vars(cls).get("__init__")
        if own is not None and own.__doc__ is None:
            own.__doc__ = cls.__doc__

    # ------------------------------------------------------------------ forward and backward

    def __call__(self, x: A) -> A:
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """Return the output (N, ...) for an input (N, ...), and keep what ``backward`` needs.

        Both are floats on this layer's backend; ``check`` says which errors another input raises.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array) -> Array:
        """Add to the parameters' gradients and return ``dx``; once per ``forward``.

        ``dy`` is the gradient of the loss with respect to the last output, of its shape; ``dx``
        with respect to its input, or None without ``input_gradient``. A ``dy`` that does not fit,
        or a missing forward, raises an error; see ``recall``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def check(self, x: Array) -> None:
        """Raise an error if the layer can't take the input ``x``.

        Raises
        ------
        TypeError
            When ``x`` is not a float32 or float64 array of this layer's backend.
        ValueError
            When its shape does not fit ``ranks`` and ``channels``.
        """
        if not self.backend.owns(x):
            raise TypeError(
                f"{self._label}: computes on the {self.backend.name} backend but got "
                f"{array_in_words(x)}; {hints.other_kind(x, self.backend.name)}"
            )
        kind = x.dtype.char
        if kind not in FLOAT_CHARS:
            raise TypeError(
                f"{self._label}: takes float32 or float64, got {array_in_words(x)}; "
                f"{hints.other_dtype(x.dtype)}"
            )
        if kind == "d":
            hints.warn_of_float64(self)
        self.check_shape(x.shape)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError if an input shape does not fit ``ranks`` and ``channels``."""
        if self.ranks and len(shape) not in self.ranks:
            axes = " or ".join(map(str, self.ranks))
            raise ValueError(
                f"{self._label}: takes an input of {axes} axes, got one of shape {shape}"
                f"{hints.missing_axis(self.ranks, self.channels, shape)}"
            )
        if not shape:
            raise ValueError(
                f"{self._label}: takes an input with a batch axis, got a single number"
            )
        if self.channels is not None and shape[1] != self.channels:
            raise ValueError(
                f"{self._label}: takes {self.channels} channels or features on axis 1, "
                f"got an input of shape {shape}{hints.other_channels(self.channels, shape)}"
            )

    def remember(self, y: Array, *values: Any) -> Array:
        """Keep ``values`` for one ``backward``; return ``y``."""
        self._saved = (y.shape, *values)
        return y

    def recall(self, dy: Array) -> tuple[Any, ...]:
        """Check that ``dy`` fits the last output; return the values that ``remember`` kept."""
        if self._saved is None:
            raise ValueError(
                f"{self._label}: backward called without a matching forward: call forward once "
                "before each backward"
            )
        if not self.backend.owns(dy):
            raise TypeError(
                f"{self._label}: computes on the {self.backend.name} backend but its dy is "
                f"{array_in_words(dy)}"
            )
        shape, *values = self._saved
        if dy.shape != shape:
            raise ValueError(
                f"{self._label}: dy must have the output's shape {shape}, got {array_in_words(dy)}"
            )
        if dy.dtype.char not in FLOAT_CHARS:
            raise TypeError(
                f"{self._label}: dy must be float32 or float64, got {array_in_words(dy)}"
            )
        self._saved = None
        return tuple(values)

    # ------------------------------------------------------------------ the tree of layers

    def children(self) -> dict[str, Layer]:
        """Return the direct sub-layers by name: attributes, and what lies in lists of theirs.

        A layer in a list, tuple or dict is named by its place in it, such as ``blocks.0``.
        """
        return self._held(Layer)

    def _held(self, kind: type[H]) -> dict[str, H]:
        """Return all of a kind that this layer holds, by name; without those of its sub-layers.

        One that is held twice has one name: its attribute's rather than its place in a list.
        """
        own = {name: value for name, value in vars(self).items() if name not in self.kept_apart}
        held = {name: value for name, value in own.items() if isinstance(value, kind)}
        if not any(isinstance(value, CONTAINERS) for value in own.values()):
            return held
        seen = {id(value) for value in held.values()}
        held = {}
        for attribute, anything in own.items():
            for name, value in within(attribute, anything, kind):
                if name == attribute or id(value) not in seen:
                    held[name] = value
                    seen.add(id(value))
        return held

    def modules(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield (path, layer) of this layer and all below it; paths are empty or end with a dot."""
        yield prefix, self
        for name, child in self.children().items():
            yield from child.modules(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """Return all parameters, each named by its path; one that layers share, by the first."""
        found: dict[int, Parameter] = {}
        for path, layer in self.modules():
            for name, parameter in layer._held(Parameter).items():
                if id(parameter) not in found:
                    parameter.name = path + name
                    found[id(parameter)] = parameter
        return list(found.values())

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the random generators that layers draw from, by path; layers may share one."""
        return {
            path + name: generator
            for path, layer in self.modules()
            for name, generator in layer._held(np.random.Generator).items()
        }

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self, mode: bool = True) -> Self:
        """Switch this layer and all below to training; ``train(False)`` is ``eval()``."""
        checks.flag(mode, f"{type(self).__name__}.train")
        for _, layer in self.modules():
            layer.training = mode
        return self

    def eval(self) -> Self:
        """Switch to inference: batch norm uses its running statistics, dropout passes all."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the parameters of this layer and all below are trained; False freezes."""
        checks.flag(requires_grad, f"{type(self).__name__}.requires_grad_")
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Be in ``eval`` mode meanwhile; then each layer has its own mode again."""
        modes = [(layer, layer.training) for _, layer in self.modules()]
        self.eval()
        try:
            yield
        finally:
            for layer, training in modes:
                layer.training = training

    # ------------------------------------------------------------------ moving, saving, loading

    def to(self, backend: str | Backend) -> Self:
        """Move all parameters and buffers to a backend, in place; drop what forward kept."""
        target = get_backend(backend) if isinstance(backend, str) else backend
        self._convert(target.asarray)
        for _, layer in self.modules():
            layer.backend = target
        return self

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Convert all parameters and float buffers to float32 or float64, in place."""
        name = np.dtype(dtype).name
        if name not in FLOATS:
            raise ValueError(f"{self._label}: computes in float32 or float64, not in {name}")
        self._convert(lambda a: a.astype(name) if a.dtype.kind == "f" else a)
        return self

    def _convert(self, function: Any) -> None:
        for _, layer in self.modules():
            layer._saved = None
            for parameter in layer._held(Parameter).values():
                parameter.data, parameter.grad = map(function, (parameter.data, parameter.grad))
            for name, array in hints.buffers_of(layer).items():
                setattr(layer, name, function(array))

    def _state(self) -> dict[str, Array]:
        """Return the arrays themselves by path: parameters, then buffers, layer by layer."""
        state: dict[str, Array] = {}
        for path, layer in self.modules():
            own = {name: parameter.data for name, parameter in layer._held(Parameter).items()}
            own.update(hints.buffers_of(layer))
            state.update({path + name: array for name, array in own.items()})
        return state

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and buffers by path, as NumPy arrays."""
        return {k: np.array(self.backend.to_numpy(v)) for k, v in self._state().items()}

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Copy parameters and buffers from ``state``; nothing is changed unless all of it fits.

        Raises
        ------
        ValueError
            Naming the missing and unknown keys, the keys whose shape or kind of dtype differs, or
            two keys of one parameter that layers share, if their values differ.
        """
        own, where = self._state(), f"{type(self).__name__}.load_state_dict"
        arrays, first = checks.state(state, own, (), where), dict[int, str]()
        for key, array in own.items():
            other = first.setdefault(id(array), key)
            if other != key and not np.array_equal(arrays[key], arrays[other], equal_nan=True):
                raise ValueError(f"{where}: {other} and {key} are one parameter, got two values")
        for key, array in own.items():
            array[...] = self.backend.asarray(arrays[key], dtype=array.dtype)
        self.trust = None

    # ------------------------------------------------------------------ describing

    if not TYPE_CHECKING:  # else a type checker believes that a layer has every attribute

        def __getattr__(self, name: str) -> Any:
            """Raise the error for an attribute that is not there, with ours for PyTorch's."""
            if hasattr(type(self), name):  # a property, whose own error says more
                return object.__getattribute__(self, name)
            owner = type(self).__name__
            if name in ("backend", "_saved"):
                raise AttributeError(f"{owner}: its __init__ must call super().__init__() first")
            raise AttributeError(no_attribute(owner, name, OF_A_LAYER))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the output for an input of ``input_shape``, batch axis included."""
        self.check_shape(input_shape)
        return input_shape

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        """Return the multiply-adds of a forward pass (matrix products only)."""
        return 0

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, as plain values.

        For ``repr``, and to make the library's layers again when a model is loaded.
        """
        return {}

    @property
    def _label(self) -> str:
        """The name of this layer in errors: its class and arguments."""
        return repr(self)

    def __repr__(self) -> str:
        sizes = ("_channels", "_features")
        parts = [str(v) if k.endswith(sizes) else f"{k}={v}" for k, v in self.arguments().items()]
        return f"{type(self).__name__}({', '.join(parts)})"


def within(name: str, value: Any, kind: type[H]) -> Iterator[tuple[str, H]]:
    """Yield (name, item) of a value of a kind, or of those in lists, tuples and dicts.

    Raises
    ------
    ValueError
        When one lies in a set, which has no order, or under a key that no path can show.
    """
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from within(f"{name}.{i}", item, kind)
    elif isinstance(value, dict):
        for key, item in value.items():
            for path, found in within(f"{name}.{key}", item, kind):
                check_name(str(key), f"a key of {name}")
                yield path, found
    elif isinstance(value, (set, frozenset)) and any(isinstance(item, kind) for item in value):
        raise ValueError(f"{name} is a set with a {kind.__name__}: use a list, which has an order")


def check_name(name: str, what: str) -> None:
    """Raise a ValueError if a name cannot be part of a path."""
    if not name or "." in name or not name.isprintable():
        raise ValueError(f"{what} must be printable, without a dot, and not empty, got {name!r}")
