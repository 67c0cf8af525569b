"""The textbook layers: one idea per file, forward and backward written out.

Legend used in all of them: N images in the batch, C input channels, F output channels (filters),
H W input size, KH KW kernel size, OH OW output size. Arrays are (N, C, H, W).
"""

from ..names import answer_wrong_names
from ..parameter import Parameter
from .activation import LeakyReLU, ReLU, Sigmoid, Tanh
from .base import Layer
from .batchnorm import BatchNorm1d, BatchNorm2d
from .conv import Conv2d
from .dense import Dense
from .dropout import Dropout
from .flatten import Flatten
from .gelu import GELU
from .groupnorm import GroupNorm, LayerNorm
from .pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from .residual import Residual
from .sequential import Sequential
from .softmax import Softmax

__all__ = [
    "GELU",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool2d",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
]

answer_wrong_names(__name__)
