"""What every layer of the table promises, whatever it computes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nplenet.backend import Array, Backend
from nplenet.cases import ROWS, Case
from nplenet.layers import Conv2d, Dense, Dropout, Layer, ReLU, Sequential
from nplenet.layers.sequential import leaves

CASES = [case for row in ROWS if issubclass(row.kind, Layer) for case in row.cases]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
one_case_each = pytest.mark.parametrize(
    "case",
    [row.cases[0] for row in ROWS if issubclass(row.kind, Layer)],
    ids=lambda case: case.name,
)


class ForeignArray:
    """An array of a library that the layer does not compute with."""

    shape, dtype, ndim = (2, 2), np.dtype(np.float32), 2
    __cuda_array_interface__: dict[str, Any] = {}  # noqa: RUF012


def build(case: Case, backend: Backend, dtype: type = np.float64) -> tuple[Layer, Array]:
    layer = case.build(dtype=dtype, backend=backend.name)
    assert isinstance(layer, Layer)
    return layer, case.input(dtype=dtype, backend=backend.name)


def upstream(y: Array, backend: Backend) -> Array:
    return backend.asarray(np.random.default_rng(5).standard_normal(y.shape), dtype=y.dtype)


def last_label(layer: Layer) -> str:
    """Return what an error of backward begins with: the last layer, in a network with its path."""
    if not isinstance(layer, Sequential):
        return re.escape(f"{layer._label}: ")
    path, last = list(leaves(layer))[-1]
    return re.escape(f"{path} ({last}): ")


# ------------------------------------------------------------------------------ shapes and dtypes


@every_case
def test_output_shape_foretells_the_shape(case: Case, backend: Backend) -> None:
    layer, x = build(case, backend)
    assert layer.output_shape(x.shape) == layer(x).shape


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays_throughout(case: Case, dtype: type, backend: Backend) -> None:
    layer, x = build(case, backend, dtype)
    y = layer(x)
    dx = layer.backward(upstream(y, backend))
    arrays = [y, dx, *(p.grad for p in layer.parameters()), *(p.data for p in layer.parameters())]
    floats = [a for a in layer.state_dict().values() if a.dtype.kind == "f"]
    assert {a.dtype for a in arrays + floats} == {np.dtype(dtype)}


@every_case
def test_gradients_have_the_shapes_of_their_arrays(case: Case, backend: Backend) -> None:
    layer, x = build(case, backend)
    dx = layer.backward(upstream(layer(x), backend))
    assert dx.shape == x.shape
    assert all(p.grad.shape == p.data.shape for p in layer.parameters())


@every_case
def test_float32_agrees_with_float64(case: Case, backend: Backend) -> None:
    results = []
    for dtype in (np.float32, np.float64):
        layer, x = build(case, backend, dtype)
        y = layer(x)
        dx = layer.backward(upstream(y, backend))
        arrays = (y, dx, *(p.grad for p in layer.parameters()))
        results.append([backend.to_numpy(a).astype(np.float64) for a in arrays])
    for single, double in zip(*results, strict=True):
        assert np.isfinite(single).all()
        # 1e-5: a hundred roundings of 6e-8; the 1: sums that cancel, such as a bias before a
        # batch norm.
        assert np.abs(single - double).max() <= 1e-5 * max(1, np.abs(double).max())


# ------------------------------------------------------------------------------ no side effects


@every_case
def test_input_and_upstream_gradient_stay_as_they_are(case: Case, backend: Backend) -> None:
    layer, x = build(case, backend)
    x_before = x.copy()
    dy = upstream(layer(x), backend)
    dy_before = dy.copy()
    layer.backward(dy)
    assert bool((x == x_before).all())
    assert bool((dy == dy_before).all())


@every_case
def test_arrays_in_another_memory_order_give_the_same(case: Case, backend: Backend) -> None:
    results = []
    for order in "CF":
        layer, x = build(case, backend)
        y = layer(backend.xp.asarray(x, order=order))
        dx = layer.backward(backend.xp.asarray(upstream(y, backend), order=order))
        results.append([y, dx, *(p.grad for p in layer.parameters())])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(
            backend.to_numpy(a), backend.to_numpy(b), rtol=0, atol=1e-11, strict=True
        )


@every_case
def test_in_eval_mode_images_do_not_depend_on_their_batch(case: Case, backend: Backend) -> None:
    layer, x = build(case, backend)
    layer.eval()
    together = backend.to_numpy(layer(x))
    alone = np.concatenate([backend.to_numpy(layer(x[i : i + 1])) for i in range(len(x))])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-12, strict=True)


@every_case
def test_two_equal_layers_give_equal_bits(case: Case, backend: Backend) -> None:
    results = []
    for _ in range(2):
        layer, x = build(case, backend, np.float32)
        y = layer(x)
        dx = layer.backward(upstream(y, backend))
        results.append([y, dx, *(p.grad for p in layer.parameters())])
    assert all(bool((a == b).all()) for a, b in zip(*results, strict=True))


# ------------------------------------------------------------------------------ refusals


@one_case_each
def test_backward_before_forward_is_refused(case: Case, backend: Backend) -> None:
    layer, x = build(case, backend)
    dy = backend.asarray(np.zeros(layer.output_shape(x.shape)))
    with pytest.raises(
        ValueError, match=rf"^{last_label(layer)}backward called without a matching forward"
    ):
        layer.backward(dy)


@one_case_each
def test_a_second_backward_for_one_forward_is_refused(case: Case, backend: Backend) -> None:
    layer, x = build(case, backend)
    dy = upstream(layer(x), backend)
    layer.backward(dy)
    with pytest.raises(ValueError, match=rf"^{last_label(layer)}.*call forward once before each"):
        layer.backward(dy)


@one_case_each
def test_an_upstream_gradient_of_another_shape_is_refused(case: Case, backend: Backend) -> None:
    layer, x = build(case, backend)
    y = layer(x)
    wrong = backend.asarray(np.zeros((*y.shape, 1)))
    with pytest.raises(ValueError, match="dy must have the output's shape") as refusal:
        layer.backward(wrong)
    assert re.match(last_label(layer), str(refusal.value))
    assert str(y.shape) in str(refusal.value)
    assert str(wrong.shape) in str(refusal.value)


@one_case_each
@pytest.mark.parametrize(
    ("dy", "described"),
    [([[1.0]], "list"), (ForeignArray(), r"float32 of shape \(2, 2\)")],
    ids=["list", "foreign"],
)
def test_an_upstream_gradient_of_another_kind_is_refused(
    case: Case, dy: Any, described: str, backend: Backend
) -> None:
    layer, x = build(case, backend)
    layer(x)
    message = (
        rf"^{last_label(layer)}computes on the {backend.name} backend but its dy is .*{described}"
    )
    with pytest.raises(TypeError, match=message):
        layer.backward(dy)


@one_case_each
@pytest.mark.parametrize("x", [[[1.0]], 1.0, None, ForeignArray()], ids=lambda x: type(x).__name__)
def test_an_input_of_another_kind_is_refused(case: Case, x: Any, backend: Backend) -> None:
    layer, _ = build(case, backend)
    name = type(layer).__name__
    with pytest.raises(TypeError, match=rf"^{name}\b.*: computes on the {backend.name} backend"):
        layer(x)


@one_case_each
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.complex128, bool])
def test_an_input_of_another_dtype_is_refused(case: Case, dtype: type, backend: Backend) -> None:
    layer, x = build(case, backend)
    message = rf"^{type(layer).__name__}\b.*: takes float32 or float64, got .*{dtype.__name__}"
    with pytest.raises(TypeError, match=message):
        layer(backend.xp.ones(x.shape, dtype=dtype))


@pytest.mark.parametrize("name", ["conv2d", "batchnorm2d", "batchnorm1d", "avgpool2d", "dense"])
def test_an_input_of_another_rank_is_refused(name: str, backend: Backend) -> None:
    (row,) = (row for row in ROWS if row.name == name)
    layer, _ = build(row.cases[0], backend)
    for shape in [(), (2,), (2, 2, 2, 2, 2)]:
        with pytest.raises(
            ValueError, match=r"takes an input of [\d or]+ axes, got .* of shape"
        ) as e:
            layer(backend.asarray(np.zeros(shape)))
        assert str(e.value).startswith(row.kind.__name__)
        assert str(shape) in str(e.value)


@pytest.mark.parametrize("name", ["conv2d", "batchnorm2d", "batchnorm1d", "dense"])
def test_an_input_with_other_channels_is_refused(name: str, backend: Backend) -> None:
    (row,) = (row for row in ROWS if row.name == name)
    layer, x = build(row.cases[0], backend)
    wrong = backend.xp.concatenate([x, x[:, :1]], axis=1)
    with pytest.raises(ValueError, match=rf"takes {x.shape[1]} channels or features") as e:
        layer(wrong)
    assert str(e.value).startswith(row.kind.__name__)
    assert str(tuple(wrong.shape)) in str(e.value)


def test_a_refused_upstream_gradient_can_be_sent_again() -> None:
    layer = ReLU()
    layer(np.ones((2, 2)))
    with pytest.raises(ValueError, match="dy must have"):
        layer.backward(np.ones((1, 2)))
    assert layer.backward(np.ones((2, 2))).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_a_layer_without_forward_or_backward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Layer has no forward"):
        Layer()(np.ones(1))
    with pytest.raises(NotImplementedError, match="Layer has no backward"):
        Layer().backward(np.ones(1))


# ------------------------------------------------------------------------------ input_gradient


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2d(2, 3, 3, dtype=np.float64), (2, 2, 5, 5)),
        (Dense(4, 3, dtype=np.float64), (2, 4)),
        (Sequential(Sequential(Dense(4, 3, dtype=np.float64)), ReLU()), (2, 4)),
    ],
    ids=["conv", "dense", "nested"],
)
def test_without_input_gradient_parameters_still_get_theirs(
    layer: Layer, shape: tuple[int, ...], backend: Backend
) -> None:
    layer.to(backend)
    x = backend.asarray(np.random.default_rng(0).standard_normal(shape))
    gradients = []
    for wanted in (True, False):
        layer.input_gradient = wanted
        assert layer.input_gradient is wanted
        layer.zero_grad()
        dx = layer.backward(upstream(layer(x), backend))
        assert (dx is not None) is wanted
        gradients.append([p.grad.copy() for p in layer.parameters()])
    assert all(bool((a == b).all()) for a, b in zip(*gradients, strict=True))


def test_gradients_accumulate_until_zero_grad() -> None:
    layer = Dense(3, 2, dtype=np.float64)
    x, dy = np.ones((4, 3)), np.ones((4, 2))
    for times in (1, 2, 3):
        layer(x)
        layer.backward(dy)
        assert layer.weight.grad.tolist() == np.full((2, 3), 4.0 * times).tolist()
    layer.zero_grad()
    assert not layer.weight.grad.any()


def test_dropout_between_train_and_eval_uses_the_mask_of_its_forward() -> None:
    layer = Dropout(0.5, rng=np.random.default_rng(0))
    y = layer(np.ones((100,)))
    assert layer.eval().backward(np.ones((100,))).tolist() == y.tolist()
