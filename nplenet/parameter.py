"""A learned array and its gradient: layers hold it, optimizers update it."""

from __future__ import annotations

from .backend import Array, backend_of
from .names import answer_wrong_names

__all__ = ["FLOATS", "FLOAT_CHARS", "Parameter"]
answer_wrong_names(__name__)

FLOATS = ("float32", "float64")
"""The dtypes in which the library computes."""
FLOAT_CHARS = ("f", "d")
"""Their characters, which NumPy gives in a tenth of the time that their names take."""


class Parameter:
    """An array that is learned, and its gradient.

    Attributes
    ----------
    data, grad : array
        Of one shape and dtype, on one backend.
    name : str
        Its path in the model, such as ``features.0.weight``; set by ``Layer.parameters``.
    requires_grad : bool
        Whether it is trained. False freezes it: no optimizer changes it, ``grad`` means nothing.
    """

    requires_grad = True

    def __init__(self, data: Array, name: str = "") -> None:
        dtype = getattr(data, "dtype", None)
        if dtype is None or dtype.name not in FLOATS:
            raise TypeError(
                f"a Parameter holds an array of float32 or float64, got {dtype or type(data)}; "
                "such as numpy.asarray(data, 'float32')"
            )
        self.data = data
        self.grad = backend_of(data).xp.zeros_like(data)
        self.name = name

    def zero_grad(self) -> None:
        """Set the gradient to zero, in place."""
        self.grad[...] = 0

    def __repr__(self) -> str:
        return f"Parameter({self.name or 'unnamed'}, {tuple(self.data.shape)}, {self.data.dtype})"
