"""Optimizers: from gradients to better parameters. Arguments and update rules are PyTorch's.

An optimizer packs its parameters into one flat array, so that a step is a dozen passes over one
long array, block by block in cache, instead of a dozen calls per parameter. On a GPU a step is one
kernel.
"""

from ..deprecated import moved
from ..names import answer_wrong_names
from .adam import Adam, AdamW, adam
from .clip import clip_gradient_values, clip_gradients
from .flat import FlatParameters
from .group import ParameterGroup
from .optimizer import Optimizer
from .rmsprop import RMSprop, rmsprop
from .sgd import SGD, sgd

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "FlatParameters",
    "Optimizer",
    "ParameterGroup",
    "RMSprop",
    "adam",
    "clip_gradient_values",
    "clip_gradients",
    "rmsprop",
    "sgd",
]

__getattr__ = moved(__name__, {"Parameter": "nplenet.parameter.Parameter"})

answer_wrong_names(__name__)
