"""Images beside MNIST's for the bundled model: drawn and printed digits, and what is not a digit.

All are drawn as sheets of paper and brought into MNIST's form by ``nplenet.recognize.prepare``, as
a user's own images are. ``digits`` have a label; ``others`` have none: letters, scribbles, dots,
digits that touch another digit, lie on their side, or stand on a line or in a box. The last are
what ``prepare`` would give if it did not find the digit among the ink.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import strokes
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from nplenet.recognize import prepare

FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
    "cmti10",
)
"""Typefaces of Matplotlib. The tests print with others."""
PRINTED_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYabcdefghkmnpqrtuvwxy#$&?@"
"""Without O, I, Z, i, j, l, o, s and z, which are a 0, 1, 2 or 5 in some typeface or hand."""
PAPER = 235  # grey level

Random = np.random.Generator
Labelled = tuple[np.ndarray, np.ndarray]


def digits(count: int, seed: int, mnist: Labelled) -> Labelled:
    """Return digits that MNIST lacks: a third are European and printed 1s, some crossed 7s.

    The others are drawn and printed digits, and MNIST's own: on paper, or in few pixels.

    Parameters
    ----------
    count, seed : int
    mnist : images uint8 (N, 1, 32, 32), labels (N,)

    Returns
    -------
    images : uint8 (count, 1, 32, 32)
    labels : int64 (count,)
    """
    rng = np.random.default_rng([seed, 1])

    def draw() -> tuple[np.ndarray, int]:
        kind = rng.random()
        if kind < 0.22:
            return strokes.sheet(strokes.european_one(rng), rng), 1
        if kind < 0.4:
            return strokes.sheet(strokes.printed_one(rng), rng, wobble=0.012), 1
        if kind < 0.48:
            return strokes.sheet(strokes.crossed_seven(rng), rng), 7
        digit = int(rng.integers(10))
        if kind < 0.62:
            return strokes.sheet(strokes.any_digit(digit, rng), rng), digit
        if kind < 0.75:
            return printed(str(digit), rng), digit
        index = int(rng.integers(len(mnist[0])))
        return on_paper(mnist[0][index, 0], rng), int(mnist[1][index])

    few = rng.integers(len(mnist[0]), size=count // 5)
    coarse = np.stack([in_few_pixels(mnist[0][index, 0], rng) for index in few])[:, None]
    images, labels = _until_enough(draw, count - len(few))
    return np.concatenate([coarse, images]), np.concatenate([mnist[1][few], labels])


def others(count: int, seed: int, mnist: Labelled) -> np.ndarray:
    """Return images of what is not one digit, uint8 (count, 1, 32, 32).

    Parameters
    ----------
    count, seed : int
    mnist : images uint8 (N, 1, 32, 32), labels (N,)
        Digits that are put beside each other, turned, underlined and boxed.
    """
    rng = np.random.default_rng([seed, 2])

    def draw() -> tuple[np.ndarray, int]:
        kind = rng.random() * 0.8
        if kind < 0.28:
            return printed(PRINTED_LETTERS[rng.integers(len(PRINTED_LETTERS))], rng), 0
        if kind < 0.5:
            return strokes.sheet(_any_letter(rng), rng, wobble=0.03), 0
        if kind < 0.72:
            return strokes.sheet(strokes.scribble(rng), rng), 0
        return blot(rng), 0

    ill = [_whole(spoilt(mnist, rng)) for _ in range(count // 5)]
    images = np.concatenate([np.stack(ill)[:, None], _until_enough(draw, count - count // 5)[0]])
    return images[rng.permutation(count)]


TESTS: dict[str, Callable[[Random], np.ndarray]] = {
    "European 1": lambda rng: strokes.sheet(strokes.european_one(rng), rng),
    "printed 1": lambda rng: strokes.sheet(strokes.printed_one(rng), rng, wobble=0.012),
    "crossed 7": lambda rng: strokes.sheet(strokes.crossed_seven(rng), rng),
    "letter": lambda rng: strokes.sheet(_any_letter(rng), rng),
    "scribble": lambda rng: strokes.sheet(strokes.scribble(rng), rng),
    "figure": lambda rng: strokes.sheet(strokes.figure(rng), rng, wobble=0),
    "blot": lambda rng: blot(rng),
}
"""What tests draw, each from its own random numbers. No figure is trained on."""


def drawn(kind: str, count: int, seed: int) -> np.ndarray:
    """Return images of one of the ``TESTS``, uint8 (count, 1, 32, 32).

    The random numbers are others than those of ``digits`` and ``others``, whatever the seed.
    """
    rng = np.random.default_rng([seed, 3 + list(TESTS).index(kind)])
    return _until_enough(lambda: (TESTS[kind](rng), 0), count)[0]


def _any_letter(rng: Random) -> strokes.Glyph:
    return list(strokes.LETTERS.values())[rng.integers(len(strokes.LETTERS))]


def _whole(sheet: np.ndarray) -> np.ndarray:
    """Return all ink of a sheet in MNIST's form, uint8 (32, 32): 20 pixels, centred by its mass."""
    ink = Image.fromarray(PAPER - sheet)
    left, top, right, bottom = ink.point(lambda value: 255 * (value > 60)).getbbox()
    ink = ink.crop((left, top, right, bottom))
    if (longer := max(ink.size)) > 60:  # thin strokes would vanish
        ink = ink.filter(ImageFilter.MaxFilter(3 if longer < 76 else 5))
    size = [max(1, round(20 * side / longer)) for side in ink.size]
    small = np.asarray(ink.resize(size, Image.Resampling.BOX), np.float64)
    small = np.minimum(255, small * 255 / small.max())
    weight, (y, x) = small.sum(), np.indices(small.shape)
    row, column = (round(15.5 - float((n * small).sum() / weight)) for n in (y, x))
    image = np.zeros((32, 32), np.uint8)
    row, column = max(0, min(row, 32 - size[1])), max(0, min(column, 32 - size[0]))
    image[row : row + size[1], column : column + size[0]] = np.rint(small)
    return image


