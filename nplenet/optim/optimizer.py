"""The base of all optimizers: packing, blocks, state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import checks
from ..backend import Array, backend_of
from ..parameter import Parameter
from ..turns import Turns
from .flat import Block, FlatParameters, blocks_of, checked_parameters

not_negative = partial(checks.number, interval="[0, inf)")


class Optimizer:
    """Base of all optimizers: packing, blocks, state.

    A subclass writes its formula: ``numbers``, which changes from step to step, and ``_update``.

    Make it after the model has its backend and dtype: the parameters' arrays are packed (see
    ``FlatParameters``), and a step raises an error if they have been replaced.

    Parameters
    ----------
    params : list of Parameter
        As ``model.parameters()`` returns it.
    **hyper_parameters
        Become attributes; ``lr`` and the others may be changed between steps.

    Attributes
    ----------
    hyper_parameters : dict of str to function
        The check of each hyper-parameter by its name (see ``nplenet.checks``).
    step_count : int
        Steps done.
    flats : list of FlatParameters
        The packed parameters, one for each dtype.
    turns : Turns
        Of the threads that train or use the parameters through a step.

    Raises
    ------
    TypeError
        When ``params`` is not a list of Parameter, or a hyper-parameter is of a wrong type.
    ValueError
        When the list is empty, an array is in it twice, backends are mixed, or a hyper-parameter
        is out of range.
    """

    moment_names: ClassVar[tuple[str, ...]] = ()
    hyper_parameters: ClassVar[Mapping[str, Callable[[Any, str], Any]]] = {}
    lr: float
    weight_decay: float

    def __init__(self, params: Iterable[Parameter], **hyper_parameters: Any) -> None:
        vars(self).update(self._checked(hyper_parameters))
        self.step_count, self.turns = 0, Turns()
        parameters = checked_parameters(type(self).__name__, params)
        dtypes = dict.fromkeys(p.data.dtype.name for p in parameters)
        self.flats = [
            FlatParameters([p for p in parameters if p.data.dtype.name == name]) for name in dtypes
        ]
        self.backend = backend_of(self.flats[0].data)
        names = [p.name for p in parameters]
        self._names = {  # in the saved state; numbered where they are not unique
            id(p): p.name if p.name and names.count(p.name) == 1 else f"{i}.{p.name or 'parameter'}"
            for i, p in enumerate(parameters)
        }
        self._moments = [
            {name: flat.xp.zeros_like(flat.data) for name in self.moment_names}
            for flat in self.flats
        ]
        self._blocks = [
            block
            for flat, moments in zip(self.flats, self._moments, strict=True)
            for block in blocks_of(flat, tuple(moments.values()))
        ]

    def step(self) -> None:
        """Update all parameters in place from their gradients.

        Raises
        ------
        ValueError
            When a parameter was moved, converted or taken by another optimizer.
        RuntimeError
            When another thread is training with it.
        """
        with self.turns.training_turn():
            self._check_packed()
            self.step_count += 1
            self.update(self.numbers())

    def numbers(self) -> tuple[float, ...]:
        """Return the numbers of the update of step ``step_count``, computed in double precision."""
        raise NotImplementedError(f"{type(self).__name__} has no update rule")

    def update(self, numbers: Sequence[float] | Array) -> None:
        """Update all parameters in place by these numbers; counts and checks nothing.

        A CUDA graph keeps the numbers with which a kernel was captured. So on a GPU they may be a
        float64 array (K,) of the device instead, which the kernel reads at each launch.
        """
        for block in self._blocks:
            self._update(block, numbers)

    def zero_grad(self) -> None:
        """Set all gradients to zero, in place."""
        self._check_packed()
        for flat in self.flats:
            flat.grad.fill(0)

    def _update(self, block: Block, numbers: Sequence[float] | Array) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no update rule")

    def _check_packed(self) -> None:
        for flat in self.flats:
            lost = flat.detached()
            if lost is not None:
                raise ValueError(
                    f"{type(self).__name__}: {lost} is no longer the array this optimizer updates: "
                    "the model was moved or converted, or given to another optimizer; make the "
                    "optimizer after model.to(...) and model.astype(...)"
                )

    # ------------------------------------------------------------------ saving, loading

    def state_dict(self) -> dict[str, Any]:
        """Return copies of everything that the next step depends on, except the parameters.

        Hyper-parameters by their names, ``step``, and each moment as a NumPy array under PyTorch's
        name of the moment and the name of the parameter: ``exp_avg.features.0.weight``.
        """
        state: dict[str, Any] = {"step": self.step_count}
        for name in self.hyper_parameters:
            value = getattr(self, name)
            state[name] = np.array(value) if isinstance(value, tuple) else value
        state.update({k: np.array(backend_of(a).to_numpy(a)) for k, a in self._arrays().items()})
        return state

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Restore what ``state_dict`` returned; nothing is changed unless all of it fits.

        Raises
        ------
        TypeError, ValueError
            Naming the missing and unknown keys, the arrays whose shape or kind of dtype differs, or
            the hyper-parameter of a wrong type or out of range.
        """
        where = f"{type(self).__name__}.load_state_dict"
        own = self._arrays()
        arrays = checks.state(state, own, ("step", *self.hyper_parameters), where)
        hyper_parameters = self._checked({name: state[name] for name in self.hyper_parameters})
        step = checks.count(state["step"], f"{where}: step", 0)
        vars(self).update(hyper_parameters)
        self.step_count = step
        for key, array in own.items():
            array[...] = backend_of(array).asarray(arrays[key], dtype=array.dtype)

    def _arrays(self) -> dict[str, Array]:
        """Return the moments of each parameter, as views, by their names in ``state_dict``."""
        return {
            f"{moment}.{self._names[id(p)]}": view
            for flat, moments in zip(self.flats, self._moments, strict=True)
            for moment, array in moments.items()
            for p, view in zip(flat.parameters, flat.split(array), strict=True)
        }

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hyper-parameters as plain values, each checked."""
        owner = type(self).__name__
        return {
            name: check(values[name], f"{owner}: {name}")
            for name, check in self.hyper_parameters.items()
        }

    def __reduce__(self) -> str:
        raise TypeError(  # copied views would no longer share memory with the copied flat array
            f"{type(self).__name__} can't be deep-copied or pickled; make a new one for the copied "
            "model and give it this one's state: new.load_state_dict(old.state_dict())"
        )

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)}" for name in self.hyper_parameters)
        return f"{type(self).__name__}({settings})"
