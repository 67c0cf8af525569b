"""A run of all that LeNet-5 lacks: other layers, groups of parameters, frozen ones, preprocessing.

    [image] -> [grouped, dilated conv] -> [GroupNorm] -> [Residual] -> [LayerNorm] -> [classes]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nplenet.augment import Compose, Normalize, RandomInvert, ToFloat
from nplenet.checkpoint import CheckpointFolder, load
from nplenet.data import DataLoader, load_dataset
from nplenet.layers import (
    GELU,
    BatchNorm2d,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    GroupNorm,
    LayerNorm,
    MaxPool2d,
    Residual,
    Sequential,
    Softmax,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD
from nplenet.schedules import PlateauLR
from nplenet.terminal import show
from nplenet.train import fit

CLASS_NAMES = tuple(f"class {i}" for i in range(10))


def network() -> Sequential:
    """Return the network, whose first convolution and batch norm are not trained."""
    body = Sequential(Conv2d(4, 4, 3, padding=2, dilation=2, groups=2, rng=1), GELU())
    model = Sequential(
        Conv2d(1, 4, 5, stride=4, rng=0),
        BatchNorm2d(4),
        GroupNorm(2, 4),
        Residual(body, Conv2d(4, 4, 1, rng=2)),
        MaxPool2d(2),
        LayerNorm((4, 3, 3)),
        Residual(Sequential(GELU())),
        GlobalAvgPool2d(),
        Flatten(),
        Softmax(),
        Dense(4, 10, rng=3),
    )
    for layer in list(model)[:2]:
        layer.eval()
        for parameter in layer.parameters():
            parameter.requires_grad = False
    return model


def train(folder: Path, resume: Path | None = None) -> None:
    """Train the network for two epochs, in a folder, or on from a checkpoint."""
    data = load_dataset("digits").limited(48)
    model = network()
    parameters = list(model.parameters())
    groups = [{"params": parameters[:8], "lr": 0.01}, {"params": parameters[8:], "lr": 0.1}]
    optimizer = SGD(groups, momentum=0.9)
    transform = Compose([RandomInvert(0.5), ToFloat(), Normalize(0.5, 0.25)])
    rng = np.random.default_rng(0)
    images, labels = data.train_images, data.train_labels
    fit(
        model,
        CrossEntropyLoss(),
        optimizer,
        DataLoader(images, labels, 16, transform=transform, rng=0, transform_rng=rng),
        epochs=2,
        schedule=PlateauLR(optimizer, patience=0),
        validation=(data.test_images, data.test_labels),
        checkpoints=CheckpointFolder(
            folder, arguments={"dataset": "digits", "class_names": list(CLASS_NAMES)}
        ),
        resume=load(resume) if resume else None,
        clip_norm=1.0,
        progress=False,
    )


def resumed(path: Path, folder: Path) -> Any:
    """Do what ``train --resume`` does for LeNet-5; return its exit status."""
    try:
        train(folder, path)
    except (OSError, ValueError) as error:  # those that ``fit`` promises
        show(f"nplenet: {' '.join(str(error).split())}")
        return 2
    return 0
