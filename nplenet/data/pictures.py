"""How pictures became the images of a model: a model that knows it reads other pictures alike.

    kind "digit"   ink is found, cropped, centred: the form of MNIST's (``nplenet.recognize``)
    kind "whole"   the whole picture, shrunk to a size, black around a smaller one

``model.pictures`` holds it; ``save_model`` and a checkpoint write it beside the weights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import checks
from ..augment import grayscale
from .image_set import MAX_CLASSES
from .pad import pad_images
from .picture_file import read_colours

KINDS = ("digit", "whole")
LIGHT, DARK = "light on dark", "dark on light"
POLARITIES = (LIGHT, DARK)

_SAMPLE = 2000  # images from which polarity and form are measured
_AGREED = 0.99  # fraction of the images that have the same polarity
_FORMED = 0.9  # fraction of the images that are in MNIST's form: 0.97 of MNIST's own
_MNIST_SIDES = (28, 32)
_MNIST_INK = (16, 22)  # pixels of the longer side of a digit's box, which is 20 but for grey rims
_MNIST_OFF_CENTRE = 1.5  # pixels between the centre of mass and the middle

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """How pictures became the images of a model's training, and the names of its classes.

    Attributes
    ----------
    kind : "whole" or "digit"
        Whether an image is a whole picture, or a digit brought into MNIST's form.
    size : (int, int), optional
        Height and width to which pictures were shrunk, before black was put around them; None for
        those of the model's input.
    polarity : "light on dark", "dark on light" or None
        What stands before what background; None for images of both, or photographs.
    classes : tuple of str
        The names of the classes in their order; may be fewer than the model has.
    """

    kind: str = "whole"
    size: tuple[int, int] | None = None
    polarity: str | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Pictures: kind must be one of {KINDS}, got {self.kind!r}")
        if self.polarity not in (*POLARITIES, None):
            raise ValueError(
                f"Pictures: polarity must be one of {POLARITIES} or None, got {self.polarity!r}"
            )
        if self.size is not None:
            object.__setattr__(self, "size", checks.pair(self.size, "Pictures: size", 1))
        names: Any = self.classes
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"Pictures: classes must be strings, got {names!r}")
        if len(names) > MAX_CLASSES:
            raise ValueError(f"Pictures: at most {MAX_CLASSES} classes, got {len(names)}")
        object.__setattr__(self, "classes", tuple(names))

    def __str__(self) -> str:
        words = ["whole pictures" if self.kind == "whole" else "digits in MNIST's form"]
        words += [f"of {self.size[0]}x{self.size[1]}"] if self.size else []
        return " ".join(words) + (f", {self.polarity}" if self.polarity else "")

    @classmethod
    def of(cls, images: Images, classes: Sequence[str] = (), kind: str | None = None) -> Pictures:
        """Return what can be measured of images at rest, before black is put around them.

        Parameters
        ----------
        images : uint8 (N, H, W) or (N, C, H, W)
        classes : sequence of str
        kind : "whole" or "digit", optional
            None measures it: "digit" for grey images in MNIST's form, otherwise "whole".
        """
        images = checks.images(images, "Pictures.of: images")
        sample = images[:: max(1, len(images) // _SAMPLE)]
        sample = sample[:, None] if sample.ndim == 3 else sample
        found = polarity(sample)
        if kind is None:
            kind = "digit" if found and in_mnist_form(sample, found) else "whole"
        height, width = sample.shape[2:]
        return cls(kind, (height, width), found, tuple(classes))

    def as_record(self) -> dict[str, Any]:
        """Return it in plain values, as a file holds it."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Pictures:
        """Return what ``as_record`` has described; fields of a later version are passed over."""
        size = record.get("size")
        size = None if size is None else tuple(size)
        names = tuple(record.get("classes") or ())
        return cls(record["kind"], size, record.get("polarity"), names)

    def names(self, count: int) -> list[str]:
        """Return the names of ``count`` classes: numbers for those that have none.

        Raises
        ------
        ValueError
            When there are more names.
        """
        if len(self.classes) > count:
            raise ValueError(f"pictures.classes has {len(self.classes)} names for {count} classes")
        return [*self.classes, *map(str, range(len(self.classes), count))]

    def read(self, path: str | os.PathLike[str], input_shape: Sequence[int]) -> Images:
        """Read a whole picture as training did: shrunk, black around it, in the model's polarity.

        Parameters
        ----------
        path : path
            An image that Pillow opens; see ``nplenet.data.picture_file``.
        input_shape : sequence of int
            (1, C, H, W), C of 1 or 3.

        Returns
        -------
        uint8 (C, H, W)

        Raises
        ------
        DataError
            As ``read_image``.
        ValueError
            When the model takes other things than an image, or smaller ones than ``size``.
        """
        if len(input_shape) != 4 or input_shape[1] not in (1, 3):
            raise ValueError(
                f"an image is (1, H, W) or (3, H, W); this model takes {tuple(input_shape[1:])}"
            )
        _, channels, height, width = input_shape
        size = self.size or (height, width)
        if size[0] > height or size[1] > width:
            raise ValueError(
                f"its pictures have {size[0]} x {size[1]} pixels, its input {height} x {width}"
            )
        image = pad_images(pad_images(read_colours(path, size)[None], size), (height, width))
        if channels == 3:
            return image[0]
        return self.in_polarity(grayscale(image)[0, :1])

    def in_polarity(self, image: Images) -> Images:
        """Return a grey image in the polarity of the training's, inverted where need be.

        Parameters
        ----------
        image : uint8 (..., H, W)
        """
        if self.polarity is None:
            return image
        found = polarity(image.reshape(1, -1, *image.shape[-2:]))
        return image if found in (None, self.polarity) else 255 - image


