"""The networks of this library: LeNet-5 with batch norm, ReLU and dropout, for 32x32 and 28x28."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from .layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    ReLU,
    Sequential,
)
from .names import answer_wrong_names
from .seeds import generator

__all__ = ["LeNet5", "LeNet5For28x28"]
answer_wrong_names(__name__)


class LeNet5(Sequential):
    """The enhanced LeNet-5 for images of 32x32 (after LeCun et al., 1998).

    ``features``: twice convolution 5x5, batch norm, ReLU, average pool 2x2, with 6 and 16 channels;
    ``classifier``: dense 400-120-84-num_classes with ReLU and dropout between. The names of its
    parameters equal the names in the same module in PyTorch.

    Parameters
    ----------
    num_classes : int
    dropout : float
        Dropout probability behind both hidden dense layers.
    conv_bias : bool
        Off by default: batch norm subtracts a bias again, so its gradient is rounding noise.
    in_channels : int
        1 for grey images, 3 for colour.
    seed : int, optional
        Random seed for the initial weights and the dropout masks; fresh entropy when left out.
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

    def check_shape(self, shape: tuple[int, ...]) -> None:
        super().check_shape(shape)
        if shape[2:] != (28, 28):
            return
        try:
            list(self._shapes(shape))
        except ValueError:
            raise ValueError(
                f"{self._label}: takes images of 32x32, got an input of shape {shape}; pad 28x28 "
                "images with nplenet.data.pad_images, or use nplenet.models.LeNet5For28x28"
            ) from None

    @staticmethod
    def notebook(*, seed: int | None = None) -> LeNet5For28x28:
        """Deprecated: ``LeNet5For28x28``."""
        warnings.warn(
            "LeNet5.notebook is deprecated: use nplenet.models.LeNet5For28x28",
            DeprecationWarning,
            stacklevel=2,
        )
        return LeNet5For28x28(seed=seed)


class LeNet5For28x28(Sequential):
    """The enhanced LeNet-5 for 28x28 images, such as MNIST's without padding; a single chain.

    Differences from ``LeNet5``: the first convolution pads its image to 32x32; batch norm follows
    each pool and each hidden dense layer; convolutions have a bias; the dropout probability is 0.5.
    The names of its parameters equal the names in the same ``nn.Sequential`` in PyTorch.

    Parameters
    ----------
    seed : int, optional
        Random seed for the initial weights, drawn as PyTorch does, and for the dropout masks; fresh
        entropy when left out.

    Shapes
    ------
    x (N, 1, 28, 28); y (N, 10), the logits.
    """

    def __init__(self, *, seed: int | None = None) -> None:
        weights, masks = generator(seed, "init"), generator(seed, "dropout")
        super().__init__(
            Conv2d(1, 6, 5, padding=2, rng=weights, init="pytorch"),
            ReLU(),
            AvgPool2d(2),
            BatchNorm2d(6),
            Conv2d(6, 16, 5, rng=weights, init="pytorch"),
            ReLU(),
            AvgPool2d(2),
            BatchNorm2d(16),
            Flatten(),
            Dense(400, 120, rng=weights, init="pytorch"),
            ReLU(),
            BatchNorm1d(120),
            Dropout(0.5, rng=masks),
            Dense(120, 84, rng=weights, init="pytorch"),
            ReLU(),
            BatchNorm1d(84),
            Dropout(0.5, rng=masks),
            Dense(84, 10, rng=weights, init="pytorch"),
        )
