"""Our own matrix product: NumPy's numbers for matrices that lie in memory in any way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gpusim
import numpy as np
import pytest

from nplenet.backend import Array, Backend
from nplenet.backend.product import BLOCKS_AT_ONCE, MIN_DEPTH, TILES, cut, multiply
from nplenet.layers import Dense
from nplenet.layers.conv import add_weight_gradient
from nplenet.layers.products import add_product, matrix_product, product

from .conftest import ORDERS, TOLERANCE, assert_equal

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# (M, K, P): 1 and primes, around the tiles of 16 and 64 and the slabs of 16, long and short sums
SHAPES = [
    (1, 1, 1),
    (2, 3, 5),
    (15, 16, 17),
    (16, 15, 64),
    (17, 33, 63),
    (10, 257, 84),
    (6, 25, 784),
    (64, 16, 64),
    (65, 17, 129),
    (1, 1000, 1),
    (127, 5, 131),
]


def normal(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def views(shape: tuple[int, ...], dtype: type, seed: int) -> dict[str, Callable[[Any], Array]]:
    """Return makers of matrices of one shape that lie in memory in many ways."""
    *stack, rows, columns = shape
    flat, wide = normal(shape, dtype, seed), normal((*stack, 2 * rows, 3 * columns), dtype, seed)
    turned = normal((*stack, columns, rows), dtype, seed)
    return {
        "rows": lambda xp: xp.asarray(flat),
        "columns": lambda xp: xp.asarray(turned).swapaxes(-1, -2),
        "gaps": lambda xp: xp.asarray(wide)[..., 1::2, 2::3],
        "part": lambda xp: xp.asarray(wide)[..., :rows, columns : 2 * columns],
        "backwards": lambda xp: xp.asarray(flat)[..., ::-1, ::-1],
        "repeated": lambda xp: xp.broadcast_to(xp.asarray(flat[..., :1, :]), shape),
    }


@pytest.fixture
def assert_product(cuda: Backend) -> Callable[..., None]:
    """Return a check of our product: NumPy's numbers, in any order of threads the same bits."""

    def check(a: Callable[[Any], Array], b: Callable[[Any], Array], add: bool = False) -> None:
        left, right = a(np), b(np)
        expected = np.matmul(left.astype(np.float64), right.astype(np.float64))
        start = (
            normal(expected.shape, left.dtype.type, 9) if add else np.full_like(expected, np.nan)
        )
        expected = (expected + start if add else expected).astype(left.dtype)
        bits = set()
        for order in ORDERS:
            out = cuda.asarray(start, left.dtype)
            with gpusim.thread_order(order), cuda.capturable():
                multiply(cuda, a(cuda.xp), b(cuda.xp), out, add)
            found = cuda.to_numpy(out)
            assert_equal(found, expected, TOLERANCE[left.dtype])
            bits.add(found.tobytes())
        assert len(bits) == 1

    return check


@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_equals_numpy(
    shape: tuple[int, int, int], dtype: type, assert_product: Callable[..., None]
) -> None:
    m, k, p = shape
    for add in (False, True):
        for way in ("rows", "columns"):
            assert_product(views((m, k), dtype, 1)[way], views((k, p), dtype, 2)["rows"], add)
    assert_product(views((m, k), dtype, 1)["rows"], views((k, p), dtype, 2)["columns"])


@pytest.mark.parametrize("a", ["rows", "columns", "gaps", "part", "backwards", "repeated"])
@pytest.mark.parametrize("b", ["rows", "columns", "gaps", "part", "backwards", "repeated"])
@pytest.mark.parametrize("stack", [(), (1,), (3,)], ids=["matrix", "stack of one", "stack"])
def test_operands_may_lie_in_memory_in_any_way(
    stack: tuple[int, ...], a: str, b: str, assert_product: Callable[..., None]
) -> None:
    left, right = (*stack, 7, 35), (*stack, 35, 18)
    assert_product(views(left, np.float64, 1)[a], views(right, np.float64, 2)[b])


@pytest.mark.parametrize("repeated", ["a", "b"])
@pytest.mark.parametrize("count", [1, 2, 33])
def test_one_matrix_goes_with_each_of_a_stack(
    count: int, repeated: str, assert_product: Callable[..., None]
) -> None:
    shapes = {"a": (5, 20), "b": (20, 70)}
    shapes |= {name: (count, *shape) for name, shape in shapes.items() if name != repeated}
    a, b = (views(shapes[name], np.float64, 1)["columns"] for name in "ab")
    assert_product(a, b)
    assert_product(a, b, add=True)


@every_dtype
@pytest.mark.parametrize(
    "shape",
    [(64, 400, 120), (120, 64, 400), (120, 1024, 400), (10, 1024, 84), (300, 150, 300)],
)
def test_the_products_of_a_network_equal_numpy(
    shape: tuple[int, int, int], dtype: type, assert_product: Callable[..., None]
) -> None:
    m, k, p = shape
    assert_product(views((m, k), dtype, 1)["columns"], views((k, p), dtype, 2)["rows"], add=True)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("slices", [1, 3])
