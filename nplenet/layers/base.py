"""The base of all layers: parameters, buffers, a forward and an explicit backward.

A layer of one's own subclasses ``Layer``, checks its input with ``check``, keeps what backward
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
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import checks
from ..backend import Array, Backend, get_backend
from ..parameter import FLOATS, Parameter

if TYPE_CHECKING:
    from typing_extensions import Self


class Layer:
    """Base of all layers. Holds its parameters and sub-layers as plain attributes.

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
    buffers : tuple of str
        Names of attributes that are state but not learned, such as ``running_mean``.
    """

    buffers: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    channels: int | None = None
    training = True
    input_gradient = True
    preprocessing: Any = None

    def __init__(self) -> None:
        self.backend: Backend = get_backend("numpy")
        self._saved: tuple[Any, ...] | None = None

    # ------------------------------------------------------------------ forward and backward

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """Return the output for input ``x`` and keep what ``backward`` needs."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array) -> Array:
        """Add to the parameters' gradients and return ``dx``; once per ``forward``."""
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
                f"{_describe(x)}; move the data with "
                f"get_backend({self.backend.name!r}).asarray(x), or the layer with .to(...)"
            )
        if x.dtype.name not in FLOATS:
            raise TypeError(
                f"{self._label}: takes float32 or float64, got {_describe(x)}; "
                "turn images into floats with nplenet.augment.ToFloat"
            )
        self.check_shape(x.shape)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError if an input shape does not fit ``ranks`` and ``channels``."""
        if self.ranks and len(shape) not in self.ranks:
            axes = " or ".join(map(str, self.ranks))
            raise ValueError(
                f"{self._label}: takes an input of {axes} axes, got one of shape {shape}"
            )
        if not shape:
            raise ValueError(
                f"{self._label}: takes an input with a batch axis, got a single number"
            )
        if self.channels is not None and shape[1] != self.channels:
            raise ValueError(
                f"{self._label}: takes {self.channels} channels or features on axis 1, "
                f"got an input of shape {shape}"
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
                f"{_describe(dy)}"
            )
        shape, *values = self._saved
        if dy.shape != shape:
            raise ValueError(
                f"{self._label}: dy must have the output's shape {shape}, got {_describe(dy)}"
            )
        self._saved = None
        return tuple(values)

    # ------------------------------------------------------------------ the tree of layers

    def children(self) -> dict[str, Layer]:
        """Return the direct sub-layers by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Layer)}

    def modules(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield (path, layer) of this layer and all below it; paths are empty or end with a dot."""
        yield prefix, self
        for name, child in self.children().items():
            yield from child.modules(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """Return all parameters, each named by its path."""
        found = []
        for path, layer in self.modules():
            for name, value in vars(layer).items():
                if isinstance(value, Parameter):
                    value.name = path + name
                    found.append(value)
        return found

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the random generators that layers draw from, by path; layers may share one."""
        return {
            path + name: value
            for path, layer in self.modules()
            for name, value in vars(layer).items()
            if isinstance(value, np.random.Generator)
        }

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self, mode: bool = True) -> Self:
        """Switch this layer and all below to training; ``train(False)`` is ``eval()``."""
        for _, layer in self.modules():
            layer.training = mode
        return self

    def eval(self) -> Self:
        """Switch to inference: batch norm uses its running statistics, dropout passes all."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the parameters of this layer and all below are trained; False freezes."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Be in eval mode within a ``with``; then each layer is in its own mode again."""
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
            for value in vars(layer).values():
                if isinstance(value, Parameter):
                    value.data, value.grad = function(value.data), function(value.grad)
            for name in layer.buffers:
                setattr(layer, name, function(getattr(layer, name)))

    def _state(self) -> dict[str, Array]:
        """Return the arrays themselves by path: parameters, then buffers, layer by layer."""
        state: dict[str, Array] = {}
        for path, layer in self.modules():
            own = {k: v.data for k, v in vars(layer).items() if isinstance(v, Parameter)}
            own.update({name: getattr(layer, name) for name in layer.buffers})
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
            Naming the missing and unknown keys, or the keys whose shape or kind of dtype differs.
        """
        own = self._state()
        arrays = checks.state(state, own, (), f"{type(self).__name__}.load_state_dict")
        for key, array in own.items():
            array[...] = self.backend.asarray(arrays[key], dtype=array.dtype)

    # ------------------------------------------------------------------ describing

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


def _describe(x: object) -> str:
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if shape is None:
        return type(x).__name__
    return f"{type(x).__module__.split('.')[0]} {dtype} of shape {tuple(shape)}"
