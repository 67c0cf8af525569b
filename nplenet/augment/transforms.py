"""The random transforms, and ``Compose``, which chains them.

Each is called as ``transform(images, rng)`` and draws ``transform.numbers`` numbers per image, one
or for ``RandomAffine`` six, whatever the outcome, so a transform that changes nothing does not
shift the random stream of the next one. The numbers are uniform in [0, 1), and ``decide`` makes
angles or coins of them. So the numbers of all batches of an epoch may be drawn at once, and are the
same. ``transform.random`` says whether it draws at all: what does not is also applied in
evaluation.

Legend: N images, C channels (1 or 3), H W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import checks
from ..attributes import Attributes
from ..backend import Array, backend_of
from ..checks import (
    Checks,
    as_given,
    byte,
    float_dtype,
    fraction,
    not_negative,
    number,
    one_or_more,
    positive,
)
from .pixels import check_images, grayscale
from .random_affine import RandomAffine
from .rotation import rotate, rotation_coefficients

Transform = Callable[[Array, "np.random.Generator | None"], Array]
"""A function from a batch and a random generator to a new batch."""


@dataclass
class RandomRotation(Attributes):
    """Rotate each image by its own angle, uniform in [-degrees, degrees); see ``rotate``.

    Parameters
    ----------
    degrees : float
        Not negative.
    fill : int
        0 ... 255, the value of pixels whose source lies outside the image.
    """

    random: ClassVar[bool] = True
    numbers: ClassVar[int] = 1
    settings: ClassVar[Checks] = {"degrees": as_given(not_negative), "fill": as_given(byte)}
    degrees: float
    fill: int = 0

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Draw the angles of ``count`` images, in degrees."""
        return self.decide(rng.random(count))

    def decide(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return angles in degrees, like ``Generator.uniform``, from numbers in [0, 1)."""
        return 2 * self.degrees * uniform - self.degrees

    def coefficients(
        self, uniform: npt.NDArray[np.float64], height: int, width: int
    ) -> npt.NDArray[np.int32]:
        """Return the rotations of N images, (N, 6), from numbers (1, N) in [0, 1)."""
        return rotation_coefficients(self.decide(uniform[0]), height, width)

    def __call__(self, images: Array, rng: np.random.Generator | int | None = None) -> Array:
        """Return rotated images, uint8 (N, C, H, W) like ``images``."""
        check_images("RandomRotation", images)
        rng = checks.generator(rng, "RandomRotation: rng")
        return rotate(images, self.draw(len(images), rng), self.fill)


@dataclass
class RandomInvert(Attributes):
    """Invert each image with probability ``p``; see ``invert``."""

    random: ClassVar[bool] = True
    numbers: ClassVar[int] = 1
    settings: ClassVar[Checks] = {"p": as_given(fraction)}
    p: float = 0.5

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Draw for each of ``count`` images whether it is changed."""
        return self.decide(rng.random(count))

    def decide(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which images are changed, from numbers in [0, 1)."""
        return uniform < self.p

    def __call__(self, images: Array, rng: np.random.Generator | int | None = None) -> Array:
        """Return the images, some of them inverted, uint8 (N, C, H, W)."""
        check_images("RandomInvert", images)
        coins = self.draw(len(images), checks.generator(rng, "RandomInvert: rng"))
        mask = np.where(coins, 255, 0).astype(np.uint8)[:, None, None, None]
        return images ^ backend_of(images).asarray(mask)  # v ^ 255 = 255 - v, v ^ 0 = v


@dataclass
class RandomGrayscale(Attributes):
    """Turn each image to gray with probability ``p``; see ``grayscale``.

    The number of channels is kept, so this changes nothing in images of one channel. The default
    is torchvision's; ``standard_augmentation`` uses 0.5.
    """

    random: ClassVar[bool] = True
    numbers: ClassVar[int] = 1
    settings: ClassVar[Checks] = {"p": as_given(fraction)}
    p: float = 0.1

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Draw for each of ``count`` images whether it is changed."""
        return self.decide(rng.random(count))

    def decide(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which images are changed, from numbers in [0, 1)."""
        return uniform < self.p

    def __call__(self, images: Array, rng: np.random.Generator | int | None = None) -> Array:
        """Return the images, some of them gray, uint8 (N, C, H, W) like ``images``."""
        check_images("RandomGrayscale", images)
        coins = self.draw(len(images), checks.generator(rng, "RandomGrayscale: rng"))
        out = images.copy()
        if images.shape[1] == 3:
            chosen = backend_of(images).asarray(np.flatnonzero(coins))
            out[chosen] = grayscale(images[chosen])
        return out


class ToFloat(Attributes):
    """Scale 0 ... 255 to 0 ... 1 by a true division by 255, as torchvision's ``ToTensor`` does.

    Multiplying by 1/255 would differ in the last bit for 126 of the 256 values.

    Parameters
    ----------
    dtype : floating-point dtype
    """

    random = False
    settings: ClassVar[Checks] = {"dtype": float_dtype}
    dtype: np.dtype[Any]

    def __init__(self, dtype: npt.DTypeLike = np.float32) -> None:
        self.dtype = dtype  # type: ignore[assignment]  # becomes one

    def __repr__(self) -> str:
        return f"ToFloat(dtype={self.dtype})"

    def __call__(self, images: Array, rng: np.random.Generator | int | None = None) -> Array:
        """Return ``images`` / 255 as floats (N, C, H, W); ``rng`` is accepted and not used."""
        check_images("ToFloat", images)
        return backend_of(images).xp.divide(images, self.dtype.type(255), dtype=self.dtype)


class Normalize(Attributes):
    """Subtract ``mean`` and divide by ``std``, channel by channel, as torchvision's ``Normalize``.

        y[n, c] = (x[n, c] - mean[c]) / std[c]        in the dtype of x

    It belongs behind ``ToFloat``. For MNIST people use ``Normalize(0.1307, 0.3081)``.

    Parameters
    ----------
    mean, std : float or sequence of float
        Of each channel; one number is for all channels. std > 0.
    """

    random = False
    settings: ClassVar[Checks] = {"mean": one_or_more(number), "std": one_or_more(positive)}
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean = mean  # type: ignore[assignment]  # becomes a tuple
        self.std = std  # type: ignore[assignment]  # as well
        if 1 not in (len(self.mean), len(self.std)) and len(self.mean) != len(self.std):
            raise ValueError(
                f"Normalize: mean is of {len(self.mean)} channels, std of {len(self.std)}"
            )

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"

    def per_channel(self, channels: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return mean and std of each channel, (2, C)."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(
                    f"Normalize: {name} is of {len(values)} channels, the images have {channels}"
                )
        rows = [np.broadcast_to(np.array(row, dtype), channels) for row in (self.mean, self.std)]
        return np.stack(rows)

    def __call__(self, images: Array, rng: np.random.Generator | int | None = None) -> Array:
        """Return floats (N, C, ...) of the dtype of ``images``; ``rng`` is not used."""
        backend = backend_of(images)
        if images.dtype.kind != "f" or images.ndim < 2:
            raise TypeError(
                f"Normalize: takes floats (N, C, ...), got {images.dtype} {images.shape}; "
                "put ToFloat before it"
            )
        both = backend.asarray(self.per_channel(images.shape[1], images.dtype))
        mean, std = both.reshape(2, -1, *(1,) * (images.ndim - 2))
        return (images - mean) / std


def _transforms(values: Any, name: str) -> list[Transform]:
    if not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of transforms, got {values!r}")
    transforms = list(values)
    for transform in transforms:
        if not callable(transform) or isinstance(transform, type):
            raise TypeError(f"{name}: expected transform(images, rng), got {transform!r}")
    return transforms


class Compose(Attributes):
    """Apply transforms one after the other; all draw from one generator, in this order.

    Parameters
    ----------
    transforms : sequence of transform(images, rng) -> images
    """

    settings: ClassVar[Checks] = {"transforms": _transforms}
    transforms: list[Transform]

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = transforms  # type: ignore[assignment]  # becomes a list

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"

    def __call__(self, images: Array, rng: np.random.Generator | int | None = None) -> Array:
        """Return ``images`` after all transforms."""
        drawn = None if rng is None else checks.generator(rng, "Compose: rng")
        for transform in self.transforms:
            images = transform(images, drawn)
        return images


def standard_augmentation() -> Compose:
    """Return the transforms this network is trained with: rotation, inversion, grayscale, to float.

    The order matters: inversion turns the corners that the rotation filled with 0 into 255.
    """
    return Compose([RandomRotation(15), RandomInvert(0.5), RandomGrayscale(0.5), ToFloat()])


def affine_augmentation() -> Compose:
    """Return ``standard_augmentation`` with zoom and a shift of half a pixel (of 32) as well."""
    affine = RandomAffine(15, translate=(1 / 64, 1 / 64), scale=(0.9, 1.1))
    return Compose([affine, RandomInvert(0.5), RandomGrayscale(0.5), ToFloat()])


def before_float(transform: Transform | None, dtype: npt.DTypeLike) -> Transform | None:
    """Return ``transform`` without its last part if that is a ``ToFloat`` to ``dtype``.

    Otherwise return None. For a step that converts bytes to floats while it copies them. (It also
    normalises, but only images of a pipeline that ``fuse`` knows.)
    """
    parts = flattened(transform)  # none at all in an empty Compose
    if not parts or type(parts[-1]) is not ToFloat or parts[-1].dtype != np.dtype(dtype):
        return None
    return Compose(parts[:-1])


def flattened(transform: Any) -> list[Any]:
    """Return the transforms of nested ``Compose`` in the order in which they are applied."""
    if type(transform) is not Compose:
        return [transform]
    return [part for inner in transform.transforms for part in flattened(inner)]
