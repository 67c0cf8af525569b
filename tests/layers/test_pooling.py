"""Average and maximum pooling against plain loops over each window."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet.backend import Backend
from nplenet.cases import Case
from nplenet.layers import AvgPool2d, MaxPool2d
from nplenet.window import Window


def window_starts(length: int, axis: int, window: Window) -> list[int]:
    """Return where windows begin on one axis, the padding counted as negative.

    In ceil_mode one more, if the others leave some of the padded input over; but not one that
    would begin in the padding behind the input.
    """
    size, stride = window.size[axis], window.stride[axis]
    padding, dilation = window.padding[axis], window.dilation[axis]
    reach, end = dilation * (size - 1) + 1, length + padding
    starts = []
    start = -padding
    while start + reach <= end:
        starts.append(start)
        start += stride
    left_over = start - stride + reach < end
    if window.ceil_mode and left_over and start < length:
        starts.append(start)
    return starts


def pixels(start: int, length: int, axis: int, window: Window) -> list[int]:
    """Return the rows (or columns) of a window that lie on the input."""
    at = [start + i * window.dilation[axis] for i in range(window.size[axis])]
    return [i for i in at if 0 <= i < length]


def naive_pooling(x: np.ndarray, layer: AvgPool2d | MaxPool2d) -> np.ndarray:
    n, c, h, w = x.shape
    window = layer.window
    rows, columns = window_starts(h, 0, window), window_starts(w, 1, window)
    y = np.empty((n, c, len(rows), len(columns)))
    for (oh, top), (ow, left) in product(enumerate(rows), enumerate(columns)):
        values = x[:, :, pixels(top, h, 0, window)][:, :, :, pixels(left, w, 1, window)]
        if isinstance(layer, MaxPool2d):
            y[:, :, oh, ow] = values.max(axis=(2, 3))
            continue
        if layer.count_include_pad:
            height = min(top + window.size[0], h + window.padding[0]) - top
            width = min(left + window.size[1], w + window.padding[1]) - left
        else:
            height, width = values.shape[2:]
        y[:, :, oh, ow] = values.sum(axis=(2, 3)) / (height * width)
    return y


def random_geometry(seed: int, dilated: bool) -> tuple[dict[str, object], np.ndarray]:
    rng = np.random.default_rng(seed)
    kernel = rng.integers(1, 5, 2)
    padding = [int(rng.integers(0, k // 2 + 1)) for k in kernel]
    dilation = rng.integers(1, 4, 2) if dilated else np.ones(2, int)
    reach = dilation * (kernel - 1) + 1
    h, w = (int(rng.integers(r, r + 7)) for r in reach)
    arguments: dict[str, object] = {
        "kernel_size": tuple(map(int, kernel)),
        "stride": None if seed % 5 == 0 else tuple(map(int, rng.integers(1, 5, 2))),
        "padding": tuple(padding),
        "ceil_mode": bool(seed % 2),
    }
    if dilated:
        arguments["dilation"] = tuple(map(int, dilation))
    return arguments, rng.standard_normal((2, 3, h, w))


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_average_equals_plain_loops(seed: int, count_include_pad: bool, backend: Backend) -> None:
    arguments, x = random_geometry(seed, dilated=False)
    layer = AvgPool2d(**arguments, count_include_pad=count_include_pad)  # type: ignore[arg-type]
    y = layer.to(backend)(backend.asarray(x))
    np.testing.assert_allclose(
        backend.to_numpy(y), naive_pooling(x, layer), rtol=0, atol=1e-13, strict=True
    )


@pytest.mark.parametrize("seed", range(30))
def test_maximum_equals_plain_loops(seed: int, backend: Backend) -> None:
    arguments, x = random_geometry(seed, dilated=True)
    layer = MaxPool2d(**arguments)  # type: ignore[arg-type]
    y = layer.to(backend)(backend.asarray(x))
    np.testing.assert_array_equal(backend.to_numpy(y), naive_pooling(x, layer), strict=True)


@pytest.mark.parametrize(("counted", "corner"), [(True, 4 / 9), (False, 1.0)])
def test_average_counts_padding_only_when_asked(counted: bool, corner: float) -> None:
    y = AvgPool2d(3, 1, padding=1, count_include_pad=counted)(np.ones((1, 1, 4, 4)))
    assert y[0, 0, 0, 0] == pytest.approx(corner, rel=1e-15)


def test_average_never_counts_what_lies_beyond_the_padding() -> None:
    y = AvgPool2d(2, ceil_mode=True)(np.ones((1, 1, 3, 3)))
    assert y.tolist() == np.ones((1, 1, 2, 2)).tolist()


@pytest.mark.parametrize("kind", [AvgPool2d, MaxPool2d])
def test_the_stride_is_the_kernel_size_when_left_out(
    kind: type[AvgPool2d] | type[MaxPool2d],
) -> None:
    assert kind((2, 3))(np.zeros((1, 1, 6, 6))).shape == (1, 1, 3, 2)


@pytest.mark.parametrize("kind", [AvgPool2d, MaxPool2d])
def test_ceil_mode_gives_a_window_to_an_input_smaller_than_the_kernel(
    kind: type[AvgPool2d] | type[MaxPool2d],
) -> None:
    y = kind(3, 2, ceil_mode=True)(np.full((1, 1, 2, 2), 5.0))  # as PyTorch does
    assert y.tolist() == [[[[5.0]]]]


@pytest.mark.parametrize("kind", [AvgPool2d, MaxPool2d])
def test_padding_beyond_half_the_kernel_is_refused(
    kind: type[AvgPool2d] | type[MaxPool2d],
) -> None:
    with pytest.raises(ValueError, match=r"padding must be at most half .* \(3, 3\), got \(1, 2\)"):
        kind(3, padding=(1, 2))


@pytest.mark.parametrize("kind", [AvgPool2d, MaxPool2d])
def test_a_window_that_does_not_fit_is_refused(kind: type[AvgPool2d] | type[MaxPool2d]) -> None:
    with pytest.raises(ValueError, match=r"window of \(5, 5\) .* height 4 and width 9"):
        kind(5)(np.zeros((1, 1, 4, 9)))


def test_the_padding_never_is_the_maximum() -> None:
    y = MaxPool2d(2, padding=1)(np.full((1, 1, 2, 2), -5.0))
    assert y.tolist() == np.full((1, 1, 2, 2), -5.0).tolist()


def test_a_tie_goes_to_the_first_pixel_row_by_row(backend: Backend) -> None:
    layer = MaxPool2d(2).to(backend)
    layer(backend.asarray([[[[1.0, 7.0], [7.0, 7.0]]]]))
    dx = layer.backward(backend.asarray([[[[3.0]]]]))
    assert dx.tolist() == [[[[0.0, 3.0], [0.0, 0.0]]]]


def test_a_tie_in_an_overlapping_window_gets_one_gradient_a_window() -> None:
    layer = MaxPool2d(2, stride=1)
    layer(np.zeros((1, 1, 3, 3)))
    dx = layer.backward(np.array([[[[1.0, 10.0], [100.0, 1000.0]]]]))
    assert dx.tolist() == [[[[1.0, 10.0, 0.0], [100.0, 1000.0, 0.0], [0.0, 0.0, 0.0]]]]


def test_a_pixel_that_wins_several_windows_gets_the_sum() -> None:
    layer = MaxPool2d(2, stride=1)
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1.0
    layer(x)
    dx = layer.backward(np.array([[[[1.0, 10.0], [100.0, 1000.0]]]]))
    assert dx[0, 0, 1, 1] == 1111.0


@pytest.mark.parametrize("at", range(4))
def test_nan_wins_every_maximum(at: int, backend: Backend) -> None:
    x = np.arange(4.0)
    x[at] = np.nan
    layer = MaxPool2d(2).to(backend)
    y = layer(backend.asarray(x.reshape(1, 1, 2, 2)))
    assert np.isnan(backend.to_numpy(y)).all()
    dx = backend.to_numpy(layer.backward(backend.asarray([[[[1.0]]]])))
    assert dx.ravel().tolist() == [float(i == at) for i in range(4)]


def test_the_maximum_of_minus_infinities_is_minus_infinity() -> None:
    y = MaxPool2d(2, padding=1)(np.full((1, 1, 2, 2), -np.inf))
    assert y.tolist() == np.full((1, 1, 2, 2), -np.inf).tolist()


@pytest.mark.parametrize("case", cases_of("avgpool2d", "maxpool2d", "globalavgpool2d"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)
