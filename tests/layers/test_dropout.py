"""Dropout: how much is silenced, the scale, and that backward uses the same mask."""

from __future__ import annotations

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.layers import Dropout


def dropout(p: float, seed: int = 0) -> Dropout:
    return Dropout(p, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_a_share_of_p_is_silenced(p: float, backend: Backend) -> None:
    size = 200_000
    y = backend.to_numpy(dropout(p).to(backend)(backend.asarray(np.ones((size,)), np.float32)))
    share = float((y == 0).mean())
    assert share == pytest.approx(p, abs=5 * (p * (1 - p) / size) ** 0.5)  # five deviations


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_kept_is_scaled_by_one_over_one_minus_p(dtype: type) -> None:
    y = dropout(0.25)(np.ones((1000,), dtype))
    assert set(y.tolist()) == {0.0, float(dtype(1 / 0.75))}


def test_backward_uses_the_mask_of_forward(backend: Backend) -> None:
    layer = dropout(0.4).to(backend)
    y = backend.to_numpy(layer(backend.asarray(np.ones((50, 20)))))
    dx = backend.to_numpy(layer.backward(backend.asarray(np.ones((50, 20)))))
    np.testing.assert_array_equal(dx, y, strict=True)


def test_each_forward_draws_a_new_mask() -> None:
    layer, x = dropout(0.5), np.ones((100,))
    assert (layer(x) != layer(x)).any()


def test_the_same_generator_gives_the_same_masks() -> None:
    a, b, x = dropout(0.5, seed=4), dropout(0.5, seed=4), np.ones((100,))
    assert [a(x).tolist() for _ in range(3)] == [b(x).tolist() for _ in range(3)]


def test_float32_and_float64_get_the_same_mask() -> None:
    a, b = dropout(0.5), dropout(0.5)
    x = np.ones((100,), np.float32)
    assert (a(x) > 0).tolist() == (b(x.astype(np.float64)) > 0).tolist()


def test_eval_passes_all_and_draws_nothing() -> None:
    layer, x = dropout(0.5).eval(), np.arange(100.0)
    state = str(layer.rng.bit_generator.state)
    np.testing.assert_array_equal(layer(x), x, strict=True)
    np.testing.assert_array_equal(layer.backward(x), x, strict=True)
    assert str(layer.rng.bit_generator.state) == state


def test_p_0_passes_all() -> None:
    x = np.arange(100.0)
    np.testing.assert_array_equal(dropout(0.0)(x), x, strict=True)


def test_p_1_silences_all_forward_and_backward() -> None:
    layer = dropout(1.0)
    assert not layer(np.ones((100,))).any()
    assert not layer.backward(np.ones((100,))).any()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_p_that_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="Dropout: p must lie between 0 and 1"):
        Dropout(p)


def test_it_leaves_the_global_random_state_alone() -> None:
    state = str(np.random.get_state())
    Dropout(0.5)(np.ones((100,)))
    assert str(np.random.get_state()) == state
