"""Numbers far outside the usual: sizes, weights, gradients."""

from __future__ import annotations

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.data import DataLoader
from nplenet.layers import Dense, Flatten, Parameter, ReLU, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD, clip_gradients
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


def test_gradients_whose_squares_no_float32_holds_are_clipped(backend: Backend) -> None:
    """They would become 0, and the run would stand still."""
    parameter = Parameter(np.zeros(2, np.float32))
    parameter.data, parameter.grad = map(backend.asarray, (parameter.data, parameter.grad))
    parameter.grad[...] = backend.asarray(np.array([3e20, -4e20], np.float32))
    assert float(clip_gradients([parameter], 10.0)) == pytest.approx(5e20, rel=1e-6)
    np.testing.assert_allclose(backend.to_numpy(parameter.grad), [6.0, -8.0], rtol=1e-6)
