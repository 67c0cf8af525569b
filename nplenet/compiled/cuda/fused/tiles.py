"""How much a thread of a convolution takes at a time: the least of an estimate of cycles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

from ....checks import Pair
from ....rounding import ceil_div, round_up

Weight = tuple[int, int, int, int]

MAX_TILE = 32  # accumulators of a thread: with a row of inputs and weights below 80 registers
MAX_TAPS = 32  # taps that a thread of the gradient keeps per filter; larger windows go row by row


@cache
def tile(
    weight: Weight, out: Pair, stride: Pair, frame: Pair, itemsize: int, threads: int
) -> dict[str, int]:
    """Return what a thread of a convolution takes: constants of ``conv.cu``.

    Parameters
    ----------
    weight : (F, C, KH, KW)
        The shape of the weights.
    out : (OH, OW)
        Of rows that one thread takes together only the first counts.
    stride : (SH, SW)
    frame : (FH, FW)
        Of the input, at least.
    itemsize : int
    threads : int
        That share the work of an image.

    Returns
    -------
    dict of str to int
        FT channels and PT pixels at a time, FP channels filled up to whole tiles, SPLIT lanes that
        share a tile, VECTOR numbers per load of the input.
    """
    (f, c, kh, kw), (oh, ow), (sh, sw) = weight, out, stride

    def vector(n: int) -> int:
        return next(v for v in (4, 2, 1) if n % v == 0 and v * itemsize <= 16)

    def cost(ft: int, pt: int, split: int) -> float:
        row, fp, one, some = ceil_div(ow, pt), round_up(f, ft), vector(pt * sw), vector(ft)
        width = round_up(max(frame[1], (row * pt - 1) * sw + kw), one)
        tiles = [(lane % split, lane // split) for lane in range(32)]
        inputs = [
            p * frame[0] * width + t // row % oh * sh * width + t % row * pt * sw for p, t in tiles
        ]
        weights = [p * kh * kw * fp + t // (row * oh) * ft % fp for p, t in tiles]
        packs = ceil_div((pt - 1) * sw + kw, one), kw * ft // some
        loads = packs[0] * wavefronts(inputs, one, itemsize)
        loads += packs[1] * wavefronts(weights, some, itemsize)
        tasks = fp // ft * oh * row * split
        joined = ft * pt * 2 * (split.bit_length() - 1)  # a shuffle and an addition per doubling
        one_row = cycles(tasks, loads, sum(packs) + kw * ft * pt, threads)
        end = cycles(tasks, joined // 2, joined, threads) if split > 1 else 0.0
        return kh * ceil_div(c, split) * one_row + end

    sizes = [
        (ft, pt, split)
        for split in (1, 2, 4, 8)
        for ft in (1, 2, 4, 6, 8)
        for pt in range(1, 9)
        if ft * pt <= MAX_TILE and pt <= ow and ft < 2 * f and split <= c
    ]
    ft, pt, split = min(sizes, key=lambda size: cost(*size))
    vectors = vector(pt * sw)
    return {"FT": ft, "PT": pt, "FP": round_up(f, ft), "SPLIT": split, "VECTOR": vectors}


def wavefronts(places: Sequence[int], vector: int, itemsize: int) -> int:
    """Return how often shared memory answers a load of ``vector`` numbers from each of 32 places.

    It has 32 banks of 4 bytes, and gives a word of each at a time, to all lanes that ask for it.
    """
    words = itemsize // 4
    asked = {place * words + word for place in places for word in range(vector * words)}
    return max(Counter(word % 32 for word in asked).values())


def gradient_tile(
    weight: Sequence[int], oh: int, ow: int, sw: int, max_sums: int, threads: int
) -> dict[str, int]:
    """Return what a thread of the gradient takes: constants of ``conv_gradient.cu``.

    Parameters
    ----------
    weight : tuple of int
        Its shape, (F, C, KH, KW).
    oh, ow, sw : int
        As for ``tile``.
    max_sums : int
        Numbers in shared memory, at most.
    threads : int
        As for ``tile``.

    Returns
    -------
    dict of str to int
        FT filters, PT pixels, KR rows of taps at a time; PARTS into which the rows of an image are
        shared out.
    """
    f, c, kh, kw = weight

    def cost(ft: int, pt: int, kr: int, parts: int) -> float:
        steps = ceil_div(oh, parts) * ceil_div(ow, pt)
        loads = ft * pt + kr * ((pt - 1) * sw + kw)
        tasks = parts * ceil_div(f, ft) * c * (kh // kr)
        return cycles(tasks, steps * loads, steps * (loads + ft * pt * kr * kw), threads)

    max_parts = max(1, min(oh, max_sums // (f * c * kh * kw)))
    sizes = [
        (ft, pt, kr, parts)
        for ft in (1, 2)
        for pt in sorted({min(ow, 4), *(pt for pt in range(3, 8) if ow % pt == 0)})
        for kr in sorted({1, kh if kh * kw <= MAX_TAPS else 1})
        for parts in range(1, max_parts + 1)
        if ft <= f
    ]
    best = min(sizes, key=lambda size: cost(*size))
    return dict(zip(("FT", "PT", "KR", "PARTS"), best, strict=True))


def cycles(tasks: int, loads: int, instructions: int, threads: int) -> float:
    """Return an estimate of the cycles in which threads do tasks of equal size.

    A multiprocessor loads one number of each lane of a warp per cycle, and issues four
    instructions. A warp alone issues one in 2.5 cycles (of a convolution on an H100), and waits 30
    for its first load.
    """
    warps, rounds = ceil_div(min(tasks, threads), 32), ceil_div(tasks, threads)
    return rounds * max(warps * loads, warps * instructions / 4, 2.5 * instructions + 30)
