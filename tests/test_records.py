"""Files that a stranger wrote: what is in them is read as written, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nplenet.checkpoint import load_model, save_model
from nplenet.layers import Dense, Flatten, LeakyReLU, Sequential, Sigmoid, Tanh

# ------------------------------------------------------------------ names that look like numbers


@pytest.mark.parametrize(
    ("numbered", "names"),
    [
        (0, ("a", "1", "b", "c", "d")),
        (0, ("1", "0", "3", "2", "4")),
        (2, ("x", "3", "2")),
        (1, ("x", "2", "3", "1")),
        (0, ("flat", "2", "1", "-1", "01")),
        (0, ("self", "layers", "forward", "__class__", "training")),
    ],
)
def test_a_model_is_loaded_with_its_layers_in_their_order(
    tmp_path: Path, numbered: int, names: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(0)
    layers = [Flatten(), Dense(4, 3, rng=rng), LeakyReLU(-3.0), Sequential(Tanh(), Sigmoid())]
    layers.append(Dense(3, 2, rng=rng))
    named = dict(zip(names, layers[numbered:], strict=True))
    model = Sequential(*layers[:numbered], **named).eval()
    save_model(model, tmp_path / "m.safetensors")
    found = load_model(tmp_path / "m.safetensors")
    assert repr(found) == repr(model)
    x = rng.random((5, 2, 2), np.float32)
    np.testing.assert_array_equal(found(x), model(x))
