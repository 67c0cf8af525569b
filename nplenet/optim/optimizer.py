"""The base of all optimizers: packing, groups, blocks, state."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import checks
from ..attributes import Attributes
from ..backend import Array, Backend, backend_of
from ..checks import Checks
from ..names import OF_AN_OPTIMIZER, no_attribute
from ..turns import Turns
from .flat import Block, FlatParameters, blocks_of, checked_parameters
from .group import ParameterGroup, settings_of_groups


class Optimizer(Attributes):
    """Base of all optimizers: packing, groups, blocks, state.

    A subclass writes its formula: ``rule(group)``, the numbers of a group's update, which change
    from step to step, and ``_update(block, numbers)``, which does it in place on flat views of the
    parameters, their gradients, each of ``moment_names``, and two of scratch: see ``SGD``.

    Make it after the model has its backend and dtype: the parameters' arrays are packed (see
    ``FlatParameters``), and a step raises an error if they have been replaced.

    Parameters
    ----------
    params : list of Parameter, or of dict
        A dict is a group of parameters with hyper-parameters of its own, as in PyTorch:
        ``[{"params": weights}, {"params": biases, "weight_decay": 0.0}]``. A parameter whose
        ``requires_grad`` is False stays as it is.
    **hyper_parameters
        Become attributes; ``lr`` and the others may be changed between steps. With several groups
        ``optimizer.lr`` is the first one's, and an assignment is for all.

    Attributes
    ----------
    hyper_parameters : dict of str to function
        The check of each hyper-parameter by its name (see ``nplenet.checks``).
    param_groups : tuple of ParameterGroup
        Their parameters are packed when the optimizer is made: for others make a new one.
    step_count : int
        Steps done.
    flats : list of FlatParameters
        The packed parameters, one for each group and dtype.
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
    hyper_parameters: ClassVar[Checks] = {}
    read_once = ("param_groups",)
    ours: ClassVar[Mapping[str, str]] = OF_AN_OPTIMIZER
    lr: float
    weight_decay: float
    param_groups: tuple[ParameterGroup, ...]
    step_count: int
    flats: list[FlatParameters]
    turns: Turns
    backend: Backend

    def __init__(self, params: Iterable[Any], **hyper_parameters: Any) -> None:
        owner = type(self).__name__
        groups = settings_of_groups(owner, self.hyper_parameters, params, hyper_parameters)
        parameters = checked_parameters(owner, [p for members, _ in groups for p in members])
        if len(groups) > 1 and type(self).numbers is not Optimizer.numbers:
            raise TypeError(
                f"{owner}: takes one group of parameters; write rule(group) for several"
            )
        self.param_groups = tuple(
            ParameterGroup(owner, self.hyper_parameters, members, self._checked(values))
            for members, values in groups
        )
        self.step_count, self.turns = 0, Turns()
        packed = [
            (group, [p for p in group.params if p.data.dtype.name == name])
            for group in self.param_groups
            for name in dict.fromkeys(p.data.dtype.name for p in group.params)
        ]
        self.flats = [FlatParameters(members) for _, members in packed]
        self._groups = [self.param_groups.index(group) for group, _ in packed]  # of each flat
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
        self._trained: list[list[bool]] = []
        self._cut()

    def __getattr__(self, name: str) -> Any:
        """Return a hyper-parameter: the first group's."""
        if name in type(self).hyper_parameters and "param_groups" in vars(self):
            return getattr(self.param_groups[0], name)
        raise AttributeError(no_attribute(type(self).__name__, name, self.ours))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a hyper-parameter is checked, and set for all groups."""
        if name not in self.hyper_parameters:
            super().__setattr__(name, value)
            return
        for group in self.param_groups:
            setattr(group, name, value)

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
            self.follow_flags()
            if self.step_count == 0 and not self.turns.within_a_loop:
                self._warn_without_gradients()
            self.step_count += 1
            try:
                numbers = self.numbers()
            except BaseException:
                self.step_count -= 1  # nothing was done
                raise
            self.update(numbers)

    def _warn_without_gradients(self) -> None:
        """Warn of a loop of your own that forgot the model's backward."""
        if self.backend.reading_interval > 0.0:
            return  # a GPU would have to be waited for
        if not any(p.grad.any() for flat in self.flats for p in flat.parameters):
            warnings.warn(
                f"{type(self).__name__}: all gradients are zero in the first step; call "
                "model.backward(loss.backward()) before optimizer.step()",
                stacklevel=3,
            )

    def numbers(self) -> tuple[float, ...]:
        """Return the numbers of step ``step_count``, group after group, in double precision."""
        return tuple(n for group in self.param_groups for n in self.rule(group))

    def rule(self, group: ParameterGroup) -> tuple[float, ...]:
        """Return the numbers of the update of a group's parameters in step ``step_count``."""
        raise NotImplementedError(f"{type(self).__name__} has no update rule")

    def update(self, numbers: Sequence[float] | Array) -> None:
        """Update all parameters in place by these numbers; counts nothing.

        A CUDA graph keeps the numbers with which a kernel was captured. So on a GPU they may be a
        float64 array (K,) of the device instead, which the kernel reads at each launch.
        """
        size = len(numbers) // len(self.param_groups)
        for group, block in self._blocks:
            self._update(block, numbers[group * size : (group + 1) * size])

    def follow_flags(self) -> None:
        """Take note of which parameters are trained now; before steps whose updates run alone.

        Raises
        ------
        ValueError
            See ``_cut``.
        """
        if self._trained != self._flags():
            self._cut()

    def _flags(self) -> list[list[bool]]:
        """Return which parameters are trained, flat by flat."""
        return [[getattr(p, "requires_grad", True) for p in flat.parameters] for flat in self.flats]

    def _cut(self) -> None:
        """Cut the flat arrays into blocks, without the parameters that are not trained.

        Raises
        ------
        ValueError
            When a parameter is trained that was not in the steps before: its moments are younger
            than ``step_count``.
        """
        flags = self._flags()
        for flat, now, before in zip(self.flats, flags, self._trained, strict=False):
            thawed = [p for p, a, b in zip(flat.parameters, now, before, strict=True) if a > b]
            if thawed and self.step_count:
                raise ValueError(
                    f"{type(self).__name__}: {thawed[0]} was not trained in the {self.step_count} "
                    "steps so far; make a new optimizer to train it from now on"
                )
        self._trained = flags
        self._blocks = [
            (group, block)
            for group, flat, moments, trained in zip(
                self._groups, self.flats, self._moments, flags, strict=True
            )
            for block in blocks_of(flat, tuple(moments.values()), trained)
        ]

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
                    f"{type(self).__name__}: {lost} has other arrays than those this optimizer "
                    "updates: the model was moved or converted, or given to another optimizer; "
                    "make the optimizer after model.to(...) and model.astype(...). Or a backward "
                    "replaced a gradient; add to it, parameter.grad += ..."
                )

    # ------------------------------------------------------------------ saving, loading

    def state_dict(self) -> dict[str, Any]:
        """Return copies of everything that the next step depends on, except the parameters.

        Hyper-parameters by their names, ``step``, and each moment as a NumPy array under PyTorch's
        name of the moment and the name of the parameter: ``exp_avg.features.0.weight``. Of the
        groups behind the first one ``groups`` has the hyper-parameters, and all parameters' names.
        """
        state: dict[str, Any] = {"step": self.step_count}
        for name, value in self.param_groups[0].values().items():
            state[name] = np.array(value) if isinstance(value, tuple) else value
        if len(self.param_groups) > 1:
            state["groups"] = [self._group_state(group) for group in self.param_groups]
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
        several = ("groups",) if len(self.param_groups) > 1 else ()
        arrays = checks.state(state, own, ("step", *self.hyper_parameters, *several), where)
        values: list[Mapping[str, Any]] = [{name: state[name] for name in self.hyper_parameters}]
        if several:
            values = self._saved_groups(state["groups"], where)
        checks_of = self.hyper_parameters.items()
        checked = [
            {k: check(v[k], f"{type(self).__name__}: {k}") for k, check in checks_of}
            for v in values
        ]
        self.step_count = checks.count(state["step"], f"{where}: step", 0)
        for group, new in zip(self.param_groups, checked, strict=True):
            vars(group).update(new)
        for key, array in own.items():
            array[...] = backend_of(array).asarray(arrays[key], dtype=array.dtype)

    def _group_state(self, group: ParameterGroup) -> dict[str, Any]:
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in group.values().items()}
        return {"parameters": [self._names[id(p)] for p in group.params], **plain}

    def _saved_groups(self, saved: Any, where: str) -> list[Mapping[str, Any]]:
        """Return the saved groups, which must have the parameters of this optimizer's."""
        own = [self._group_state(group) for group in self.param_groups]
        if not isinstance(saved, list) or len(saved) != len(own):
            raise ValueError(f"{where}: groups must be a list of {len(own)} groups")
        for i, (found, expected) in enumerate(zip(saved, own, strict=True)):
            if not isinstance(found, Mapping) or found.keys() != expected.keys():
                raise ValueError(f"{where}: groups[{i}] must have {[*expected]}")
            if found["parameters"] != expected["parameters"]:
                raise ValueError(f"{where}: groups[{i}] is of other parameters")
        return saved

    def _arrays(self) -> dict[str, Array]:
        """Return the moments of each parameter, as views, by their names in ``state_dict``."""
        return {
            f"{moment}.{self._names[id(p)]}": view
            for flat, moments in zip(self.flats, self._moments, strict=True)
            for moment, array in moments.items()
            for p, view in zip(flat.parameters, flat.split(array), strict=True)
        }

    def moment(self, name: str, parameter: Any) -> Array:
        """Return a moment of a parameter, one of ``moment_names``: a view of what steps update."""
        for flat, moments in zip(self.flats, self._moments, strict=True):
            for p, view in zip(flat.parameters, flat.split(moments[name]), strict=True):
                if p is parameter:
                    return view
        raise ValueError(f"{type(self).__name__} has no parameter {parameter}")

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hyper-parameters as plain values, each checked."""
        owner = type(self).__name__
        return {
            name: check(values[name], f"{owner}: {name}")
            for name, check in self.hyper_parameters.items()
        }

    def __reduce__(self) -> str:
        raise TypeError(  # copied views would not share memory with the copied flat array
            f"{type(self).__name__} can't be deep-copied or pickled; make a new one for the copied "
            "model and give it this one's state: new.load_state_dict(old.state_dict())"
        )

    def __repr__(self) -> str:
        values = self.param_groups[0].values().items()
        settings = ", ".join(f"{name}={value}" for name, value in values)
        if len(self.param_groups) > 1:
            settings = ", ".join(map(repr, self.param_groups))
        return f"{type(self).__name__}({settings})"
