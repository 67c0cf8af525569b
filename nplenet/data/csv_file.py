"""Images in a table of comma-separated values, one per line, as Kaggle gives MNIST."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..terminal import printable
from .idx import DataError, open_unpacked
from .image_set import MAX_CLASSES, ImageSet, image_shape, numbered

_MAX_LINE = 1 << 20  # bytes; an image of 3 x 256 x 256 in three-digit numbers has 786,000
_NUMBERS = 1 << 20  # about as many are read at once, each an int64 for a moment
_MAX_BLANK = 100_000  # lines in a row; a packed file holds any number of them in few bytes
_MAX_PIXEL, _MAX_LABEL = 255, MAX_CLASSES - 1

Lines = list[tuple[int, str]]


def from_csv(
    path: str | os.PathLike[str],
    *,
    label: str = "label",
    shape: tuple[int, int, int] | None = None,
    max_bytes: int = 4 * 2**30,
) -> ImageSet:
    """Read images from a CSV file: on each line a label and the pixels, row by row.

    Parameters
    ----------
    path
        The file, plain or packed by gzip. A first line of names is recognised.
    label
        The name of the column of labels. Without a line of names, it is the first column.
    shape
        (C, H, W) of an image; None for square ones, grey or of three colours: 784 pixels are
        (1, 28, 28), 3,072 are (3, 32, 32).
    max_bytes
        Most memory the images may take.

    Returns
    -------
    ImageSet
        images uint8 (N, C, H, W), labels int64 (N,), classes the names "0" to the largest label.

    Raises
    ------
    DataError
        When the file is missing or is not such a table; the message names file, line and column.
    """
    path = Path(path)
    with open_unpacked(path) as stream:
        lines = _lines(stream, path)
        number, first = next(lines, (1, ""))
        if not first:
            raise DataError(f"{path}: is empty; expected a label and pixels on each line")
        names = first.split(",")
        position, headed = _label_column(names, label, path)
        columns = len(names)
        if columns < 2:
            raise DataError(
                f"{path}: line {number} has one column; expected a label and pixels separated by "
                f"commas, got {printable(repr(first), 60)}"
            )
        waiting = [] if headed else [(number, first)]
        labels, pixels = _rows(lines, waiting, columns, position, path, max_bytes)
    form = shape or image_shape(columns - 1, str(path))
    if int(np.prod(form)) != columns - 1:
        raise DataError(f"{path}: has {columns - 1} pixels on a line, not of shape {form}")
    return numbered(pixels.reshape(-1, *form), labels, str(path))


def _lines(stream: BinaryIO, path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not blank."""
    number = last = 0
    while line := stream.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise DataError(f"{path}: line {number} has more than {_MAX_LINE:,} bytes")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: line {number} is not text ({error.reason})") from error
        if text:
            last = number
            yield number, text.replace('"', "")
        elif number - last > _MAX_BLANK:
            raise DataError(f"{path}: more than {_MAX_BLANK:,} blank lines follow line {last}")


def _label_column(names: list[str], label: str, path: Path) -> tuple[int, bool]:
    """Return the position of the labels, and whether the first line is one of names."""
    if names == [str(i) for i in range(len(names))]:  # pandas writes columns without names so
        return 0, True
    if all(map(_is_number, names)):
        return 0, False
    for position, name in enumerate(names):
        if name.strip() == label:
            return position, True
    some = ", ".join(printable(name.strip(), 20) for name in names[:3])
    raise DataError(f"{path}: has no column {label!r}; its columns are {some}, ...")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(
    lines: Iterator[tuple[int, str]],
    waiting: Lines,
    columns: int,
    label: int,
    path: Path,
    most: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return the labels (N,) and the pixels (N, columns - 1) of ``waiting`` and all other lines."""
    labels: list[npt.NDArray[np.int64]] = []
    pixels: list[npt.NDArray[np.uint8]] = []
    size = 0
    for line in chain(lines, [None]):
        if line is not None:
            waiting.append(line)
        if waiting and (line is None or len(waiting) * columns >= _NUMBERS):
            found = _block(waiting, columns, label, path)
            labels.append(found[:, label].astype(np.int64))
            pixels.append(np.delete(found, label, axis=1).astype(np.uint8))
            waiting = []
            size += pixels[-1].size
        if size > most:
            raise DataError(
                f"{path}: has more than the {most:,} bytes of max_bytes; raise it if you trust the "
                "file"
            )
    if not labels:
        raise DataError(f"{path}: has a line of names only")
    return np.concatenate(labels), np.concatenate(pixels)


def _block(lines: Lines, columns: int, label: int, path: Path) -> npt.NDArray[Any]:
    """Return the numbers of some lines; look for a wrong one only if there is any."""
    most = np.full(columns, _MAX_PIXEL)
    most[label] = _MAX_LABEL
    texts = [text for _, text in lines]
    for parse in (_integers, _floats):
        found = parse(texts, columns)
        if found is not None and _whole(found, most).all():
            return found
    for number, text in lines:
        _explain(text.split(","), columns, label, f"{path}: line {number}")
    raise DataError(f"{path}: lines {lines[0][0]} to {lines[-1][0]} are not numbers and commas")


def _integers(texts: list[str], columns: int) -> npt.NDArray[Any] | None:
    """Return lines of integers, ten times as fast as ``_floats``; None for other lines."""
    if any(text.count(",") != columns - 1 for text in texts):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # for what is not a number, which is left out
            return np.fromstring(",".join(texts), np.int64, sep=",").reshape(-1, columns)
    except (DeprecationWarning, ValueError):
        return None


def _floats(texts: list[str], columns: int) -> npt.NDArray[Any] | None:
    try:
        found = np.loadtxt(texts, np.float64, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        return None
    return found if found.shape == (len(texts), columns) else None


def _whole(values: npt.NDArray[Any], most: Any) -> npt.NDArray[np.bool_]:
    return (values >= 0) & (values <= most) & (values == np.floor(values))


def _explain(cells: list[str], columns: int, label: int, where: str) -> None:
    """Raise the error of a line, if it has one."""
    if len(cells) != columns:
        raise DataError(f"{where} has {len(cells)} columns, the first line {columns}")
    for position, cell in enumerate(cells):
        value = float(cell) if _is_number(cell) else -1.0
        most = _MAX_LABEL if position == label else _MAX_PIXEL
        if not _whole(np.array(value), most):
            what = "label" if position == label else "pixel"
            hint = "; multiply pixels of 0 to 1 by 255" if 0 < value < 1 else ""
            raise DataError(
                f"{where}, column {position + 1}: expected a {what}, an integer from 0 to {most}, "
                f"got {printable(repr(cell.strip()), 20)}{hint}"
            )
