"""Describe a model in plain values, and build a model from such a description.

A description is a dict ready for JSON: ``{"type": "Dense", "in_features": 400, ...}`` for a layer
of the library, or of a class that is registered, and
``{"type": "Sequential", "layers": {"0": {...}, "1": {...}}}`` for a chain. A layer that holds
layers, such as ``Residual``, has their descriptions among its arguments; it keeps each in an
attribute named like the argument. A description holds neither weights nor code, so one from an
untrusted file is safe to read.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from . import layers
from .layers import BatchNorm2d, Conv2d, GroupNorm, Layer, Parameter, Residual, Sequential
from .layers.sequential import LAYER_ERRORS, is_chain, is_patched
from .tied import tie
from .window import Window

MAX_NESTED_CHAINS = 32
MAX_LAYERS = 7_000  # with the chains; each takes a kilobyte and 50 us, from a file of 20 bytes
MAX_AXES = 32  # of an array of NumPy, in all its versions
MAX_NUMBERS_WITHOUT_WEIGHTS = 1 << 16  # a window of 256 x 256; as a tensor it would take 256 KiB
IMAGE = (32, 32)  # the images of all data sets here
MAX_OUTPUT = 1 << 21  # numbers per image: an evaluation of 256 images takes 2 GiB a layer
KNOWN_SHAPE = 8  # times as many of larger images, of which fewer are evaluated at once
MAX_COLUMNS = 1 << 24  # numbers of an image that im2col makes, 64 MiB
STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
NOT_DESCRIBED = {"self", "dtype", "rng", "init"}  # the weights themselves determine these
NOT_MULTIPLIED = {"stride", "padding", "dilation", "groups", "num_groups"}  # enlarge no tensor

TYPES: dict[str, type[Layer]] = {
    name: kind
    for name, kind in vars(layers).items()
    if name in layers.__all__ and isinstance(kind, type) and issubclass(kind, Layer)
    if kind not in (Layer, Sequential)
}

Shape = tuple[int, ...]
Output = tuple[str, Layer, Shape, Shape]
OF_THE_LIBRARY = frozenset({"Layer", "Sequential", *TYPES})
K = TypeVar("K", bound=type[Layer])


class UnsupportedLayerError(TypeError):
    """A layer that a file format or the page does not support; the message says where it is."""


def register(kind: K) -> K:
    """Let models with a layer of your own be saved and loaded; a decorator of its class.

    ``arguments()`` of the layer must return all that its constructor needs to make it again, by
    name: numbers, strings, True, False, None, other layers, and lists of these. A layer among the
    arguments must be kept in an attribute of that name. Whoever loads a file registers the class
    first; the constructor then gets the arguments that stand in the file.

    Parameters
    ----------
    kind : type
        A subclass of ``Layer``.

    Raises
    ------
    TypeError
        For what is not a subclass of ``Layer``.
    ValueError
        When a layer of the library, or another registered class, has its name.

    Examples
    --------
    >>> @register
    ... class Double(Layer): ...
    """
    if not isinstance(kind, type) or not issubclass(kind, Layer):
        raise TypeError(f"register: takes a subclass of Layer, got {kind!r}")
    name, known = kind.__name__, TYPES.get(kind.__name__)
    # A class that is defined again, as in a notebook, takes the place of the old one.
    again = known is not None and known.__qualname__ == kind.__qualname__
    again = again and known.__module__ == kind.__module__ and name not in OF_THE_LIBRARY
    if (known is not None or name in OF_THE_LIBRARY) and known is not kind and not again:
        raise ValueError(f"register: there is another layer of the name {name}")
    TYPES[name] = kind
    return kind


def unsupported(layer: Layer, path: str, why: str) -> UnsupportedLayerError:
    """Return the error for a layer at ``path`` (empty for the model itself)."""
    place = path.rstrip(".") or "at the top"
    return UnsupportedLayerError(f"layer {place} is a {type(layer).__name__}, {why}")


def check_not_patched(layer: Layer, path: str) -> None:
    """Raise an UnsupportedLayerError for a layer whose forward or backward was replaced."""
    if is_patched(layer):
        raise unsupported(
            layer,
            path,
            "whose forward or backward was replaced, which no file can hold: write a subclass and "
            "register it with nplenet.register, or save only the weights, with state_dict()",
        )


def describe(model: Layer, path: str = "") -> dict[str, Any]:
    """Return the description of a model of the library's layers, chained by ``Sequential``.

    Raises
    ------
    UnsupportedLayerError
        A TypeError, for a layer that is not the library's, or has a forward or backward of its own;
        the message names its path.
    """
    check_not_patched(model, path)
    if is_chain(model):
        children = {
            name: describe(layer, f"{path}{name}.") for name, layer in model.children().items()
        }
        return {"type": "Sequential", "layers": children}
    name = type(model).__name__
    if TYPES.get(name) is not type(model):
        raise unsupported(
            model,
            path,
            "not a layer of this library: register its class with nplenet.register, or save only "
            "its weights, with state_dict()",
        )
    arguments = model.arguments()
    wrong = _disagreement(model, arguments)
    if wrong:
        raise unsupported(model, path, f"whose arguments() and constructor do not agree: {wrong}")
    return {"type": name, **{k: _plain(v, f"{path}{k}.", model) for k, v in arguments.items()}}


def values_in(description: Any, path: str = "") -> dict[str, Any]:
    """Return the plain values in a description by their places: ``features.2.p``, and the class of
    each layer as ``features.2.type``.
    """
    if isinstance(description, dict):
        members = list(description.items())
    elif isinstance(description, list):
        members = list(enumerate(description))
    else:
        return {path: description}
    found: dict[str, Any] = {}
    for name, member in members:
        is_the_chain = name == "layers" and description.get("type") == "Sequential"
        found |= values_in(member, path if is_the_chain else f"{path}.{name}".lstrip("."))
    return found


def _disagreement(model: Layer, arguments: Mapping[str, Any]) -> str:
    """Return what keeps the constructor from making a layer again; an empty string if nothing."""
    takes = inspect.signature(type(model).__init__).parameters
    if isinstance(model, Sequential) and "layers" not in arguments and "layers" in takes:
        return "its layers are missing"
    needed = {k for k, p in takes.items() if p.default is p.empty and p.kind not in STARS}
    missing, unknown = needed - NOT_DESCRIBED - arguments.keys(), arguments.keys() - takes.keys()
    if missing or unknown or "type" in arguments:
        return f"missing {sorted(missing) or 'nothing'}, unknown {sorted(unknown) or 'nothing'}"
    return ""


def _plain(value: Any, path: str, owner: Layer) -> Any:
    """Return an argument for JSON; ``path`` ends with its name and a dot."""
    if isinstance(value, Layer):
        return describe(value, path)
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}{i}.", owner) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is not None and not isinstance(value, (bool, int, float, str)):
        kind = type(value).__name__
        raise unsupported(owner, path, f"whose argument is a {kind}, which JSON does not have")
    return value


def build(
    description: Any,
    weights: Mapping[str, np.ndarray],
    input_shape: Sequence[int] | None = None,
    tied: Mapping[str, str] | None = None,
) -> Layer:
    """Return a new model of the description, with these weights, in eval mode.

    Parameters
    ----------
    description : dict
        A result of ``describe``. It is checked, so it may come from any file.
    weights : mapping of str to array
        The ``state_dict`` of the model. A layer larger than its weights here is refused, and a
        model that would make far too many numbers of an image of 32x32, by its padding.
    input_shape : sequence of int, optional
        Of an input without the batch axis, if it is known: such images are checked, too.
    tied : mapping of str to str, optional
        The parameters that layers share (see ``nplenet.tied``).

    Raises
    ------
    ValueError
        When the description is wrong or does not fit the weights; the message names the layer.
    """
    _check_number([description])
    largest: dict[str, int] = {}  # numbers of the largest weight of each layer, by its path
    for key, array in weights.items():
        owner = key.rpartition(".")[0]
        largest[owner] = max(largest.get(owner, 0), array.size)
    model = _build(description, largest, "")
    _check_images(model, input_shape)
    for path, layer in model.modules():  # a layer before those that it holds
        names = (path + name for name in (*layer._held(Parameter), *layer.buffers))
        dtypes = {weights[key].dtype for key in names if key in weights}
        floats = [dtype for dtype in dtypes if dtype.kind == "f"]
        if len(floats) == 1:
            layer.astype(floats[0])
    model.load_state_dict(weights)
    tie(model, tied or {})
    return model.eval()


def _check_number(description: Any) -> None:
    """Refuse a description of too many layers, before any is made."""
    waiting, number = [description], 0
    while waiting:
        value = waiting.pop()
        inner = value.values() if isinstance(value, dict) else value
        waiting.extend(each for each in inner if isinstance(each, (dict, list)))
        number += isinstance(value, dict) and "type" in value
        if number > MAX_LAYERS:
            raise ValueError(f"the description has more than {MAX_LAYERS:,} layers")


def _build(description: Any, largest: Mapping[str, int], path: str) -> Layer:
    where = path.rstrip(".") or "the model"
    if not isinstance(description, dict) or not isinstance(description.get("type"), str):
        raise ValueError(f"the description of {where} does not describe a layer")
    arguments = dict(description)
    kind = arguments.pop("type")
    if path.count(".") > MAX_NESTED_CHAINS:
        raise ValueError(f"the description nests more than {MAX_NESTED_CHAINS} chains")
    if kind == "Sequential":
        children = arguments.pop("layers", None)
        if arguments or not isinstance(children, dict):
            raise ValueError(f"the description of {where} does not describe a Sequential")
        return _chain({name: _build(c, largest, f"{path}{name}.") for name, c in children.items()})
    if kind not in TYPES:
        raise ValueError(
            f"{where} is of the unknown type {kind!r}; if it is a layer of your own, define its "
            "class and call nplenet.register with it first"
        )
    known = inspect.signature(TYPES[kind].__init__).parameters.keys() - NOT_DESCRIBED
    if not arguments.keys() <= known:
        raise ValueError(f"{where}: {kind} has no argument {sorted(arguments.keys() - known)}")
    if kind in OF_THE_LIBRARY:
        _check_size(kind, arguments, largest.get(path.rstrip("."), 0), path)
    values = {k: _argument(v, largest, f"{path}{k}.") for k, v in arguments.items()}
    try:
        return TYPES[kind](**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _argument(value: Any, largest: Mapping[str, int], path: str) -> Any:
    """Return an argument as the constructor takes it: the reverse of ``_plain``."""
    if isinstance(value, dict):
        return _build(value, largest, path)
    if isinstance(value, list):
        return tuple(_argument(item, largest, f"{path}{i}.") for i, item in enumerate(value))
    return value


def _chain(children: dict[str, Layer]) -> Sequential:
    """Return a Sequential of these layers in this order.

    Its constructor takes positional layers, which it names 0, 1, ..., before the named ones. A name
    that looks like a number but is not the position of its layer begins the named ones.
    """
    names = list(children)
    numbered = [name == str(position) for position, name in enumerate(names)] + [False]
    first_named = numbered.index(False)
    layers = list(children.values())[:first_named]
    return Sequential(*layers, **{name: children[name] for name in names[first_named:]})


def _check_images(model: Layer, known: Sequence[int] | None) -> None:
    """Refuse a model that would make far more numbers of an image than its file has.

    ``_check_size`` bounds the weights of a layer by the bytes of the file; what the layer makes of
    an image costs no bytes. A layer may make as many numbers as it has weights, or as the limits
    say. A chain that does not take images of 32x32 is checked up to the layer that refuses them.
    """
    takes_images = (Conv2d, BatchNorm2d, GroupNorm)
    channels = next((a.channels for _, a in model.modules() if isinstance(a, takes_images)), 1)
    shapes = [((1, channels or 1, *IMAGE), 1)] + ([((1, *known), KNOWN_SHAPE)] if known else [])
    for image, factor in shapes:
        for path, layer, shape, output in _outputs(model, image):
            made, columns = _numbers(layer, shape, output)
            own = sum(parameter.data.size for parameter in layer.parameters())
            if made > max(factor * MAX_OUTPUT, own) or columns > max(factor * MAX_COLUMNS, own):
                raise ValueError(
                    f"{path.rstrip('.') or 'the model'}: this {type(layer).__name__} makes "
                    f"{output[1:]} of an image {shape[1:]}, and {max(made, columns):,} numbers on "
                    "the way, more than a file may ask for"
                )


def _numbers(layer: Layer, shape: Shape, output: Shape) -> tuple[int, int]:
    """Return how many numbers of an image a layer makes: its output or frame, its columns."""
    made, columns, window = math.prod(output), 0, getattr(layer, "window", None)
    if isinstance(window, Window) and len(shape) == 4:
        made = max(made, shape[1] * math.prod(window.padded_size(*shape[2:])))
    if isinstance(layer, Conv2d):
        columns = math.prod(output[2:]) * shape[1] * math.prod(layer.window.size)
    return made, columns


def largest_output(model: Layer, shape: Sequence[int]) -> int:
    """Return the most numbers that a layer of the library makes of an input (1, ...) at once."""
    found = _outputs(model, tuple(shape))
    made = (_numbers(layer, given, output)[0] for _, layer, given, output in found)
    return max(made, default=1)


def _outputs(model: Layer, shape: Shape) -> Iterator[Output]:
    """Yield path, layer and the shapes of input and output, up to a layer that refuses its input.

    Of the layers that hold no other.
    """
    with suppress(*LAYER_ERRORS):
        yield from _outputs_below(model, shape, "")


def _outputs_below(layer: Layer, shape: Shape, path: str) -> Iterator[Output]:
    if type(layer) is Residual:
        for name, way in layer.children().items():
            yield from _outputs_below(way, shape, f"{path}{name}.")
    elif is_chain(layer):
        for name, child in layer.children().items():
            yield from _outputs_below(child, shape, f"{path}{name}.")
            shape = child.output_shape(shape)
    else:
        yield path, layer, shape, layer.output_shape(shape)


def _check_size(kind: str, arguments: dict[str, Any], largest: int, path: str) -> None:
    """Refuse a layer that would be larger than its largest weight, before it takes any memory.

    The largest tensor of a layer has at most as many numbers as the product of its sizes: of all
    its integer arguments except ``NOT_MULTIPLIED``. A ``kernel_size`` of one integer counts twice.
    """
    numbers = 1
    for name, value in arguments.items():
        if isinstance(value, list) and len(value) > MAX_AXES:
            raise ValueError(
                f"{path.rstrip('.') or 'the model'}: {name} of this {kind} has {len(value):,} "
                f"entries, an array at most {MAX_AXES} axes"
            )
        sizes = value if isinstance(value, list) else [value] * (2 if name == "kernel_size" else 1)
        if name not in NOT_MULTIPLIED:
            numbers *= math.prod(max(n, 1) for n in sizes if type(n) is int)
    groups = arguments.get("groups")
    numbers //= groups if type(groups) is int and groups > 0 else 1  # a filter sees its group only
    if numbers > max(largest, MAX_NUMBERS_WITHOUT_WEIGHTS):
        raise ValueError(
            f"{path.rstrip('.') or 'the model'}: the sizes of this {kind} multiply to {numbers}, "
            f"but its largest weight has {largest} numbers"
        )
