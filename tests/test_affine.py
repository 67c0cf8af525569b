"""Affine maps: equal to Pillow's bit for bit, and the amounts that RandomAffine draws."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import pytest

from nplenet.augment import (
    AffineMaps,
    Compose,
    Draws,
    RandomAffine,
    RandomInvert,
    RandomRotation,
    ToFloat,
    affine,
    affine_augmentation,
    affine_coefficients,
    apply_affine,
    augment_batch,
    fuse,
    rotate,
)
from nplenet.augment.maps import MAX_SIDE
from nplenet.augment.random_affine import _matrix
from nplenet.backend import Backend

SIZES = [(32, 32), (28, 28), (1, 1), (1, 9), (13, 1), (7, 31), (31, 8), (33, 64), (90, 151)]

# CRC-32 of the row-major result, the sum of its values, and its zeros, which are filled pixels.
# Input: arange(size**2) % 251 + 1. Made with Pillow 13.0.0.
GOLDEN = [
    (28, (0.9, 0.2, 1.5, -0.15, 1.1, 0.25), 0x5F3B19C0, 80320, 126),
    (28, (1.1, 0, -1.6, 0, 0.9, 1.9), 0xAFF5673D, 98534, 56),
    (28, (1, 0, 0.5, 0, 1, -0.5), 0x042A17CF, 92292, 28),
    (28, (-1.3, 0.4, 30, 0.2, -0.8, 20.125), 0xEC516AF0, 70766, 203),
    (28, (1 / 3, 0, 4, 0, 1 / 3, 4), 0x7B11C8C6, 95368, 0),
    (32, (0.9, 0.2, 1.5, -0.15, 1.1, 0.25), 0x4A24FA65, 105125, 160),
    (32, (1.1, 0, -1.6, 0, 0.9, 1.9), 0xADBFC9A7, 129367, 64),
    (32, (1, 0, 0.5, 0, 1, -0.5), 0xFEE1E6C0, 122858, 32),
    (32, (-1.3, 0.4, 30, 0.2, -0.8, 20.125), 0x01B51348, 89443, 288),
    (32, (1 / 3, 0, 4, 0, 1 / 3, 4), 0x1547E982, 139232, 0),
]

EVERYTHING = RandomAffine(40, (0.3, 0.2), (0.5, 2.0), (-30, 20, -10, 25), fill=7)


def random_images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pillow_affine(images: np.ndarray, matrices: np.ndarray, fill: int = 0) -> np.ndarray:
    image = pytest.importorskip("PIL.Image", reason="Pillow is the reference for affine maps")
    method, nearest = image.Transform.AFFINE, image.Resampling.NEAREST
    color = fill if images.shape[1] == 1 else (fill,) * 3
    found = []
    for pixels, matrix in zip(images, matrices, strict=True):
        picture = image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        mapped = picture.transform(picture.size, method, matrix.tolist(), nearest, fillcolor=color)
        found.append(np.atleast_3d(mapped).transpose(2, 0, 1))
    return np.stack(found)


def random_matrices(n: int, height: int, width: int, largest: float = 2.0) -> np.ndarray:
    """Return maps of any kind: their source lies in the image, at its borders and outside."""
    rng = np.random.default_rng([n, height, width])
    slopes = rng.uniform(-largest, largest, (n, 4))
    about = rng.uniform(-0.5, 1.5, (2, n)) * [[width], [height]]  # the source of the centre
    a, b, d, e = slopes.T
    c = about[0] - a * width / 2 - b * height / 2
    f = about[1] - d * width / 2 - e * height / 2
    return np.stack([a, b, c, d, e, f], axis=1)


def without_rotation(matrices: np.ndarray) -> np.ndarray:
    return matrices * [1, 0, 1, 0, 1, 1]


# --- equal to Pillow


@pytest.mark.parametrize(("size", "matrix", "crc", "total", "zeros"), GOLDEN)
def test_a_map_gives_the_golden_pixels(
    size: int, matrix: tuple[float, ...], crc: int, total: int, zeros: int
) -> None:
    image = (np.arange(size * size) % 251 + 1).astype(np.uint8).reshape(1, 1, size, size)
    mapped = affine(image, matrix)
    assert zlib.crc32(mapped.tobytes()) == crc
    assert int(mapped.sum()) == total
    assert np.count_nonzero(mapped == 0) == zeros


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("straight", [False, True], ids=["any map", "zoom and shift"])
def test_a_map_equals_pillows(height: int, width: int, channels: int, straight: bool) -> None:
    n = 2000 if height * width < 2000 else 100
    images = random_images(n, channels, height, width)
    matrices = random_matrices(n, height, width)
    matrices[: n // 2] *= [0.5, 0.1, 1, 0.1, 0.5, 1]  # nearer to what augmentation draws
    if straight:
        matrices = without_rotation(matrices)
    found, expected = affine(images, matrices, fill=7), pillow_affine(images, matrices, fill=7)
    assert found.dtype == np.uint8
    assert np.count_nonzero(found != expected) == 0
    if height * width > 100:  # the maps are such that both happen
        assert 0.05 < (found == 7).mean() < 0.95


@pytest.mark.parametrize("straight", [False, True])
@pytest.mark.parametrize("largest", [10.0, 200.0])
def test_a_map_far_beyond_the_image_equals_pillows(largest: float, straight: bool) -> None:
    images, matrices = random_images(300, 1, 20, 24), random_matrices(300, 20, 24, largest)
    matrices = without_rotation(matrices) if straight else matrices
    assert np.array_equal(affine(images, matrices, 9), pillow_affine(images, matrices, 9))


@pytest.mark.parametrize("shift", [0.0, 0.5, -0.5, 1 / 3, 1.0, -3.0, 0.4999999, 0.5000001, -1e-17])
def test_a_shift_equals_pillows_also_by_whole_and_half_pixels(shift: float) -> None:
    images = random_images(1, 3, 20, 31)
    for matrix in ([1, 0, shift, 0, 1, 0], [1, 0, 0, 0, 1, shift], [-1, 0, 31 + shift, 0, 1, 0.25]):
        expected = pillow_affine(images, np.array([matrix], float), 5)
        assert np.array_equal(affine(images, matrix, 5), expected)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (31, 45)])
def test_what_random_affine_makes_equals_pillows(height: int, width: int) -> None:
    images = random_images(3000, 1, height, width)
    amounts = EVERYTHING.draw(3000, np.random.default_rng(3))
    matrices = np.array([_matrix(math, a.tolist(), height, width) for a in amounts.T])
    found = EVERYTHING(images, np.random.default_rng(3))
    assert np.array_equal(found, pillow_affine(images, matrices, fill=7))


def test_pixels_differ_from_pillows_only_where_its_sum_of_floats_meets_a_whole_number() -> None:
    # 0.9 is not a float: sums of it that should be 9, 18, 27 fall to either side, as no line does.
    rng = np.random.default_rng(0)
    slopes, shifts = rng.integers(-20, 21, (2, 2, 3000)) / 10
    matrices = np.zeros((3000, 6))
    matrices[:, [0, 4]], matrices[:, [2, 5]] = slopes.T, shifts.T
    images = random_images(3000, 1, 32, 32)
    differ = affine(images, matrices) != pillow_affine(images, matrices)
    assert 0 < differ.any(axis=(1, 2, 3)).mean() < 0.1  # 0.06 of maps as even as these
    for i, _, y, x in np.argwhere(differ):
        a, _, c, _, e, f = matrices[i]
        sources = np.array([a * (x + 0.5) + c, e * (y + 0.5) + f])
        assert np.abs(sources - np.rint(sources)).min() < 1e-12


def test_six_numbers_may_stand_for_all_images() -> None:
    images, matrix = random_images(5, 1, 9, 8), [0.9, 0.2, 0.1, -0.1, 1.2, 0.3]
    assert np.array_equal(affine(images, matrix), affine(images, [matrix] * 5))


# --- what the amounts mean


def amounts_only(**amounts: float) -> np.ndarray:
    """Return six rows: no angle, no shift, zoom 1, no shear, but for what is given."""
    names = ("angle", "right", "down", "zoom", "shear_x", "shear_y")
    return np.array([amounts.get(name, float(name == "zoom")) for name in names])


@pytest.mark.parametrize(
    ("amounts", "row", "column"),
    [
        ({"right": 3 / 32}, 10, 23),
        ({"down": 3 / 32}, 13, 20),
        ({"zoom": 2.0}, 5, 25),  # 16 + 2 (10.5 - 16) = 5, 16 + 2 (20.5 - 16) = 25: the middle
        ({"angle": 90.0}, 11, 10),
        ({"shear_x": 45.0}, 10, 26),  # 5.5 above the centre: to the right by as much
        ({"shear_y": 45.0}, 6, 20),  # 4.5 to the right of it: upwards by as much
    ],
)
def test_each_amount_moves_a_pixel_as_it_says(
    amounts: dict[str, float], row: int, column: int
) -> None:
    images = np.zeros((1, 1, 32, 32), np.uint8)
    images[0, 0, 10, 20] = 255
    matrix = _matrix(math, amounts_only(**amounts).tolist(), 32, 32)
    places = np.argwhere(affine(images, matrix)[0, 0])
    assert len(places) > 0
    assert np.abs(places + 0.5 - [row + 0.5, column + 0.5]).max() <= 1


def test_the_matrix_is_the_inverse_of_shear_rotation_zoom_and_shift() -> None:
    rng = np.random.default_rng(0)
    for angle, right, down, zoom, x, y in rng.uniform(
        [-180, -1, -1, 0.2, -60, -60], [180, 1, 1, 3, 60, 60], (50, 6)
    ):
        turn = math.radians(-angle)
        rotation = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        along_x = [[1, -math.tan(math.radians(x))], [0, 1]]
        along_y = [[1, 0], [-math.tan(math.radians(y)), 1]]
        forward = zoom * np.array(rotation) @ along_y @ along_x
        a, b, c, d, e, f = _matrix(math, (angle, right, down, zoom, x, y), 20, 30)
        np.testing.assert_allclose(np.array([[a, b], [d, e]]) @ forward, np.eye(2), atol=1e-12)
        # The centre goes where the shift takes it.
        column, row = 15 + 30 * right, 10 + 20 * down
        source = a * column + b * row + c, d * column + e * row + f
        np.testing.assert_allclose(source, (15, 10), atol=1e-12)


def test_an_angle_alone_is_a_rotation() -> None:
    images = random_images(2000, 1, 32, 32)
    made = RandomAffine(180)(images, np.random.default_rng(4))
    angles = RandomAffine(180).draw(2000, np.random.default_rng(4))[0]
    assert np.array_equal(made, rotate(images, angles))


def test_amounts_are_uniform_in_their_ranges_in_the_documented_order() -> None:
    amounts = EVERYTHING.draw(100_000, np.random.default_rng(0))
    uniform = np.random.default_rng(0).random((6, 100_000))
    low, high = [-40, -0.3, -0.2, 0.5, -30, -10], [40, 0.3, 0.2, 2, 20, 25]
    for row, numbers, least, most in zip(amounts, uniform, low, high, strict=True):
        np.testing.assert_allclose(row, least + (most - least) * numbers, rtol=0, atol=1e-13)
        assert least <= row.min() < least + 0.001 * (most - least)
        assert most - 0.001 * (most - least) < row.max() < most


@pytest.mark.parametrize(
    ("shear", "ranges"),
    [
        (0, (0, 0, 0, 0)),
        (8, (-8, 8, 0, 0)),
        ((3, 9), (3, 9, 0, 0)),
        ([-1, 2, -3, 4], (-1, 2, -3, 4)),
    ],
)
def test_shear_takes_the_forms_of_torchvision(shear: Any, ranges: tuple[float, ...]) -> None:
    assert RandomAffine(0, shear=shear).shears() == ranges


def test_nearly_tied_amounts_are_computed_by_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    amounts = RandomAffine(30, scale=(0.9, 1.1))
    uniform = np.random.default_rng(0).random((6, 500))
    expected = amounts.coefficients(uniform, 32, 32)
    exact, cosine = np.cos, lambda x: exact(x) * (1 + 2e-16)  # of another processor
    monkeypatch.setattr("nplenet.augment.random_affine.np.cos", cosine)
    assert np.array_equal(amounts.coefficients(uniform, 32, 32), expected)
    # Angles where A0 steps to the next integer: that cosine falls to the wrong side.
    low, high = 0.5, 0.9
    first = _a0(low)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _a0(middle) == first else (low, middle)
    rows = np.zeros((6, 200))
    rows[0], rows[3] = high + np.spacing(high) * np.arange(-100, 100), 0.5
    found = amounts.coefficients(rows, 32, 32)[:, 0].tolist()
    assert found == [_a0(value) for value in rows[0].tolist()]
    assert len(set(found)) == 2


def _a0(number: float) -> int:
    """Return A0 of one angle of RandomAffine(30) at zoom 1, by the formula and the C library."""
    return math.floor(math.cos(math.radians(-30 + 60 * number)) / 1.0 * 65536 + 0.5)


# --- the pipeline


def test_the_affine_augmentation_is_half_a_pixel_and_a_tenth_of_zoom() -> None:
    assert repr(affine_augmentation()) == (
        "Compose([RandomAffine(degrees=15, translate=(0.015625, 0.015625), scale=(0.9, 1.1), "
        "shear=0.0, fill=0), RandomInvert(p=0.5), RandomGrayscale(p=0.5), ToFloat(dtype=float32)])"
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [affine_augmentation(), Compose([EVERYTHING, RandomInvert(0.5), ToFloat(np.float64)])],
    ids=["affine", "everything"],
)
def test_a_fused_epoch_is_pillows_map_then_inversion(
    backend: Backend, transform: Compose, channels: int
) -> None:
    images = random_images(50, channels, 12, 9)
    order, parts = np.random.default_rng(1).permutation(50), [slice(0, 16), slice(16, 50)]
    pipeline = fuse(transform)
    assert pipeline is not None
    batchwise, fused, stated = (np.random.default_rng(5) for _ in range(3))
    draws = pipeline.draw([16, 34], fused, 12, 9)
    kind = transform.transforms[0]
    there, indexes = backend.asarray(images), backend.asarray(order.astype(np.int32))
    for part in parts:
        made = pipeline.apply(there, indexes[part], draws.part(part).to(backend))
        expected = transform(images[order[part]], batchwise)
        np.testing.assert_array_equal(backend.to_numpy(made), expected, strict=True)
        amounts = kind.draw(len(order[part]), stated)
        matrices = np.array([_matrix(math, a.tolist(), 12, 9) for a in amounts.T])
        mapped = pillow_affine(images[order[part]], matrices, kind.fill)
        coins = stated.random(len(mapped)) < 0.5
        if len(transform.transforms) == 4:
            stated.random(len(mapped))  # grayscale, which changes colour only
        if channels == 1 or len(transform.transforms) == 3:
            mapped[coins] = 255 - mapped[coins]
            floats = mapped / pipeline.to_float.dtype.type(255)
            np.testing.assert_array_equal(backend.to_numpy(made), floats)
    assert batchwise.bit_generator.state == fused.bit_generator.state


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_both_backends_give_pillows_pixels(
    backend: Backend, height: int, width: int, channels: int
) -> None:
    images, matrices = (
        random_images(60, channels, height, width),
        random_matrices(60, height, width),
    )
    matrices[40:] *= [1, 0, 1, 0, 1, 1]
    matrices[:20] *= [0.5, 0.1, 1, 0.1, 0.5, 1]
    coefficients = affine_coefficients(matrices, height, width)
    made = backend.primitive(
        augment_batch,
        backend.asarray(images),
        backend.asarray(np.arange(60, dtype=np.int32)),
        *Draws(coefficients, None, None).to(backend),
        200,
        np.float32,
    )
    expected = pillow_affine(images, matrices, 200) / np.float32(255)
    np.testing.assert_array_equal(backend.to_numpy(made), expected)


@pytest.mark.parametrize("both", [(RandomRotation, RandomAffine), (RandomAffine, RandomRotation)])
def test_two_maps_are_not_fused(both: tuple[Any, Any]) -> None:
    assert fuse(Compose([both[0](15), both[1](15), ToFloat()])) is None


def test_the_old_names_of_the_gather_still_work_and_warn() -> None:
    from nplenet import augment

    with pytest.warns(DeprecationWarning, match=r"use nplenet\.augment\.apply_affine"):
        assert augment.apply_rotation is apply_affine
    with pytest.warns(DeprecationWarning, match=r"use nplenet\.augment\.AffineMaps"):
        assert augment.Rotations is AffineMaps


# --- refusals


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"degrees": -1}, r"degrees must be a number in \[0, inf\)"),
        ({"translate": (0.1, 1.1)}, r"translate must be a number in \[0, 1\]"),
        ({"translate": 0.1}, "translate must be 2 numbers"),
        ({"scale": (0, 1)}, r"scale must be a number in \(0, inf\)"),
        ({"scale": (1.1, 0.9)}, r"scale must be \(low, high\)"),
        ({"shear": 90}, r"shear must be a number in \[0, 90\)"),
        ({"shear": (1, 2, 3)}, "shear must be a number, 2 or 4 numbers"),
        ({"shear": (2, 1)}, r"shear must be \(low, high\)"),
        ({"shear": (0, 1, 2, 1)}, r"shear must be \(low, high\)"),
        ({"fill": 256}, "fill must be an int"),
    ],
)
def test_ranges_that_are_none_are_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=f"RandomAffine: {match}"):
        RandomAffine(**{"degrees": 15} | arguments)


@pytest.mark.parametrize("matrices", [[1.0], np.ones((3, 6)), np.ones((2, 5)), np.ones((2, 2, 3))])
def test_matrices_of_another_shape_are_refused(matrices: Any) -> None:
    with pytest.raises(ValueError, match=r"matrices must have shape \(6,\) or \(2, 6\)"):
        affine(random_images(2, 1, 8, 8), matrices)


@pytest.mark.parametrize("value", [math.nan, math.inf, 40_000.0, -5000.0])
@pytest.mark.parametrize("place", range(6))
def test_a_map_beyond_the_fixed_point_is_refused_by_its_number(value: float, place: int) -> None:
    matrices = np.tile([1.0, 0.1, 0, 0.1, 1, 0], (3, 1))
    matrices[1, place] = value
    if value == -5000.0 and place in (2, 5):  # a shift of 5000 pixels has room
        assert affine(random_images(3, 1, 8, 8) | 1, matrices)[1].max() == 0
        return
    with pytest.raises(ValueError, match=r"affine: map 1 of 3 must be finite, .* below 32768"):
        affine(random_images(3, 1, 8, 8), matrices)


def test_images_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match=f"affine: images must have sides of 1 to {MAX_SIDE}"):
        affine(np.zeros((1, 1, 1, MAX_SIDE + 1), dtype=np.uint8), [1, 0, 0, 0, 1, 0])
