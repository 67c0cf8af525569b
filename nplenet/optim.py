"""Optimizers: from gradients to better parameters. Arguments and update rules are PyTorch's.

An optimizer packs its parameters into one flat array, so that a step is a dozen passes over one
long array, block by block in cache, and not a dozen calls for each of many short ones. On a GPU it
is one kernel.

Legend: p parameter, g its gradient, m and v moments (running averages), s and t scratch, k steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from .backend import Array, backend_of

BLOCK = 32768
"""Elements a block on the CPU: p, g, m, v, s and t of float32 take 768 KiB, which stays in L2.
Smaller ones cost more in calls: Adam on LeNet-5 took 0.10 ms with 32768, 0.35 ms with 2048."""


@runtime_checkable
class Parameter(Protocol):
    """What an optimizer asks of a parameter: an array, its gradient, a name (see ``layers``)."""

    data: Array
    grad: Array
    name: str


class FlatParameters:
    """Parameters of one dtype, packed side by side into one array.

    Each ``parameter.data`` and ``parameter.grad`` becomes a view of its part of the flat arrays, so
    what a layer adds to a gradient, or a checkpoint loads into a weight in place, is seen here
    without a copy. What binds a new array to them (``Layer.to``, ``Layer.astype``, a second
    optimizer) cuts that tie; ``detached`` notices.

    Parameters
    ----------
    parameters : sequence of Parameter
        Of one dtype, on one backend.

    Attributes
    ----------
    data, grad : array (size,)
        All parameters and all gradients, in the order given.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.xp = backend_of(parameters[0].data).xp
        self.parameters = list(parameters)
        self.data = self.xp.concatenate([p.data.ravel() for p in parameters])
        self.grad = self.xp.concatenate([p.grad.ravel() for p in parameters])
        self._data_views, self._grad_views = self.split(self.data), self.split(self.grad)
        for p, data, grad in zip(parameters, self._data_views, self._grad_views, strict=True):
            p.data, p.grad = data, grad

    def split(self, flat: Array) -> list[Array]:
        """Return the part of each parameter in a flat array, as a view of the parameter's shape."""
        ends = np.cumsum([p.data.size for p in self.parameters]).tolist()
        return [
            flat[end - p.data.size : end].reshape(p.data.shape)
            for p, end in zip(self.parameters, ends, strict=True)
        ]

    def detached(self) -> Parameter | None:
        """Return the first parameter whose arrays are no longer views of the flat ones, or None."""
        for p, data, grad in zip(self.parameters, self._data_views, self._grad_views, strict=True):
            if p.data is not data or p.grad is not grad:
                return p
        return None


Block = tuple[Array, ...]
"""What one update touches: views of equal length of p, g and the moments, and s and t."""


# ------------------------------------------------------------------ the update rules
#
# They make no temporary array where s and t are given; None will do.


