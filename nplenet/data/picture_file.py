"""Read the file of a picture as grey levels or colours, in about the memory of the decoded image.

(A progressive JPEG takes twice that: its decoder keeps two bytes for each number.) PNG, JPEG, WebP,
GIF, TIFF, BMP and AVIF are read, as far as the installed Pillow can, and HEIC with pillow-heif; of
several frames or pages the first. Any other file is refused, and named if it is a known kind.

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
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..files import NotRegularError, open_regular
from ..rounding import ceil_div, round_up
from .idx import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
EXPECTED = "a PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF or HEIC image"
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
# How files begin that are not read: offset, bytes, and what to call them.
OTHER_KINDS = (
    (0, b"%PDF", "a PDF document; save its page as PNG"),
    (0, b"8BPS", "a Photoshop document; save it as PNG"),
    (0, b"\0\0\1\0", "an icon; save it as PNG"),
    (0, b"\xff\x0a", "a JPEG XL image; save it as PNG"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image; save it as PNG"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image; save it as PNG"),
    (0, b"<svg", "an SVG drawing; save it as PNG"),
    (0, b"<?xml", "an XML file, perhaps an SVG drawing; save it as PNG"),
    (0, b"PK\3\4", "a zip archive or a document; unpack it, or save the picture as PNG"),
    (4, b"ftyp", "a film or an image of a rare kind; save a picture as PNG"),
)
MAX_PIXELS = 64_000_000  # a photograph of a telephone has 12 to 50 million
MAX_SIDE = 32_768  # pixels; decoders keep rows, and a list of all rows
BMP_RUNS = (1, 2)  # run-length codes: Pillow's decoder takes three times the memory, and minutes
MIN_KEPT_SIDE = 1024  # pixels of the longer side that shrinking keeps: ``prepare`` needs 512
TILE_SIDE = 512  # pixels, about
ORIENTATION = 0x0112  # in EXIF data
Levels = tuple[float, float]


class Photo(NamedTuple):
    """A picture as ``read_photo`` reads it.

    Attributes
    ----------
    pixels : uint8 (H, W, 3)
        Its colours, upright, its longer side below 2048 pixels.
    size : tuple of int
        Width and height of the upright picture in its file.
    """

    pixels: npt.NDArray[np.uint8]
    size: tuple[int, int]


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Read the file of a picture as colours, shrunk by a whole factor as in ``read_image``.

    Parameters and errors are as in ``read_image``.
    """
    sizes: list[tuple[int, int]] = []

    def read(image: Any) -> npt.NDArray[np.uint8]:
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        sizes.append(image.size[::-1] if turned else image.size)
        return _read_colours(image)

    pixels = np.moveaxis(_opened(path, read), 0, 2)
    return Photo(np.ascontiguousarray(pixels), sizes[0])


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read the file of a picture as grey levels, rotated as its EXIF data say.

    Of 16-bit levels the upper 8 bits are kept, unless only the lower 8 are used; other wide levels
    are scaled to the range that they use. Transparent pixels become white, or black around
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
    """Read the file of a picture as colours, at most ``size`` (height, width) large.

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
            with open_regular(path) as file:
                formats = _formats(file, path)
                with pil.open(file, formats=formats) as image:
                    _check_header(image, path)
                    found: npt.NDArray[np.uint8] = read(image)
                    return found
    except FileNotFoundError as error:
        raise DataError(f"{os.fspath(path)}: expected {EXPECTED}, found no file") from error
    except DataError:
        raise
    except pil.UnidentifiedImageError as error:
        raise DataError(
            f"{os.fspath(path)}: expected {EXPECTED}, undamaged, which this is not"
        ) from error
    except NotRegularError as error:
        raise DataError(f"{error}; expected {EXPECTED}") from error
    except Exception as error:  # on damaged files Pillow's decoders raise errors of any type
        reason = str(error) or "not enough memory" * isinstance(error, MemoryError)
        raise DataError(
            f"{os.fspath(path)}: expected {EXPECTED}, undamaged, got {type(error).__name__}: "
            f"{reason}"
        ) from error


def _formats(file: Any, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return Pillow's names of the formats to try; a file of another kind is named and refused."""
    start = file.read(64)
    file.seek(0)
    brand = start[8:12] if start[4:8] == b"ftyp" else b""
    if brand in (b"avif", b"avis"):
        if not _can_read("AVIF"):
            raise DataError(
                f"{os.fspath(path)}: is an AVIF image, which this Pillow does not read: "
                "pip install --upgrade pillow, or save it as PNG"
            )
    elif brand in HEIC_BRANDS:
        try:
            import pillow_heif
        except ImportError as error:
            raise DataError(
                f"{os.fspath(path)}: is a HEIC image, as iPhones save photos: "
                "pip install 'nplenet[heic]', or save it as JPEG"
            ) from error
        pillow_heif.register_heif_opener()
        return ("HEIF",)
    else:
        for offset, mark, kind in OTHER_KINDS:
            if start[offset:].lstrip(b" \r\n" if mark[:1] == b"<" else b"").startswith(mark):
                raise DataError(f"{os.fspath(path)}: expected {EXPECTED}, found {kind}")
    return tuple(name for name in FORMATS if _can_read(name))


