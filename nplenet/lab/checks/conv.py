"""Checks of the assignment `conv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...cases import CASES, Case
from ...layers import Conv2d
from ...layers.conv import im2col
from ...rounding import ceil_div
from ...window import Window
from ..answer import Answer
from ..compare import Mistakes, WrongAnswer, compare
from .layer import Floats, Part, Trial, check_forward, trial

ARGUMENTS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "bias")
# Larger than those of the table: more windows than pixels in one, and no two sizes alike.
LARGE = Case(
    "conv2d/lab",
    lambda rng: Conv2d(2, 4, (3, 2), stride=(2, 3), padding=(1, 2), rng=rng),
    (3, 2, 11, 17),
)
PLAIN = tuple(CASES[f"conv2d/{name}"] for name in ("3x3", "1x1", "no-bias", "one-pixel-out"))
WIDE = (
    *(CASES[f"conv2d/{name}"] for name in ("stride", "padding", "gaps", "rectangular")),
    LARGE,
)


def pair(sizes: tuple[int, int]) -> str:
    return f"{sizes[0]}x{sizes[1]}"


def geometry(window: Window, shape: tuple[int, ...]) -> str:
    """Return the words for a window on an input."""
    words = f"with kernel {pair(window.size)}, stride {pair(window.stride)}, "
    return words + f"padding {pair(window.padding)}, input {shape}"


def trials(answer: Answer, cases: Sequence[Case]) -> list[Trial]:
    found = []
    for case in cases:
        library: Any = case.build()
        label = geometry(library.window, case.input_shape)
        found.append(trial(answer, "Conv2d", case, label, ARGUMENTS))
    return found


def sizes(answer: Answer) -> None:
    function = answer.get("output_size")
    for kernel, stride, padding in (
        ((3, 3), (1, 1), (0, 0)),
        ((5, 3), (1, 1), (0, 0)),
        ((3, 3), (2, 2), (0, 0)),
        ((3, 3), (1, 1), (1, 2)),
        ((2, 3), (3, 2), (1, 0)),
        ((1, 1), (3, 3), (0, 0)),
    ):
        window = Window(kernel, stride, padding)
        smaller = (kernel[0] - 1, kernel[1] - 1)
        found = answer.call("output_size", function, 11, 8, kernel, stride, padding)
        if isinstance(found, (tuple, list)):
            found = np.array(found)
        mistakes: Mistakes = [
            (wrong_sizes(kernel, stride, padding, plus=0), "the + 1 is missing"),
            (wrong_sizes(smaller, stride, padding, plus=0), "the + 1 belongs after the division"),
            (wrong_sizes(kernel, stride, padding, sides=1), "padding counts on one side only"),
            (wrong_sizes(kernel, stride, padding, sides=0), "padding is not used"),
            (wrong_sizes(kernel, (1, 1), padding), "stride is not used"),
            (wrong_sizes(kernel, stride, padding, up=True), "is rounded up: divide with //"),
            (wrong_sizes(kernel, stride, padding, whole=False), "is not whole: divide with //"),
            (window.output_size(8, 11), "height and width are exchanged"),
        ]
        what = f"output_size for 11x8 {geometry(window, (11, 8))}".rpartition(", input")[0]
        compare(what, found, window.output_size(11, 8), mistakes)
        if not all(isinstance(n, (int, np.integer)) for n in np.asarray(found).tolist()):
            raise WrongAnswer(f"{what}: sizes must be whole numbers: divide with //, not with /")


def wrong_sizes(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    *,
    plus: int = 1,
    sides: int = 2,
    up: bool = False,
    whole: bool = True,
) -> Floats:
    """Return the sizes of an 11x8 image by a wrong formula."""
    free = [s + sides * p - k for s, k, p in zip((11, 8), kernel, padding, strict=True)]
    steps = [ceil_div(f, s) if up else f // s for f, s in zip(free, stride, strict=True)]
    if not whole:
        return np.divide(free, stride) + plus
    return np.array(steps, np.float64) + plus


def columns(answer: Answer, cases: Sequence[Case]) -> None:
    function = answer.get("im2col")
    for case in cases:
        library: Any = case.build()
        window, x = library.window, case.input()
        (n, c, h, w), (kh, kw) = x.shape, window.size
        oh, ow = window.output_size(h, w)
        right = im2col(np, x, window)
        parts = right.reshape(n, c, kh, kw, oh, ow)

        def order(*axes: int, parts: Any = parts, right: Any = right) -> Any:
            return parts.transpose(axes).reshape(right.shape)

        mistakes: Mistakes = [
            (order(0, 2, 3, 1, 4, 5), "the rows are in the order (kh, kw, c), not (c, kh, kw)"),
            (order(0, 1, 3, 2, 4, 5), "the rows are in the order (c, kw, kh), not (c, kh, kw)"),
            (order(0, 1, 2, 3, 5, 4), "the columns are in the order (ow, oh), not (oh, ow)"),
            (order(0, 4, 5, 1, 2, 3), "windows and places are exchanged: each window is a column"),
            (right.swapaxes(1, 2), "is transposed: each window is a column, not a row"),
            (parts[:, :, ::-1, ::-1].reshape(right.shape), "the windows are flipped"),
            (right.transpose(1, 0, 2), "the batch axis must come first"),
            (lambda x=x, window=window: unpadded(x, window), "the padding is not zero"),
        ]
        what = f"im2col {geometry(window, x.shape)}"
        arguments = (window.size, window.stride, window.padding)
        found = answer.call(what, function, x, *arguments)
        compare(what, found, right, [*mistakes, *strideless(x, window)])


def unpadded(x: Floats, window: Window) -> Floats:
    """Return the columns of an image whose border is repeated instead of zeros."""
    (ph, pw), edge = window.padding, ((0, 0), (0, 0))
    padded = np.pad(x, (*edge, (ph, ph), (pw, pw)), "edge")
    return np.asarray(im2col(np, padded, Window(window.size, window.stride)))


def strideless(x: Floats, window: Window) -> Mistakes:
    """Return the columns with stride 1, which have another shape, or the same at other places."""
    oh, ow = window.output_size(*x.shape[2:])
    if window.stride == (1, 1):
        return []
    dense = im2col(np, x, Window(window.size, (1, 1), window.padding))
    height, width = Window(window.size, (1, 1), window.padding).output_size(*x.shape[2:])
    near = dense.reshape(*dense.shape[:2], height, width)[:, :, :oh, :ow]
    return [
        (dense, "stride is not used"),
        (near.reshape(len(x), -1, oh * ow), "stride is not used for the places of the windows"),
    ]


def forward(answer: Answer, cases: Sequence[Case]) -> None:
    for test in trials(answer, cases):
        layer, x, y = test.library, test.x, test.y
        bias = 0 if layer.bias is None else layer.bias.data[:, None, None]
        unbiased = y - bias

        weight = layer.weight.data
        exchanged = weight.reshape(-1, len(weight)).T.reshape(weight.shape)
        mistakes: Mistakes = [
            (unbiased, "the bias is missing"),
            (unbiased - bias, "the bias is subtracted"),
            (
                unbiased + (0 if layer.bias is None else layer.bias.data[0]),
                "one bias is added to all filters",
            ),
            (
                correlated(layer, x, weight[:, :, ::-1, ::-1]) + bias,
                "the kernel is flipped: multiply it with the window as it is",
            ),
            (correlated(layer, x, weight[..., ::-1, :]) + bias, "the kernel's rows are flipped"),
            (
                correlated(layer, x, exchanged) + bias,
                "the weight is mixed up: reshape it to (F, C*KH*KW), without a transposition",
            ),
            (y.transpose(0, 1, 3, 2), "rows and columns of the result are exchanged"),
            (y.transpose(1, 0, 2, 3), "the batch axis must come first: (N, F, OH, OW)"),
            (y.reshape(y.shape[0], y.shape[1], -1), "y must be an image: reshape to OH, OW"),
            (y.transpose(0, 2, 3, 1), "the channels must be the second axis: (N, F, OH, OW)"),
            (np.broadcast_to(y[:1], y.shape), "all images get the result of the first"),
            (correlated(layer, x[:, :1], weight[:, :1]) + bias, "only the first channel counts"),
        ]
        check_forward(test, mistakes)


def correlated(layer: Any, x: Floats, weight: Floats) -> Floats:
    """Return the convolution of ``layer`` with another weight, without bias."""
    n, f = len(x), len(weight)
    y = weight.reshape(f, -1) @ im2col(np, x, layer.window)
    return np.asarray(y.reshape(n, f, *layer.window.output_size(*x.shape[2:])))


PARTS = (
    Part("output size", 2, sizes),
    Part("im2col", 2, lambda answer: columns(answer, PLAIN)),
    Part("im2col, stride and padding", 2, lambda answer: columns(answer, WIDE)),
    Part("forward", 2, lambda answer: forward(answer, PLAIN)),
    Part("forward, stride and padding", 2, lambda answer: forward(answer, WIDE)),
)
