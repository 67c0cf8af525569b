"""Rotation, inversion and grayscale on batches of images, every image with its own angle or coin.

Names and rules are torchvision's on PIL images; the pixels equal Pillow's bit for bit. All random
numbers come from the ``numpy.random.Generator`` handed in. Every function returns a new array and
leaves its input as it was.

Legend: N images, C channels (1 or 3), H W height and width; x counts columns, y counts rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .backend import Array, Backend, backend_of

__all__ = [
    "Compose",
    "Draws",
    "FusedPipeline",
    "RandomGrayscale",
    "RandomInvert",
    "RandomRotation",
    "Rotations",
    "ToFloat",
    "apply_rotation",
    "augment_batch",
    "fuse",
    "grayscale",
    "invert",
    "rotate",
    "rotation_coefficients",
    "seed_pipeline",
]

Transform = Callable[[Array, "np.random.Generator | None"], Array]
"""Anything that takes a batch and a random generator and returns a new batch."""

LARGEST_SIDE = 4096
"""Longest image side that is rotated. Pillow leaves its fixed-point rule a little above 16384; this
limit keeps clear of that, keeps flat pixel numbers inside int32 and the work space small."""

CHUNK_PIXELS = 1 << 16
"""Pixels (border included) rotated at a time: some 40 images of 32x32, whose 2 MB of work space
stay near the core. A quarter of it is some 10 % slower, twice as many gain nothing (Zen 4)."""


# --- rotation -------------------------------------------------------------------------------------


def rotate(images: Array, angles: npt.ArrayLike, fill: int = 0) -> Array:
    """Rotate each image about its centre by its own angle, nearest neighbour, size unchanged.

    Equal to ``PIL.Image.rotate(angle, resample=NEAREST, fillcolor=fill)`` in every pixel.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
        C is 1 or 3; H and W are at most ``LARGEST_SIDE``.
    angles : float (N,), or one number for all
        Degrees, any finite value; positive is counter-clockwise as displayed (y down).
    fill : int
        0 ... 255, given to pixels whose source lies outside the image.

    Returns
    -------
    uint8 array (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        For images of another dtype or shape, an angle that is not finite, a count of angles other
        than N, a fill outside 0 ... 255.
    """
    check_images("rotate", images)
    _check_fill("rotate", fill)
    count, _, height, width = images.shape
    angles = np.asarray(angles, dtype=np.float64)
    if angles.ndim == 0:
        angles = np.full(count, angles)
    if angles.shape != (count,):
        raise ValueError(
            f"rotate got angles of shape {angles.shape} for {count} images, "
            f"expected ({count},) or one number"
        )
    return apply_rotation(images, rotation_coefficients(angles, height, width), fill)


def rotation_coefficients(angles: npt.ArrayLike, height: int, width: int) -> npt.NDArray[np.int32]:
    """Return the six 16.16 fixed-point numbers of each rotation, computed on the host.

    Output pixel (x, y) takes its value from source pixel

        xi = (A0 x + A1 y + A2) >> 16        yi = (A3 x + A4 y + A5) >> 16

    or is filled where (xi, yi) lies outside the image. This is the rule of Pillow (``rotate`` in
    PIL/Image.py, ``affine_fixed`` in libImaging/Geometry.c), which ``_coefficients_of`` states for
    one angle. Here it is vectorised, ten times as fast, without Pillow's decimal rounding and with
    NumPy's cosine, which may differ from the C library's in the last bit. That matters only where a
    number lies within rounding of a step of the quantisation (none of a million angles at 32x32,
    one at 4096x3001), and there the one-angle rule decides: the result is exact for every angle.

    Parameters
    ----------
    angles : float (N,)
        Degrees, any finite value.
    height, width : int
        1 ... ``LARGEST_SIDE``.

    Returns
    -------
    int32 (N, 6)
        A0 ... A5.
    """
    angles = np.asarray(angles, dtype=np.float64)
    if angles.ndim != 1:
        raise ValueError(f"rotation_coefficients got angles of shape {angles.shape}, expected (N,)")
    if not np.isfinite(angles).all():
        bad = int(np.flatnonzero(~np.isfinite(angles))[0])
        raise ValueError(f"angle {bad} of {len(angles)} is {angles[bad]}, expected a finite number")
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise ValueError(
            f"cannot rotate images of {height}x{width}: sides of 1 to {LARGEST_SIDE} are supported"
        )
    radians = -np.radians(angles % 360.0)
    cos, sin = np.cos(radians), np.sin(radians)
    # Rotation about (width/2, height/2), applied to pixel centres: hence the halves.
    x, y = 0.5 - width / 2, 0.5 - height / 2
    column = cos * x + sin * y + width / 2
    row = cos * y - sin * x + height / 2
    steps = np.stack([cos, sin, column, -sin, cos, row]) * 65536.0 + 0.5
    coefficients: npt.NDArray[np.int32] = np.floor(steps).astype(np.int32).T.copy()
    # The short cuts move a step by less than 65536 * 1e-15 * (height + width), a tenth of this.
    doubtful = np.abs(steps - np.rint(steps)).min(axis=0) < 1e-9 * (height + width)
    for i in np.flatnonzero(doubtful):
        coefficients[i] = _coefficients_of(float(angles[i]), height, width)
    return coefficients


def _coefficients_of(angle: float, height: int, width: int) -> list[int]:
    """Return A0 ... A5 for one angle, in the very operations and order of Pillow."""
    radians = -math.radians(angle % 360.0)
    a = e = round(math.cos(radians), 15)
    b, d = round(math.sin(radians), 15), round(-math.sin(radians), 15)
    c = a * (-width / 2) + b * (-height / 2) + width / 2
    f = d * (-width / 2) + e * (-height / 2) + height / 2
    c += a * 0.5 + b * 0.5
    f += d * 0.5 + e * 0.5
    return [math.floor(v * 65536.0 + 0.5) for v in (a, b, c, d, e, f)]


def apply_rotation(images: Array, coefficients: Array, fill: int) -> Array:
    """Read every output pixel from the source pixel that ``rotation_coefficients`` names.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
    coefficients : int32 (N, 6)
    fill : int

    Returns
    -------
    uint8 array (N, C, H, W)
    """
    backend = backend_of(images)
    if len(images) == 0:
        return images.copy()
    return Rotations(backend, backend.to_numpy(coefficients), images.shape[1:], fill)(images)


class Rotations:
    """Rotations of many images, prepared together, to be done some images at a time.

    An affine map is a matrix product, and matrix products are what runs fastest: the rows
    [A0 A1 A2] and [A3 A4 A5] times the columns [x y 1] of all output pixels give all source
    coordinates. They are exact, because every term and every partial sum is a multiple of
    2**-16 that fits the mantissa. A border of ``fill``, as wide as the farthest coordinate of all
    images, stands around each, so no coordinate needs a test and none is negative: the conversion
    to integers is the floor that ``>> 16`` means.

    Parameters
    ----------
    backend : Backend
    coefficients : int32 NumPy array (M, 6)
        See ``rotation_coefficients``; at least one.
    shape : (C, H, W)
        Of an image.
    fill : int
    """

    def __init__(
        self,
        backend: Backend,
        coefficients: npt.NDArray[np.int32],
        shape: tuple[int, ...],
        fill: int,
    ) -> None:
        self.backend, self.shape, self.fill = backend, shape, fill
        xp, (_, height, width) = backend.xp, shape
        matrices = coefficients.reshape(-1, 2, 3).transpose(1, 0, 2) / 65536.0  # (xi or yi, M, 3)
        self.left, self.top, right, bottom = _border(matrices, height, width)
        self.rows, self.columns = self.top + height + bottom, self.left + width + right
        matrices[:, :, 2] += [[self.left], [self.top]]

        # float32 holds integers below 2**24 exactly, which is 256 pixels in 16.16; else float64.
        small = max(self.rows, self.columns) + height + width < 256
        self.dtype = np.dtype(np.float32 if small else np.float64)
        self.matrices = backend.asarray(np.ascontiguousarray(matrices, dtype=self.dtype))
        pixels = xp.ones((3, height, width), dtype=self.dtype)
        pixels[0] = xp.arange(width)
        pixels[1] = xp.arange(height)[:, None]
        self.pixels = pixels.reshape(3, -1)
        self.chunk = max(1, CHUNK_PIXELS // (self.rows * self.columns))
        self._idle: list[_WorkSpace] = []  # one is made for each thread that comes meanwhile

    def __call__(self, images: Array, first: int = 0) -> Array:
        """Return image i turned by rotation ``first`` + i, uint8 (N, C, H, W) like ``images``."""
        xp, (_, height, width) = self.backend.xp, self.shape
        out = xp.empty(images.shape, dtype=np.uint8)
        if len(images) == 0:
            return out
        chunk = min(len(images), self.chunk)
        work = self._idle.pop() if self._idle else self._work_space(chunk)
        if len(work.index) < chunk:  # it was made for fewer
            work = self._work_space(chunk)
        for start in range(0, len(images), chunk):
            n = min(chunk, len(images) - start)
            batch = slice(start, start + n)
            matrices = self.matrices[:, first + start : first + start + n]
            work.inside[:, :n] = images[batch].swapaxes(0, 1)
            xp.matmul(matrices, self.pixels, out=work.coordinates[:, :n])
            xp.copyto(work.whole[:, :n], work.coordinates[:, :n], casting="unsafe")
            xi, yi = work.whole[0, :n], work.whole[1, :n]
            yi *= self.columns
            yi += xi
            yi += work.first[:n]
            work.index[:n] = yi
            for c, padded in enumerate(work.padded):
                pixels = padded.reshape(-1)[work.index[:n]]
                out[batch, c] = pixels.reshape(n, height, width)
        self._idle.append(work)
        return out

    def _work_space(self, chunk: int) -> _WorkSpace:
        """Return arrays for so many images at a time."""
        xp, (channels, height, width) = self.backend.xp, self.shape
        padded = xp.full((channels, chunk, self.rows, self.columns), self.fill, dtype=np.uint8)
        pixels = height * width
        # The extra 32 keep rows from lying a multiple of 4096 bytes apart, where they would compete
        # for the same cache lines: it saves a third of the product's time at 32x32.
        coordinates = xp.empty((2, chunk, pixels + 32), dtype=self.dtype)[:, :, :pixels]
        first = xp.empty((chunk, pixels), dtype=np.int32)
        first[:] = xp.arange(chunk, dtype=np.int32)[:, None] * (self.rows * self.columns)
        return _WorkSpace(
            padded,
            padded[:, :, self.top : self.top + height, self.left : self.left + width],
            coordinates,
            whole=xp.empty((2, chunk, pixels), dtype=np.int32),
            index=xp.empty((chunk, pixels), dtype=np.intp),
            first=first,
        )


class _WorkSpace(NamedTuple):
    """What ``Rotations`` computes with.

    Attributes
    ----------
    padded, inside : uint8 arrays (C, n, rows, columns), (C, n, H, W)
        Images with their border, and the view of them without.
    coordinates, whole : arrays (2, n, H*W)
        Where each output pixel comes from, as floats and as integers.
    index, first : integer arrays (n, H*W)
        The same counted in pixels of ``padded``, and what number the first pixel of an image has.
    """

    padded: Array
    inside: Array
    coordinates: Array
    whole: Array
    index: Array
    first: Array


def _border(
    matrices: npt.NDArray[np.float64], height: int, width: int
) -> tuple[int, int, int, int]:
    """Return how far source coordinates reach beyond the image: left, top, right, bottom.

    An affine map takes its extremes in the corners.
    """
    corners = np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]])
    reach = np.floor(matrices @ corners)
    before = np.maximum(0, -reach.min(axis=(1, 2)))
    after = np.maximum(0, reach.max(axis=(1, 2)) - [width - 1, height - 1])
    return int(before[0]), int(before[1]), int(after[0]), int(after[1])


# --- inversion, grayscale -------------------------------------------------------------------------


def invert(images: Array) -> Array:
    """Return 255 - v for every value v.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)

    Returns
    -------
    uint8 array (N, C, H, W)
    """
    check_images("invert", images)
    return 255 - images


def grayscale(images: Array) -> Array:
    """Replace red, green and blue by their luminance; images of one channel stay as they are.

    L = (19595 R + 38470 G + 7471 B + 32768) >> 16, which is 0.299 R + 0.587 G + 0.114 B rounded:
    ITU-R BT.601 as Pillow computes it for ``convert("L")`` (libImaging/Convert.c).

    Parameters
    ----------
    images : uint8 array (N, C, H, W)

    Returns
    -------
    uint8 array (N, C, H, W)
        The number of channels is kept: L stands in all three.
    """
    check_images("grayscale", images)
    if images.shape[1] == 1:
        return images.copy()
    red, green, blue = (images[:, c].astype(np.uint32) for c in range(3))
    luminance = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    gray = backend_of(images).xp.empty(images.shape, dtype=np.uint8)
    gray[:] = luminance[:, None]
    return gray


# --- random transforms ----------------------------------------------------------------------------
#
# Each is called as transform(images, rng) and draws exactly one number per image whatever comes of
# it, so a transform that happens to do nothing does not shift the random stream of the next one.


@dataclass
class RandomRotation:
    """Rotate each image by its own angle, uniform in [-degrees, degrees); see ``rotate``.

    Parameters
    ----------
    degrees : float
        Not negative.
    fill : int
        0 ... 255, given to pixels whose source lies outside the image.
    """

    degrees: float
    fill: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.degrees, (int, float)):
            raise TypeError(f"RandomRotation got degrees={self.degrees!r}, expected one number")
        if not 0 <= self.degrees < math.inf:
            raise ValueError(
                f"RandomRotation got degrees={self.degrees}, expected a finite number >= 0: "
                "angles are drawn between -degrees and degrees"
            )
        _check_fill("RandomRotation", self.fill)

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Draw the angles of ``count`` images, in degrees."""
        return rng.uniform(-self.degrees, self.degrees, count)

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return rotated images, uint8 (N, C, H, W) like ``images``."""
        check_images("RandomRotation", images)
        return rotate(images, self.draw(len(images), _check_rng("RandomRotation", rng)), self.fill)


@dataclass
class RandomInvert:
    """Invert each image with probability ``p``; see ``invert``."""

    p: float = 0.5

    def __post_init__(self) -> None:
        _check_probability("RandomInvert", self.p)

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Toss the coins of ``count`` images."""
        return rng.random(count) < self.p

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return the images, some of them inverted, uint8 (N, C, H, W) like ``images``."""
        check_images("RandomInvert", images)
        coins = self.draw(len(images), _check_rng("RandomInvert", rng))
        mask = np.where(coins, 255, 0).astype(np.uint8)[:, None, None, None]
        return images ^ backend_of(images).asarray(mask)  # v ^ 255 = 255 - v, v ^ 0 = v


@dataclass
class RandomGrayscale:
    """Turn each image to gray with probability ``p``; see ``grayscale``.

    The number of channels is kept, so this changes nothing in images of one channel. The default
    is torchvision's; ``seed_pipeline`` uses 0.5.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        _check_probability("RandomGrayscale", self.p)

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Toss the coins of ``count`` images."""
        return rng.random(count) < self.p

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return the images, some of them gray, uint8 (N, C, H, W) like ``images``."""
        check_images("RandomGrayscale", images)
        coins = self.draw(len(images), _check_rng("RandomGrayscale", rng))
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
            raise TypeError(f"ToFloat got dtype={self.dtype}, expected a floating-point type")

    def __repr__(self) -> str:
        return f"ToFloat(dtype={self.dtype})"

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return ``images`` / 255 as floats (N, C, H, W); ``rng`` is accepted and not used."""
        check_images("ToFloat", images)
        return backend_of(images).xp.divide(images, self.dtype.type(255), dtype=self.dtype)


class Compose:
    """Apply transforms one after the other, all drawing from the one generator in that order.

    Parameters
    ----------
    transforms : sequence of transform(images, rng) -> images
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f"Compose got {transform!r}, expected transform(images, rng)")

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"

    def __call__(self, images: Array, rng: np.random.Generator | None = None) -> Array:
        """Return ``images`` after all transforms."""
        for transform in self.transforms:
            images = transform(images, rng)
        return images