def _until_enough(draw: Callable[[], tuple[np.ndarray, int]], count: int) -> Labelled:
    """Draw until ``count`` sheets had ink that ``prepare`` found."""
    images, labels = [], []
    while len(images) < count:
        sheet, label = draw()
        try:
            images.append(prepare(sheet))
        except ValueError:
            continue
        labels.append(label)
    return np.stack(images)[:, None], np.array(labels, np.int64)


def printed(character: str, rng: Random) -> np.ndarray:
    """Print a character, slanted and bent a little: a sheet, uint8 (112, 112)."""
    name = FONTS[rng.integers(len(FONTS))]
    image = Image.new("L", (strokes.SIDE, strokes.SIDE))
    middle = (strokes.SIDE / 2, strokes.SIDE / 2)
    ImageDraw.Draw(image).text(middle, character, 255, font=_font(name), anchor="mm")
    slant, wide = rng.normal(0, 0.15), rng.uniform(0.85, 1.3)
    shift = middle[0] * (1 - wide - slant)
    image = image.transform(
        image.size, Image.Transform.AFFINE, (wide, slant, shift, 0, 1, 0), Image.Resampling.BILINEAR
    )
    bent = _bent(np.asarray(image), rng, rng.choice([0.0, 1.0, 2.0]))
    return np.rint(PAPER - rng.uniform(0.5, 0.9) * bent).astype(np.uint8)


_LOADED: dict[str, ImageFont.FreeTypeFont] = {}


def _font(name: str) -> ImageFont.FreeTypeFont:
    if name not in _LOADED:
        import matplotlib

        path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
        _LOADED[name] = ImageFont.truetype(str(path), 72)
    return _LOADED[name]


def _bent(image: np.ndarray, rng: Random, pixels: float) -> np.ndarray:
    """Move each pixel by a smooth field whose standard deviation is ``pixels``."""
    height, width = image.shape
    field = rng.normal(0, pixels, (2, 6, 6)).astype(np.float32)
    dy, dx = (
        np.asarray(Image.fromarray(part).resize((width, height), Image.Resampling.BICUBIC))
        for part in field
    )
    y, x = np.indices(image.shape)
    rows = np.clip(np.rint(y + dy), 0, height - 1).astype(int)
    columns = np.clip(np.rint(x + dx), 0, width - 1).astype(int)
    moved: np.ndarray = image[rows, columns].astype(np.float64)
    return moved


def blot(rng: Random) -> np.ndarray:
    """Draw a dot, a patch, a ring's part or a lying bar: a sheet, uint8 (112, 112)."""
    image = Image.new("L", (strokes.SIDE, strokes.SIDE))
    ink = ImageDraw.Draw(image)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        x, y = rng.uniform(35, 75, 2)
        a = rng.uniform(6, 28)
        b = min(rng.uniform(6, 28), 1.5 * a)  # an upright bar would be a 1
        kind = rng.integers(4)
        if kind == 0:
            ink.ellipse((x - a, y - a, x + a, y + a), fill=255)
        elif kind == 1:
            ink.ellipse((x - a, y - b, x + a, y + b), fill=255)
        elif kind == 2:
            ink.rectangle((x - a, y - b, x + a, y + b), fill=255)
        else:
            ink.rectangle((x - 28, y - a / 5, x + 28, y + a / 5), fill=255)
    bent = _bent(np.asarray(image), rng, rng.choice([0.0, 1.5, 3.0]))
    return np.rint(PAPER - rng.uniform(0.5, 0.9) * bent).astype(np.uint8)


