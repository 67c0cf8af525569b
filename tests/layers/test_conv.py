"""Convolution against plain loops over its definition."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nplenet.backend import Backend, NumpyBackend
from nplenet.checks import Pair
from nplenet.layers import Conv2d


def naive_convolution(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the sum of the docstring of Conv2d, term by term; what lies off the image is zero."""
    (n, c, h, w), (f, _, kh, kw) = x.shape, weight.shape
    oh = (h + 2 * padding[0] - kh) // stride[0] + 1
    ow = (w + 2 * padding[1] - kw) // stride[1] + 1
    y = np.zeros((n, f, oh, ow))
    for image, filter_, row, column in product(range(n), range(f), range(oh), range(ow)):
        total = bias[filter_]
        for channel, i, j in product(range(c), range(kh), range(kw)):
            at = (row * stride[0] + i - padding[0], column * stride[1] + j - padding[1])
            if 0 <= at[0] < h and 0 <= at[1] < w:
                total += weight[filter_, channel, i, j] * x[image, channel, at[0], at[1]]
        y[image, filter_, row, column] = total
    return y


def random_convolution(seed: int) -> tuple[Conv2d, np.ndarray]:
    rng = np.random.default_rng(seed)
    channels, filters = (int(v) for v in rng.integers(1, 4, 2))
    kernel, stride = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
    padding = rng.integers(0, 3, 2)
    h, w = (int(rng.integers(max(1, k - 2 * p), 8)) for k, p in zip(kernel, padding, strict=True))
    layer = Conv2d(
        channels,
        filters,
        (int(kernel[0]), int(kernel[1])),
        (int(stride[0]), int(stride[1])),
        (int(padding[0]), int(padding[1])),
        dtype=np.float64,
        rng=rng,
        init="pytorch",
    )
    return layer, rng.standard_normal((2, channels, h, w))


@pytest.mark.parametrize("seed", range(25))
def test_output_equals_plain_loops(seed: int, backend: Backend) -> None:
    layer, x = random_convolution(seed)
    assert layer.bias is not None
    expected = naive_convolution(
        x, layer.weight.data, layer.bias.data, layer.window.stride, layer.window.padding
    )
    y = layer.to(backend)(backend.asarray(x))
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=0, atol=1e-12, strict=True)


def test_float32_is_as_exact_as_float32_allows(backend: Backend) -> None:
    layer, x = random_convolution(3)
    assert layer.bias is not None
    expected = naive_convolution(
        x, layer.weight.data, layer.bias.data, layer.window.stride, layer.window.padding
    )
    y = layer.astype(np.float32).to(backend)(backend.asarray(x, np.float32))
    np.testing.assert_allclose(
        backend.to_numpy(y), expected.astype(np.float32), rtol=0, atol=1e-5, strict=True
    )


def test_a_batch_cut_into_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    layer = Conv2d(2, 3, 3, padding=1, dtype=np.float64, rng=rng)
    x, dy = rng.standard_normal((5, 2, 6, 6)), rng.standard_normal((5, 3, 6, 6))
    results = []
    for size in (1, 2 * 18 * 36 * 8, 1 << 30):  # one image, two images, all images a part
        monkeypatch.setattr(NumpyBackend, "part_bytes", size)
        layer.zero_grad()
        results.append((layer(x), layer.backward(dy), *(p.grad.copy() for p in layer.parameters())))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12, strict=True)


def test_it_is_a_cross_correlation_not_a_flipped_convolution() -> None:
    layer = Conv2d(1, 1, (1, 2), bias=False, dtype=np.float64)
    layer.weight.data[...] = [[[[1.0, 10.0]]]]
    assert layer(np.array([[[[1.0, 2.0, 3.0]]]])).tolist() == [[[[21.0, 32.0]]]]


def test_without_a_bias_there_is_one_parameter() -> None:
    assert [p.name for p in Conv2d(1, 2, 3, bias=False).parameters()] == ["weight"]


def test_a_kernel_larger_than_the_padded_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"window of \(5, 5\) .* height 3 and width 9"):
        Conv2d(1, 1, 5)(np.zeros((1, 1, 3, 9), np.float32))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": 2.0}, TypeError, "kernel_size must be an int, got 2.0"),
        ({"kernel_size": (1, 2, 3)}, TypeError, "kernel_size must be an int or a pair"),
        ({"kernel_size": 3, "stride": 0}, ValueError, "stride must be at least 1, got 0"),
        ({"kernel_size": 3, "padding": (0, -1)}, ValueError, "padding must be at least 0"),
        ({"kernel_size": 3, "padding": True}, TypeError, "padding must be an int, got True"),
        ({"kernel_size": 3, "init": "best"}, ValueError, "unknown initialisation 'best'"),
    ],
)
def test_senseless_arguments_are_refused(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Conv2d(1, 1, **arguments)  # type: ignore[arg-type]


def test_multiply_adds_count_each_product_of_weight_and_input() -> None:
    assert Conv2d(3, 4, 5, padding=2).multiply_adds((2, 3, 8, 8)) == 2 * (8 * 8) * 4 * (3 * 5 * 5)
