"""GELU against Python's error function; softmax against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet.backend import Backend
from nplenet.cases import Case
from nplenet.layers import GELU, Softmax
from nplenet.layers.gelu import upper_tail

X = np.concatenate([np.linspace(-12, 12, 4801), [-1e-300, 0.0, 1e-8, 40.0, -40.0, 1e6]])


def exact(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 3e-16), (np.float32, 2e-7)])
def test_the_tail_is_exact_up_to_rounding(dtype: type, error: float) -> None:
    distance = np.linspace(0, 12, 20001).astype(dtype)
    expected = np.array([0.5 * math.erfc(a) for a in distance.tolist()])
    found = upper_tail(np, distance)
    assert found.dtype == dtype
    assert np.abs(found - expected).max() <= error


def test_the_tail_is_right_in_relation_to_its_size_too() -> None:
    distance = np.linspace(0, 5, 5001)
    expected = np.array([0.5 * math.erfc(a) for a in distance.tolist()])
    assert (np.abs(upper_tail(np, distance) - expected) / expected).max() <= 4e-15


def test_gelu_is_x_times_the_share_of_normal_numbers_below(backend: Backend) -> None:
    y = backend.to_numpy(GELU().to(backend)(backend.asarray(X)))
    np.testing.assert_allclose(y, exact(X), rtol=0, atol=4e-15)  # rounding of numbers up to 12
    single = backend.to_numpy(GELU().to(backend)(backend.asarray(X, np.float32)))
    np.testing.assert_allclose(single[:-1], exact(X)[:-1], rtol=0, atol=2e-6)


def test_the_form_with_tanh_is_as_near_as_it_says() -> None:
    assert 4e-4 < np.abs(GELU("tanh")(X[:4801]) - exact(X[:4801])).max() < 4.8e-4


def test_far_out_it_is_x_or_zero_and_nan_stays() -> None:
    layer = GELU()
    y = layer(np.array([np.inf, 2.0**100, -(2.0**100), np.nan], np.float32))
    dx = layer.backward(np.ones(4, np.float32))
    assert y[:3].tolist() == [np.inf, 2.0**100, 0.0]
    assert dx[:3].tolist() == [1.0, 1.0, 0.0]
    assert np.isnan([y[3], dx[3]]).all()


@pytest.mark.parametrize("dim", [1, -1])
def test_softmax_gives_shares_of_one_whatever_the_size(dim: int, backend: Backend) -> None:
    x = np.array([[1000.0, 1000.0, -np.inf], [-1e30, 0.0, np.log(3)]])
    y = backend.to_numpy(Softmax(dim).to(backend)(backend.asarray(x)))
    np.testing.assert_allclose(y, [[0.5, 0.5, 0], [0, 0.25, 0.75]], rtol=0, atol=1e-15)


def test_a_gradient_that_is_the_same_for_all_shares_moves_nothing() -> None:
    layer = Softmax()
    layer(np.array([[1.0, 2.0, -1.0]]))
    assert np.abs(layer.backward(np.full((1, 3), 7.0))).max() < 1e-15


@pytest.mark.parametrize(("dim", "shape"), [(0, (2, 3)), (-2, (2, 3)), (2, (2, 3)), (-3, (2, 3))])
def test_the_images_have_no_softmax(dim: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"dim must be an axis after the batch axis.* \(2, 3\)"):
        Softmax(dim)(np.zeros(shape))


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="approximate must be 'none' or 'tanh', got 'erf'"):
        GELU("erf")
    with pytest.raises(TypeError, match=r"Softmax: dim must be an int, got 1\.5"):
        Softmax(1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", cases_of("gelu", "softmax"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)
