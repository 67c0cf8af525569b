"""What the kernels of a plan share: names, constants, files, and the members of their argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from ....layers import Parameter
from ....rounding import round_up
from ...operation import Buffer, DType, Value
from ...plan import Plan
from .operation import Saved

MAX_IMAGES = 8  # of a block at a time: eight accumulators per output of a dense layer

FEED = {
    "images": "const Source*",
    "order": "const int*",
    "coefficients": "const int*",
    "inverted": "const unsigned char*",
    "gray": "const unsigned char*",
    "normal": "const T*",
    "labels": "const long long*",
    "table": "const unsigned long long*",
    "now": "unsigned long long*",
    "step": "long long*",
    "losses": "double*",
    "correct": "long long*",
    "fault": "long long*",
}
"""Pointers that a feed gives; see ``Feed``."""

NUMBERS = {"scale": "double", "count": "int", "fill": "int", "words": "int"}
"""Factor of the loss, images of the batch, fill of the affine maps, words of a row of the table."""


@dataclass(frozen=True)
class Made:
    """An array that the step makes for itself."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Argument:
    """A member of the structure that is the kernels' one argument.

    Attributes
    ----------
    c_type : str
    source : Made, callable or None
        An array of the step; a function that returns an array of the model, wherever that is when
        the kernel is launched; None for what each call gives.
    """

    c_type: str
    source: Made | Callable[[], Any] | None = None


class Rule(Protocol):
    """What updates parameters; see ``update.Update``."""

    def of(self, parts: Parts, name: str, parameter: Parameter, gradient: str) -> str:
        """Return the object that keeps a gradient and updates its parameter, in CUDA C."""


class Parts:
    """What the kernels of a plan share.

    Attributes
    ----------
    arguments : dict of str to Argument
        In the order of the structure's members.
    names : dict of Value to str
        As in the kernels: each value by the operation that writes it.
    update : Rule or None
        Of the parameters; without, their gradients are kept.
    rows : dict of str to (str, int)
        By the name of the rows that the blocks of a pass leave: that pass, and its images per
        block at a time.
    """

    def __init__(
        self,
        plan: Plan,
        batch_size: int,
        dtype: np.dtype[Any],
        training: bool,
        update: Rule | None,
    ) -> None:
        self.plan, self.batch_size = plan, batch_size
        self.dtype, self.training, self.update = dtype, training, update
        self.arguments = {name: Argument(c_type) for name, c_type in (FEED | NUMBERS).items()}
        self.rows: dict[str, tuple[str, int]] = {}
        self.files = {"common", "update"}
        self._shapes: dict[str, dict[str, int]] = {}
        self.names = self._names()
        self._kept_names = self._kept_buffers()

    def _names(self) -> dict[Value, str]:
        """Name each value by the operation that writes it."""
        names: dict[Value, str] = {}
        operations: list[Any] = [*self.plan.operations]
        for number, operation in enumerate(operations):
            operation.label = f"{operation.name.lower()}{number}"
        if self.plan.loss is not None:
            operations.append(self.plan.loss)
        for operation in operations:
            for attribute, value in vars(operation).items():
                if isinstance(value, Value) and attribute not in ("x", "dy"):
                    names.setdefault(value, f"{operation.label}_{attribute}")
        return names

    def _kept_buffers(self) -> dict[Buffer, str]:
        """Name each buffer that more than one pass uses.

        To the plan the input and the output are in use before and after the passes; here they are
        not, in training.
        """
        passes: dict[Buffer, set[int]] = {}
        for number, each in enumerate(self.plan.passes):
            for work in each.works:
                for value in filter(None, work.operation.uses(work.part)):
                    passes.setdefault(value.buffer, set()).add(number)
        kept: dict[Buffer, str] = {}
        for value, name in self.names.items():
            if len(passes.get(value.buffer, ())) > 1 and not value.buffer.scratch:
                kept.setdefault(value.buffer, f"{name}_kept")
        return kept

    def use(self, *files: str) -> None:
        """Have files of ``kernels/fused`` in the module."""
        self.files.update(files)

    def shape(self, name: str, **numbers: int) -> str:
        """Define a struct of constants; the same name always has the same ones."""
        if self._shapes.setdefault(name, numbers) != numbers:
            raise ValueError(f"two shapes are named {name}")
        return name

    def argument(
        self, name: str, c_type: str, source: Made | Callable[[], Any] | None = None
    ) -> str:
        """Return a member of the kernels' argument, which is new or as it was."""
        self.arguments.setdefault(name, Argument(c_type, source))
        return f"s.{name}"

    def array(self, name: str, owner: Any, attribute: str) -> str:
        """Return the member that points to an array of the model."""
        c_type = "long long*" if getattr(owner, attribute).dtype.kind == "i" else "T*"
        return self.argument(name, c_type, partial(getattr, owner, attribute))

    def gradient(self, name: str, owner: Any, which: str) -> tuple[str, str]:
        """Return what keeps the gradient of a parameter, and what also updates the parameter.

        They are objects that are called with the number of an element and its value.
        """
        parameter = getattr(owner, which)
        pointer = self.array(f"{name}_d{which}", parameter, "grad")
        kept = f"Kept{{{pointer}}}"
        if self.update is None:
            return kept, kept
        return kept, self.update.of(self, f"{name}_{which}", parameter, pointer)

    def kept(self, name: str, shape: Sequence[int], dtype: DType) -> str:
        """Return the member that points to an array of the step."""
        made = Made(tuple(shape), np.dtype(dtype).str)
        return self.argument(name, f"{self.c_type(dtype)}*", made)

    def rows_array(self, name: str, c_type: str, nbytes: int) -> str:
        """Return the member that points to rows of ``nbytes`` together."""
        return self.argument(name, f"{c_type}*", Made((nbytes,), "u1"))

    def c_type(self, dtype: DType) -> str:
        """Return the type of numbers in the kernels."""
        kind = np.dtype(dtype)
        if kind == self.dtype:
            return "T"
        return {"u": "unsigned char", "i": "int", "f": "double"}[kind.kind]

    def start_in_global_memory(self, value: Value) -> str:
        """Return a pointer to a value of the first image; "" for what lies in shared memory."""
        rows = round_up(self.batch_size, MAX_IMAGES)  # whole groups
        shape = (rows, *value.shape)
        if isinstance(value, Saved):
            return self.kept(self.names[value], shape, value.dtype)
        if value.buffer is self.plan.y.buffer and not self.training:
            return self.argument("out", "T*")
        if value.buffer in self._kept_names:
            return self.kept(self._kept_names[value.buffer], shape, value.dtype)
        return ""

    def structs(self) -> list[str]:
        """Return the constants of the layers, and the structure of the argument, in CUDA C."""
        lines = []
        for name, numbers in self._shapes.items():
            values = ", ".join(f"{key} = {number}" for key, number in numbers.items())
            lines.append(f"struct {name} {{ static constexpr int {values}; }};")
        members = [f"    {each.c_type} {name};" for name, each in self.arguments.items()]
        return [*lines, "", "struct Step {", *members, "};", ""]


def argument_dtype(arguments: dict[str, Argument]) -> np.dtype[Any]:
    """Return the dtype whose bytes are the kernels' argument."""
    kinds = {"int": "i4", "double": "f8"}
    fields = [(name, kinds.get(each.c_type, "u8")) for name, each in arguments.items()]
    return np.dtype(fields, align=True)
