"""The loader on a device gives the batches of the loader on the host, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nplenet.augment import (
    Compose,
    RandomAffine,
    RandomInvert,
    RandomRotation,
    ToFloat,
    fuse,
    standard_augmentation,
)
from nplenet.backend import Backend
from nplenet.data import DataLoader, DeviceLoader
from nplenet.data.device import Deal
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
        Compose([RandomAffine(40, (0.2, 0.3), (0.5, 2), 20, 9), ToFloat()]),
        RandomInvert(),
        ToFloat(),
    ],
    ids=["standard", "rotation", "affine", "inversion", "float"],
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


def test_images_that_lie_in_another_order_are_the_same(backend: Backend) -> None:
    transform = ToFloat()
    pipeline = fuse(transform)
    assert pipeline is not None
    other = DataLoader(np.asfortranarray(IMAGES), LABELS, 4, transform=transform)
    loader = DeviceLoader(other, pipeline, backend)
    assert loader.images_there.flags.c_contiguous  # kernels read it as C order
    there = np.concatenate([backend.to_numpy(x) for x, _ in loader])
    np.testing.assert_array_equal(there, IMAGES / np.float32(255))


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


# --- an epoch dealt in advance ------------------------------------------------------------------


def arrays(backend: Backend, deal: Deal) -> list[Any]:
    dealt = [deal.order, deal.labels, *deal.draws]
    return [None if a is None else backend.to_numpy(a).tolist() for a in dealt]


def augmented(backend: Backend) -> DeviceLoader:
    loader = device_loader(backend, standard_augmentation(), shuffle=True)
    loader.labels = loader.labels.copy()
    return loader


def test_a_prepared_deal_is_the_next_one(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    found, expected = augmented(backend), augmented(backend)
    for _ in range(3):
        before = found.state_dict()
        found.prepare()
        assert found.state_dict() == before
        with monkeypatch.context() as patch:
            patch.setattr(DeviceLoader, "_draw", None)  # it is there already
            deal = found.deal()
        assert arrays(backend, deal) == arrays(backend, expected.deal())
        assert found.state_dict() == expected.state_dict()
    assert arrays(backend, found.deal()) == arrays(backend, expected.deal())  # not prepared


def labels_in_place(loader: DeviceLoader) -> None:
    loader.labels[3] = 77


def other_labels(loader: DeviceLoader) -> None:
    loader.labels = loader.labels[::-1]


def no_shuffling(loader: DeviceLoader) -> None:
    loader.shuffle = False


def smaller_batches(loader: DeviceLoader) -> None:
    loader.batch_size = 3


def whole_batches(loader: DeviceLoader) -> None:
    loader.drop_last = True


def wider_angles(loader: DeviceLoader) -> None:
    loader.pipeline.affine.degrees = 50  # type: ignore[union-attr]


def other_fill(loader: DeviceLoader) -> None:
    loader.pipeline.affine.fill = 9  # type: ignore[union-attr]


def more_inverted(loader: DeviceLoader) -> None:
    loader.pipeline.inversion.p = 0.9  # type: ignore[union-attr]


def no_gray(loader: DeviceLoader) -> None:
    pipeline = fuse(Compose([RandomRotation(15), RandomInvert(), ToFloat()]))
    assert pipeline is not None
    loader.pipeline = pipeline


def another_order(loader: DeviceLoader) -> None:
    loader.rng = generator(5, "shuffle")


def an_angle_drawn(loader: DeviceLoader) -> None:
    loader.transform_rng.random()  # type: ignore[union-attr]


def other_images(loader: DeviceLoader) -> None:
    loader.images_there = loader.images_there + 1


@pytest.mark.parametrize(
    "change",
    [
        labels_in_place,
        other_labels,
        no_shuffling,
        smaller_batches,
        whole_batches,
        wider_angles,
        other_fill,
        more_inverted,
        no_gray,
        another_order,
        an_angle_drawn,
        other_images,
    ],
)
def test_a_deal_made_before_a_change_is_made_again(
    backend: Backend, change: Callable[[DeviceLoader], None]
) -> None:
    found, unchanged, expected = (augmented(backend) for _ in range(3))
    found.prepare()
    change(found)
    change(expected)
    deals = [loader.deal() for loader in (found, expected, unchanged)]
    everything = [
        [*arrays(backend, d), d.sizes, d.fill, backend.to_numpy(d.images).tolist()] for d in deals
    ]
    assert everything[0] == everything[1]
    assert everything[0] != everything[2]
    assert found.state_dict() == expected.state_dict()


def test_an_error_in_preparing_waits_for_the_deal(backend: Backend) -> None:
    loader = augmented(backend)
    loader.pipeline.affine.degrees = 1.7e308  # type: ignore[union-attr]  # twice is inf
    before = loader.state_dict()
    loader.prepare()
    assert loader.state_dict() == before
    with pytest.raises(ValueError, match="angle 0 of 11 must be finite"):
        loader.deal()


def test_a_loader_of_your_own_makes_its_batches_on_the_host(backend: Backend) -> None:
    class Reversed(DataLoader):
        def draw_order(self) -> np.ndarray:
            return super().draw_order()[::-1]

    own = Reversed(IMAGES, LABELS, 4, transform=ToFloat())
    assert own.to(backend) is own
