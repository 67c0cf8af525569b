"""Dropout: how much is silenced, the scale, the random words, and backward's use of the mask."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet.backend import Backend
from nplenet.cases import Case
from nplenet.layers import Dropout
from nplenet.layers.dropout import draw_keys, keep_mask
from nplenet.layers.dropout import dropout as masked

# Counter, key and words: the known answers of philox4x64-10 in Random123 (Salmon et al., 2011).
# Those of the last are digits of pi, from the lowest 64 bits on.
KNOWN_ANSWERS = [
    (0, 0, "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    (2**256 - 1, 2**128 - 1, "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
    (
        0x082EFA98EC4E6C89_A4093822299F31D0_13198A2E03707344_243F6A8885A308D3,
        0xBE5466CF34E90C6C_452821E638D01377,
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]
# Of key 0, the counters 1 and 2, by the ten rounds of the paper in Python's integers.
FIRST_WORDS = (
    "02f4ba6408e4d89b 3dd62b0b9ca8c5b2 1c8667a55d902e79 907d7a052fd5b4dc "
    "809bf322883987c3 471128b9e807f7dd f250ba0dbec065b7 fc6ed66767a457bc"
)


def dropout(p: float, seed: int = 0) -> Dropout:
    return Dropout(p, rng=np.random.default_rng(seed))


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_numpy_has_the_philox_of_the_paper(counter: int, key: int, words: str) -> None:
    stream = np.random.Philox(key=key, counter=(counter - 1) % 2**256)  # it counts, then encrypts
    assert [f"{word:016x}" for word in stream.random_raw(4).tolist()] == words.split()


def test_a_value_is_kept_up_to_its_known_word(backend: Backend) -> None:
    halves = [int(w[part], 16) for w in FIRST_WORDS.split() for part in (slice(8, 16), slice(8))]
    x = backend.asarray(np.ones(len(halves)))
    for i, word in enumerate(halves):
        for threshold, expected in ((word, 1.0), (word + 1, 0.0)):
            y, _ = backend.primitive(masked, x, 0, threshold, 1.0)
            assert backend.to_numpy(y)[i] == expected


def test_values_are_counted_in_c_order_whatever_the_layout() -> None:
    x = np.ones((30, 20))
    flat = keep_mask(7, 600, 2**31)
    for same in (x, np.asfortranarray(x), np.ones((20, 30)).T):
        y, _ = masked(np, same, 7, 2**31, 1.0)
        np.testing.assert_array_equal(y > 0, flat.reshape(30, 20))


def test_a_longer_mask_begins_with_the_shorter() -> None:
    longest = keep_mask(3, 100, 2**31)
    for n in range(101):
        np.testing.assert_array_equal(keep_mask(3, n, 2**31), longest[:n], strict=True)


@pytest.mark.parametrize("key", [0, 5, 2**64 - 1])
def test_a_threshold_of_0_keeps_all_and_one_of_2_to_the_32_nothing(key: int) -> None:
    assert keep_mask(key, 1001, 0).all()
    assert not keep_mask(key, 1001, 2**32).any()


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


@pytest.mark.parametrize("lag", [1, 2, 4, 8, 84])
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


def test_keys_drawn_at_once_are_those_drawn_one_by_one() -> None:
    layer = Dropout(0.5, rng=np.random.default_rng(3))
    one_by_one = [[layer.draw_key(), layer.draw_key()] for _ in range(4)]
    assert draw_keys(np.random.default_rng(3), (4, 2)).tolist() == one_by_one


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
    with pytest.raises(ValueError, match=r"Dropout: p must be a number in \[0, 1\]"):
        Dropout(p)
    layer = Dropout(0.5)
    layer.p = p
    with pytest.raises(ValueError, match=r"Dropout: p must be a number in \[0, 1\]"):
        layer(np.ones((1, 4), np.float32))


def test_it_leaves_the_global_random_state_alone() -> None:
    state = str(np.random.get_state())
    Dropout(0.5)(np.ones((100,)))
    assert str(np.random.get_state()) == state


@pytest.mark.parametrize("case", cases_of("dropout"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)
