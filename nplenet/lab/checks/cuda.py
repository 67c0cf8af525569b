"""Checks of the assignment `cuda`: the kernel, compiled for the host, on NumPy arrays.

The arrays lie in larger ones: NaN around x, so that what is read beyond it shows, and a mark
around y, so that what is written beyond it shows.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import Any

import numpy as np

from ..answer import Answer
from ..compare import Mistakes, WrongAnswer, compare
from ..source import simulator
from .layer import Floats, Part

KERNEL = "average_pool_2x2"
SIGNATURE = "(const float* x, float* y, int images, int H, int W)"
COMMENT, BLANK = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL), re.compile(r"\)\s*\{\s*\}\s*$")
BORDER, MARK = 4096, 12345.0


def compiled(answer: Answer) -> Any:
    """Return the kernel; an error of the compiler becomes a sentence."""
    source = answer.source
    if BLANK.search(COMMENT.sub("", source)):
        raise WrongAnswer("the kernel is blank: write it below `// Your code:`")
    path = str(simulator())
    if path not in sys.path:
        sys.path.append(path)
    host = import_module("gpusim.host")
    try:
        module = host.compile(source + "\n")
    except RuntimeError as error:
        text = str(error)
        lines = [line for line in text.splitlines() if "error:" in line] or [text]
        words = lines[0].replace("kernel.cu:", "line ", 1)
        raise WrongAnswer(f"the kernel does not compile: {words}") from None
    if KERNEL not in module.kernels:
        raise WrongAnswer(f"has no kernel {KERNEL}{SIGNATURE}; keep the skeleton's name")
    kernel = module.kernels[KERNEL]
    if kernel.signature != ["*cf4", "*f4", "i4", "i4", "i4"]:
        raise WrongAnswer(f"the parameters of {KERNEL} must be {SIGNATURE}")
    return kernel


def check(
    answer: Answer, shape: tuple[int, int, int], blocks: int, threads: int, order: str = "forward"
) -> None:
    """Launch the kernel on random images and compare every value of y, and what lies around."""
    kernel = compiled(answer)
    images, height, width = shape
    oh, ow = height // 2, width // 2
    what = f"kernel on {images} images of {height}x{width}, {blocks} blocks of {threads} threads"
    if order != "forward":
        what += f", order of threads {order}"
    around = np.full(2 * BORDER + images * height * width, np.nan, np.float32)
    x = around[BORDER:-BORDER].reshape(shape)
    x[...] = np.random.default_rng(1).standard_normal(shape)
    result = np.full(2 * BORDER + images * oh * ow, MARK, np.float32)
    y = result[BORDER:-BORDER].reshape(images, oh, ow)
    with import_module("gpusim").thread_order(order):
        kernel[blocks, threads](x, y, images, height, width)
    outside = np.concatenate([result[:BORDER], result[-BORDER:]]) != MARK
    if outside.any():
        raise WrongAnswer(
            f"{what}: writes {int(outside.sum())} values outside of y: the last index must be "
            f"below images * (H / 2) * (W / 2) = {y.size}"
        )
    unwritten = y == MARK
    if unwritten.any():
        raise WrongAnswer(
            f"{what}: {int(unwritten.sum())} of {y.size} values of y are never written, the first "
            f"at {[int(i) for i in np.argwhere(unwritten)[0]]}; with fewer threads than values, "
            "each thread must continue in steps of gridDim.x * blockDim.x"
        )
    if np.isnan(y).any():
        at = [int(i) for i in np.argwhere(np.isnan(y))[0]]
        raise WrongAnswer(f"{what}: the value of y at {at} is made of what lies outside of x")
    taps: Floats = np.array([x[:, i : 2 * oh : 2, j : 2 * ow : 2] for i in (0, 1) for j in (0, 1)])
    wrong = mistakes(taps, np.asarray(x, np.float64))
    if order != "forward":
        wrong = [*wrong, (y, "the result depends on the order in which the threads run")]
        check(answer, shape, blocks, threads)  # right in order, or said so
    compare(what, y, taps.mean(axis=0), wrong)


def mistakes(taps: Floats, x: Floats) -> Mistakes:
    """Return likely wrong results."""
    found: list[tuple[Any, str]] = [
        (taps.sum(axis=0), "the divisor 4 is missing"),
        (taps.max(axis=0), "is the maximum, not the average"),
        (taps.sum(axis=0) / 2, "is divided by 2, not by 4"),
        (taps[0], "takes the first pixel of each window only"),
        ((taps[0] + taps[1]) / 4, "the second row of each window is missing"),
        ((taps[0] + taps[2]) / 4, "the second column of each window is missing"),
        (taps[:3].sum(axis=0) / 4, "the last pixel of each window is missing"),
        (np.broadcast_to(taps[:, :1].mean(axis=0), taps[0].shape), "every image is the first"),
    ]
    oh, ow = taps.shape[2:]
    near = x[:, :oh, :ow] + x[:, :oh, 1 : ow + 1] + x[:, 1 : oh + 1, :ow]
    near = (near + x[:, 1 : oh + 1, 1 : ow + 1]) / 4
    found.append((near, "windows overlap: the corner of the window is (2 oh, 2 ow)"))
    right = taps.mean(axis=0)
    if oh == ow:
        found.append((right.swapaxes(1, 2), "rows and columns of y are exchanged"))
    return found


PARTS = (
    Part("one image", 3, lambda a: check(a, (1, 8, 8), 1, 64)),
    Part("several images, odd sizes", 2, lambda a: check(a, (3, 7, 10), 1, 64)),
    Part("fewer threads than values", 2, lambda a: check(a, (4, 12, 10), 2, 16)),
    Part("more threads than values", 2, lambda a: check(a, (2, 6, 6), 3, 32)),
    Part("any order of threads", 1, lambda a: check(a, (3, 8, 8), 2, 32, "random:7")),
)
