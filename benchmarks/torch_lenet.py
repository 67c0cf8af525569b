"""The network that the benchmarks train, in PyTorch."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def lenet5(dropout: float) -> nn.Sequential:
    """Return the network of ``nplenet.models.LeNet5``, with the names of its weights."""
    features = nn.Sequential(
        nn.Conv2d(1, 6, 5, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
    )
    classifier = nn.Sequential(
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(84, 10),
    )
    return nn.Sequential(OrderedDict(features=features, classifier=classifier))
