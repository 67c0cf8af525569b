"""The random transforms, and ``Compose``, which chains them.

Each is called as ``transform(images, rng)`` and draws exactly one number per image whatever the
outcome, so a transform that changes nothing does not shift the random stream of the next one. The
number is uniform in [0, 1), and ``decide`` makes an angle or a coin of it. So the numbers of all
batches of an epoch may be drawn at once, and are the same.

Legend: N images, C channels (1 or 3), H W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import checks
from ..backend import Array, backend_of
from .pixels import check_images, grayscale
from .rotation import rotate

Transform = Callable[[Array, "np.random.Generator | None"], Array]
"""A function from a batch and a random generator to a new batch."""


@dataclass
class RandomRotation:
    """Rotate each image by its own angle, uniform in [-degrees, degrees); see ``rotate``.

    Parameters
    ----------
    degrees : float
        Not negative.
    fill : int
        0 ... 255, the value of pixels whose source lies outside the image.
    """

    degrees: float
    fill: int = 0

    def __post_init__(self) -> None:
        checks.number(self.degrees, "RandomRotation: degrees", "[0, inf)")
        checks.count(self.fill, "RandomRotation: fill", 0, 255)

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Draw the angles of ``count`` images, in degrees."""
        return self.decide(rng.random(count))

    def decide(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return angles in degrees, like ``Generator.uniform``, from numbers in [0, 1)."""
        return 2 * self.degrees * uniform - self.degrees

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return rotated images, uint8 (N, C, H, W) like ``images``."""
        check_images("RandomRotation", images)
        rng = checks.generator(rng, "RandomRotation: rng")
        return rotate(images, self.draw(len(images), rng), self.fill)


@dataclass
class RandomInvert:
    """Invert each image with probability ``p``; see ``invert``."""

    p: float = 0.5

    def __post_init__(self) -> None:
        checks.fraction(self.p, "RandomInvert: p")

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Draw for each of ``count`` images whether it is changed."""
        return self.decide(rng.random(count))

    def decide(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which images are changed, from numbers in [0, 1)."""
        return uniform < self.p

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return the images, some of them inverted, uint8 (N, C, H, W)."""
        check_images("RandomInvert", images)
        coins = self.draw(len(images), checks.generator(rng, "RandomInvert: rng"))
        mask = np.where(coins, 255, 0).astype(np.uint8)[:, None, None, None]
        return images ^ backend_of(images).asarray(mask)  # v ^ 255 = 255 - v, v ^ 0 = v


@dataclass
class RandomGrayscale:
    """Turn each image to gray with probability ``p``; see ``grayscale``.

    The number of channels is kept, so this changes nothing in images of one channel. The default
    is torchvision's; ``standard_augmentation`` uses 0.5.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        checks.fraction(self.p, "RandomGrayscale: p")

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Draw for each of ``count`` images whether it is changed."""
        return self.decide(rng.random(count))

    def decide(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which images are changed, from numbers in [0, 1)."""
        return uniform < self.p

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return the images, some of them gray, uint8 (N, C, H, W) like ``images``."""
        check_images("RandomGrayscale", images)
        coins = self.draw(len(images), checks.generator(rng, "RandomGrayscale: rng"))
        out = images.copy()
        if images.shape[1] == 3:
            chosen = backend_of(images).asarray(np.flatnonzero(coins))
            out[chosen] = grayscale(images[chosen])
        return out


class ToFloat:
    """Scale 0 ... 255 to 0 ... 1 by a true division by 255, as torchvision's ``ToTensor`` does.

    Multiplying by 1/255 would differ in the last bit for 126 of the 256 values.

    Parameters
    ----------
    dtype : floating-point dtype
    """

    def __init__(self, dtype: npt.DTypeLike = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype.kind != "f":
            raise TypeError(f"ToFloat: dtype must be a floating-point type, got {self.dtype}")

    def __repr__(self) -> str:
        return f"ToFloat(dtype={self.dtype})"

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return ``images`` / 255 as floats (N, C, H, W); ``rng`` is accepted and not used."""
        check_images("ToFloat", images)
        return backend_of(images).xp.divide(images, self.dtype.type(255), dtype=self.dtype)


class Compose:
    """Apply transforms one after the other; all draw from one generator, in this order.

    Parameters
    ----------
    transforms : sequence of transform(images, rng) -> images
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f"Compose: expected transform(images, rng), got {transform!r}")

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return ``images`` after all transforms."""
        for transform in self.transforms:
            images = transform(images, rng)
        return images


def standard_augmentation() -> Compose:
    """Return the transforms this network is trained with: rotation, inversion, grayscale, to float.

    The order matters: inversion turns the corners that the rotation filled with 0 into 255.
    """
    return Compose([RandomRotation(15), RandomInvert(0.5), RandomGrayscale(0.5), ToFloat()])


def before_float(transform: Transform | None, dtype: npt.DTypeLike) -> Transform | None:
    """Return ``transform`` without its last part if that is a ``ToFloat`` to ``dtype``.

    Otherwise return None. For a step that converts bytes to floats while it copies them.
    """
    *others, last = flattened(transform)
    if type(last) is not ToFloat or last.dtype != np.dtype(dtype):
        return None
    return Compose(others)


def flattened(transform: Any) -> list[Any]:
    """Return the transforms of nested ``Compose`` in the order in which they are applied."""
    if type(transform) is not Compose:
        return [transform]
    return [part for inner in transform.transforms for part in flattened(inner)]
