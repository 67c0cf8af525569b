"""Read a PNG, JPEG or BMP file as grey levels or colours, in about the memory of the decoded image.

(A progressive JPEG takes twice that: its decoder keeps two bytes for each number.)

The file may come from anyone: 11 kB of PNG may announce 89 million pixels. So its header is checked
first, and the decoded image is turned grey and shrunk tile by tile, never in whole:

    decoded, 4 bytes a pixel          a tile in floats       grey, shrunk by a whole factor
    +----+----+----+                  +----+
    |    |    |    |   -- crop -->    |    |   -- reduce -->  ..
    +----+----+----+                  +----+                  ..
    |    |    |    |
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..files import NotRegularError, open_regular
from .idx import DataError

FORMATS = ("PNG", "JPEG", "BMP")
MAX_PIXELS = 64_000_000  # a photograph of a telephone has 12 to 50 million
MAX_SIDE = 32_768  # pixels; decoders keep rows, and a list of all rows
BMP_RUNS = (1, 2)  # run-length codes: Pillow's decoder takes three times the memory, and minutes
MIN_KEPT_SIDE = 1024  # pixels of the longer side that shrinking keeps: ``prepare`` needs 512
TILE_SIDE = 512  # pixels, about
ORIENTATION = 0x0112  # in EXIF data


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read a PNG, JPEG or BMP file as grey levels, rotated as its EXIF data say.

    Of 16-bit levels the upper 8 bits are kept. Transparent pixels become white, or black around
    light ink. An image with a side of 2048 pixels or more is shrunk by a whole factor: its longer
    side keeps at least 1024 pixels.

    Parameters
    ----------
    path : path

    Returns
    -------
    uint8 (H, W)

    Raises
    ------
    DataError
        When the file is missing, not a regular file, another kind of file, damaged, has more than
        64 million pixels or a side of more than 32,768, or is a BMP of run-length codes.
    ImportError
        When Pillow is not installed.
    """
    return _opened(path, _read)


