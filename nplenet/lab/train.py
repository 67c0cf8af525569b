"""Train a LeNet-5 with a student's layers, in a loop that a student can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..data import DataLoader, Dataset
from .network import LIBRARY, Network

ANGLE = 10.0  # degrees, the largest of the augmentation
BATCH = 64


def train(
    network: Network, data: Dataset, epochs: int, seed: int, show: Callable[..., None]
) -> float:
    """Train, print the loss and the test accuracy of each epoch, and return the last accuracy."""
    model, loss, optimizer = network.model, network.loss, network.optimizer
    rng = np.random.default_rng(seed)
    loader = DataLoader(data.train_images, data.train_labels, BATCH, shuffle=True, rng=rng)
    correct = 0.0
    for epoch in range(1, epochs + 1):
        losses = []
        for images, labels in loader:
            angles = rng.uniform(-ANGLE, ANGLE, len(images))
            x = as_floats(network.rotate(images, angles, 0))
            losses.append(float(loss.forward(model.forward(x), labels)))
            if not np.isfinite(losses[-1]):
                raise ValueError(f"the loss is {losses[-1]} in epoch {epoch}: training has failed")
            model.zero_grad()
            model.backward(np.asarray(loss.backward(), np.float32))
            optimizer.step()
        correct = accuracy(model, data.test_images, data.test_labels)
        mean = float(np.mean(losses))
        show(f"epoch {epoch:3}  loss {mean:.4f}  test accuracy {correct:.2%}", flush=True)
    return correct


def as_floats(images: Any) -> Any:
    """Return bytes as floats from 0 to 1."""
    return images.astype(np.float32) / np.float32(255)


def accuracy(model: Any, images: Any, labels: Any) -> float:
    """Return the fraction of images that the model classifies correctly, in evaluation mode."""
    with model.evaluating():
        found = [model.forward(as_floats(x)).argmax(axis=1) for x in batches(images)]
    return float((np.concatenate(found) == labels).mean())


def batches(images: Any) -> Iterator[Any]:
    for start in range(0, len(images), 256):
        yield images[start : start + 256]


def table(network: Network) -> str:
    """Say whose each layer is."""
    row = "{:<14} {:<17} {:<17} {}"
    lines = [row.format("part", "kind", "forward by", "backward by").rstrip()]
    lines += [row.format(*origin).rstrip() for origin in network.origins]
    own = sum(any(file not in (LIBRARY, "") for file in o[2:]) for o in network.origins)
    lines.append(
        f"{own} of {len(network.origins)} parts are a student's, at least in one direction"
    )
    return "\n".join([*lines, *network.notes])
