"""Photographs and drawings of digits: brought into MNIST's form, and given to the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from rendered_digits import PENS, SCENES, TYPEFACES, Draw, drawn, grey, printed

from nplenet.checkpoint import DEFAULT_MODEL, load_model
from nplenet.data import MissingDataError, load_mnist, pad_images
from nplenet.layers import Layer
from nplenet.models import LeNet5
from nplenet.recognize import MIN_DIGIT_SIDE, picture, prepare, recognize


@pytest.fixture(scope="module")
def model() -> Layer:
    return load_model(DEFAULT_MODEL)


def answer(model: Layer, image: np.ndarray) -> int:
    return int(recognize(model, prepare(image)).probabilities.argmax())


# --- what the network makes of it -----------------------------------------------------------------


def assert_most_are_right(model: Layer, kinds: list[str], draw: Callable[..., Draw]) -> None:
    """Every kind with every digit, the scenes in turn: at least 90 % must be read right."""
    wrong = []
    scenes = list(SCENES)
    for kind, name in enumerate(kinds):
        for digit in range(10):
            scene = scenes[(kind + digit) % len(scenes)]
            image = SCENES[scene](draw(name, digit), np.random.default_rng([kind, digit]))
            if (found := answer(model, image)) != digit:
                wrong.append(f"{name}, {scene}: {digit} read as {found}")
    count = 10 * len(kinds)
    print(f"{count - len(wrong)} of {count} right; wrong: {wrong}")
    assert len(wrong) <= count / 10, wrong


def test_printed_digits_are_recognised(model: Layer) -> None:
    assert_most_are_right(model, list(TYPEFACES), printed)


def test_drawn_digits_are_recognised(model: Layer) -> None:
    assert_most_are_right(model, list(PENS), lambda pen, digit: drawn(pen, digit, seed=digit))


@pytest.mark.parametrize("enlarge", [1, 10])
def test_mnist_on_a_larger_sheet_is_recognised_as_well_as_in_its_files(
    model: Layer, enlarge: int
) -> None:
    try:
        images, labels = load_mnist(split="test", download=False)
    except MissingDataError as error:
        pytest.skip(str(error))
    images, labels = images[:500], labels[:500]
    right = {"original": 0, "sheet": 0}
    for image, padded, label in zip(images, pad_images(images), labels, strict=True):
        side = 28 * enlarge
        page = np.full((side * 6 // 5, side * 3 // 2), 255, np.uint8)
        page[enlarge : enlarge + side, -side:] -= np.kron(
            image, np.ones((enlarge, enlarge), np.uint8)
        )
        right["original"] += recognize(model, padded[0]).probabilities.argmax() == label
        right["sheet"] += answer(model, page) == label
    print(right)
    assert right["sheet"] >= right["original"] - 5  # 1 % of 500


def test_the_probabilities_of_image_and_inverse_are_those_of_the_model_in_eval_mode() -> None:
    model = LeNet5(seed=0)
    image = prepare(SCENES["dark on light"](drawn("pen", 3, 0), np.random.default_rng(0)))
    result = recognize(model, image)
    assert model.training
    assert all(layer.training for _, layer in model.modules())
    model.eval()
    for probabilities, shown in zip(result, (image, 255 - image), strict=True):
        logits = model(shown[None, None] / np.float32(255))[0].astype(np.float64)
        expected = np.exp(logits) / np.exp(logits).sum()
        # float32; a product of two rows may sum in another order than that of one
        np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_the_mode_of_a_model_is_restored_when_it_fails() -> None:
    model = LeNet5(seed=0, in_channels=3)
    with pytest.raises(ValueError, match="channel"):
        recognize(model, np.zeros((32, 32), np.uint8))
    assert model.training


def test_the_picture_has_a_character_for_every_two_pixels() -> None:
    image = np.zeros((32, 32), np.uint8)
    image[:2, 0] = 255
    image[2, 31] = 255
    lines = picture(image).split("\n")
    assert [len(line) for line in lines] == [32] * 16
    assert lines[0] == "@" + " " * 31
    assert lines[1].strip() in "-="  # one of its two pixels is white
    assert not "".join(lines[2:]).strip()


# --- the form of MNIST ----------------------------------------------------------------------------


@pytest.fixture
def page() -> np.ndarray:
    return SCENES["dark on light"](drawn("pen", 5, 0), np.random.default_rng(0))


def assert_about_equal(got: np.ndarray, expected: np.ndarray, mean: float) -> None:
    assert got.shape == expected.shape == (32, 32)
    assert got.dtype == expected.dtype == np.uint8
    assert np.abs(got.astype(int) - expected).mean() <= mean


@pytest.mark.parametrize("pen", PENS)
@pytest.mark.parametrize("digit", [0, 1, 4, 7])
def test_a_prepared_digit_is_as_large_and_as_centred_as_those_of_mnist(
    pen: str, digit: int
) -> None:
    image = prepare(SCENES["off-centre"](drawn(pen, digit, 0), np.random.default_rng(0)))
    rows, columns = np.nonzero(image > 127)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20, 21)  # the rim may be half covered
    assert image.max() >= 230  # strokes of two pixels that lie between the rows
    assert image[:2].max() == image[-2:].max() == image[:, :2].max() == image[:, -2:].max() == 0
    weight = image / image.sum()
    middle = np.arange(32) - 15.5
    # a quarter of a pixel is the step in which the digit is moved
    assert abs((weight.sum(axis=1) * middle).sum()) <= 0.25
    assert abs((weight.sum(axis=0) * middle).sum()) <= 0.25


def test_ink_may_be_dark_or_light(page: np.ndarray) -> None:
    np.testing.assert_array_equal(prepare(255 - page), prepare(page))


def test_place_and_margin_do_not_matter(page: np.ndarray) -> None:
    moved = np.pad(page, ((5, 90), (70, 3)), constant_values=255)
    # The paper is the same, the pixels too, so nothing differs.
    np.testing.assert_array_equal(prepare(moved), prepare(page))


def test_brightness_and_contrast_do_not_matter(page: np.ndarray) -> None:
    faint = grey(150 + (page.astype(float) - 255) * 0.25)
    assert_about_equal(prepare(faint), prepare(page), 0.5)  # rounding moves the threshold


@pytest.mark.parametrize("height", [60, 300, 3000])
def test_the_size_of_the_image_does_not_matter(height: int) -> None:
    glyph = Image.fromarray(
        255 - SCENES["dark on light"](drawn("felt pen", 3, 0), np.random.default_rng(0))
    )
    small, large = (
        255 - np.asarray(glyph.resize((side, side), Image.Resampling.BOX)) for side in (height, 600)
    )
    # Edges are blurred differently: of some 200 pixels at the rim a few shades each.
    assert_about_equal(prepare(small), prepare(large), 4)


def test_specks_and_what_reaches_the_edge_are_left_out(page: np.ndarray) -> None:
    expected = prepare(page)
    page[190:193, 10:13] = 0
    page[:, 197:] = 0
    assert_about_equal(prepare(page), expected, 0.5)


@pytest.mark.parametrize("typeface", ["Aileron", "Fredoka"])
@pytest.mark.parametrize("digit", [1, 8])
def test_a_digit_may_fill_the_image(typeface: str, digit: int) -> None:
    glyph = np.asarray(printed(typeface, digit)(200))
    near, far = (255 - np.pad(glyph, margin) for margin in (2, 150))
    assert_about_equal(prepare(near), prepare(far), 4)  # the threshold is another one


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_has_no_digit(value: int) -> None:
    with pytest.raises(ValueError, match="no digit in the image"):
        prepare(np.full((60, 80), value, np.uint8))


def test_a_photograph_of_blank_paper_has_no_digit() -> None:
    def nothing(height: int) -> Image.Image:
        return Image.new("L", (height, height))

    with pytest.raises(ValueError, match="no digit in the image"):
        prepare(SCENES["photograph"](nothing, np.random.default_rng(0)))


def test_an_image_of_one_pixel_has_no_digit() -> None:
    with pytest.raises(ValueError, match="no digit in the image"):
        prepare(np.zeros((1, 1), np.uint8))


def test_a_speck_is_no_digit() -> None:
    image = np.full((100, 100), 255, np.uint8)
    image[50 : 50 + MIN_DIGIT_SIDE - 1, 50] = 0
    with pytest.raises(ValueError, match="every part of the ink is smaller than"):
        prepare(image)
    image[50 : 50 + MIN_DIGIT_SIDE, 50] = 0
    prepare(image)


def test_random_images_are_prepared_or_have_no_digit() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.integers(1, 70, 2)
        image = rng.integers(0, 256, (height, width), dtype=np.uint8)
        try:
            shape = prepare(image).shape
        except ValueError as error:
            if "no digit in the image" in str(error):
                continue
            raise
        assert shape == (32, 32)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (5, 5, 4), (25,)])
def test_an_image_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected shape"):
        prepare(np.zeros(shape, np.uint8))


def test_an_image_that_is_not_of_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match="got float64"):
        prepare(np.zeros((5, 5)))  # type: ignore[arg-type]
