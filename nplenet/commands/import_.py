"""Read weights that PyTorch wrote, and write a model of this library.

examples:
  nplenet import weights.pth --like lenet5 --output model.safetensors
  nplenet import run.ckpt --key state_dict --like lenet5 --output m.safetensors
  nplenet import w.pth --like lenet5 --output m --mean 0.1307 --std 0.3081
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping

import numpy as np

from .. import checks
from ..augment import Compose, Normalize, ToFloat, in_words
from ..checkpoint import save_model
from ..checkpoint.file import is_checkpoint
from ..data import DataError, Pictures
from ..interop import pytorch
from ..interop.torch_states import SeveralStates, Weights
from ..layers import Layer
from ..models import LeNet5, LeNet5For28x28
from ..terminal import printable, show
from . import ALLOW_HELP, check_output, nonempty_path

State = Mapping[str, np.ndarray]
COUNT = "num_batches_tracked"  # which files by old versions of PyTorch lack


def lenet5(state: State) -> tuple[Layer, tuple[int, ...]]:
    """Return a LeNet-5 with the classes, channels and biases of the weights, and its input."""
    kernels, last = state.get("features.0.weight"), state.get("classifier.7.weight")
    channels = kernels.shape[1] if kernels is not None and kernels.ndim == 4 else 1
    classes = last.shape[0] if last is not None and last.ndim == 2 else 10
    bias = "features.0.bias" in state
    return LeNet5(classes, conv_bias=bias, in_channels=channels), (channels, 32, 32)


MODELS: dict[str, Callable[[State], tuple[Layer, tuple[int, ...]]]] = {
    "lenet5": lenet5,
    "lenet5-28x28": lambda state: (LeNet5For28x28(), (1, 28, 28)),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "weights",
        metavar="WEIGHTS",
        type=nonempty_path,
        help=".pth, .pt, .ckpt, .bin or .safetensors file",
    )
    add(
        "--like",
        choices=MODELS,
        required=True,
        help="network of the weights: LeNet5 for images of 32x32, or LeNet5For28x28",
    )
    add(
        "--output",
        type=nonempty_path,
        metavar="FILE",
        required=True,
        help="model to write, for all other commands: a .safetensors file",
    )
    add(
        "--key",
        metavar="KEY",
        help="where a file that holds several dictionaries of weights keeps these: state_dict, or "
        "models.ema for nested ones",
    )
    add(
        "--mean",
        type=numbers,
        metavar="M",
        help="mean that training subtracted from pixels of 0 to 1: one number, or one per channel "
        "with commas",
    )
    add("--std", type=numbers, metavar="S", help="standard deviation by which it divided them")
    add("--classes", metavar="NAMES", help="names of the classes with commas, in their order")
    add("--allow-non-finite", action="store_true", help=ALLOW_HELP)


def numbers(text: str) -> tuple[float, ...]:
    """Return the value of an option that is numbers with commas between."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers with commas, got {text!r}") from None


def run(options: argparse.Namespace) -> int:
    if (options.mean is None) != (options.std is None):
        raise ValueError("--mean and --std belong together: give both or neither")
    check_output("--output", options.output, options.weights)
    if is_checkpoint(options.weights):
        raise ValueError(f"{options.weights} is already a file of nplenet: it needs no import")
    key, names = read(options)
    model, shape, said = fitted(names, options)
    if not options.allow_non_finite:
        checks.finite(model.state_dict(), str(options.weights))
    if options.mean is not None:
        model.preprocessing = Compose([ToFloat(), Normalize(options.mean, options.std)])
        model.preprocessing.transforms[1].per_channel(shape[0], np.float32)  # refuses other numbers
    if options.classes is not None:
        model.pictures = named(options.classes, model, shape)
    save_model(model, options.output, input_shape=shape)
    if key and key != options.key:
        show(f"took the weights under {printable(key)}")
    for words in said:
        show(printable(words))
    size = "x".join(map(str, shape))
    show(
        f"wrote {printable(options.output)}: for images of {size}, {in_words(model.preprocessing)}"
    )
    if options.mean is None:
        show("if training normalised its pixels, import again with --mean and --std")
    return 0


def read(options: argparse.Namespace) -> Weights:
    """Return the weights of the file; where it holds several, the error is the line to type."""
    try:
        return pytorch.read(options.weights, options.key)
    except DataError as error:
        if isinstance(several := error.__cause__, SeveralStates):
            first, *more = map(printable, several.keys)
            words = ["nplenet", "import", str(options.weights), "--key", first]
            words += ["--like", options.like, "--output", str(options.output)]
            raise DataError(
                f"{options.weights} holds {len(several.keys)} dictionaries of weights; type "
                f"{shlex.join(words)}, or the key {' or '.join(more)}"
            ) from None
        raise


def fitted(names: State, options: argparse.Namespace) -> tuple[Layer, tuple[int, ...], list[str]]:
    """Return the model with its weights, the shape of its input, and what was done to the names."""
    found = attempt(names, options.like)
    if not isinstance(found, str):
        return found
    others = [name for name in MODELS if name != options.like]
    if fits := [name for name in others if not isinstance(attempt(names, name), str)]:
        raise DataError(f"{options.weights}: these are weights of --like {fits[0]}")
    raise DataError(
        f"{options.weights}: {found}; for a network of your own, build it with nplenet.layers and "
        "type in Python: nplenet.interop.pytorch.load(model, path, names={...}); "
        "nplenet.save_model(model, new)"
    )


def attempt(names: State, like: str) -> tuple[Layer, tuple[int, ...], list[str]] | str:
    """Return the model with these weights, its input and words on their names; or why not."""
    said = []
    for bias in ({}, {"features.0.bias": np.zeros(6)}):  # convolutions without and with
        own = MODELS[like](bias)[0].state_dict()
        prefix = pytorch.common_prefix(names, own)
        state = {name.removeprefix(prefix): array for name, array in names.items()}
        renamed = pytorch.in_order(state, own)
        if renamed or state.keys() <= own.keys():
            break
    if prefix:
        said.append(f"stripped {prefix} from the names of the weights")
    if renamed:
        state = {renamed[name]: array for name, array in state.items()}
        first, second = next(iter(renamed.items()))
        said.append(f"matched the names in their order: {first} is {second}, and so on")
    if not state.keys() & own.keys():
        some = ", ".join(f"{name[:60]} {array.shape}" for name, array in [*state.items()][:4])
        return f"its weights do not fit {like}: {some} and others, {len(state)} in all"
    without = {name.rpartition(".")[2] for name in own.keys() - state.keys()} - {COUNT}
    if without and without <= {"running_mean", "running_var"}:
        return (
            "it lacks the statistics of the batch norms: save them too, with "
            "torch.save(model.state_dict(), path)"
        )
    model, shape = MODELS[like](state)
    try:
        pytorch.assign(model, state)
    except ValueError as error:
        return str(error)
    return model, shape, said


def named(text: str, model: Layer, shape: tuple[int, ...]) -> Pictures:
    """Return the names of the classes that an option gives, all of them."""
    names, count = text.split(","), model.output_shape((1, *shape))[1]
    if len(names) != count:
        raise ValueError(f"--classes has {len(names)} names, the network {count} classes")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--classes has {twice[0]!r} twice")
    return Pictures("digit" if shape[0] == 1 and count == 10 else "whole", classes=tuple(names))
