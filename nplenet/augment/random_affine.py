"""Rotation, shift, zoom and shear of each image by its own random amounts, in one affine map.

Legend: N images, C channels (1 or 3), H W height and width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import checks
from ..attributes import Attributes
from ..backend import Array
from ..checks import Checks, as_given, byte, not_negative
from .gather import apply_affine
from .maps import affine_coefficients
from .pixels import check_images


def _translate(values: Any, name: str) -> tuple[float, float]:
    return _pair(values, name, "[0, 1]")


def _scale(values: Any, name: str) -> tuple[float, float]:
    low, high = _pair(values, name, "(0, inf)")
    if low > high:
        raise ValueError(f"{name} must be (low, high), got {values!r}")
    return low, high


def _pair(values: Any, name: str, interval: str) -> tuple[float, float]:
    if np.shape(values) != (2,):
        raise ValueError(f"{name} must be 2 numbers, got {values!r}")
    first, second = (checks.number(v, name, interval) for v in values)
    return first, second


def _shears(shear: Any, name: str) -> tuple[float, float, float, float]:
    """Return lowest and highest shear along x, then along y, in degrees."""
    if np.ndim(shear) == 0:
        largest = checks.number(shear, name, "[0, 90)")
        return (-largest, largest, 0.0, 0.0)
    if np.shape(shear) not in ((2,), (4,)):
        raise ValueError(f"{name} must be a number, 2 or 4 numbers, got {shear!r}")
    given = tuple(checks.number(s, name, "(-90, 90)") for s in np.asarray(shear).tolist())
    low_x, high_x, low_y, high_y = (*given, 0.0, 0.0)[:4]
    if low_x > high_x or low_y > high_y:
        raise ValueError(f"{name} must be (low, high), got {shear!r}")
    return (low_x, high_x, low_y, high_y)


@dataclass
class RandomAffine(Attributes):
    """Rotate, shift, zoom and shear each image about its centre, each by its own random amounts.

    The ranges are those of torchvision's ``RandomAffine``; the pixels equal Pillow's. Six numbers
    are drawn per image, uniform in [low, high) and in this order, whatever the ranges:

        angle            [-degrees, degrees), counter-clockwise as displayed
        shift to right   [-translate[0] W, translate[0] W) pixels
        shift downwards  [-translate[1] H, translate[1] H) pixels
        zoom             [scale[0], scale[1]); 2 shows everything at double size
        shear            along x in degrees, then along y

    torchvision rounds a shift to whole pixels; here it may be a fraction of one, which decides
    between neighbours. An image is sheared first, then rotated, zoomed and shifted.

    Parameters
    ----------
    degrees : float
        Not negative.
    translate : (float, float)
        Largest shift as a fraction of the width and of the height, 0 ... 1.
    scale : (float, float)
        Smallest and largest zoom, above 0.
    shear : float, (float, float) or (float, float, float, float)
        Degrees, between -90 and 90: a number s is (-s, s) along x; or (low, high) along x; or
        (low, high) along x and (low, high) along y.
    fill : int
        0 ... 255, the value of pixels whose source lies outside the image.
    """

    random: ClassVar[bool] = True
    numbers: ClassVar[int] = 6
    settings: ClassVar[Checks] = {
        "degrees": as_given(not_negative),
        "translate": _translate,
        "scale": _scale,
        "shear": as_given(_shears),
        "fill": as_given(byte),
    }
    degrees: float
    translate: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float | Sequence[float] = 0.0
    fill: int = 0

    def shears(self) -> tuple[float, float, float, float]:
        """Return lowest and highest shear along x, then along y, in degrees."""
        return _shears(self.shear, "RandomAffine: shear")

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Draw the amounts of ``count`` images, (6, count); see ``decide``."""
        return self.decide(rng.random((self.numbers, count)))

    def decide(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the amounts (6, N) in the order above, from numbers in [0, 1) of that shape.

        Shifts are fractions of the width and the height, angles degrees.
        """
        right, down = self.translate
        low_x, high_x, low_y, high_y = self.shears()
        low = [-self.degrees, -right, -down, self.scale[0], low_x, low_y]
        high = [self.degrees, right, down, self.scale[1], high_x, high_y]
        start = np.array(low)[:, None]
        return start + (np.array(high)[:, None] - start) * uniform

    def coefficients(
        self, uniform: npt.NDArray[np.float64], height: int, width: int
    ) -> npt.NDArray[np.int32]:
        """Return the maps of N images, (N, 6), from numbers (6, N) in [0, 1)."""
        amounts = self.decide(uniform)
        matrices = np.stack(np.broadcast_arrays(*_matrix(np, amounts, height, width)), axis=1)
        return affine_coefficients(
            matrices, height, width, lambda i: _matrix(math, amounts[:, i].tolist(), height, width)
        )

    def __call__(self, images: Array, rng: np.random.Generator | int | None = None) -> Array:
        """Return the mapped images, uint8 (N, C, H, W) like ``images``."""
        check_images("RandomAffine", images)
        rng = checks.generator(rng, "RandomAffine: rng")
        uniform = rng.random((self.numbers, len(images)))
        return apply_affine(images, self.coefficients(uniform, *images.shape[2:]), self.fill)


def _matrix(m: Any, amounts: Any, height: int, width: int) -> tuple[Any, ...]:
    """Return a, b, c, d, e, f of the map from output to source, in Pillow's coordinates.

    An image is sheared, rotated, zoomed and shifted about its centre by the matrix

        M = zoom R(angle) Y(shear y) X(shear x),   X = | 1  -tan x |   Y = |    1    0 |
                                                       | 0     1   |       | -tan y  1 |

    and output pixels ask for their source, so the inverse of M is needed. That is the formula of
    torchvision's ``_get_inverse_affine_matrix`` (transforms/functional.py), whose angles are
    clockwise.

    Parameters
    ----------
    m : module
        ``numpy`` for arrays, ``math`` for numbers: both have sine, cosine and tangent.
    amounts : six arrays (N,) or six numbers
        As ``RandomAffine.decide`` returns them.
    """
    angle, right, down, zoom, shear_x, shear_y = amounts
    turn, x, y = -m.radians(angle), m.radians(shear_x), m.radians(shear_y)
    p, q = m.cos(turn - y) / m.cos(y), m.sin(turn - y) / m.cos(y)
    a, b = (m.cos(turn) - q * m.tan(x)) / zoom, (p * m.tan(x) + m.sin(turn)) / zoom
    d, e = -q / zoom, p / zoom
    column, row = -width / 2 - right * width, -height / 2 - down * height
    return a, b, a * column + b * row + width / 2, d, e, d * column + e * row + height / 2
