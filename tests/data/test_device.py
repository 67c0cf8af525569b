"""The loader on a device gives the batches of the loader on the host, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nplenet.augment import (
    Compose,
    RandomInvert,
    RandomRotation,
    ToFloat,
    fuse,
    standard_augmentation,
)
from nplenet.backend import Backend
from nplenet.data import DataLoader, DeviceLoader
from nplenet.seeds import generator

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 3, 9, 7), dtype=np.uint8)
LABELS = np.arange(11, dtype=np.uint8)


def host_loader(transform: Any, **options: Any) -> DataLoader:
    return DataLoader(
        IMAGES,
        LABELS,
        4,
        rng=generator(0, "shuffle"),
        transform=transform,
        transform_rng=generator(0, "augment"),
        **options,
    )


def device_loader(backend: Backend, transform: Any, **options: Any) -> DeviceLoader:
    pipeline = fuse(transform)
    assert pipeline is not None
    return DeviceLoader(host_loader(transform, **options), pipeline, backend)


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"shuffle": True, "drop_last": True}])
@pytest.mark.parametrize(
    "transform",
    [
        standard_augmentation(),
        Compose([RandomRotation(40, fill=9), ToFloat()]),
        RandomInvert(),
        ToFloat(),
    ],
    ids=["seed", "rotation", "inversion", "float"],
)
def test_two_epochs_equal_those_of_the_host(
    backend: Backend, transform: Any, options: dict[str, bool]
) -> None:
    if isinstance(transform, RandomInvert):
        transform = Compose([transform, ToFloat()])
    expected, found = (
        host_loader(transform, **options),
        device_loader(backend, transform, **options),
    )
    assert len(found) == len(expected)
    for _ in range(2):
        for (x, y), (dx, dy) in zip(expected, found, strict=True):
            assert backend.owns(dx)
            assert backend.owns(dy)
            for host, device in ((x, dx), (y, dy)):
                array = backend.to_numpy(device)
                assert array.dtype == host.dtype
                np.testing.assert_array_equal(array, host)


def test_a_loader_stays_on_the_host_for_numpy_and_for_a_transform_without_a_kernel(
    backend: Backend,
) -> None:
    known, unknown = host_loader(ToFloat()), host_loader(lambda images, rng: images / 255)
    assert (known.to(backend) is known) == (backend.name == "numpy")
    assert isinstance(known.to(backend), DataLoader if backend.name == "numpy" else DeviceLoader)
    assert unknown.to(backend) is unknown


@pytest.mark.parametrize("images", [IMAGES / 255, IMAGES[:, 0]])
def test_images_must_be_a_batch_of_bytes(backend: Backend, images: Any) -> None:
    loader = DataLoader(images, LABELS, 4, transform=ToFloat())
    pipeline = fuse(ToFloat())
    assert pipeline is not None
    with pytest.raises(TypeError, match=r"DeviceLoader: images must be uint8 \(M, C, H, W\), got"):
        DeviceLoader(loader, pipeline, backend)


def test_a_data_set_too_large_for_the_device_is_named(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(array: object) -> None:
        raise MemoryError("out of memory allocating 2,079 bytes")

    monkeypatch.setattr(backend, "asarray", full)
    with pytest.raises(MemoryError, match=r"11 images of 0 MB do not fit .* 2,079 bytes"):
        device_loader(backend, ToFloat())