def test_each_kernel_goes_round_all_tiles_with_few_blocks(
    cuda: Backend, tile: Any, slices: int
) -> None:
    a, b = normal((2, 70, 40), np.float64, 1), normal((2, 40, 130), np.float64, 2)
    out = cuda.xp.full((2, slices, 70, 130), np.nan)
    numbers = (2, 70, 130, 40, slices, -(-40 // slices), 70 * 40, 40, 1, 40 * 130, 130, 1, 0)
    name = f"product_{tile.rows}x{tile.columns}"
    cuda.launch("product", name, 3, cuda.asarray(a), cuda.asarray(b), out, *numbers)
    np.testing.assert_allclose(cuda.to_numpy(out).sum(axis=1), a @ b, rtol=0, atol=1e-12)


def test_numbers_beyond_a_matrix_are_not_read(cuda: Backend) -> None:
    room = cuda.xp.full((2, 64, 64), np.nan)
    room[0, :17, :19], room[1, :19, :18] = 1, 2
    out = cuda.xp.empty((17, 18))
    with cuda.capturable():
        multiply(cuda, room[0, :17, :19], room[1, :19, :18], out)
    assert (cuda.to_numpy(out) == 38).all()


@pytest.mark.parametrize("own", [False, True])
def test_an_empty_sum_is_zero_and_an_empty_product_stays_empty(cuda: Backend, own: bool) -> None:
    for m, k, p in ((0, 3, 4), (3, 4, 0), (3, 0, 4)):
        a, b = cuda.xp.empty((m, k)), cuda.xp.empty((k, p))
        out, total = cuda.xp.full((m, p), 7.0), cuda.xp.full((m, p), 7.0)
        cuda.own_products = own
        try:
            multiply(cuda, a, b, out)
            multiply(cuda, a, b, total, add=True)
        finally:
            cuda.own_products = False
        assert (cuda.to_numpy(out) == 0).all()
        assert (cuda.to_numpy(total) == 7).all()


@pytest.mark.usefixtures("simulated")
@every_dtype
def test_every_primitive_that_multiplies_equals_its_twin_without_cublas(
    cuda: Backend, dtype: type, assert_equals_twin: Callable[..., None]
) -> None:
    with cuda.capturable(), gpusim.counting() as count:
        stack, a, b = normal((3, 25, 70), dtype), normal((6, 25), dtype), normal((25, 70), dtype)
        assert_equals_twin(product, a, stack)
        assert_equals_twin(product, a, stack, normal((3, 6, 70), dtype))
        assert_equals_twin(matrix_product, a, b)
        assert_equals_twin(add_product, normal((6, 70), dtype), a, b)
        dweight, dy = normal((6, 1, 5, 5), dtype), normal((3, 6, 70), dtype)
        assert_equals_twin(add_weight_gradient, dweight, stack, dy)
        assert_equals_twin(add_weight_gradient, dweight, stack[:0], dy[:0])
    assert count.gemms == 0


@pytest.mark.usefixtures("simulated")
def test_capturable_is_a_switch_that_goes_back(cuda: Backend) -> None:
    layer = Dense(40, 12).to(cuda)
    x = cuda.asarray(normal((8, 40), np.float32))

    def gemms() -> int:
        with gpusim.counting() as count:
            layer.backward(layer(x))
        return count.gemms

    def interrupted() -> None:
        with cuda.capturable():
            assert gemms() == 0
            raise ValueError("planned")

    assert gemms() == 3
    with pytest.raises(ValueError, match="planned"):
        interrupted()
    assert gemms() == 3


# (count, rows, columns, depth) of LeNet-5's products for 64 and 4096 images, and a large one
@pytest.mark.parametrize(
    ("shape", "tile", "slices"),
    [
        ((64, 6, 784, 25), (16, 64), 1),  # convolution 1
        ((64, 150, 100, 16), (64, 64), 1),  # gradient of the columns
        ((1, 64, 120, 400), (16, 16), 6),  # dense 1
        ((1, 120, 400, 64), (16, 16), 1),  # gradient of its weights
        ((1, 120, 400, 4096), (64, 64), 18),
        ((1, 10, 84, 4096), (16, 64), 64),
        ((1, 2048, 2048, 2048), (64, 64), 1),
    ],
)
def test_the_shape_decides_the_tile_and_the_slices(
    shape: tuple[int, int, int, int], tile: tuple[int, int], slices: int
) -> None:
    found, parts, blocks = cut(*shape)
    assert ((found.rows, found.columns), parts) == (tile, slices)
    count, rows, columns, _ = shape
    assert blocks == count * -(-rows // tile[0]) * -(-columns // tile[1]) * slices


def test_slices_are_neither_short_nor_empty() -> None:
    for depth in range(1, 2000):
        _, slices, blocks = cut(1, 10, 84, depth)
        length = -(-depth // slices)
        assert slices == 1 or (length >= MIN_DEPTH and (slices - 1) * length < depth)
        assert blocks <= BLOCKS_AT_ONCE
