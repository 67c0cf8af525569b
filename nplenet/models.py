"""The network this library is about: LeNet-5 with batch norm, ReLU and dropout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .backend import generator
from .layers import AvgPool2d, BatchNorm2d, Conv2d, Dense, Dropout, Flatten, ReLU, Sequential


class LeNet5(Sequential):
    """The enhanced LeNet-5 for images of 32x32 (after LeCun et al., 1998).

    ``features``: twice convolution 5x5, batch norm, ReLU, average pool 2x2, with 6 and 16 channels;
    ``classifier``: dense 400-120-84-num_classes with ReLU and dropout between. The names of its
    parameters equal those of the same module in PyTorch.

    Parameters
    ----------
    num_classes : int
    dropout : float
        Probability of silence behind both hidden dense layers.
    conv_bias : bool
        Off by default: batch norm subtracts a bias again, its gradient is rounding noise only.
    in_channels : int
        1 for grey images, 3 for colour.
    seed : int, optional
        Of the initial weights and of the dropout masks; fresh entropy when left out.
    init : {"he", "xavier", "pytorch"}
    dtype : float32 or float64

    Shapes
    ------
    x (N, in_channels, 32, 32); y (N, num_classes), the logits.
    """

    def __init__(
        self,
        num_classes: int = 10,
        dropout: float = 0.25,
        conv_bias: bool = False,
        in_channels: int = 1,
        *,
        seed: int | None = None,
        init: str = "pytorch",
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        weights, masks = generator(seed, "init"), generator(seed, "dropout")

        def conv(inputs: int, outputs: int) -> Conv2d:
            return Conv2d(inputs, outputs, 5, bias=conv_bias, dtype=dtype, rng=weights, init=init)

        def dense(inputs: int, outputs: int) -> Dense:
            return Dense(inputs, outputs, dtype=dtype, rng=weights, init=init)

        super().__init__(
            features=Sequential(
                conv(in_channels, 6),
                BatchNorm2d(6, dtype=dtype),
                ReLU(),
                AvgPool2d(2),
                conv(6, 16),
                BatchNorm2d(16, dtype=dtype),
                ReLU(),
                AvgPool2d(2),
            ),
            classifier=Sequential(
                Flatten(),
                dense(400, 120),
                ReLU(),
                Dropout(dropout, rng=masks),
                dense(120, 84),
                ReLU(),
                Dropout(dropout, rng=masks),
                dense(84, num_classes),
            ),
        )
