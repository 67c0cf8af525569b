"""Which dictionary of a PyTorch file holds the weights, and why another file holds none.

A training loop saves more than weights: optimizer, epoch, settings, often a second copy of the
model. The dictionaries of tensors are found wherever they are nested; where there is one, it is
taken, and where there are several, the error names their keys:

    {"epoch": 3, "model_state_dict": {...tensors}, "optimizer": {...}}     model_state_dict
    {"model": {"ema": {...tensors}, "raw": {...tensors}}}                  model.ema or model.raw
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .torch_pickle import Convert, Opaque, Tensor, Unreadable

_MAX_DEPTH = 6  # of dictionaries in dictionaries
_MAX_VISITED = 20_000
_MAX_KEY = 200  # characters: each container in a container keeps its whole key
_STATE_OF_OPTIMIZERS = "optim"  # with which the keys begin: its tensors are not weights
_PACKED = "_packed_params"  # how a quantised layer of PyTorch names its weights


_NAMES = ("weight", "bias")  # with which the names of a layer's tensors end
_SAVE = "torch.save(model.state_dict(), NEW)"


class SeveralStates(ValueError):
    """A file of several dictionaries of tensors, whose keys are ``keys``."""

    def __init__(self, keys: list[str]) -> None:
        names = _some(keys)
        super().__init__(f"it holds {len(keys)} dictionaries of tensors; give key=, one of {names}")
        self.keys = keys


class Weights(NamedTuple):
    """The tensors of a file, and the key under which they lie; "" for the top."""

    key: str
    tensors: dict[str, Any]


def weights(content: Any, key: str | None, foreign: Iterable[str] = ()) -> Weights:
    """Return the dictionary of tensors in a file, at the top or under a key.

    Parameters
    ----------
    content
        What ``torch_pickle.loads`` returns.
    key : str, optional
        Such as "state_dict", or "model.ema" for nested dictionaries.
    foreign : iterable of str
        Names of the classes and functions for which the pickle asks.

    Raises
    ------
    ValueError
        For no state_dict, for several, and for tensors that can't be read; a ``Convert`` where a
        line of PyTorch makes a readable file of it.
    """
    inside, prefix = (content, "") if key is None else (_under(content, key), key)
    states = dict(_states(inside, prefix))
    if key is not None and prefix in states:  # what was asked for, whatever is nested in it
        states = {prefix: states[prefix]}
    for likely in (_has_axes, _has_layers):  # not a measure, nor the state of a random generator
        states = {name: state for name, state in states.items() if likely(state)} or states
    if inside == {}:
        return Weights(prefix, {})
    if not states:
        raise _no_state(inside, key, list(foreign))
    if len(states) > 1:
        raise SeveralStates(list(states))
    ((found, state),) = states.items()
    _check_readable(state, found)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not all(isinstance(name, str) for name in tensors):
        raise ValueError("the names of its tensors are not all strings")
    return Weights(found, tensors)


def _under(content: Any, key: str) -> Any:
    """Return the dictionary under a key; a dot may lead into a nested dictionary or list."""
    inside, rest = content, key
    while rest and _is_container(inside):
        entries = inside if isinstance(inside, dict) else dict(_numbered(inside))
        ends = [i for i in range(len(rest), 0, -1) if i == len(rest) or rest[i] == "."]
        end = next((i for i in ends if rest[:i] in entries), None)
        if end is None:
            break
        inside, rest = entries[rest[:end]], rest[end + 1 :]
    if rest or not isinstance(inside, dict):
        keys = _some(content) if isinstance(content, dict) else "none"
        raise ValueError(f"it has no dictionary under key={key!r}; its keys are {keys}")
    return inside


def _numbered(items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((str(k), item) for k, item in enumerate(items))


def _states(content: Any, prefix: str) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield key and contents of each dictionary of tensors, outside of the state of optimizers."""
    waiting = deque([(content, prefix, 0)])
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_VISITED:
        value, path, depth = waiting.popleft()
        if id(value) in seen or not _is_container(value):
            continue
        seen.add(id(value))
        if isinstance(value, dict) and any(map(_is_tensor, value.values())):
            yield path, value
        if depth == _MAX_DEPTH or (isinstance(value, dict) and _of_numbers(value)):
            continue
        for name, inner in value.items() if isinstance(value, dict) else _numbered(value):
            text = str(name)
            of_optimizer = text.lower().startswith(_STATE_OF_OPTIMIZERS)
            if _is_container(inner) and not of_optimizer and len(text) <= _MAX_KEY:
                waiting.append((inner, f"{path}.{text}" if path else text, depth + 1))


