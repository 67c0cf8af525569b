"""Augmentation: equal to Pillow bit for bit, fixed random numbers an image, nothing modified."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import pytest

from nplenet import augment
from nplenet.augment import (
    Compose,
    Draws,
    RandomAffine,
    RandomGrayscale,
    RandomInvert,
    RandomRotation,
    ToFloat,
    augment_batch,
    fuse,
    grayscale,
    invert,
    rotate,
    rotation_coefficients,
    standard_augmentation,
)
from nplenet.augment.maps import MAX_SIDE
from nplenet.augment.rotation import _matrix_of

# CRC-32 of the row-major result, sum of its values, and zeros when an all-255 image is rotated.
# Input: arange(size**2) % 251 + 1. Made with Pillow 13.0.0.
GOLDEN = [
    (28, -15.0, 0xE5DEE711, 88823, 80),
    (28, -7.3, 0xEDA78A1F, 93228, 40),
    (28, 0.0, 0xDBE43841, 95374, 0),
    (28, 0.5, 0xDBE43841, 95374, 0),
    (28, -1e-4, 0xDBE43841, 95374, 0),
    (28, 10.0, 0x8F0B7990, 91215, 56),
    (28, 11.46807861328125, 0xC39C6927, 91151, 60),
    (28, 15.0, 0xA6F29361, 88572, 80),
    (32, -15.0, 0x379E4015, 116335, 104),
    (32, -7.3, 0xD5212865, 122110, 56),
    (32, 0.0, 0xDE9F9C5B, 126714, 0),
    (32, 0.5, 0xDE9F9C5B, 126714, 0),
    (32, -1e-4, 0xDE9F9C5B, 126714, 0),
    (32, 10.0, 0x74304E32, 117173, 72),
    (32, 11.46807861328125, 0xC29F3EAE, 116294, 84),
    (32, 15.0, 0xAFB98952, 114327, 104),
]

# Exact turns, angles whose sine Pillow rounds to 0, angles beyond a full turn.
SPECIAL = [0, 90, 180, 270, 360, -90, -180, 450, -720, 45, 30, 60, 1e-15, -1e-15, 180 + 3e-14, 1e17]

TRANSFORMS = [
    RandomRotation(15),
    RandomRotation(0),
    RandomAffine(15, (0.1, 0.1), (0.9, 1.1), 5),
    RandomAffine(0, (0.1, 0.1)),
    RandomInvert(0.5),
    RandomInvert(0),
    RandomGrayscale(0.5),
    RandomGrayscale(1),
]


def random_images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)


def _coefficients_of(angle: float, height: int, width: int) -> list[int]:
    """Return A0 ... A5 of one angle, in the very operations and order of Pillow."""
    a, b, c, d, e, f = _matrix_of(angle, height, width)
    c += a * 0.5 + b * 0.5
    f += d * 0.5 + e * 0.5
    return [math.floor(v * 65536.0 + 0.5) for v in (a, b, c, d, e, f)]


def pillow_rotate(images: np.ndarray, angles: Any, fill: int = 0) -> np.ndarray:
    image = pytest.importorskip("PIL.Image", reason="Pillow is the reference for rotation")
    color = fill if images.shape[1] == 1 else (fill,) * 3
    rotated = []
    for pixels, angle in zip(images, angles, strict=True):
        picture = image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        turned = picture.rotate(float(angle), image.Resampling.NEAREST, fillcolor=color)
        rotated.append(np.atleast_3d(turned).transpose(2, 0, 1))
    return np.stack(rotated)


def assert_same_pixels(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype == np.uint8
    assert np.count_nonzero(actual != expected) == 0


# --- rotation


@pytest.mark.parametrize(("size", "angle", "crc", "total", "zeros"), GOLDEN)
def test_rotation_gives_the_golden_pixels(
    size: int, angle: float, crc: int, total: int, zeros: int
) -> None:
    image = (np.arange(size * size) % 251 + 1).astype(np.uint8).reshape(1, 1, size, size)
    rotated = rotate(image, [angle])
    assert zlib.crc32(rotated.tobytes()) == crc
    assert int(rotated.sum()) == total
    assert np.count_nonzero(rotate(np.full_like(image, 255), [angle]) == 0) == zeros


def test_coefficients_at_15_degrees_are_the_golden_ones() -> None:
    cos, sin = 0.965925826289068, 0.258819045102521
    a, b, c, d, e, f = cos, -sin, 4.686291501015248, sin, cos, -3.595917942265423
    exact = [a, b, c + a / 2 + b / 2, d, e, f + d / 2 + e / 2]
    coefficients = rotation_coefficients([15.0], 32, 32)
    assert coefficients.dtype == np.int32
    assert coefficients.tolist() == [[math.floor(v * 65536 + 0.5) for v in exact]]


@pytest.mark.parametrize(("angle", "row", "column"), [(15, 3, 11), (-15, 4, 17)])
def test_positive_angles_turn_counter_clockwise(angle: float, row: int, column: int) -> None:
    image = np.zeros((1, 1, 28, 28), dtype=np.uint8)
    image[0, 0, 3, 14] = 255
    assert np.argwhere(rotate(image, [angle])[0, 0]).tolist() == [[row, column]]


@pytest.mark.parametrize("size", [28, 32])
def test_rotation_equals_pillow_on_2000_images(size: int) -> None:
    images = random_images(2000, 1, size, size, seed=size)
    angles = np.random.default_rng(size).uniform(-15, 15, 2000)
    assert_same_pixels(rotate(images, angles), pillow_rotate(images, angles))


# 72x72 is just below the size from which coordinates exceed float32, 73x74 just above it.
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width"),
    [(28, 28), (32, 32), (1, 1), (1, 9), (7, 31), (31, 8), (33, 33), (72, 72), (73, 74), (90, 151)],
)
def test_rotation_equals_pillow_at_any_size_and_angle(
    height: int, width: int, channels: int
) -> None:
    angles = np.concatenate([SPECIAL, np.random.default_rng(5).uniform(-1000, 1000, 34)])
    images = random_images(len(angles), channels, height, width)
    assert_same_pixels(rotate(images, angles, fill=7), pillow_rotate(images, angles, fill=7))


def test_rotation_of_large_images_is_as_exact() -> None:
    images = random_images(6, 1, 500, 700)
    angles = [3.3, -14.2, 77.7, 123.4, -45.6, 200.2]
    assert_same_pixels(rotate(images, angles), pillow_rotate(images, angles))


@pytest.mark.parametrize("angle", SPECIAL)
@pytest.mark.parametrize("shape", [(12, 12), (12, 19)])
def test_rotation_equals_pillow_when_the_whole_batch_turns_alike(
    angle: float, shape: tuple[int, int]
) -> None:
    images = random_images(3, 1, *shape)
    assert_same_pixels(rotate(images, angle), pillow_rotate(images, [angle] * 3))


def test_quarter_turns_of_square_images_lose_nothing() -> None:
    images = random_images(1, 1, 32, 32)
    for quarters in range(-4, 5):
        assert_same_pixels(rotate(images, 90.0 * quarters), np.rot90(images, quarters, axes=(2, 3)))


def test_coefficients_equal_the_one_angle_rule() -> None:
    angles = np.concatenate([SPECIAL, np.random.default_rng(1).uniform(-400, 400, 20_000)])
    expected = [_coefficients_of(float(angle), 32, 29) for angle in angles]
    assert rotation_coefficients(angles, 32, 29).tolist() == expected


@pytest.mark.parametrize("coefficient", range(6))
def test_coefficients_are_exact_where_one_steps_to_the_next_integer(coefficient: int) -> None:
    below, above = 10.0, 10.01
    start = _coefficients_of(below, 512, 512)[coefficient]
    while np.nextafter(below, above) < above:
        middle = (below + above) / 2
        if _coefficients_of(middle, 512, 512)[coefficient] == start:
            below = middle
        else:
            above = middle
    angles = above + np.spacing(above) * np.arange(-200, 200)
    expected = np.array([_coefficients_of(float(angle), 512, 512) for angle in angles])
    assert len(set(expected[:, coefficient].tolist())) == 2
    assert rotation_coefficients(angles, 512, 512).tolist() == expected.tolist()


def test_rotation_accepts_one_angle_for_all_images() -> None:
    images = random_images(5, 1, 9, 9)
    assert_same_pixels(rotate(images, 33.0), rotate(images, [33.0] * 5))


def test_rotation_of_a_batch_equals_rotation_of_its_images() -> None:
    images = random_images(150, 3, 28, 28)
    angles = np.random.default_rng(2).uniform(-180, 180, 150)
    singly = [rotate(images[i : i + 1], angles[i : i + 1]) for i in range(150)]
    assert_same_pixels(rotate(images, angles), np.concatenate(singly))


def test_rotation_keeps_nothing_of_an_earlier_call() -> None:
    images = random_images(40, 1, 28, 28)
    first = rotate(images, 40.0)
    rotate(random_images(70, 3, 31, 12, seed=9), -100.0, fill=99)
    assert_same_pixels(rotate(images, 40.0), first)


def test_rotation_reads_images_of_any_memory_layout() -> None:
    images = random_images(20, 3, 16, 24)
    strided = np.asfortranarray(np.repeat(images, 2, axis=3))[..., ::2]
    assert not strided.flags.c_contiguous
    assert_same_pixels(rotate(strided, 20.0), rotate(images, 20.0))


def test_an_empty_batch_stays_empty() -> None:
    empty = np.empty((0, 1, 28, 28), dtype=np.uint8)
    assert standard_augmentation()(empty, np.random.default_rng(0)).shape == (0, 1, 28, 28)


# --- inversion, grayscale, floats


def test_inversion_is_255_minus_the_value_and_its_own_inverse() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert_same_pixels(invert(images), images[:, :, ::-1, ::-1])
    assert_same_pixels(invert(invert(images)), images)


def test_corners_that_a_rotation_filled_are_255_after_inversion() -> None:
    black = np.zeros((4, 1, 32, 32), dtype=np.uint8)
    both = Compose([RandomRotation(15), RandomInvert(1)])
    assert (both(black, np.random.default_rng(0)) == 255).all()
    other_order = Compose([RandomInvert(1), RandomRotation(15)])
    assert (other_order(black, np.random.default_rng(0)) == 0).any()


def test_grayscale_equals_pillow_on_three_channels() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is the reference for grayscale")
    images = random_images(20, 3, 64, 64)
    images[0, :, :2, :2] = np.array([[0, 255], [255, 0]])
    expected = [
        np.asarray(image.fromarray(pixels.transpose(1, 2, 0)).convert("L")) for pixels in images
    ]
    assert_same_pixels(grayscale(images), np.repeat(np.stack(expected)[:, None], 3, axis=1))


@pytest.mark.parametrize(
    ("color", "gray"),
    [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((255, 255, 255), 255)],
)
def test_grayscale_weighs_the_colours_by_their_luminance(
    color: tuple[int, int, int], gray: int
) -> None:
    images = np.array(color, dtype=np.uint8).reshape(1, 3, 1, 1)
    assert grayscale(images).ravel().tolist() == [gray] * 3


@pytest.mark.parametrize("transform", [grayscale, lambda x: RandomGrayscale(1)(x, generator())])
def test_grayscale_copies_images_of_one_channel(transform: Any) -> None:
    images = random_images(3, 1, 8, 8)
    result = transform(images)
    assert_same_pixels(result, images)
    assert not np.shares_memory(result, images)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_to_float_is_the_correctly_rounded_quotient(dtype: Any) -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    result = ToFloat(dtype)(images)
    assert result.shape == images.shape
    assert result.dtype == dtype
    # Rounding the float64 quotient again is innocuous for a division: 53 >= 2 * 24 + 2.
    assert result.ravel().tolist() == [float(dtype(v / 255)) for v in range(256)]


def test_to_float_makes_float32_and_needs_no_generator() -> None:
    assert ToFloat()(random_images(2, 1, 4, 4)).dtype == np.float32


# --- random numbers


def generator(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_angles_are_uniform_between_minus_and_plus_degrees() -> None:
    angles = RandomRotation(15).draw(100_000, generator())
    assert -15 <= angles.min() < -14.99
    assert 14.99 < angles.max() < 15
    # Five standard errors: sd / sqrt(n) = 0.027 of the mean, 0.013 of the deviation.
    assert abs(angles.mean()) < 0.14
    assert abs(angles.std() - 15 / math.sqrt(3)) < 0.07


def test_angles_are_those_of_numpys_uniform() -> None:
    angles = RandomRotation(15).draw(1000, generator())
    np.testing.assert_allclose(angles, generator().uniform(-15, 15, 1000), rtol=0, atol=1e-14)


def test_each_image_is_rotated_by_its_own_angle() -> None:
    images = random_images(64, 1, 28, 28)
    angles = RandomRotation(15).draw(64, generator())
    assert len(np.unique(angles)) == 64
    assert_same_pixels(RandomRotation(15, fill=3)(images, generator()), rotate(images, angles, 3))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_a_share_p_of_the_images_is_inverted_as_a_whole(p: float) -> None:
    images = np.zeros((20_000, 1, 2, 2), dtype=np.uint8)
    result = RandomInvert(p)(images, generator())
    sums = result.reshape(len(images), -1).sum(axis=1)
    assert set(np.unique(sums)) <= {0, 4 * 255}
    # Five standard errors of a share.
    assert abs((sums > 0).mean() - p) <= 5 * math.sqrt(p * (1 - p) / len(images))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_a_share_p_of_the_images_turns_gray(p: float) -> None:
    images = np.zeros((20_000, 3, 1, 2), dtype=np.uint8)
    images[:, 0] = 255
    result = RandomGrayscale(p)(images, generator())
    gray = (result == 76).all(axis=(1, 2, 3))
    assert_same_pixels(result[~gray], images[~gray])
    assert abs(gray.mean() - p) <= 5 * math.sqrt(p * (1 - p) / len(images))


@pytest.mark.parametrize(
    ("transform", "change"), [(RandomInvert(0.5), invert), (RandomGrayscale(0.5), grayscale)]
)
def test_the_image_whose_coin_is_below_p_is_changed(transform: Any, change: Any) -> None:
    images = random_images(60, 3, 5, 6)
    coins = generator().random(60) < 0.5
    expected = np.where(coins[:, None, None, None], change(images), images)
    assert_same_pixels(transform(images, generator()), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_transform_draws_its_numbers_for_each_image(transform: Any, channels: int) -> None:
    used, expected = generator(), generator()
    transform(random_images(37, channels, 8, 8), used)
    expected.random(37 * transform.numbers)
    assert transform.numbers == (6 if isinstance(transform, RandomAffine) else 1)
    assert used.random() == expected.random()


def test_to_float_draws_nothing() -> None:
    used = generator()
    ToFloat()(random_images(5, 1, 4, 4), used)
    assert used.random() == generator().random()


def test_a_composition_applies_its_transforms_in_order_from_one_generator() -> None:
    images = random_images(50, 3, 32, 32)
    rng = generator()
    expected = images
    for transform in (RandomRotation(15), RandomInvert(0.5), RandomGrayscale(0.5), ToFloat()):
        expected = transform(expected, rng)
    actual = standard_augmentation()(images, generator())
    assert actual.dtype == np.float32
    assert np.array_equal(actual, expected)


def test_the_same_seed_gives_the_same_batch_and_another_seed_another() -> None:
    images = random_images(100, 1, 32, 32)
    first, again, other = (standard_augmentation()(images, generator(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transform", [*TRANSFORMS, ToFloat(), standard_augmentation()])
def test_no_transform_changes_or_shares_its_input(transform: Any, channels: int) -> None:
    images = random_images(30, channels, 28, 28)
    kept = images.copy()
    result = transform(images, generator())
    assert np.array_equal(images, kept)
    assert not np.shares_memory(result, images)


def test_transforms_read_as_they_are_written() -> None:
    assert repr(standard_augmentation()) == (
        "Compose([RandomRotation(degrees=15, fill=0), RandomInvert(p=0.5), "
        "RandomGrayscale(p=0.5), ToFloat(dtype=float32)])"
    )


# --- the pipeline as one operation ----------------------------------------------------------------

FUSABLE = [
    standard_augmentation(),
    ToFloat(),
    Compose([Compose([RandomRotation(90, fill=9)]), Compose([ToFloat(np.float64)])]),
    Compose([RandomInvert(0.3), ToFloat()]),
    Compose([RandomGrayscale(1), ToFloat()]),
    Compose([RandomRotation(15), RandomGrayscale(0.5), ToFloat()]),
    Compose([RandomAffine(15, (0.1, 0.1), (0.9, 1.1), 5), RandomGrayscale(0.5), ToFloat()]),
]


class OwnRotation(RandomRotation):
    """May do anything."""


NOT_FUSABLE = [
    None,
    invert,
    RandomInvert(0.5),  # gives uint8
    Compose([]),
    Compose([ToFloat(), ToFloat()]),
    Compose([RandomInvert(0.5), RandomRotation(15), ToFloat()]),  # fills after inverting
    Compose([RandomGrayscale(0.5), RandomInvert(0.5), ToFloat()]),
    Compose([RandomRotation(15), RandomRotation(15), ToFloat()]),
    Compose([RandomRotation(15), invert, ToFloat()]),
    Compose([OwnRotation(15), ToFloat()]),
    ToFloat(np.float16),  # no kernel has it
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transform", FUSABLE)
def test_a_fused_epoch_equals_the_transforms_batch_by_batch(transform: Any, channels: int) -> None:
    images = random_images(50, channels, 12, 9)
    order = np.random.default_rng(1).permutation(50).astype(np.int32)
    parts = [slice(0, 16), slice(16, 32), slice(32, 48), slice(48, 50)]
    batchwise, fused = generator(), generator()
    pipeline = fuse(transform)
    assert pipeline is not None
    draws = pipeline.draw([16, 16, 16, 2], fused, 12, 9)
    for part in parts:
        expected = transform(images[order[part]], batchwise)
        found = pipeline.apply(images, order[part], draws.part(part))
        np.testing.assert_array_equal(found, expected, strict=True)
    assert batchwise.bit_generator.state == fused.bit_generator.state


@pytest.mark.parametrize("transform", NOT_FUSABLE)
def test_what_the_kernel_does_not_do_is_not_fused(transform: Any) -> None:
    assert fuse(transform) is None


def test_an_epoch_without_batches_draws_nothing() -> None:
    rng = generator()
    pipeline = fuse(standard_augmentation())
    assert pipeline is not None
    draws = pipeline.draw([], rng, 8, 8)
    assert [draw.shape for draw in draws] == [(0, 6), (0,), (0,)]
    assert rng.bit_generator.state == generator().bit_generator.state


def test_nothing_drawn_changes_nothing() -> None:
    images = random_images(5, 3, 8, 8)
    found = augment_batch(np, images, np.arange(5), *Draws(None, None, None), 0, np.float32)
    np.testing.assert_array_equal(found, ToFloat()(images), strict=True)
    assert fuse(ToFloat()).draw([5], None, 8, 8) == Draws(None, None, None)  # type: ignore[union-attr]


@pytest.mark.parametrize("rng", [None, 4.2])
def test_drawing_needs_a_generator(rng: Any) -> None:
    pipeline = fuse(standard_augmentation())
    assert pipeline is not None
    with pytest.raises(
        TypeError, match=r"FusedPipeline.draw: rng must be a numpy.random.Generator"
    ):
        pipeline.draw([5], rng, 8, 8)


def test_the_old_name_of_the_standard_augmentation_still_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match=r"use nplenet\.augment\.standard_augmentation"):
        old = augment.seed_pipeline
    assert old is standard_augmentation


# --- refusals


@pytest.mark.parametrize("transform", [*TRANSFORMS, ToFloat(), invert, grayscale])
@pytest.mark.parametrize("shape", [(28, 28), (5, 28, 28), (5, 2, 8, 8), (5, 8, 8, 3), (5, 1, 0, 8)])
def test_images_of_another_shape_are_refused(transform: Any, shape: tuple[int, ...]) -> None:
    arguments = () if transform in (invert, grayscale) else (generator(),)
    with pytest.raises(ValueError, match=r": images must have shape \(N, C, H, W\) .* got"):
        transform(np.zeros(shape, dtype=np.uint8), *arguments)


@pytest.mark.parametrize("transform", [*TRANSFORMS, ToFloat()])
def test_images_of_another_dtype_are_refused(transform: Any) -> None:
    with pytest.raises(TypeError, match=r"images must be uint8 .* got float32"):
        transform(np.zeros((2, 1, 8, 8), dtype=np.float32), generator())


def test_what_is_not_an_array_is_refused() -> None:
    with pytest.raises(TypeError, match="got list"):
        rotate([[[[0]]]], [0.0])


@pytest.mark.parametrize("rng", [None, 4.2, np.random.RandomState(0)])
@pytest.mark.parametrize("transform", [*TRANSFORMS, standard_augmentation()])
def test_a_missing_generator_is_refused(transform: Any, rng: Any) -> None:
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator"):
        transform(random_images(2, 1, 8, 8), rng)


def test_refused_images_draw_nothing() -> None:
    rng = generator()
    with pytest.raises(ValueError, match="images must have shape"):
        RandomRotation(15)(np.zeros((3, 8, 8), dtype=np.uint8), rng)
    assert rng.random() == generator().random()


@pytest.mark.parametrize("degrees", [-1, math.inf, math.nan])
def test_degrees_that_are_no_range_are_refused(degrees: float) -> None:
    with pytest.raises(ValueError, match=r"RandomRotation: degrees must be a number in \[0, inf\)"):
        RandomRotation(degrees)


def test_a_pair_of_degrees_is_refused() -> None:
    with pytest.raises(TypeError, match="RandomRotation: degrees must be a number"):
        RandomRotation((-15, 15))  # type: ignore[arg-type]


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("transform", [RandomInvert, RandomGrayscale])
def test_probabilities_outside_0_to_1_are_refused(transform: Any, p: float) -> None:
    with pytest.raises(ValueError, match=r": p must be a number in \[0, 1\]"):
        transform(p)


@pytest.mark.parametrize(("fill", "error"), [(-1, ValueError), (256, ValueError), (0.5, TypeError)])
def test_a_fill_that_is_no_byte_is_refused(fill: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=": fill must be an int"):
        RandomRotation(15, fill=fill)
    with pytest.raises(error, match=": fill must be an int"):
        rotate(random_images(1, 1, 4, 4), 0.0, fill)


@pytest.mark.parametrize("angles", [[], [1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_another_number_of_angles_is_refused(angles: Any) -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\) for 2 images"):
        rotate(random_images(2, 1, 8, 8), angles)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_angle_that_is_not_finite_is_refused_by_its_number(bad: float) -> None:
    with pytest.raises(ValueError, match=r"rotate: angle 1 of 3 must be finite, got "):
        rotate(random_images(3, 1, 8, 8), [0.0, bad, 1.0])


def test_images_too_large_for_the_fixed_point_rule_are_refused() -> None:
    with pytest.raises(ValueError, match=f"sides of 1 to {MAX_SIDE}"):
        rotate(np.zeros((1, 1, 1, MAX_SIDE + 1), dtype=np.uint8), 1.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool])
def test_to_float_refuses_dtypes_that_are_no_floats(dtype: Any) -> None:
    with pytest.raises(TypeError, match="ToFloat: dtype must be a floating-point type"):
        ToFloat(dtype)


def test_a_composition_refuses_what_cannot_be_called() -> None:
    with pytest.raises(TypeError, match=r"Compose: .* got 3"):
        Compose([3])  # type: ignore[list-item]
