"""Helper processes make the images of the next step while worker 0 ends the one before.

Every step is compared with one worker's, which makes its images when it needs them.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from nplenet.augment import FusedPipeline, Normalize, fuse, standard_augmentation
from nplenet.augment.pipeline import Compose
from nplenet.compiled import compile
from nplenet.compiled.cpu.search import SIDE_BY_SIDE
from nplenet.data.lazy import AugmentedImages
from nplenet.layers import Conv2d, Dense, Flatten, ReLU, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are used on Linux")

SIZES = [48, 48, 48, 35]
IMAGES = np.random.default_rng(0).integers(0, 256, (200, 3, 12, 12), np.uint8)
LABELS = np.arange(48) % 5


@pytest.fixture(autouse=True)
def _processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPLENET_WORKERS", "processes")


def make_step(workers: int) -> Any:
    rng = np.random.default_rng(0)
    model = Sequential(Conv2d(3, 4, 3, rng=rng), ReLU(), Flatten(), Dense(400, 5, rng=rng))
    tunables = {"threads": workers, "lanes": 16, "feature_lanes": 16, **SIDE_BY_SIDE}
    return compile(model, CrossEntropyLoss(), SGD(model.parameters()), 48, tunables=tunables)


def epoch(kind: type[AugmentedImages] = AugmentedImages) -> AugmentedImages:
    """The images of an epoch: rotated, inverted, gray and normalised."""
    transform = standard_augmentation()
    pipeline = fuse(Compose([*transform.transforms, Normalize([0.2, 0.3, 0.4], [0.5, 0.6, 0.7])]))
    assert isinstance(pipeline, FusedPipeline)
    rng = np.random.default_rng(1)
    return kind(IMAGES, rng.permutation(200)[: sum(SIZES)], pipeline, SIZES, rng)


def parts(sizes: list[int] = SIZES) -> list[slice]:
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def crew_of(step: Any) -> Any:
    return step.prepare(IMAGES.shape[1:]).crew


def same_step(one: Any, other: Any, source: AugmentedImages, part: slice) -> None:
    y = LABELS[: part.stop - part.start]
    assert one.gradients(source.batch(part), y) == pytest.approx(
        other.gradients(source.batch(part), y), rel=1e-5
    )
    for p, q in zip(one.model.parameters(), other.model.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("workers", [2, 3])
def test_each_step_has_its_images_and_the_next_ones_are_on_their_way(workers: int) -> None:
    step, alone, source, made = make_step(workers), make_step(1), epoch(), []
    for part in parts():
        same_step(step, alone, source, part)
        made.append(crew_of(step)._made)
    assert made == [(48, 48), (96, 48), (144, 35), None]


@pytest.mark.parametrize("second", [slice(96, 144), slice(48, 80), slice(0, 48), slice(50, 98)])
def test_a_step_with_other_images_than_those_made_has_its_own(second: slice) -> None:
    step, alone, source = make_step(2), make_step(1), epoch()
    for part in (slice(0, 48), second, slice(second.stop, second.stop + 10)):
        same_step(step, alone, source, part)


def test_a_step_with_an_array_does_not_disturb_those_made() -> None:
    step, alone, source = make_step(2), make_step(1), epoch()
    same_step(step, alone, source, slice(0, 48))
    step.gradients(IMAGES[:48], LABELS)
    same_step(step, alone, source, slice(48, 96))


def test_a_batch_that_is_kept_keeps_its_images() -> None:
    step, source = make_step(2), epoch()
    batches = [source.batch(part) for part in parts()]
    before = [batch[:].copy() for batch in batches]
    for batch in batches:
        step.gradients(batch, LABELS[: len(batch)])
    for batch, images in zip(batches, before, strict=True):
        np.testing.assert_array_equal(batch[:], images)


def test_a_refused_batch_between_two_steps_loses_no_images() -> None:
    step, alone, source = make_step(2), make_step(1), epoch()
    same_step(step, alone, source, slice(0, 48))
    with pytest.raises(ValueError, match="label"):
        step.gradients(source.batch(slice(48, 96)), LABELS + 9)
    same_step(step, alone, source, slice(48, 96))


class Damaged(AugmentedImages):
    """Images of which some cannot be made."""

    def make(self, part: slice) -> np.ndarray:
        if part.stop > 96:
            raise OSError("image 96 cannot be read")
        return super().make(part)


def test_an_error_comes_with_the_step_that_needs_the_images_and_the_next_one_runs() -> None:
    step, alone, source = make_step(2), make_step(1), epoch(Damaged)
    same_step(step, alone, source, slice(0, 48))
    same_step(step, alone, source, slice(48, 96))
    with pytest.raises(OSError, match="image 96"):
        step.gradients(source.batch(slice(96, 144)), LABELS)
    same_step(step, alone, source, slice(10, 58))
