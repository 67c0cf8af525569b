"""The augmentation kernel: NumPy's images bit for bit, a batch in one launch."""

from __future__ import annotations

from typing import Any

import gpusim
import numpy as np
import pytest

from nplenet.augment import (
    Compose,
    Draws,
    RandomAffine,
    RandomInvert,
    RandomRotation,
    ToFloat,
    affine_augmentation,
    augment_batch,
    fuse,
    rotation_coefficients,
    standard_augmentation,
)
from nplenet.backend import Backend

# (N, C, H, W): 1 and primes, sizes that do not fill a block, H and W that differ
SHAPES = [
    (1, 1, 1, 1),
    (3, 1, 5, 7),
    (64, 1, 32, 32),
    (7, 3, 13, 11),
    (2, 3, 1, 300),
    (5, 1, 97, 3),
]


def data_set(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def random_draws(n: int, height: int, width: int, rng: np.random.Generator) -> Draws:
    angles = rng.uniform(-180, 180, n)
    coins = rng.integers(0, 2, (2, n), np.uint8)
    return Draws(rotation_coefficients(angles, height, width), *coins)


def both(
    cuda: Backend, images: np.ndarray, indexes: np.ndarray, draws: Draws, *rest: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return what kernel and twin make of the same draws."""
    on_device = draws.to(cuda)
    made = cuda.primitive(
        augment_batch, cuda.asarray(images), cuda.asarray(indexes), *on_device, *rest
    )
    return cuda.to_numpy(made), augment_batch(np, images, indexes, *draws, *rest)


@pytest.mark.parametrize("fill", [0, 77, 255])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_equal_numpy_bit_for_bit(
    cuda: Backend, shape: tuple[int, int, int, int], dtype: type, fill: int
) -> None:
    rng = np.random.default_rng(list(shape))
    images = data_set(50, shape[1:])
    indexes = rng.integers(0, 50, shape[0], np.int32)
    draws = random_draws(shape[0], *shape[2:], rng)
    np.testing.assert_array_equal(*both(cuda, images, indexes, draws, fill, dtype), strict=True)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("missing", range(8))
def test_each_transform_may_be_left_out(cuda: Backend, missing: int, channels: int) -> None:
    rng = np.random.default_rng(missing)
    images = data_set(9, (channels, 8, 9))
    indexes = rng.permutation(9).astype(np.int32)
    all_three = random_draws(9, 8, 9, rng)
    draws = Draws(*(None if missing >> i & 1 else draw for i, draw in enumerate(all_three)))
    np.testing.assert_array_equal(*both(cuda, images, indexes, draws, 0, np.float32), strict=True)


def test_all_256_values_are_divided_as_numpy_divides(cuda: Backend) -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    draws, zero = Draws(None, None, None), np.zeros(1, np.int32)
    for dtype in (np.float32, np.float64):
        made, _ = both(cuda, images, zero, draws, 0, dtype)
        np.testing.assert_array_equal(made, images / dtype(255), strict=True)


@pytest.mark.parametrize("order", ["reverse", "random:5"])
def test_the_order_of_the_threads_changes_nothing(cuda: Backend, order: str) -> None:
    images, indexes = cuda.asarray(data_set(20, (3, 9, 9))), cuda.asarray(np.arange(20, dtype="i4"))
    draws = random_draws(20, 9, 9, np.random.default_rng(0)).to(cuda)
    expected = cuda.primitive(augment_batch, images, indexes, *draws, 0, np.float32)
    with gpusim.thread_order(order):
        actual = cuda.primitive(augment_batch, images, indexes, *draws, 0, np.float32)
    assert cuda.to_numpy(actual).tobytes() == cuda.to_numpy(expected).tobytes()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [standard_augmentation(), affine_augmentation(), ToFloat(),
     Compose([RandomRotation(90, fill=9), ToFloat(np.float64)]),
     Compose([RandomInvert(0.3), ToFloat()]),
     Compose([RandomAffine(0, (0.3, 0.2), (0.5, 2), 20, 9), RandomInvert(), ToFloat()])],
)  # fmt: skip
def test_an_epoch_on_the_device_equals_the_host_pipeline_batch_by_batch(
    cuda: Backend, transform: Any, channels: int
) -> None:
    images = data_set(50, (channels, 16, 16))
    order, sizes = np.random.default_rng(1).permutation(50).astype(np.int32), [16, 16, 16, 2]
    host_rng, device_rng = (np.random.default_rng(2) for _ in range(2))
    pipeline = fuse(transform)
    assert pipeline is not None
    draws = pipeline.draw(sizes, device_rng, 16, 16).to(cuda)
    on_device, indexes = cuda.asarray(images), cuda.asarray(order)
    for i, size in enumerate(sizes):
        part = slice(16 * i, 16 * i + size)
        expected = transform(images[order[part]], host_rng)
        made = pipeline.apply(on_device, indexes[part], draws.part(part))
        np.testing.assert_array_equal(cuda.to_numpy(made), expected, strict=True)
    assert host_rng.bit_generator.state == device_rng.bit_generator.state


def test_draws_for_another_number_of_images_are_refused(cuda: Backend) -> None:
    images, indexes = cuda.asarray(data_set(5, (1, 4, 4))), cuda.asarray(np.arange(5, dtype="i4"))
    draws = random_draws(4, 4, 4, np.random.default_rng(0)).to(cuda)
    with pytest.raises(ValueError, match=r"coefficients has shape \(4, 6\), expected \(5, 6\)"):
        cuda.primitive(augment_batch, images, indexes, *draws, 0, np.float32)


@pytest.mark.parametrize("shape", [(2, 4, 4), (4, 4, 4), (0, 4, 4), (4, 4)])
def test_images_of_another_shape_are_refused(cuda: Backend, shape: tuple[int, ...]) -> None:
    images, indexes = cuda.asarray(data_set(5, shape)), cuda.asarray(np.arange(5, dtype="i4"))
    with pytest.raises(ValueError, match=r"images have shape .* expected \(M, C, H, W\), C 1 or 3"):
        cuda.primitive(augment_batch, images, indexes, None, None, None, 0, np.float32)


@pytest.mark.parametrize(
    ("name", "change"),
    [("images", np.float32), ("indexes", np.int64), ("coefficients", np.int64), ("gray", bool)],
)
def test_an_array_of_another_dtype_is_refused_by_name(
    cuda: Backend, name: str, change: type
) -> None:
    arrays: dict[str, Any] = {"images": data_set(5, (1, 4, 4)), "indexes": np.arange(5, dtype="i4")}
    arrays |= random_draws(5, 4, 4, np.random.default_rng(0))._asdict()
    arrays[name] = arrays[name].astype(change)
    on_device = [cuda.asarray(array) for array in arrays.values()]
    with pytest.raises(TypeError, match=f"{name} is {np.dtype(change)}, expected"):
        cuda.primitive(augment_batch, *on_device, 0, np.float32)


@pytest.mark.usefixtures("simulated")
def test_a_batch_is_one_launch_and_copies_nothing(cuda: Backend) -> None:
    pipeline = fuse(standard_augmentation())
    assert pipeline is not None
    images, indexes = (
        cuda.asarray(data_set(64, (1, 32, 32))),
        cuda.asarray(np.arange(64, dtype="i4")),
    )
    draws = pipeline.draw([64], np.random.default_rng(0), 32, 32).to(cuda)
    part = slice(0, 64)
    pipeline.apply(images, indexes[part], draws.part(part))
    with gpusim.counting() as count:
        pipeline.apply(images, indexes[part], draws.part(part))
    assert (count.launches, count.syncs, count.h2d, count.d2h, count.allocations) == (1, 0, 0, 0, 0)