def _can_read(name: str) -> bool:
    pil = pillow()
    pil.init()
    return name in pil.OPEN


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
    paper, levels = _paper(image, factor), _levels(image)
    grey = np.empty((ceil_div(height, factor), ceil_div(width, factor)), np.uint8)
    for (left, top), tile in _tiles(image, factor):
        small = pillow().fromarray(_grey(tile, paper, levels)).reduce(factor)
        rows, columns = top // factor, left // factor
        grey[rows : rows + small.height, columns : columns + small.width] = np.asarray(small)
    upright = pillow().fromarray(grey)
    upright.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    return np.asarray(ImageOps.exif_transpose(upright))


def _read_colours(image: Any, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """Return a Pillow image that is not decoded yet as uint8 (3, H, W), upright and small."""
    from PIL import ImageOps

    image.draft(None, (MIN_KEPT_SIDE, MIN_KEPT_SIDE))
    image.load()
    factor = _factor(*image.size)
    paper, levels = _paper(image, factor), _levels(image)
    flat = pillow().new("RGB", [ceil_div(side, factor) for side in image.size])
    for (left, top), tile in _tiles(image, factor):
        flat.paste(_colours(tile, paper, levels).reduce(factor), (left // factor, top // factor))
    flat.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    upright = ImageOps.exif_transpose(flat)
    if size is not None and (upright.height > size[0] or upright.width > size[1]):
        upright = upright.resize(size[::-1], pillow().Resampling.BILINEAR)
    return np.ascontiguousarray(np.moveaxis(np.asarray(upright), 2, 0))


def _colours(image: Any, paper: int, levels: Levels | None) -> Any:
    """Return a Pillow image of any mode as one of mode RGB."""
    if levels is not None:
        return pillow().fromarray(_grey(image, paper, levels)).convert("RGB")
    if not _transparent(image):
        return image.convert("RGB")
    flat = pillow().new("RGBA", image.size, (paper, paper, paper, 255))
    return pillow().alpha_composite(flat, image.convert("RGBA")).convert("RGB")


def _tiles(image: Any, factor: int) -> Iterator[tuple[tuple[int, int], Any]]:
    """Yield the left upper corner of each tile, a multiple of the factor, and the tile."""
    width, height = image.size
    side = round_up(TILE_SIDE, factor)
    for top in range(0, height, side):
        for left in range(0, width, side):
            box = (left, top, min(left + side, width), min(top + side, height))
            yield (left, top), image.crop(box)


def _transparent(image: Any) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _paper(image: Any, factor: int) -> int:
    """Return the grey level of what is transparent: black around light ink, otherwise white."""
    if _wide(image) or not _transparent(image):
        return 255
    light = opaque = 0.0
    for _, tile in _tiles(image, factor):
        grey, alpha = _grey_and_alpha(tile)
        light += float((grey * alpha).sum(dtype=np.float64))
        opaque += float(alpha.sum(dtype=np.float64))
    return 0 if light > 127.5 * opaque else 255


def _wide(image: Any) -> bool:
    """Return whether levels have more than 8 bits; Pillow's own conversion would clip them."""
    return str(image.mode).startswith("I") or image.mode == "F"


def _levels(image: Any) -> Levels | None:
    """Return the levels that become 0 and 256 in an image of wide levels; None in another one."""
    if not _wide(image):
        return None
    low, high = (float(level) for level in image.getextrema())
    if image.mode == "F" or low < 0 or high > 65535:
        return low, low + max(high - low, 1e-30) * 256 / 255
    return 0.0, 65536.0 if high > 255 else 256.0


def _grey(image: Any, paper: int, levels: Levels | None) -> npt.NDArray[np.uint8]:
    """Return a Pillow image of any mode as uint8 (H, W)."""
    if levels is not None:
        low, high = levels
        wide = (np.asarray(image, np.float64) - low) * (256 / (high - low))
        return np.clip(np.nan_to_num(wide), 0, 255).astype(np.uint8)
    if not _transparent(image):
        return np.asarray(image.convert("RGB").convert("L"))
    grey, alpha = _grey_and_alpha(image)
    return np.rint(paper + (grey - paper) * alpha).astype(np.uint8)


def _grey_and_alpha(image: Any) -> npt.NDArray[np.float32]:
    """Return grey levels and opacity, 0 to 1: (2, H, W)."""
    both = np.moveaxis(np.asarray(image.convert("RGBA").convert("LA"), np.float32), 2, 0).copy()
    both[1] /= 255
    return both