def read_colours(path: str | os.PathLike[str], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Read a PNG, JPEG or BMP file as colours, at most ``size`` (height, width) large.

    A larger image is shrunk to exactly this size, a smaller one keeps its own. Other things, and
    errors, are as in ``read_image``.

    Returns
    -------
    uint8 (3, H, W)
    """
    return _opened(path, lambda image: _read_colours(image, size))


def _opened(path: str | os.PathLike[str], read: Callable[[Any], Any]) -> npt.NDArray[np.uint8]:
    """Return what ``read`` makes of the image in a file, which is not decoded yet."""
    pil = pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata; sizes are checked here
            with open_regular(path) as file, pil.open(file, formats=FORMATS) as image:
                _check_header(image, path)
                found: npt.NDArray[np.uint8] = read(image)
                return found
    except FileNotFoundError as error:
        raise DataError(
            f"{os.fspath(path)}: expected a PNG, JPEG or BMP image, found no file"
        ) from error
    except DataError:
        raise
    except NotRegularError as error:
        raise DataError(f"{error}; expected a PNG, JPEG or BMP image") from error
    except Exception as error:  # on damaged files Pillow's decoders raise errors of any type
        reason = str(error) or "not enough memory" * isinstance(error, MemoryError)
        raise DataError(
            f"{os.fspath(path)}: expected an undamaged PNG, JPEG or BMP image, got "
            f"{type(error).__name__}: {reason}"
        ) from error


def pillow() -> Any:
    """Return the module PIL.Image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("images need Pillow: pip install 'nplenet[image]'") from error
    return Image


def fewer_pixels(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return an image (H, W) shrunk by a whole factor, such that its longer side keeps 1024."""
    factor = _factor(*grey.shape)
    return grey if factor == 1 else np.asarray(pillow().fromarray(grey).reduce(factor))


def _factor(*sides: int) -> int:
    return max(1, max(sides) // MIN_KEPT_SIDE)


def _check_header(image: Any, path: str | os.PathLike[str]) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise DataError(
            f"{os.fspath(path)}: has {width} x {height} pixels; images are read up to "
            f"{MAX_PIXELS:,} pixels, {MAX_SIDE:,} a side: shrink it"
        )
    if image.format == "BMP" and image.info.get("compression") in BMP_RUNS:
        raise DataError(f"{os.fspath(path)}: is a BMP of run-length codes; save it as PNG")


def _read(image: Any) -> npt.NDArray[np.uint8]:
    """Return a Pillow image that is not decoded yet as uint8 (H, W), upright."""
    from PIL import ImageOps

    image.draft(None, (MIN_KEPT_SIDE, MIN_KEPT_SIDE))  # a JPEG is decoded at 1/2, 1/4 or 1/8
    image.load()
    width, height = image.size
    factor = _factor(width, height)
    paper = _paper(image, factor)
    grey = np.empty((-(-height // factor), -(-width // factor)), np.uint8)
    for (left, top), tile in _tiles(image, factor):
        small = pillow().fromarray(_grey(tile, paper)).reduce(factor)
        rows, columns = top // factor, left // factor
        grey[rows : rows + small.height, columns : columns + small.width] = np.asarray(small)
    upright = pillow().fromarray(grey)
    upright.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    return np.asarray(ImageOps.exif_transpose(upright))


def _read_colours(image: Any, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a Pillow image that is not decoded yet as uint8 (3, H, W), upright and small."""
    from PIL import ImageOps

    image.draft(None, (MIN_KEPT_SIDE, MIN_KEPT_SIDE))
    image.load()
    factor = _factor(*image.size)
    paper = _paper(image, factor)
    flat = pillow().new("RGB", [-(-side // factor) for side in image.size])
    for (left, top), tile in _tiles(image, factor):
        flat.paste(_colours(tile, paper).reduce(factor), (left // factor, top // factor))
    flat.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    upright = ImageOps.exif_transpose(flat)
    height, width = size
    if upright.height > height or upright.width > width:
        upright = upright.resize((width, height), pillow().Resampling.BILINEAR)
    return np.ascontiguousarray(np.moveaxis(np.asarray(upright), 2, 0))


def _colours(image: Any, paper: int) -> Any:
    """Return a Pillow image of any mode as one of mode RGB."""
    if image.mode.startswith("I"):
        return pillow().fromarray(_grey(image, paper)).convert("RGB")
    if not _transparent(image):
        return image.convert("RGB")
    flat = pillow().new("RGBA", image.size, (paper, paper, paper, 255))
    return pillow().alpha_composite(flat, image.convert("RGBA")).convert("RGB")


def _tiles(image: Any, factor: int) -> Iterator[tuple[tuple[int, int], Any]]:
    """Yield the left upper corner of each tile, a multiple of the factor, and the tile."""
    width, height = image.size
    side = -(-TILE_SIDE // factor) * factor
    for top in range(0, height, side):
        for left in range(0, width, side):
            box = (left, top, min(left + side, width), min(top + side, height))
            yield (left, top), image.crop(box)


def _transparent(image: Any) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _paper(image: Any, factor: int) -> int:
    """Return the grey level of what is transparent: black around light ink, otherwise white."""
    if image.mode.startswith("I") or not _transparent(image):
        return 255
    light = opaque = 0.0
    for _, tile in _tiles(image, factor):
        grey, alpha = _grey_and_alpha(tile)
        light += float((grey * alpha).sum(dtype=np.float64))
        opaque += float(alpha.sum(dtype=np.float64))
    return 0 if light > 127.5 * opaque else 255


def _grey(image: Any, paper: int) -> npt.NDArray[np.uint8]:
    """Return a Pillow image of any mode as uint8 (H, W)."""
    if image.mode.startswith("I"):  # 16 bits; Pillow would clip them to 255
        return (np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)
    if not _transparent(image):
        return np.asarray(image.convert("RGB").convert("L"))
    grey, alpha = _grey_and_alpha(image)
    return np.rint(paper + (grey - paper) * alpha).astype(np.uint8)


def _grey_and_alpha(image: Any) -> npt.NDArray[np.float32]:
    """Return grey levels and opacity, 0 to 1: (2, H, W)."""
    both = np.moveaxis(np.asarray(image.convert("RGBA").convert("LA"), np.float32), 2, 0).copy()
    both[1] /= 255
    return both
