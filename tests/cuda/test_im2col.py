"""The kernels of convolution against their twins, over windows of all kinds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nplenet.backend import Backend
from nplenet.layers import Conv2d
from nplenet.layers.conv import add_weight_gradient, col2im, im2col
from nplenet.layers.products import product
from nplenet.window import Window

Check = Callable[..., None]
Count = Callable[[Callable[[], object]], tuple[int, int]]
DTYPES = [np.float32, np.float64]

# (N, C, H, W) and a window: single pixels, primes, gaps, overlap, and more than one block of 256.
GEOMETRIES = [
    ((1, 1, 1, 1), Window((1, 1), (1, 1))),
    ((2, 3, 7, 5), Window((3, 2), (1, 1))),
    ((1, 2, 11, 13), Window((2, 3), (3, 2), padding=(1, 1))),
    ((3, 1, 5, 5), Window((5, 5), (1, 1), padding=(2, 2))),
    ((2, 2, 9, 8), Window((2, 2), (1, 2), dilation=(3, 2))),
    ((5, 3, 17, 19), Window((3, 3), (2, 2), padding=(0, 1))),
]
every_geometry = pytest.mark.parametrize(("shape", "window"), GEOMETRIES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def normal(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def columns_shape(shape: tuple[int, ...], window: Window) -> tuple[int, int, int]:
    oh, ow = window.output_size(*shape[2:])
    return shape[0], shape[1] * window.size[0] * window.size[1], oh * ow


@every_dtype
@every_geometry
def test_im2col_equals_its_twin(
    shape: tuple[int, ...], window: Window, dtype: type, assert_equals_twin: Check
) -> None:
    assert_equals_twin(im2col, normal(shape, dtype), window)


@every_dtype
@every_geometry
def test_col2im_equals_its_twin(
    shape: tuple[int, ...], window: Window, dtype: type, assert_equals_twin: Check
) -> None:
    cols = normal(columns_shape(shape, window), dtype)
    assert_equals_twin(col2im, cols, np.full(shape, np.nan, dtype), window)


@every_dtype
@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize(("f", "k", "p"), [(1, 1, 1), (6, 25, 49), (3, 1, 5), (1, 13, 2)])
def test_the_gradient_of_the_weight_equals_its_twin(
    n: int, f: int, k: int, p: int, dtype: type, assert_equals_twin: Check
) -> None:
    dweight = normal((f, k, 1, 1), dtype)
    assert_equals_twin(
        add_weight_gradient, dweight, normal((n, k, p), dtype, 1), normal((n, f, p), dtype, 2)
    )


@every_dtype
@pytest.mark.parametrize(("n", "m", "k", "p"), [(1, 1, 1, 1), (5, 6, 25, 49), (3, 1, 7, 1)])
def test_a_product_equals_its_twin(
    n: int, m: int, k: int, p: int, dtype: type, assert_equals_twin: Check
) -> None:
    a, b = normal((m, k), dtype), normal((n, k, p), dtype, 1)
    assert_equals_twin(product, a, b)
    assert_equals_twin(product, a, b, np.full((n, m, p), np.nan, dtype))


@every_dtype
def test_transposed_and_strided_factors_give_the_same_product(cuda: Backend, dtype: type) -> None:
    a, b = normal((6, 25), dtype), normal((4, 6, 10), dtype, 1)
    device_a, device_b = cuda.asarray(a), cuda.asarray(b)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13  # six terms of about 1
    for left, right in [
        (lambda x: x.T, lambda x: x),
        (lambda x: x.T, lambda x: x[:, :, ::2]),
        (lambda x: x[:, ::5].T, lambda x: x[::2]),
    ]:
        found = cuda.to_numpy(cuda.primitive(product, left(device_a), right(device_b)))
        np.testing.assert_allclose(found, left(a) @ right(b), rtol=0, atol=tolerance, strict=True)


def test_a_convolution_takes_nine_launches_and_copies_nothing(
    cuda: Backend, launches_of: Count
) -> None:
    layer = Conv2d(2, 3, 3, padding=1).to(cuda)
    x = cuda.asarray(normal((4, 2, 8, 8), np.float32))
    # im2col, bias; then im2col, the sums of dweight, col2im and dbias. GEMMs: y, dweight, dcols.
    assert launches_of(lambda: layer.backward(layer(x))) == (6, 3)


def test_a_product_into_a_strided_array_is_refused(cuda: Backend) -> None:
    a, b = cuda.asarray(np.ones((2, 3))), cuda.asarray(np.ones((4, 3, 5)))
    out = cuda.xp.empty((4, 2, 10))[:, :, ::2]
    with pytest.raises(
        TypeError, match=r"C-contiguous arrays only, got float64 of shape \(4, 2, 5"
    ):
        cuda.primitive(product, a, b, out)


def test_columns_of_another_dtype_are_refused(cuda: Backend) -> None:
    window = Window((2, 2), (1, 1))
    cols, x = cuda.asarray(np.ones((1, 4, 4))), cuda.asarray(np.ones((1, 1, 3, 3), np.float32))
    with pytest.raises(TypeError, match="kernel col2im: x is float32, expected float64"):
        cuda.primitive(col2im, cols, x, window)


def test_a_batch_of_no_images_is_no_launch(cuda: Backend) -> None:
    layer = Conv2d(2, 3, 3).to(cuda)
    x = cuda.asarray(np.ones((0, 2, 5, 5), np.float32))
    assert layer(x).shape == (0, 3, 3, 3)
    assert layer.backward(layer(x)).shape == x.shape
    assert not layer.weight.grad.any()
