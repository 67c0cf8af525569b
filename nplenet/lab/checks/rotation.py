"""Checks of the assignment `rotation`: its result beside ``nplenet.augment.rotate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ...augment.rotation import rotate
from ..answer import Answer
from ..compare import WrongAnswer
from .layer import Part

Images = npt.NDArray[np.uint8]
SHARE = 0.005  # of the pixels may differ: where a source lies on the border of two, by rounding
ANGLES = (17.0, -38.5, 71.3, 160.2, -100.7)


def images(*shape: int) -> Images:
    """Return random images without a pixel of 0."""
    return np.random.default_rng(6).integers(1, 256, shape, dtype=np.uint8)


def turned(
    pictures: Images,
    angles: Sequence[float],
    fill: int = 0,
    *,
    sign: float = 1.0,
    center: float = 0.0,
    pixel: float = 0.5,
    radians: bool = False,
    cut: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]] = np.floor,
    outside: str = "fill",
    swap: bool = False,
    half_swap: bool = False,
) -> Images:
    """Return a rotation with the mistakes that the arguments name."""
    n, _, height, width = pictures.shape
    result = np.full_like(pictures, fill)
    y, x = np.mgrid[:height, :width] + pixel
    middle_y, middle_x = height / 2 + center, width / 2 + center
    if swap:
        middle_y, middle_x = middle_x, middle_y
    y, x = (y - width / 2, x - height / 2) if half_swap else (y - middle_y, x - middle_x)
    for i in range(n):
        angle = sign * (angles[i] if radians else np.radians(angles[i]))
        cos, sin = np.cos(angle), np.sin(angle)
        columns = cut(cos * x - sin * y + middle_x).astype(int)
        rows = cut(sin * x + cos * y + middle_y).astype(int)
        inside = (columns < width) & (rows < height)
        if outside == "negative":
            inside &= (columns >= -width) & (rows >= -height)
        else:
            inside &= (columns >= 0) & (rows >= 0)
        if outside == "clamp":
            columns, rows = np.clip(columns, 0, width - 1), np.clip(rows, 0, height - 1)
        elif outside == "wrap":
            columns, rows = columns % width, rows % height
        if outside in ("clamp", "wrap"):
            inside[:] = True
        result[i][:, inside] = pictures[i][:, rows[inside], columns[inside]]
    return result


def forward_mapped(pictures: Images, angles: Sequence[float], fill: int) -> Images:
    """Return a rotation that sends each pixel somewhere, instead of asking where one comes from."""
    n, _, height, width = pictures.shape
    result = np.full_like(pictures, fill)
    rows, columns = np.mgrid[:height, :width]
    y, x = rows + 0.5 - height / 2, columns + 0.5 - width / 2
    for i in range(n):
        cos, sin = np.cos(np.radians(angles[i])), np.sin(np.radians(angles[i]))
        to_x = np.floor(cos * x + sin * y + width / 2).astype(int)
        to_y = np.floor(cos * y - sin * x + height / 2).astype(int)
        inside = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height)
        result[i][:, to_y[inside], to_x[inside]] = pictures[i][:, rows[inside], columns[inside]]
    return result


def unlike(a: Images, b: Images) -> float:
    """Return the share of pixels that differ."""
    return float((a != b).mean())


def check(answer: Answer, pictures: Images, angles: Sequence[float], fill: int = 0) -> None:
    """Compare the student's rotation with the library's."""
    what = f"rotate of images {pictures.shape} by {', '.join(f'{a:g}' for a in angles)} degrees"
    function = answer.get("rotate")
    found = answer.call(what, function, pictures, np.array(angles, np.float64), fill)
    if not isinstance(found, np.ndarray):
        raise WrongAnswer(f"{what}: expected an array, found {type(found).__name__}")
    if found.shape != pictures.shape:
        raise WrongAnswer(
            f"{what}: expected an array of shape {pictures.shape}, found {found.shape}"
        )
    right = rotate(pictures, list(angles), fill)
    if found.dtype != np.uint8:
        raise WrongAnswer(f"{what}: expected uint8, found {found.dtype}")
    if unlike(found, right) <= SHARE:
        return
    cause = cause_of(found, right, pictures, angles, fill)
    raise WrongAnswer(
        f"{what}: {cause}{unlike(found, right):.0%} of the pixels are wrong, such as "
        f"{first_wrong(found, right)}"
    )


def cause_of(
    found: Images, right: Images, pictures: Images, angles: Sequence[float], fill: int
) -> str:
    """Return the mistake that gives the same image, with a semicolon; or nothing."""
    given = (pictures, angles, fill)
    mistakes = {
        "turns clockwise: positive angles are counter-clockwise": turned(*given, sign=-1.0),
        "nothing is rotated": pictures,
        "the angles are taken as radians: they are degrees": turned(*given, radians=True),
        "all images are turned by the first angle": turned(
            pictures, [angles[0]] * len(angles), fill
        ),
        "turns about a centre half a pixel off: a pixel's centre is at + 0.5": turned(
            *given, pixel=0.0
        ),
        "turns about (0, 0), not about the centre": turned(*given, center=-pictures.shape[3] / 2),
        "is cut towards 0 with int(): take floor, or the border appears twice": turned(
            *given, cut=np.trunc
        ),
        "rounding is half a pixel too far: the pixel i covers i..i+1, so take floor": turned(
            *given, cut=np.round
        ),
        "the border is repeated outside of the image: it must be fill": turned(
            *given, outside="clamp"
        ),
        "the image comes in again from the other side (negative indices): it must be fill": turned(
            *given, outside="wrap"
        ),
        "fill is not used": turned(pictures, angles, 0),
        "negative indices read from the other side of the image: it must be fill": turned(
            *given, outside="negative"
        ),
        "height and width are exchanged in the centre": turned(*given, swap=True),
        "height and width are exchanged where the centre is subtracted": turned(
            *given, half_swap=True
        ),
        "pixels are sent to where they go, which leaves holes: ask where each comes from": (
            forward_mapped(*given)
        ),
        "only the first channel is rotated": first_channel(right, fill),
        "rows and columns are exchanged": np.ascontiguousarray(right.swapaxes(2, 3)),
    }
    for cause, wrong in mistakes.items():
        if wrong.shape == found.shape and unlike(found, wrong) <= SHARE < unlike(wrong, right):
            return f"{cause}; "
    return ""


def first_channel(right: Images, fill: int) -> Images:
    """Return a right result of which all channels but the first hold ``fill``."""
    wrong = np.array(right)
    wrong[:, 1:] = fill
    return wrong


def first_wrong(found: Images, right: Images) -> str:
    at = tuple(int(i) for i in np.argwhere(found != right)[0])
    return f"{list(at)}: expected {right[at]}, found {found[at]}"


PARTS = (
    Part("by 0 and by 180 degrees", 2, lambda a: check(a, images(2, 1, 8, 8), (0.0, 180.0))),
    Part("direction", 2, lambda a: check(a, images(2, 1, 9, 9), (90.0, -90.0))),
    Part("any angle, an angle per image", 3, lambda a: check(a, images(5, 1, 32, 32), ANGLES)),
    Part("outside of the image", 1, lambda a: check(a, images(2, 1, 32, 32), (45.3, 30.0), 7)),
    Part("width unlike height", 1, lambda a: check(a, images(2, 1, 24, 40), (25.0, -65.0))),
    Part("colour", 1, lambda a: check(a, images(2, 3, 20, 20), (12.0, -33.0))),
)