def sgd(
    xp: Any,
    p: Array,
    g: Array,
    m: Array,
    s: Array | None,
    t: Array | None,
    lr: float,
    momentum: float,
    gain: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """Do a step of ``SGD`` on p and m, in place; ``gain`` is 1 - dampening, 1 at the first step."""
    if weight_decay:
        g = xp.add(g, xp.multiply(p, weight_decay, out=t), out=t)
    if momentum:
        m *= momentum
        m += xp.multiply(g, gain, out=s)
        g = xp.add(g, xp.multiply(m, momentum, out=s), out=s) if nesterov else m
    p -= xp.multiply(g, lr, out=s)


def adam(
    xp: Any,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    s: Array | None,
    t: Array | None,
    rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    shrink: float,
) -> None:
    """Do a step of ``Adam`` or ``AdamW`` on p, m and v, in place.

    p = p * shrink,  g = g + weight_decay * p
    m = m + (1 - beta1) * (g - m),  v = beta2 * v + (1 - beta2) * g^2
    p = p - rate * m / (sqrt(v) + eps)
    """
    if shrink != 1.0:
        p *= shrink
    if weight_decay:
        g = xp.add(g, xp.multiply(p, weight_decay, out=t), out=t)
    m += xp.multiply(xp.subtract(g, m, out=s), 1.0 - beta1, out=s)
    v *= beta2
    v += xp.multiply(xp.multiply(g, g, out=s), 1.0 - beta2, out=s)
    root = xp.sqrt(v, out=s)
    root += eps
    p -= xp.multiply(xp.divide(m, root, out=s), rate, out=s)


class Optimizer:
    """Base of all optimizers: packing, blocks, state. A subclass writes ``_update``, its formula.

    Make it after the model has its backend and dtype: the parameters' arrays are packed (see
    ``FlatParameters``), and a step refuses to run once they have been replaced.

    Parameters
    ----------
    params : list of Parameter
        As ``model.parameters()`` returns it.
    **hyper_parameters
        Become attributes; ``lr`` and the others may be changed between steps.

    Attributes
    ----------
    step_count : int
        Steps done.
    flats : list of FlatParameters
        The packed parameters, one for each dtype.

    Raises
    ------
    TypeError
        When ``params`` is not a list of Parameter.
    ValueError
        When it is empty, an array is there twice, backends are mixed, or a hyper-parameter
        lies out of range.
    """

    moment_names: ClassVar[tuple[str, ...]] = ()
    converters: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    lr: float
    weight_decay: float

    def __init__(self, params: Iterable[Parameter], **hyper_parameters: Any) -> None:
        vars(self).update(self._checked(hyper_parameters))
        self.step_count = 0
        parameters = _checked_parameters(type(self).__name__, params)
        dtypes = dict.fromkeys(p.data.dtype.name for p in parameters)
        self.flats = [
            FlatParameters([p for p in parameters if p.data.dtype.name == name]) for name in dtypes
        ]
        self.backend = backend_of(self.flats[0].data)
        names = [p.name for p in parameters]
        self._names = {  # in the saved state; numbered where layers were put together by hand
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
            for block in _blocks(flat, tuple(moments.values()))
        ]

    def step(self) -> None:
        """Update all parameters in place from their gradients.

        Raises
        ------
        ValueError
            When a parameter was moved, converted or taken by another optimizer.
        """
        self._check_packed()
        self.step_count += 1
        for block in self._blocks:
            self._update(block)

    def zero_grad(self) -> None:
        """Set all gradients to zero, in place."""
        self._check_packed()
        for flat in self.flats:
            flat.grad.fill(0)

    def _update(self, block: Block) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no update rule")

    def _check_packed(self) -> None:
        for flat in self.flats:
            lost = flat.detached()
            if lost is not None:
                raise ValueError(
                    f"{type(self).__name__}: {lost} is no longer the array this optimizer updates: "
                    "the model was moved or converted, or another optimizer took it over; make "
                    "the optimizer after model.to(...) and model.astype(...)"
                )

    # ------------------------------------------------------------------ saving, loading

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all that the next step depends on, but for the parameters.

        Hyper-parameters by their names, ``step``, and each moment as a NumPy array under PyTorch's
        name for it and the parameter's: ``exp_avg.features.0.weight``.
        """
        state: dict[str, Any] = {"step": self.step_count}
        for name in self.converters:
            value = getattr(self, name)
            state[name] = np.array(value) if isinstance(value, tuple) else value
        state.update({k: np.array(backend_of(a).to_numpy(a)) for k, a in self._arrays().items()})
        return state

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Take over what ``state_dict`` returned; nothing is changed unless all of it fits.

        Raises
        ------
        ValueError
            Naming the missing and unknown keys, the arrays whose shape or kind of dtype differs, or
            the number out of range.
        """
        where = f"{type(self).__name__}.load_state_dict"
        own = self._arrays()
        expected = {"step", *self.converters, *own}
        missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected)
        if missing or unknown:
            raise ValueError(
                f"{where}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}"
            )
        arrays = {k: np.asarray(state[k]) for k in own}
        wrong = [
            f"{k} is {arrays[k].dtype} {arrays[k].shape}, expected {a.dtype} {a.shape}"
            for k, a in own.items()
            if arrays[k].shape != a.shape or not np.can_cast(arrays[k].dtype, a.dtype, "same_kind")
        ]
        if wrong:
            raise ValueError(f"{where}: {'; '.join(wrong)}")
        hyper_parameters = self._checked({name: state[name] for name in self.converters})
        step = np.asarray(state["step"])
        if step.shape != () or step.dtype.kind not in "iu" or step < 0:
            raise ValueError(f"{where}: step must be an integer of at least 0, got {step!r}")
        vars(self).update(hyper_parameters)
        self.step_count = int(step)
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
        """Return the hyper-parameters as plain numbers, once each is in range."""
        owner, found = type(self).__name__, {}
        for name, convert in self.converters.items():
            try:
                found[name] = convert(values[name])
            except (TypeError, ValueError):
                raise ValueError(f"{owner}: {name} can't be {values[name]!r}") from None
        for name in found.keys() & {"lr", "weight_decay", "momentum", "eps"}:
            if not 0.0 <= found[name] < math.inf:
                raise ValueError(
                    f"{owner}: {name} must be a number of at least 0, got {found[name]}"
                )
        return found

    def __reduce__(self) -> str:
        raise TypeError(  # copied views would no longer share memory with the copied flat array
            f"{type(self).__name__} can't be deep-copied or pickled; make a new one for the copied "
            "model and give it this one's state: new.load_state_dict(old.state_dict())"
        )

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)}" for name in self.converters)
        return f"{type(self).__name__}({settings})"


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (rule and names of ``torch.optim.SGD``).

        g = g + weight_decay * p
        m = momentum * m + (1 - dampening) * g        (m = g at the first step)
        p = p - lr * m                                (Nesterov: p - lr * (g + momentum * m))

    Momentum as in Sutskever et al., 2013, "On the importance of initialization and momentum", but
    with lr outside of the average, as in PyTorch.

    Parameters
    ----------
    params : list of Parameter
    lr, momentum, dampening, weight_decay : float
        All >= 0 but for dampening, which may be any number.
    nesterov : bool
        Needs momentum > 0 and dampening = 0.
    """

    moment_names = ("momentum_buffer",)
    converters: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "lr": float,
        "momentum": float,
        "dampening": float,
        "weight_decay": float,
        "nesterov": bool,
    }
    momentum: float
    dampening: float
    nesterov: bool

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        found = super()._checked(values)
        if found["nesterov"] and (found["momentum"] == 0 or found["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs momentum > 0 and dampening = 0, got "
                f"momentum={found['momentum']}, dampening={found['dampening']}"
            )
        return found

    def _update(self, block: Block) -> None:
        gain = 1.0 if self.step_count == 1 else 1.0 - self.dampening
        numbers = (float(self.lr), self.momentum, gain, self.weight_decay, self.nesterov)
        self.backend.run(sgd, *block, *numbers)


class Adam(Optimizer):
    """Adaptive moments (Kingma & Ba, 2015, algorithm 1; names of ``torch.optim.Adam``).

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * (m / (1 - beta1^k)) / (sqrt(v / (1 - beta2^k)) + eps)

    Parameters
    ----------
    params : list of Parameter
    lr : float
        >= 0.
    betas : (float, float)
        beta1 and beta2, each 0 <= beta < 1.
    eps, weight_decay : float
        >= 0.
    """

    moment_names = ("exp_avg", "exp_avg_sq")
    converters: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "lr": float,
        "betas": lambda betas: tuple(float(beta) for beta in betas),
        "eps": float,
        "weight_decay": float,
    }
    betas: tuple[float, float]
    eps: float

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        found = super()._checked(values)
        if len(found["betas"]) != 2 or not all(0.0 <= beta < 1.0 for beta in found["betas"]):
            raise ValueError(
                f"{type(self).__name__}: betas must be two numbers, 0 <= beta < 1, got "
                f"{found['betas']}"
            )
        return found

    def _update(self, block: Block) -> None:
        self._descend(block, self.weight_decay, 1.0)

    def _descend(self, block: Block, weight_decay: float, shrink: float) -> None:
        """Apply the formula above with the bias corrections moved out of the arrays.

        m / sqrt(v / c) is computed as m * sqrt(c) / sqrt(v), which turns the correction
        c = 1 - beta2^k from a pass over the arrays into two scalars.
        """
        beta1, beta2 = self.betas
        correction = math.sqrt(1.0 - beta2**self.step_count)
        rate = float(self.lr) * correction / (1.0 - beta1**self.step_count)
        numbers = (rate, beta1, beta2, self.eps * correction, weight_decay, shrink)
        self.backend.run(adam, *block, *numbers)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019; names of ``torch.optim.AdamW``).

        p = p * (1 - lr * weight_decay)        then Adam's step on the plain gradient

    The decay does not pass through the moments, so it is the same for each weight, whatever the
    size of its gradients.

    Parameters
    ----------
    params : list of Parameter
    lr, betas, eps
        As for ``Adam``.
    weight_decay : float
        >= 0.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, block: Block) -> None:
        self._descend(block, 0.0, 1.0 - float(self.lr) * self.weight_decay)


def clip_gradients(params: Iterable[Parameter], max_norm: float) -> Array:
    """Scale all gradients by one factor, so that their common L2 norm is at most ``max_norm``.

        total = sqrt(sum of g^2 over all parameters)
        g = g * min(1, max_norm / (total + 1e-6))

    The rule of ``torch.nn.utils.clip_grad_norm_`` (Pascanu et al., 2013). A total that is not
    finite makes the gradients so too.

    Parameters
    ----------
    params : list of Parameter
    max_norm : float
        >= 0.

    Returns
    -------
    float64 scalar of the backend
        The total norm before clipping.
    """
    if not max_norm >= 0.0:
        raise ValueError(f"clip_gradients: max_norm must be at least 0, got {max_norm!r}")
    gradients = [p.grad for p in params]
    if not gradients:
        raise ValueError("clip_gradients: the list of parameters is empty")
    xp = backend_of(gradients[0]).xp
    squares = [xp.vdot(g.ravel(), g.ravel()) for g in gradients]
    total = xp.sqrt(xp.stack(squares).sum(dtype=np.float64))
    factor = xp.minimum(max_norm / (total + 1e-6), 1.0)  # no branch: a GPU need not be waited for
    for g in gradients:
        g *= factor.astype(g.dtype)
    return total


def clip_gradient_values(params: Iterable[Parameter], clip_value: float) -> None:
    """Clip each element of each gradient to -clip_value .. clip_value, in place.

    The rule of ``torch.nn.utils.clip_grad_value_``.

    Parameters
    ----------
    params : list of Parameter
    clip_value : float
        >= 0.
    """
    if not clip_value >= 0.0:
        raise ValueError(f"clip_gradient_values: clip_value must be at least 0, got {clip_value!r}")
    for p in params:
        backend_of(p.grad).xp.clip(p.grad, -clip_value, clip_value, out=p.grad)


def _checked_parameters(owner: str, params: Iterable[Parameter]) -> list[Parameter]:
    """Return the parameters as a list, once they are known to be fit to be packed."""
    parameters = list(params)
    if not parameters:
        raise ValueError(f"{owner}: the list of parameters is empty; pass model.parameters()")
    for p in parameters:
        if not isinstance(p, Parameter):
            raise TypeError(
                f"{owner} takes a list of Parameter, as from model.parameters(), got one of "
                f"{type(p).__name__}"
            )
    if len({id(p.data) for p in parameters}) != len(parameters):
        raise ValueError(f"{owner}: a parameter is there twice, or two share one array")
    backends = {backend_of(p.data).name for p in parameters}
    if len(backends) > 1:
        raise ValueError(f"{owner}: the parameters are on {sorted(backends)}; move all to one")
    return parameters


def _blocks(flat: FlatParameters, moments: tuple[Array, ...]) -> list[Block]:
    """Cut the flat arrays into blocks of cache size that share scratch; not for a GPU's kernel."""
    arrays = (flat.data, flat.grad, *moments)
    if backend_of(flat.data).name != "numpy":
        return [(*arrays, None, None)]
    scratch = flat.xp.empty((2, BLOCK), dtype=flat.data.dtype)
    blocks: list[Block] = []
    for start in range(0, flat.data.size, BLOCK):
        parts = [a[start : start + BLOCK] for a in arrays]
        blocks.append((*parts, *scratch[:, : len(parts[0])]))
    return blocks
