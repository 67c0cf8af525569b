"""Optimizers: from gradients to better parameters. Arguments and update rules are PyTorch's.

An optimizer packs its parameters into one flat array, so that a step is a dozen passes over one
long array, block by block in cache, instead of a dozen calls per parameter. On a GPU a step is one
kernel.
"""

from .adam import Adam, AdamW
from .clip import clip_gradient_values, clip_gradients
from .flat import FlatParameters
from .optimizer import Optimizer
from .sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "FlatParameters",
    "Optimizer",
    "clip_gradient_values",
    "clip_gradients",
]