def seed_pipeline() -> Compose:
    """Return the transforms this network is trained with: rotation, inversion, grayscale, to float.

    The order matters: inversion turns the corners that the rotation filled with 0 into 255.
    """
    return Compose([RandomRotation(15), RandomInvert(0.5), RandomGrayscale(0.5), ToFloat()])


def before_float(transform: Transform | None, dtype: npt.DTypeLike) -> Transform | None:
    """Return ``transform`` without its last part, if that is a ``ToFloat`` to ``dtype``, else None.

    For one who turns bytes into floats while he copies them to their place.
    """
    *others, last = _flattened(transform)
    if type(last) is not ToFloat or last.dtype != np.dtype(dtype):
        return None
    return Compose(others)


# --- the pipeline as one operation ----------------------------------------------------------------
#
# On a GPU a batch is gathered from the data set, rotated, inverted, turned gray and scaled by one
# kernel. What it needs is drawn on the host for a whole epoch, from the same generator in the same
# order as the transforms above draw it batch by batch, so both ways give the same images.


def augment_batch(
    xp: Any,
    images: Array,
    indexes: Array,
    coefficients: Array | None,
    inverted: Array | None,
    gray: Array | None,
    fill: int,
    dtype: npt.DTypeLike,
) -> Array:
    """Gather images from a data set, rotate, invert, turn to gray and scale to 0 ... 1, as drawn.

    Parameters
    ----------
    images : uint8 array (M, C, H, W)
        The whole data set; C is 1 or 3.
    indexes : int32 array (N,)
        Of the images wanted, each 0 ... M - 1 (the kernel does not check them).
    coefficients : int32 array (N, 6) or None
        See ``rotation_coefficients``; None rotates nothing.
    inverted, gray : uint8 array (N,) or None
        1 for the images to change, 0 for the others; None changes nothing.
    fill : int
        0 ... 255, given to pixels whose source lies outside the image, before inversion.
    dtype : float32 or float64

    Returns
    -------
    array (N, C, H, W) of ``dtype``
    """
    batch = images[indexes]
    if coefficients is not None:
        batch = apply_rotation(batch, coefficients, fill)
    if inverted is not None:
        batch = xp.where(inverted[:, None, None, None] != 0, invert(batch), batch)
    if gray is not None:
        batch = xp.where(gray[:, None, None, None] != 0, grayscale(batch), batch)
    return xp.divide(batch, np.dtype(dtype).type(255), dtype=dtype)


