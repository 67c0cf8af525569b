"""Which pixels are ink: what is darker than the paper round it, and narrower than a window.

Paper, table and shadow have one thing in common: they are wide. So the paper at a pixel is the
closing of the image, the darkest level that fills a whole window with that pixel in it. Strokes
narrower than the window are gone from it, and edges between wide things stay where they are:

    image    -----.  .----.  .---.                      closing  -------------------.
                  |  |    |  |   |  shadow                                          |
                  '--'    '--'   '---------                                         '---------
                  strokes

Brightness is proportional to the light: under half the light, paper and ink are both half as
bright. So ink is measured by the fraction of the paper's brightness that it removes. Light ink is
dark ink of the negative. No window suits all strokes, so ``WINDOWS`` are tried from narrow to wide;
``choose`` says which window shows a digit whole.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .windows import Floats, Mask, closed, dilated, median, noise_of, smoothed

Bytes = npt.NDArray[np.uint8]

WINDOWS = (13, 19, 27, 39, 57, 83, 121)  # pixels of an image of at most 640
WIDER = 4  # steps in WINDOWS: over four times as wide
MIN_INK = 0.045  # fraction of the paper's brightness removed
NOISE_LEVELS = 4.0  # standard deviations of noise that are not ink
MIN_NOISE = 0.2  # levels of 255, below which an image is a drawing and needs no filter
MUCH_NOISE = 1.5  # levels of 255, above which its pixels are averaged
EDGE_REACH = 8  # pixels from the edge of a stroke to where it is darkest, at most
HALF_OF_NOISY = 0.45  # the edge of a stroke is at half its contrast; noise makes holes there
HALF_OF_SMALL = 0.35  # a stroke thinner than a pixel of a small image has less contrast
BLURRED = 10  # enlargement of an image above which blurring loses no edge
MAX_BIAS = 60  # levels of 255 that noise and uneven light may take from the paper
MIN_BRIGHT = 8  # levels of 255: darker paper is taken to be so bright


class Papers(NamedTuple):
    """An image of 0 to 255 in which ink is dark, and its paper for each window.

    Attributes
    ----------
    grey
        float32 (H, W), the image; its noise averaged.
    clean
        uint8 (H, W), the same without noise and without thin strokes.
    windows
        The windows, pixels.
    levels
        uint8 (windows, H, W), the paper under the ink.
    scale
        Factor by which the image was enlarged, at least 1: its edges are softer by it.
    noisy
        Whether it has noise, as no drawing has.
    """

    grey: Floats
    clean: Bytes
    windows: tuple[int, ...]
    levels: Bytes
    scale: float
    noisy: bool

    def same(self, one: int, other: int) -> bool:
        """Return whether two windows show the same paper, and so the same ink."""
        return np.array_equal(self.levels[one], self.levels[other])


class Ink(NamedTuple):
    """The ink that one window shows, all (H, W).

    Attributes
    ----------
    mask
        True where there is ink.
    contrast
        Fraction of the paper's brightness that is missing, 0 to 1.
    grey, paper
        The levels of the image and of its paper, 0 to 255.
    """

    mask: Mask
    contrast: Floats
    grey: Floats
    paper: Floats


def papers_of(grey: Bytes, scale: float) -> Papers:
    """Return the papers of an image (H, W) that was enlarged by ``scale``."""
    noise = noise_of(grey.astype(np.float32)) if scale <= BLURRED else 0.0
    clean = median(median(grey)) if noise > MIN_NOISE else grey
    level = grey.astype(np.float32)
    if noise > MUCH_NOISE:
        level = smoothed(level)
    fitting = tuple(k for k in WINDOWS if 2 * scale <= k <= 1.2 * max(grey.shape)) or WINDOWS[-1:]
    return Papers(
        level,
        clean,
        fitting,
        np.stack([_paper(clean, k, scale > 1) for k in fitting]),
        scale,
        noise > MIN_NOISE,
    )


def _paper(clean: Bytes, window: int, small: bool) -> Bytes:
    """Return the closing of an image that is continued beyond its border.

    A digit often fills a small image, so that strokes end at its border: it is continued by paper,
    the median of the border. A larger image is continued as it is there.
    """
    margin = window // 2
    if small:
        rim = np.concatenate([clean[0], clean[-1], clean[:, 0], clean[:, -1]])
        around = np.pad(clean, margin, constant_values=np.median(rim).astype(np.uint8))
    else:
        around = np.pad(clean, margin, mode="edge")
    wide: Bytes = closed(around, window)
    return np.ascontiguousarray(wide[margin:-margin, margin:-margin])


def ink_of(papers: Papers, step: int) -> Ink:
    """Return the ink that window number ``step`` shows.

    A pixel is ink if it has about half the contrast of the strongest pixel near it: so the edge of
    a stroke is found where it is, faint or dark, and a fainter line ends before a stroke it meets.
    What the noise alone takes from the paper is measured over the whole image: the median is its
    bias, because a closing is a maximum, and the 16th percentile is a standard deviation below. It
    is about 0 in a drawing, and where ink covers half the image.
    """
    paper = papers.levels[step].astype(np.float32)
    bright = np.maximum(paper, MIN_BRIGHT)
    missing = paper - papers.grey
    low = bias = 0.0
    if papers.noisy:
        low, bias = (float(p) for p in np.percentile(missing[::3, ::3], (16, 50)))
    if bias > MAX_BIAS:
        low = bias = 0.0
    bias = max(0.0, bias)
    contrast = np.clip((missing - bias) / bright, 0, 1)
    floor = np.maximum(MIN_INK, NOISE_LEVELS * (bias - low) / bright)
    strongest = dilated(contrast, 2 * EDGE_REACH + 1)
    half = HALF_OF_NOISY if papers.noisy else 0.5
    if 1 < papers.scale <= BLURRED:
        half = HALF_OF_SMALL
    mask = contrast > np.maximum(floor, half * strongest)
    return Ink(mask, contrast, papers.grey, bright)
