"""The fully connected layer and flattening."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet.backend import Backend
from nplenet.cases import Case
from nplenet.layers import Dense, Flatten


def test_dense_equals_plain_loops(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    layer = Dense(4, 3, dtype=np.float64, rng=rng, init="pytorch")
    assert layer.bias is not None
    x, weight, bias = rng.standard_normal((5, 4)), layer.weight.data, layer.bias.data
    expected = [
        [sum(x[n, i] * weight[o, i] for i in range(4)) + bias[o] for o in range(3)]
        for n in range(5)
    ]
    y = layer.to(backend)(backend.asarray(x))
    np.testing.assert_allclose(
        backend.to_numpy(y), np.array(expected), rtol=0, atol=1e-14, strict=True
    )


def test_without_a_bias_there_is_one_parameter() -> None:
    assert [p.name for p in Dense(3, 2, bias=False).parameters()] == ["weight"]


def test_multiply_adds_count_each_product_of_weight_and_input() -> None:
    assert Dense(3, 4).multiply_adds((5, 3)) == 5 * 3 * 4


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3), (2, 3, 1)])
def test_flatten_keeps_the_order_and_backward_reshapes_back(shape: tuple[int, ...]) -> None:
    x = np.arange(float(np.prod(shape))).reshape(shape)
    layer = Flatten()
    y = layer(x)
    np.testing.assert_array_equal(y, x.reshape(2, -1), strict=True)
    np.testing.assert_array_equal(layer.backward(y), x, strict=True)


@pytest.mark.parametrize("case", cases_of("dense", "flatten"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)