class Draws(NamedTuple):
    """What the transforms of a ``FusedPipeline`` drew for N images: arguments of ``augment_batch``.

    Attributes
    ----------
    coefficients : int32 array (N, 6) or None
    inverted, gray : uint8 array (N,) or None
        None where the pipeline has no such transform.
    """

    coefficients: Array | None
    inverted: Array | None
    gray: Array | None

    def to(self, backend: Backend) -> Draws:
        """Return the draws as arrays of ``backend``; one copy for each, best done once an epoch."""
        return Draws(*(None if a is None else backend.asarray(a) for a in self))

    def part(self, images: slice) -> Draws:
        """Return the draws of some of the images, as views."""
        return Draws(*(None if a is None else a[images] for a in self))


@dataclass(frozen=True)
class FusedPipeline:
    """RandomRotation, RandomInvert, RandomGrayscale and ToFloat as one operation; see ``fuse``."""

    rotation: RandomRotation | None
    inversion: RandomInvert | None
    grayscale: RandomGrayscale | None
    to_float: ToFloat

    def draw(
        self, counts: Iterable[int], rng: np.random.Generator | None, height: int, width: int
    ) -> Draws:
        """Draw for batches of ``counts`` images each, as the transforms would one after the other.

        Parameters
        ----------
        counts : iterable of int
            The sizes of the batches, in order; their sum is N.
        rng : numpy.random.Generator
            None will do where nothing is random.
        height, width : int
            Of the images.

        Returns
        -------
        Draws
            NumPy arrays for all N images.
        """
        random = [t for t in (self.rotation, self.inversion, self.grayscale) if t is not None]
        batches = [
            [t.draw(count, _check_rng("FusedPipeline", rng)) for t in random]
            for count in (0, *counts)  # the 0 draws nothing, and serves an epoch without batches
        ]
        columns = map(np.concatenate, zip(*batches, strict=True))
        drawn = dict(zip(map(type, random), columns, strict=True))
        angles = drawn.get(RandomRotation)
        coins = (drawn.get(RandomInvert), drawn.get(RandomGrayscale))
        return Draws(
            None if angles is None else rotation_coefficients(angles, height, width),
            *(None if flags is None else flags.astype(np.uint8) for flags in coins),
        )

    def apply(self, images: Array, indexes: Array, draws: Draws) -> Array:
        """Return the batch ``images[indexes]``, changed as drawn: one launch on a GPU.

        Parameters
        ----------
        images : uint8 array (M, C, H, W)
        indexes : int32 array (N,)
        draws : Draws
            For N images, on the backend of ``images``.

        Returns
        -------
        float array (N, C, H, W)
        """
        fill = 0 if self.rotation is None else self.rotation.fill
        run = backend_of(images).run
        return run(augment_batch, images, indexes, *draws, fill, self.to_float.dtype)