def assumed(input_shape: Sequence[int]) -> Pictures:
    """Return how to read pictures for a model whose file says nothing of it.

    Grey images that are large enough for a digit in MNIST's form are such; others are whole.

    Parameters
    ----------
    input_shape : sequence of int
        With the batch axis.
    """
    fits = len(input_shape) == 4 and input_shape[1] == 1 and min(input_shape[2:]) >= 28
    return Pictures("digit" if fits else "whole")


def polarity(images: Images) -> str | None:
    """Return the polarity of images (N, C, H, W), by their borders; None where they differ."""
    if images.shape[1] != 1 or not len(images):
        return None
    rim = [images[:, 0, 0], images[:, 0, -1], images[:, 0, :, 0], images[:, 0, :, -1]]
    dark = float((np.median(np.concatenate(rim, axis=1), axis=1) < 128).mean())
    if dark >= _AGREED:
        return LIGHT
    return DARK if dark <= 1 - _AGREED else None


def in_mnist_form(images: Images, found: str) -> bool:
    """Say whether grey images (N, 1, H, W) are centred like MNIST's, ink some 20 pixels long."""
    if images.shape[1] != 1 or not {*images.shape[2:]} <= {*_MNIST_SIDES}:
        return False
    ink = (255 - images if found == DARK else images)[:, 0].astype(np.float32)
    mass = np.maximum(ink.sum(axis=(1, 2)), 1)
    fits = np.ones(len(ink), bool)
    longest = np.zeros(len(ink))
    for axis in (1, 2):
        along = ink.sum(axis=3 - axis)
        place = np.arange(ink.shape[axis]) - (ink.shape[axis] - 1) / 2
        fits &= np.abs(along @ place / mass) < _MNIST_OFF_CENTRE
        there: npt.NDArray[np.bool_] = np.any(ink > 64, axis=3 - axis)
        last = there.shape[1] - there[:, ::-1].argmax(axis=1)
        longest = np.maximum(longest, last - there.argmax(axis=1))
    low, high = _MNIST_INK
    return bool((fits & (longest >= low) & (longest <= high)).mean() >= _FORMED)