def on_paper(digit: np.ndarray, rng: Random) -> np.ndarray:
    """Return a digit of MNIST, uint8 (32, 32), as dark ink on a sheet, uint8 (112, 112)."""
    side = int(rng.integers(64, strokes.SIDE + 1))
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    image = Image.new("L", (strokes.SIDE, strokes.SIDE))
    image.paste(large, ((strokes.SIDE - side) // 2,) * 2)
    return np.rint(PAPER - rng.uniform(0.4, 0.9) * np.asarray(image)).astype(np.uint8)


def in_few_pixels(digit: np.ndarray, rng: Random) -> np.ndarray:
    """Return a digit of MNIST of 7 to 20 pixels, enlarged to 16 to 32: uint8 (32, 32)."""
    image = Image.fromarray(digit)
    image = image.crop(image.getbbox())
    few, many, longer = int(rng.integers(7, 21)), int(rng.integers(16, 33)), max(image.size)
    for side, filter_ in ((few, Image.Resampling.BOX), (many, Image.Resampling.BILINEAR)):
        size = [max(1, round(side * n / longer)) for n in image.size]
        image, longer = image.resize((size[0], size[1]), filter_), side
    near = [int(np.clip(round((32 - n) / 2 + rng.normal(0, 1)), 0, 32 - n)) for n in image.size]
    found = Image.new("L", (32, 32))
    found.paste(image, (near[0], near[1]))
    return np.asarray(found)


def spoilt(mnist: Labelled, rng: Random) -> np.ndarray:
    """Return a sheet with one of MNIST's digits and something that spoils it.

    Another digit that touches it, a line below or through it, a box about it, or the digit lies on
    its side. A 1 on a line and a 7 or 0 with a line through it are digits still.
    """
    kind = rng.integers(5)
    digit = _one_of(mnist, rng, but={1: (1,), 2: (1,), 3: (0, 1, 7)}.get(int(kind), ()))
    sheet = np.zeros((strokes.SIDE, strokes.SIDE))
    sheet[24:88, 24:88] = np.rot90(digit, rng.choice([1, 3])) if kind == 1 else digit
    image = Image.fromarray(sheet.astype(np.uint8))
    ink, thick = ImageDraw.Draw(image), int(rng.integers(1, 5))
    left, right = (int(n) for n in rng.integers((14, 78), (34, 98)))
    if kind == 0:  # two digits
        apart = int(rng.integers(18, 34))
        both = np.roll(sheet, -apart // 2, 1)
        both[24:88, 24 + apart // 2 : 88 + apart // 2] += _one_of(mnist, rng)
        image = Image.fromarray(np.minimum(both, 255).astype(np.uint8))
    elif kind == 2:  # a line below
        row = int(rng.integers(70, 84))
        ink.line((left, row, right, row), 255, thick)
    elif kind == 3:  # a line through
        ends = rng.integers(30, 80, 2)
        ink.line((left, int(ends[0]), right, int(ends[1])), 255, thick + 1)
    elif kind == 4:  # a box
        far = strokes.SIDE - int(rng.integers(12, 24))
        ink.rectangle((left - 8, left - 8, far, far), None, 255, thick)
    return np.rint(PAPER - 0.85 * np.asarray(image)).astype(np.uint8)


def _one_of(mnist: Labelled, rng: Random, but: tuple[int, ...] = ()) -> np.ndarray:
    """Return a digit as 64x64 with smooth edges; none of the classes ``but``."""
    images, labels = mnist
    index = rng.integers(len(images))
    while labels[index] in but:
        index = rng.integers(len(images))
    image = Image.fromarray(images[index, 0]).resize((64, 64), Image.Resampling.BICUBIC)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.5)), np.float64)


def prepared(sheets: Iterable[np.ndarray], blank_for_none: bool = False) -> np.ndarray:
    """Return what ``prepare`` makes of sheets.

    Those in which it finds no digit are left out, or a blank image stands for each.
    """
    found = []
    for sheet in sheets:
        try:
            found.append(prepare(sheet))
        except ValueError:
            if blank_for_none:
                found.append(np.zeros((32, 32), np.uint8))
    return np.array(found, np.uint8).reshape(-1, 1, 32, 32)
