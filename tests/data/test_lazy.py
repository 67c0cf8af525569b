"""Lazy batches hold the very images that the transforms make, whoever asks for which part."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from nplenet.augment import (
    Compose,
    RandomAffine,
    RandomGrayscale,
    RandomInvert,
    RandomRotation,
    ToFloat,
)
from nplenet.data import DataLoader
from nplenet.data.lazy import LazyImages
from nplenet.group import Group

PIPELINES = {
    "all": [RandomRotation(40, fill=9), RandomInvert(0.5), RandomGrayscale(0.5), ToFloat()],
    "rotation": [RandomRotation(15), ToFloat()],
    "affine": [RandomAffine(40, (0.2, 0.3), (0.5, 2), 20, 9), RandomInvert(0.5), ToFloat()],
    "coins": [RandomInvert(0.5), RandomGrayscale(0.5), ToFloat()],
    "nothing random": [ToFloat()],
}


def loader(pipeline: str = "all", channels: int = 1, n: int = 50, **options: Any) -> DataLoader:
    images = np.random.default_rng(0).integers(0, 256, (n, channels, 17, 20), np.uint8)
    return DataLoader(
        images,
        np.arange(n),
        **{"batch_size": 16, "shuffle": True, "rng": np.random.default_rng(1)} | options,
        transform=Compose(PIPELINES[pipeline]),
        transform_rng=np.random.default_rng(2),
    )


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_lazy_batches_are_those_of_the_transforms(
    pipeline: str, channels: int, drop_last: bool
) -> None:
    plain = loader(pipeline, channels, drop_last=drop_last)
    lazy = loader(pipeline, channels, drop_last=drop_last).in_bytes(np.float32)
    for _ in range(2):  # epochs
        batches = list(lazy)
        assert len(batches) == len(plain)
        for (x, y), (images, labels) in zip(batches, plain, strict=True):
            assert isinstance(x, LazyImages)
            assert (x.shape, x.dtype) == (images.shape, np.uint8)
            floats = ToFloat()(np.asarray(x))
            np.testing.assert_array_equal(floats, images, strict=True)
            np.testing.assert_array_equal(y, labels, strict=True)
    assert lazy.state_dict() == plain.state_dict()


@pytest.mark.parametrize("rows", [slice(0, 5), slice(3, 16), slice(7, 7), slice(9, 99)])
def test_a_part_is_that_part_of_the_whole(rows: slice) -> None:
    for x, _ in loader().in_bytes(np.float32):
        np.testing.assert_array_equal(x[rows], np.asarray(x)[rows], strict=True)


def test_threads_may_ask_at_the_same_time() -> None:
    (x, _), *_ = loader(n=600, batch_size=600).in_bytes(np.float32)
    whole, parts = np.asarray(x), [slice(i, i + 25) for i in range(0, 600, 25)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            np.testing.assert_array_equal(
                np.concatenate(list(pool.map(x.__getitem__, parts))), whole
            )


def test_each_rank_gets_its_part_of_the_same_batches() -> None:
    class Half(Group):
        size = 2

    for rank in (0, 1):
        part = loader()
        part.group = Half()
        part.group.rank = rank
        for (x, y), (images, labels) in zip(part.in_bytes(np.float32), loader(), strict=True):
            rows = part.group.part(len(images))
            np.testing.assert_array_equal(ToFloat()(np.asarray(x)), images[rows], strict=True)
            np.testing.assert_array_equal(y, labels[rows])


def test_a_transform_of_another_kind_and_another_dtype_are_made_at_once() -> None:
    assert loader().in_bytes(np.float64).lazy is None
    other = loader()
    other.transform = Compose([lambda images, rng: images, ToFloat()])
    x, _ = next(iter(other.in_bytes(np.float32)))
    assert isinstance(x, np.ndarray)
    assert x.dtype == np.uint8


def test_images_that_cannot_be_augmented_are_refused_as_by_the_transforms() -> None:
    images = np.zeros((4, 2, 8, 8), np.uint8)
    bad = DataLoader(images, np.arange(4), 2, transform=Compose(PIPELINES["coins"]))
    bad.transform_rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="C 1 or 3"):
        next(iter(bad.in_bytes(np.float32)))


@pytest.mark.parametrize("first", [RandomInvert(0.5), lambda images, rng: images])
def test_a_loader_of_your_own_gets_the_floats_of_its_transform(first: Any) -> None:
    """Its noise in a batch of bytes, clipped to 0 ... 1, would be nearly all of the image."""

    class Noisy(DataLoader):
        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            for x, y in super().__iter__():
                yield np.clip(x + np.float32(0.1), 0, 1), y

    def batches(lazy: bool) -> list[Any]:
        plain = loader()
        own = Noisy(plain.images, plain.labels, 16, transform=Compose([first, ToFloat()]))
        own.transform_rng = np.random.default_rng(0)
        return [x for x, _ in (own.in_bytes(np.float32) if lazy else own)]

    for found, expected in zip(batches(True), batches(False), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)
