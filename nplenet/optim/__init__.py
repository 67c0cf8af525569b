"""Optimizers: from gradients to better parameters. Arguments and update rules are PyTorch's.

An optimizer packs its parameters into one flat array, so that a step is a dozen passes over one
long array, block by block in cache, and not a dozen calls for each of many short ones. On a GPU it
is one kernel.
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