def fuse(transform: Transform | None) -> FusedPipeline | None:
    """Return ``transform`` as one operation, or None if it is not of the kind that can be.

    That kind is some of RandomRotation, RandomInvert, RandomGrayscale and ToFloat, in that order,
    the last always there (in float32 or float64): all of this library's pipelines.
    """
    parts = _flattened(transform)
    kinds = [type(part) for part in parts]
    wanted = [k for k in (RandomRotation, RandomInvert, RandomGrayscale, ToFloat) if k in kinds]
    if kinds != wanted or kinds[-1:] != [ToFloat] or parts[-1].dtype.itemsize not in (4, 8):
        return None
    found = dict(zip(kinds, parts, strict=True))
    return FusedPipeline(
        found.get(RandomRotation),
        found.get(RandomInvert),
        found.get(RandomGrayscale),
        found[ToFloat],
    )


def _flattened(transform: Any) -> list[Any]:
    """Return the transforms of nested ``Compose`` in the order in which they are applied."""
    if type(transform) is not Compose:
        return [transform]
    return [part for inner in transform.transforms for part in _flattened(inner)]


# --- checks ---------------------------------------------------------------------------------------


def check_images(owner: str, images: Array) -> None:
    backend_of(images)  # raises TypeError for what is not an array
    if images.dtype != np.uint8:
        raise TypeError(
            f"{owner} got images of dtype {images.dtype}, expected uint8 (0 ... 255); "
            "ToFloat belongs at the end of the transforms"
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise ValueError(
            f"{owner} got images of shape {images.shape}, expected (N, C, H, W) with C 1 or 3 "
            "and H, W >= 1; add axes with images[:, None] or move channels to the front"
        )


def _check_rng(owner: str, rng: np.random.Generator | None) -> np.random.Generator:
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{owner} got rng={rng!r}, expected a numpy.random.Generator: "
            "call it as transform(images, rng) with rng = numpy.random.default_rng(seed)"
        )
    return rng


def _check_probability(owner: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{owner} got p={p}, expected a probability in 0 ... 1")


def _check_fill(owner: str, fill: int) -> None:
    if not isinstance(fill, (int, np.integer)):
        raise TypeError(f"{owner} got fill={fill!r}, expected an integer in 0 ... 255")
    if not 0 <= fill <= 255:
        raise ValueError(f"{owner} got fill={fill}, expected an integer in 0 ... 255")
