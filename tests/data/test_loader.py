"""Batches: every image once, in an order that the generator decides, also when prepared ahead."""

import gc
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import pytest

from nplenet.augment import Compose, RandomInvert, ToFloat
from nplenet.data import DataLoader, pad_images, train_validation_split

IMAGES = np.arange(10 * 3 * 2 * 2, dtype=np.uint8).reshape(10, 3, 2, 2)
LABELS = np.arange(10, dtype=np.uint8)


def labels_of(loader):
    return [y.tolist() for _, y in loader]


def noisy(images, rng):
    return images + rng.standard_normal(images.shape)


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name == "nplenet-prefetch"]


# --- batches ---


def test_batches_come_in_order_without_shuffling():
    loader = DataLoader(IMAGES, LABELS, 4)
    assert labels_of(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_images_and_labels_of_a_batch_belong_together():
    for x, y in DataLoader(IMAGES, LABELS, 3, shuffle=True, rng=np.random.default_rng(1)):
        np.testing.assert_array_equal(x, IMAGES[y])


def test_labels_are_int64_and_images_keep_their_type():
    x, y = next(iter(DataLoader(IMAGES, LABELS, 4)))
    assert y.dtype == np.int64
    assert x.dtype == np.uint8


def test_a_batch_is_a_copy():
    images = IMAGES.copy()
    for x, _ in DataLoader(images, LABELS, 4):
        x[:] = 0
    np.testing.assert_array_equal(images, IMAGES)


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "count"), [(4, False, 3), (4, True, 2), (5, False, 2), (5, True, 2)]
)
def test_the_length_is_the_number_of_batches(batch_size, drop_last, count):
    loader = DataLoader(IMAGES, LABELS, batch_size, drop_last=drop_last)
    assert len(loader) == len(list(loader)) == count


