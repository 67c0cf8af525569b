"""Dropout: how much is silenced, the scale, the random words, and backward's use of the mask."""

from __future__ import annotations

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.layers import Dropout
from nplenet.layers.dropout import dropout as masked
from nplenet.layers.dropout import philox

# Counter, key and words: the known answers of philox4x32-10 in Random123 (Salmon et al., 2011).
# The last are digits of pi.
KNOWN_ANSWERS = [
    ([0] * 4, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, 0xFFFFFFFFFFFFFFFF, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        0x299F31D0A4093822,
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def dropout(p: float, seed: int = 0) -> Dropout:
    return Dropout(p, rng=np.random.default_rng(seed))


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter: list[int], key: int, words: str) -> None:
    several = np.tile(np.array(counter, np.uint64)[:, None], 3)
    found = philox(np, several, key)
    assert [[f"{word:08x}" for word in column] for column in found.T.tolist()] == [
        words.split()
    ] * 3


@pytest.mark.parametrize("element", range(4))
def test_a_value_is_kept_from_its_known_word_on(element: int, backend: Backend) -> None:
    word = int(KNOWN_ANSWERS[0][2].split()[element], 16)  # of counter 0 and key 0
    x = backend.asarray(np.ones(4))
    for threshold, expected in ((word, 1.0), (word + 1, 0.0)):
        y, _ = backend.run(masked, x, 0, threshold, 1.0)
        assert backend.to_numpy(y)[element] == expected


def test_philox_leaves_its_counters_alone() -> None:
    counter = np.arange(8, dtype=np.uint64).reshape(4, 2)
    philox(np, counter, 5)
    np.testing.assert_array_equal(counter, np.arange(8, dtype=np.uint64).reshape(4, 2))


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


@pytest.mark.parametrize("lag", [1, 2, 4, 84, 100_000 // 4])
def test_whether_a_value_is_silenced_tells_nothing_of_others(lag: int) -> None:
    kept = dropout(0.5)(np.ones((100_000,))) > 0
    agreeing = float((kept[lag:] == kept[:-lag]).mean())
    assert agreeing == pytest.approx(0.5, abs=5 * 0.5 / len(kept[lag:]) ** 0.5)  # five deviations


def test_the_masks_of_two_forwards_tell_nothing_of_each_other() -> None:
    layer, x = dropout(0.5), np.ones((100_000,))
    assert float((layer(x) == layer(x)).mean()) == pytest.approx(0.5, abs=5 * 0.5 / 100_000**0.5)


def test_a_forward_draws_one_number_whatever_the_size() -> None:
    small, large = dropout(0.5), dropout(0.5)
    small(np.ones((1,)))
    large(np.ones((50, 20)))
    assert small.rng.bit_generator.state == large.rng.bit_generator.state


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
