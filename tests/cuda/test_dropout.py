"""The dropout kernel: NumPy's masks bit for bit, whatever the order of the threads."""

from __future__ import annotations

from collections.abc import Callable

import gpusim
import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.layers import Dropout
from nplenet.layers.dropout import dropout

# around the 2048 elements of a block of threads, and sizes that are no multiple of its 8 a thread
SHAPES = [(64, 120), (13, 2, 3, 5), (2047,), (2048,), (2049,), (8 * 70001 + 1,)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_mask_equal_numpy_bit_for_bit(
    cuda: Backend, shape: tuple[int, ...], dtype: type
) -> None:
    rng = np.random.default_rng(list(shape))
    x = rng.standard_normal(shape).astype(dtype)
    for p in (0.1, 0.5, 0.999, 1.0):
        key = int(rng.integers(2**64, dtype=np.uint64))
        numbers = (key, round(p * 2**32), 1 / (1 - p) if p < 1 else 0.0)
        for ours, twin in zip(
            cuda.primitive(dropout, cuda.asarray(x), *numbers),
            dropout(np, x, *numbers),
            strict=True,
        ):
            np.testing.assert_array_equal(cuda.to_numpy(ours), twin, strict=True)


@pytest.mark.parametrize("first", [1, 7, 8, 9, 2047, 2048 * 3 + 5, 2**33 + 3])
@pytest.mark.parametrize("n", [1, 7, 8, 2048, 2049, 5000])
def test_a_mask_begins_at_any_word(
    first: int, n: int, assert_equals_twin: Callable[..., None]
) -> None:
    x = np.random.default_rng(n).standard_normal(n)
    assert_equals_twin(dropout, x, 2**63 + 5, 2**31, 2.0, first)


def test_every_size_up_to_100_has_the_masks_of_numpy(cuda: Backend) -> None:
    for n in range(1, 101):
        x = np.ones(n, np.float32)
        _, mask = cuda.primitive(dropout, cuda.asarray(x), n, 2**31, 2.0)
        expected = dropout(np, x, n, 2**31, 2.0)[1]
        np.testing.assert_array_equal(cuda.to_numpy(mask), expected, strict=True)


@pytest.mark.parametrize("key", [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
def test_any_key_of_64_bits_gives_the_masks_of_numpy(cuda: Backend, key: int) -> None:
    x = np.ones(5000, np.float32)
    y, _ = cuda.primitive(dropout, cuda.asarray(x), key, 2**31, 2.0)
    np.testing.assert_array_equal(cuda.to_numpy(y), dropout(np, x, key, 2**31, 2.0)[0], strict=True)


@pytest.mark.parametrize("key", [0, 2**63 + 5, 2**64 - 1])
def test_a_key_that_lies_on_the_device_gives_the_mask_of_the_number(
    key: int, assert_equals_twin: Callable[..., None]
) -> None:
    x = np.random.default_rng(0).standard_normal(3001)
    assert_equals_twin(dropout, x, np.array([key], np.uint64), 2**31, 2.0, 3)
    same = dropout(np, x, np.array([key], np.uint64), 2**31, 2.0)
    np.testing.assert_array_equal(same, dropout(np, x, key, 2**31, 2.0))


def test_a_layer_with_a_place_for_its_key_draws_none(backend: Backend) -> None:
    layer = Dropout(0.5, rng=np.random.default_rng(3)).to(backend)
    x = backend.asarray(np.ones(5000))
    layer.key_there = backend.asarray([layer.draw_key()], np.uint64)
    before = layer.rng.bit_generator.state
    first, second = (backend.to_numpy(layer(x)) for _ in range(2))
    assert layer.rng.bit_generator.state == before
    np.testing.assert_array_equal(first, second)
    plain = Dropout(0.5, rng=np.random.default_rng(3)).to(backend)
    np.testing.assert_array_equal(first, backend.to_numpy(plain(x)))


def test_an_array_of_two_keys_is_refused(cuda: Backend) -> None:
    with pytest.raises(ValueError, match=r"expected 1 numbers on the device, got shape \(2,\)"):
        cuda.primitive(dropout, cuda.xp.ones(5), cuda.xp.zeros(2, np.uint64), 2**31, 2.0)


@pytest.mark.parametrize("order", ["reverse", "random:5"])
def test_the_order_of_the_threads_changes_nothing(cuda: Backend, order: str) -> None:
    x = cuda.asarray(np.random.default_rng(0).standard_normal(3001))
    expected, _ = cuda.primitive(dropout, x, 99, 2**31, 2.0)
    with gpusim.thread_order(order):
        actual, _ = cuda.primitive(dropout, x, 99, 2**31, 2.0)
    assert cuda.to_numpy(actual).tobytes() == cuda.to_numpy(expected).tobytes()


@pytest.mark.parametrize("order", ["forward", "reverse", "random:5"])
def test_a_single_block_of_threads_makes_a_large_mask_in_a_loop(cuda: Backend, order: str) -> None:
    x = np.random.default_rng(0).standard_normal(3 * 2048 + 5)
    y, mask = cuda.xp.zeros(x.shape), cuda.xp.zeros(x.shape)
    with gpusim.thread_order(order):
        cuda.launch(
            "dropout", "dropout", 1, cuda.asarray(x), y, mask, x.size, 3, 99, 2**31, 2.0, None
        )
    for ours, twin in zip((y, mask), dropout(np, x, 99, 2**31, 2.0, 3), strict=True):
        np.testing.assert_array_equal(cuda.to_numpy(ours), twin, strict=True)


def test_an_array_with_gaps_is_read_in_its_order(cuda: Backend) -> None:
    x = np.random.default_rng(0).standard_normal((30, 20))
    y, _ = cuda.primitive(dropout, cuda.asarray(x).T, 7, 2**30, 4 / 3)
    expected, _ = dropout(np, x.T, 7, 2**30, 4 / 3)
    np.testing.assert_array_equal(cuda.to_numpy(y), expected, strict=True)


def test_an_empty_batch_stays_empty(cuda: Backend) -> None:
    assert Dropout(0.5).to(cuda)(cuda.asarray(np.empty((0, 5)))).shape == (0, 5)


def test_one_generator_gives_both_backends_the_same_masks(cuda: Backend) -> None:
    x = np.random.default_rng(0).standard_normal((64, 84)).astype(np.float32)
    host, device = (Dropout(0.25, rng=np.random.default_rng(3)) for _ in range(2))
    device.to(cuda)
    for _ in range(3):
        y, expected = device(cuda.asarray(x)), host(x)
        np.testing.assert_array_equal(cuda.to_numpy(y), expected, strict=True)
    dx, expected = device.backward(cuda.asarray(x)), host.backward(x)
    np.testing.assert_array_equal(cuda.to_numpy(dx), expected, strict=True)


@pytest.mark.usefixtures("simulated")
def test_forward_is_one_launch_and_backward_another(cuda: Backend) -> None:
    layer = Dropout(0.5).to(cuda)
    x = cuda.asarray(np.ones((64, 120), np.float32))
    layer.backward(layer(x))
    with gpusim.counting() as forward:
        y = layer(x)
    with gpusim.counting() as backward:
        layer.backward(y)
    for count in (forward, backward):
        assert (count.launches, count.syncs, count.h2d, count.d2h, count.allocations) == (
            1, 0, 0, 0, 0,
        )  # fmt: skip
