"""The bundled digits: their split, their pixels, and where they come from."""

from importlib import resources

import numpy as np
import pytest

from nplenet.data import load_digits
from nplenet.data.digits import _enlarge


@pytest.mark.parametrize(("split", "count"), [("train", 1437), ("test", 360), ("all", 1797)])
def test_each_split_has_its_count_shape_and_type(split, count):
    images, labels = load_digits(split)
    assert (images.shape, images.dtype) == ((count, 32, 32), np.uint8)
    assert (labels.shape, labels.dtype) == ((count,), np.uint8)


def test_training_and_test_digits_make_up_the_whole():
    for part in (0, 1):
        parts = np.concatenate([load_digits("train")[part], load_digits("test")[part]])
        np.testing.assert_array_equal(parts, load_digits("all")[part])


def test_no_test_digit_is_a_training_digit():
    train = {image.tobytes() for image in load_digits("train")[0]}
    test = {image.tobytes() for image in load_digits("test")[0]}
    assert len(test) == 360
    assert train.isdisjoint(test)


def test_each_class_has_its_share_of_the_test_digits():
    counts = np.bincount(load_digits("all")[1], minlength=10)
    held_out = np.bincount(load_digits("test")[1], minlength=10)
    assert np.all(np.abs(held_out - counts * 360 / 1797) < 1)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"split must be one of.*'validation'"):
        load_digits("validation")


def test_digits_are_white_ink_on_black_and_centred():
    images, _ = load_digits("all")
    assert images.max() == 255
    border = np.ones((32, 32), bool)
    border[3:29, 3:29] = False
    assert not images[:, border].any()
    assert 0.1 < images.mean() / 255 < 0.3


def test_enlarging_keeps_the_value_at_the_centre_of_each_pixel():
    small = np.random.default_rng(0).integers(0, 17, (20, 8, 8)).astype(np.uint8)
    centres = _enlarge(small)[:, 5:28:3, 5:28:3]
    np.testing.assert_array_equal(centres, np.floor(small.astype(float) * 255 / 16 + 0.5))


def test_enlarging_interpolates_between_two_pixels_by_thirds():
    small = np.zeros((1, 8, 8), np.uint8)
    small[0, 0, 0] = 16
    row = _enlarge(small)[0, 5]
    np.testing.assert_array_equal(row[2:9], [0, 85, 170, 255, 170, 85, 0])


def test_the_bundled_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    theirs = datasets.load_digits()
    images, labels = load_digits("all")
    enlarged = _enlarge(theirs.images.astype(np.uint8))
    ours = sorted((image.tobytes(), label) for image, label in zip(images, labels, strict=True))
    assert ours == sorted(
        (image.tobytes(), label) for image, label in zip(enlarged, theirs.target, strict=True)
    )


def test_the_source_and_licence_are_named_beside_the_files():
    text = (resources.files("nplenet.data") / "bundled" / "README.md").read_text("utf-8")
    assert "10.24432/C50P49" in text
    assert "Creative Commons Attribution 4.0" in text
