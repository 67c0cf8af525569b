"""Read weights that PyTorch wrote, and write a model of this library.

examples:
  nplenet import weights.pth --like lenet5 --output model.safetensors
  nplenet import run.ckpt --key state_dict --like lenet5 --output m.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..checkpoint import save_model
from ..interop import pytorch
from ..layers import Layer
from ..models import LeNet5, LeNet5For28x28
from ..terminal import printable, show

State = Mapping[str, np.ndarray]


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
    add("weights", metavar="WEIGHTS", type=Path, help=".pth, .pt, .ckpt, .bin or .safetensors file")
    add(
        "--like",
        choices=MODELS,
        required=True,
        help="network of the weights: LeNet5 for images of 32x32, or LeNet5For28x28",
    )
    add(
        "--output",
        type=Path,
        metavar="FILE",
        required=True,
        help="model to write, for all other commands: a .safetensors file",
    )
    add("--key", metavar="KEY", help="where a file that holds more keeps the weights: state_dict")


def run(options: argparse.Namespace) -> int:
    names = pytorch.load_state_dict(options.weights, options.key)
    prefix = pytorch.common_prefix(names)
    state = {name.removeprefix(prefix): array for name, array in names.items()}
    model, shape = MODELS[options.like](state)
    strip = {"names": lambda name: name.removeprefix(prefix)} if prefix else {}
    pytorch.load(model, options.weights, key=options.key, **strip)
    save_model(model, options.output, input_shape=shape)
    if prefix:
        show(f"stripped {printable(prefix)} from the names of the weights")
    size = "x".join(map(str, shape))
    show(f"wrote {printable(options.output)}: for images of {size}, with pixels from 0 to 1")
    return 0
