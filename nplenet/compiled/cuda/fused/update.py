"""The update of a parameter, where its gradient is complete; see ``kernels/fused/update.cu``."""

from __future__ import annotations

from functools import partial

from ....layers import Parameter
from ....optim import SGD, Adam, AdamW, Optimizer
from .parts import Parts

FORMS: dict[type[Optimizer], tuple[str, int]] = {
    SGD: ("Sgd", 5),
    Adam: ("Adam", 6),
    AdamW: ("Adam", 6),
}
"""The struct of ``kernels/fused/update.cu`` of each optimizer, and the numbers of its ``rule``."""


class Update:
    """The formula of an optimizer, and where the arrays and numbers of a parameter are.

    Parameters
    ----------
    optimizer : Optimizer
        One of ``FORMS``.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.form, self._numbers = FORMS[type(optimizer)]
        groups = optimizer.param_groups
        self._group = {id(p): i for i, group in enumerate(groups) for p in group.params}

    def of(self, parts: Parts, name: str, parameter: Parameter, gradient: str) -> str:
        """Return the object that keeps the gradient and updates the parameter, in CUDA C.

        One that is not trained has its gradient kept.
        """
        group = self._group.get(id(parameter))
        if group is None or not parameter.requires_grad:
            return f"Kept{{{gradient}}}"
        arrays = [parts.array(name, parameter, "data")]
        for moment in self.optimizer.moment_names:
            source = partial(self.optimizer.moment, moment, parameter)
            arrays.append(parts.argument(f"{name}_{moment}", "T*", source))
        left = (len(self.optimizer.param_groups) - group) * self._numbers  # to the end of the row
        numbers = f"(const double*)s.now + (s.words - {left})"
        return f"{self.form}({', '.join([gradient, *arrays, numbers])})"
