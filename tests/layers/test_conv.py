"""Convolution against plain loops over its definition."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet.backend import Backend, NumpyBackend
from nplenet.cases import Case
from nplenet.layers import Conv2d


def naive_convolution(layer: Conv2d, x: np.ndarray) -> np.ndarray:
    """Return the sum of the docstring of Conv2d, term by term; what lies off the image is zero."""
    assert layer.bias is not None
    weight, bias, window = layer.weight.data, layer.bias.data, layer.window
    stride, padding, dilation = window.stride, window.padding, window.dilation
    (n, _, h, w), (f, c, kh, kw) = x.shape, weight.shape
    oh = (h + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (w + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, f, oh, ow))
    for image, filter_, row, column in product(range(n), range(f), range(oh), range(ow)):
        total = bias[filter_]
        first = filter_ // (f // layer.groups) * c  # channel of the group
        for channel, i, j in product(range(c), range(kh), range(kw)):
            h_at = row * stride[0] + i * dilation[0] - padding[0]
            w_at = column * stride[1] + j * dilation[1] - padding[1]
            if 0 <= h_at < h and 0 <= w_at < w:
                total += weight[filter_, channel, i, j] * x[image, first + channel, h_at, w_at]
        y[image, filter_, row, column] = total
    return y


def random_convolution(seed: int) -> tuple[Conv2d, np.ndarray]:
    """Return a convolution and its input; from seed 25 on it has groups and dilation."""
    rng = np.random.default_rng(seed)
    channels, filters = (int(v) for v in rng.integers(1, 4, 2))
    kernel, stride = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
    padding = rng.integers(0, 3, 2)
    groups, dilation, reach = 1, np.ones(2, int), kernel
    if seed >= 25:
        groups, dilation = int(rng.integers(1, 4)), rng.integers(1, 4, 2)
        channels, filters = groups * channels, groups * filters
        reach = dilation * (kernel - 1) + 1
    h, w = (
        int(rng.integers(max(1, r - 2 * p), max(8, r + 1)))
        for r, p in zip(reach, padding, strict=True)
    )
    layer = Conv2d(
        channels,
        filters,
        (int(kernel[0]), int(kernel[1])),
        (int(stride[0]), int(stride[1])),
        (int(padding[0]), int(padding[1])),
        dilation=(int(dilation[0]), int(dilation[1])),
        groups=groups,
        dtype=np.float64,
        rng=rng,
        init="pytorch",
    )
    return layer, rng.standard_normal((2, channels, h, w))


@pytest.mark.parametrize("seed", range(45))
def test_output_equals_plain_loops(seed: int, backend: Backend) -> None:
    layer, x = random_convolution(seed)
    expected = naive_convolution(layer, x)
    y = layer.to(backend)(backend.asarray(x))
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=0, atol=1e-12, strict=True)


def test_float32_is_as_exact_as_float32_allows(backend: Backend) -> None:
    layer, x = random_convolution(3)
    expected = naive_convolution(layer, x)
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
        ({"kernel_size": 3, "dilation": 0}, ValueError, "dilation must be at least 1, got 0"),
        ({"kernel_size": 3, "groups": 0}, ValueError, "groups must be at least 1, got 0"),
        (
            {"kernel_size": 3, "groups": 2},
            ValueError,
            "groups must divide in_channels and out_channels, got 2 for 1 and 1",
        ),
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
    grouped = Conv2d(6, 4, 5, padding=2, groups=2)  # a filter sees three channels
    assert grouped.multiply_adds((2, 6, 8, 8)) == 2 * (8 * 8) * 4 * (3 * 5 * 5)


def test_groups_are_convolutions_of_their_own() -> None:
    rng = np.random.default_rng(0)
    whole = Conv2d(6, 4, 3, groups=2, bias=False, dtype=np.float64, rng=rng)
    x, dy = rng.standard_normal((3, 6, 5, 5)), rng.standard_normal((3, 4, 3, 3))
    y, dx = whole(x), whole.backward(dy)
    for g in range(2):
        channels, filters = slice(3 * g, 3 * g + 3), slice(2 * g, 2 * g + 2)
        alone = Conv2d(3, 2, 3, bias=False, dtype=np.float64)
        alone.weight.data[...] = whole.weight.data[filters]
        np.testing.assert_allclose(alone(x[:, channels]), y[:, filters], rtol=0, atol=1e-12)
        found = alone.backward(dy[:, filters])
        np.testing.assert_allclose(found, dx[:, channels], rtol=0, atol=1e-12)
        expected = whole.weight.grad[filters]
        np.testing.assert_allclose(alone.weight.grad, expected, rtol=0, atol=1e-12)


def test_its_description_names_groups_and_dilation_only_where_there_are_some() -> None:
    assert Conv2d(2, 2, 3).arguments().keys().isdisjoint({"groups", "dilation"})
    assert repr(Conv2d(2, 2, 3, dilation=2, groups=2)).endswith("dilation=(2, 2), groups=2)")


@pytest.mark.parametrize("case", cases_of("conv2d"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)