def _is_container(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple)) and not _is_record(value)


def _of_numbers(value: dict[Any, Any]) -> bool:
    """Say whether the keys are numbers, as those of an optimizer's state are."""
    return bool(value) and all(isinstance(name, int) for name in value)


def _is_record(value: Any) -> bool:
    return isinstance(value, (Tensor, Unreadable, Opaque))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (Tensor, Unreadable))


def _has_axes(state: dict[Any, Any]) -> bool:
    """Say whether not all tensors are single numbers."""
    values = state.values()
    return any(isinstance(v, Unreadable) or (isinstance(v, Tensor) and v.shape) for v in values)


def _has_layers(state: dict[Any, Any]) -> bool:
    """Say whether a tensor has the name of a layer's."""
    names = (str(name) for name, value in state.items() if _is_tensor(value))
    return any("." in name or name.endswith(_NAMES) for name in names)


def _check_readable(state: dict[Any, Any], key: str) -> None:
    """Refuse tensors of a kind that NumPy does not have, with the line that converts them."""
    packed = [name for name in state if _PACKED in str(name)]
    bad = [(n, value.kind) for n, value in state.items() if isinstance(value, Unreadable)]
    if packed or any("quantised" in kind for _, kind in bad):
        name = packed[0] if packed else next(n for n, kind in bad if "quantised" in kind)
        raise Convert(
            f"its model is quantised, {str(name)[:60]!r} for one, and nplenet computes with "
            "floats; save the model before it is quantised",
            _SAVE,
        )
    if not bad:
        return
    name, kind = bad[0]
    if kind.startswith("complex"):
        raise ValueError(f"its tensor {str(name)[:60]!r} is {kind}, and no layer here is complex")
    place = "".join(f"[{inner!r}]" for inner in key.split(".") if inner)
    state_there = f"torch.load(OLD, weights_only=True){place}"
    cure = "v.to_dense()" if kind == "sparse" else "v.float() if v.is_floating_point() else v"
    line = f"torch.save({{k: {cure} for k, v in {state_there}.items()}}, NEW)"
    raise Convert(
        f"its tensor {str(name)[:60]!r} is {kind}, which NumPy does not have",
        _SAVE if "meta" in kind else line,
    )


def _no_state(content: Any, key: str | None, foreign: list[str]) -> ValueError:
    """Return the error for a file in which no weights were found."""
    trusted = "torch.load(OLD, weights_only=False)"
    place = f"[{key!r}]" if key else ""
    asks = f"its pickle asks for {foreign[0].replace(' ', '.')[:80]!r}" if foreign else ""
    if isinstance(content, Opaque):
        return Convert(
            f"its pickle asks for {content.name.replace(' ', '.')[:80]!r}: it is a whole model, "
            "not a dictionary of tensors",
            f"torch.save({trusted}.state_dict(), NEW)",
            runs_code=True,
        )
    if not isinstance(content, dict):
        kind = "tensor" if _is_tensor(content) else type(content).__name__
        before = asks + "; " if asks else ""
        return Convert(f"{before}it holds a {kind}, not a dictionary of tensors", _SAVE)
    models = [name for name, value in content.items() if isinstance(value, Opaque)]
    if asks and models:
        best = next((n for n in models if "model" in str(n) or "net" in str(n)), models[0])
        return Convert(
            f"{asks}: under {str(best)[:60]!r} lies an object, and no dictionary holds weights",
            f"torch.save({trusted}{place}[{best!r}].state_dict(), NEW)",
            runs_code=True,
        )
    where = f"the dictionary under key={key!r}" if key else "it"
    keys = f"; its keys are {_some(content)}" if content else ""
    return Convert(f"{asks + '; ' if asks else ''}{where} holds no weights{keys}", _SAVE)


def _some(names: Iterable[Any]) -> str:
    """Return some of the names, for a message of one line."""
    names = list(names)
    shown = ", ".join(repr(name)[:60] for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