def test_drop_last_leaves_only_full_batches():
    assert labels_of(DataLoader(IMAGES, LABELS, 4, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_batch_larger_than_the_set_is_the_set():
    assert labels_of(DataLoader(IMAGES, LABELS, 64)) == [list(range(10))]


def test_an_epoch_of_shuffled_batches_has_every_image_once():
    loader = DataLoader(IMAGES, LABELS, 4, shuffle=True, rng=np.random.default_rng(1))
    order = [label for batch in labels_of(loader) for label in batch]
    assert order != list(range(10))
    assert sorted(order) == list(range(10))


def test_each_epoch_has_another_order():
    loader = DataLoader(IMAGES, LABELS, 4, shuffle=True, rng=np.random.default_rng(1))
    assert labels_of(loader) != labels_of(loader)


def test_the_same_generator_state_gives_the_same_order():
    first, second = (
        DataLoader(IMAGES, LABELS, 4, shuffle=True, rng=np.random.default_rng(1)) for _ in range(2)
    )
    assert labels_of(first) == labels_of(second)


def test_the_transform_gets_the_images_and_its_own_generator():
    rng = np.random.default_rng(5)
    seen = []

    def transform(images, generator):
        seen.append((images.dtype, images.shape, generator is rng))
        return images.astype(np.float32) / 255

    loader = DataLoader(IMAGES, LABELS, 8, transform=transform, transform_rng=rng)
    x, _ = next(iter(loader))
    assert seen == [(np.uint8, (8, 3, 2, 2), True)]
    np.testing.assert_array_equal(x, IMAGES[:8].astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("images", "labels", "batch_size", "options", "error", "message"),
    [
        (IMAGES, LABELS[:9], 4, {}, ValueError, "10 images but 9 labels"),
        (IMAGES, LABELS[:, None], 4, {}, ValueError, r"shape \(N,\)"),
        (IMAGES[:0], LABELS[:0], 4, {}, ValueError, "N >= 1"),
        (IMAGES, LABELS.astype(float), 4, {}, TypeError, "must be integers, got float64"),
        (list(IMAGES), LABELS, 4, {}, TypeError, "images must be an array, got list"),
        (IMAGES, LABELS, 0, {}, ValueError, "batch_size must be at least 1, got 0"),
        (IMAGES, LABELS, 2.0, {}, TypeError, "batch_size must be an int"),
        (IMAGES, LABELS, True, {}, TypeError, "batch_size must be an int"),
        (IMAGES, LABELS, 4, {"prefetch": -1}, ValueError, "prefetch must be at least 0"),
        (IMAGES, LABELS, 4, {"shuffle": True}, ValueError, "shuffle needs a generator"),
        (IMAGES, LABELS, 4, {"rng": "7"}, TypeError, "rng must be a numpy.random.Generator"),
        (IMAGES, LABELS, 4, {"transform_rng": 7.0}, TypeError, "transform_rng must be"),
        (IMAGES, LABELS, 11, {"drop_last": True}, ValueError, "drop_last leaves no batch"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    images, labels, batch_size, options, error, message
):
    with pytest.raises(error, match=message):
        DataLoader(images, labels, batch_size, **options)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_random_transform_without_a_generator_is_refused_with_the_argument_to_pass(lazy):
    loader = DataLoader(IMAGES, LABELS, 4, transform=Compose([RandomInvert(), ToFloat()]))
    with pytest.raises(
        ValueError, match=r"DataLoader: RandomInvert needs a generator; pass transform_rng="
    ):
        next(iter(loader.in_bytes(np.float32) if lazy else loader))
    loader.transform_rng = 0
    assert len(next(iter(loader))[0]) == 4


@pytest.mark.parametrize("transform", [Compose([]), Compose([Compose([])])])
def test_an_empty_transform_is_none(transform):
    loader = DataLoader(IMAGES, LABELS, 4, transform=transform)
    for batches in (loader, loader.in_bytes(np.float32)):
        np.testing.assert_array_equal(next(iter(batches))[0], IMAGES[:4], strict=True)


# --- prefetch ---


@pytest.mark.parametrize("prefetch", [1, 3, 100])
def test_prefetched_batches_are_the_same_bit_for_bit(prefetch):
    def epochs(prefetch):
        loader = DataLoader(
            IMAGES,
            LABELS,
            3,
            shuffle=True,
            rng=np.random.default_rng(1),
            transform=noisy,
            transform_rng=np.random.default_rng(2),
            prefetch=prefetch,
        )
        return [(x.tobytes(), y.tobytes()) for _ in range(3) for x, y in loader]

    assert epochs(prefetch) == epochs(0)


def test_batches_are_prepared_while_the_loop_works_but_no_more_than_asked():
    prepared = []
    reached = threading.Event()

    def transform(images, _):
        prepared.append(len(images))
        if len(prepared) == 3:
            reached.set()
        return images

    batches = iter(DataLoader(IMAGES, LABELS, 1, transform=transform, prefetch=2))
    next(batches)
    assert reached.wait(10)  # the one taken and two ahead
    time.sleep(0.05)
    assert len(prepared) == 3
    batches.close()


def failing(images, _):
    if images[0, 0, 0, 0] == IMAGES[4, 0, 0, 0]:
        raise KeyError("no such pixel")
    return images


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_in_the_transform_surfaces_after_the_batches_before_it(prefetch):
    seen = []
    loader = DataLoader(IMAGES, LABELS, 2, transform=failing, prefetch=prefetch)
    with pytest.raises(KeyError, match="no such pixel") as caught:
        seen.extend(y.tolist() for _, y in loader)
    assert seen == [[0, 1], [2, 3]]
    assert "in failing" in "".join(traceback.format_tb(caught.value.__traceback__))
    assert not prefetch_threads()


@pytest.mark.parametrize("prefetch", [1, 3])
def test_leaving_the_loop_early_stops_the_thread(prefetch):
    for _ in DataLoader(IMAGES, LABELS, 1, prefetch=prefetch):
        assert prefetch_threads()
        break
    assert not prefetch_threads()


def test_an_epoch_that_ends_stops_the_thread():
    assert len(list(DataLoader(IMAGES, LABELS, 1, prefetch=2))) == 10
    assert not prefetch_threads()


def test_in_the_browser_which_has_no_threads_each_batch_is_prepared_on_access(monkeypatch):
    expected = list(DataLoader(IMAGES, LABELS, 4, transform=noisy, transform_rng=1, prefetch=2))
    monkeypatch.setattr("nplenet.data.loader.HAS_THREADS", False)
    monkeypatch.setattr("threading.Thread.start", None)
    found = list(DataLoader(IMAGES, LABELS, 4, transform=noisy, transform_rng=1, prefetch=2))
    assert len(found) == len(expected) == 3
    for batches in zip(found, expected, strict=True):
        for a, b in zip(*batches, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_iterator_that_is_dropped_stops_the_thread():
    batches = iter(DataLoader(IMAGES, LABELS, 1, prefetch=2))
    next(batches)
    del batches
    gc.collect()
    assert not prefetch_threads()


def test_the_epoch_after_an_early_end_is_whole():
    loader = DataLoader(IMAGES, LABELS, 2, prefetch=2)
    for _ in loader:
        break
    assert [label for batch in labels_of(loader) for label in batch] == list(range(10))


def test_an_iterator_kept_until_the_interpreter_ends_does_not_hang_it():
    program = (
        "import numpy as np; from nplenet.data import DataLoader\n"
        "loader = DataLoader(np.zeros((99, 1, 2, 2)), np.zeros(99, int), 1, prefetch=2)\n"
        "kept = iter(loader); next(kept); print('end')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "end", "")


# --- padding ---


@pytest.mark.parametrize("shape", [(5, 28, 28), (5, 1, 28, 28), (5, 3, 28, 28)])
def test_padding_centres_the_images_on_black(shape):
    images = np.random.default_rng(0).integers(1, 256, shape, np.uint8)
    padded = pad_images(images)
    channels = 1 if len(shape) == 3 else shape[1]
    assert (padded.shape, padded.dtype) == ((5, channels, 32, 32), np.uint8)
    np.testing.assert_array_equal(padded[:, :, 2:30, 2:30], images.reshape(5, channels, 28, 28))
    assert np.count_nonzero(padded) == images.size


def test_an_odd_border_is_wider_at_the_bottom_and_right():
    padded = pad_images(np.ones((1, 2, 3), np.uint8), 4)
    np.testing.assert_array_equal(
        padded[0, 0], [[0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    )


def test_images_of_the_right_size_are_copied():
    images = np.ones((2, 1, 32, 32), np.uint8)
    padded = pad_images(images)
    np.testing.assert_array_equal(padded, images)
    assert not np.shares_memory(padded, images)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 33, 20), np.uint8), ValueError, "33 x 20 do not fit into 32 x 32"),
        (np.zeros((2, 1, 20, 33), np.uint8), ValueError, "20 x 33 do not fit"),
        (np.zeros((28, 28), np.uint8), ValueError, r"got \(28, 28\)"),
        (np.zeros((2, 28, 28), np.float32), TypeError, "got float32"),
        ([[[0]]], TypeError, "got list"),
    ],
)
def test_images_that_cannot_be_padded_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        pad_images(images)


# --- the split ---

CLASSES = np.repeat([3, 1, 7], [50, 30, 7])


@pytest.mark.parametrize(
    ("validation", "count"), [(0, 0), (1, 1), (10, 10), (86, 86), (0.1, 9), (0.5, 44)]
)
def test_the_parts_cover_the_set_and_validation_has_its_exact_count(validation, count):
    train, held_out = train_validation_split(CLASSES, validation, np.random.default_rng(0))
    assert len(held_out) == count
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(87))


@pytest.mark.parametrize("validation", [1, 10, 43, 80])
def test_each_class_is_held_out_in_proportion(validation):
    _, held_out = train_validation_split(CLASSES, validation, np.random.default_rng(0))
    for label in (1, 3, 7):
        share = np.bincount(CLASSES)[label] * validation / 87
        assert abs(np.count_nonzero(CLASSES[held_out] == label) - share) < 1


def test_both_parts_are_ascending_int64_indexes():
    for part in train_validation_split(CLASSES, 20, np.random.default_rng(0)):
        assert part.dtype == np.int64
        assert np.all(np.diff(part) > 0)


def test_a_seed_decides_the_split():
    def held_out(seed):
        return train_validation_split(CLASSES, 20, np.random.default_rng(seed))[1].tolist()

    assert held_out(3) == held_out(3)
    assert held_out(3) != held_out(4)


@pytest.mark.parametrize(
    ("labels", "validation", "rng", "error", "message"),
    [
        (CLASSES, 87, np.random.default_rng(0), ValueError, "an int from 0 to 86, got 87"),
        (CLASSES, -1, np.random.default_rng(0), ValueError, "an int from 0 to 86, got -1"),
        (CLASSES, 1.0, np.random.default_rng(0), ValueError, r"a number in \(0, 1\), got 1.0"),
        (CLASSES, float("nan"), np.random.default_rng(0), ValueError, r"a number in \(0, 1\)"),
        (CLASSES, True, np.random.default_rng(0), TypeError, "validation must be an int"),
        (CLASSES, "9", np.random.default_rng(0), TypeError, "validation must be an int"),
        (CLASSES, 9, 0.5, TypeError, "rng must be a numpy.random.Generator, or an int"),
        (CLASSES / 2, 9, np.random.default_rng(0), TypeError, "labels must be integers"),
        (CLASSES[:0], 0, np.random.default_rng(0), ValueError, "N >= 1"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(labels, validation, rng, error, message):
    with pytest.raises(error, match=message):
        train_validation_split(labels, validation, rng)
