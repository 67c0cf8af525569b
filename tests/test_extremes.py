"""Numbers far outside the usual: sizes, weights."""

from __future__ import annotations

import numpy as np

from nplenet.data import DataLoader
from nplenet.layers import Dense, Flatten, ReLU, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD
from nplenet.train import fit
from nplenet.train.epoch import first_layer_not_finite

RNG = np.random.default_rng(0)
X, Y = RNG.random((40, 1, 8, 8), dtype=np.float32), np.arange(40) % 3


def test_a_batch_size_far_above_the_number_of_images_takes_no_more_memory() -> None:
    """10^8 images would take 50 GB, and the list of their chunks alone minutes."""
    losses = []
    for batch_size in (40, 10**8):
        model = Sequential(Flatten(), Dense(64, 8, rng=0), ReLU(), Dense(8, 3, rng=1))
        optimizer, loader = SGD(model.parameters(), 0.1), DataLoader(X, Y, batch_size)
        history = fit(model, CrossEntropyLoss(), optimizer, loader, epochs=2, progress=False)
        losses.append([epoch.loss for epoch in history.epochs])
    assert losses[0] == losses[1]


def test_the_layer_that_overflows_is_named_without_a_warning_of_numpy() -> None:
    """Warnings are errors here."""
    model = Sequential(Flatten(), Dense(64, 8, rng=0), Dense(8, 3, rng=1))
    model[1].weight.data[...] = 3e38
    assert "of layer 1 (Dense(64, 8" in first_layer_not_finite(model, X)
