"""How much a thread of a convolution takes at a time: the least of an estimate of cycles."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from ....rounding import ceil_div, round_up

MAX_TILE = 32  # accumulators of a thread: with a row of inputs and weights below 80 registers
MAX_TAPS = 32  # taps that a thread of the gradient keeps per filter; larger windows go row by row


def tile(f: int, oh: int, ow: int, kw: int, sw: int, itemsize: int, threads: int) -> dict[str, int]:
    """Return what a thread of a convolution takes: constants of ``conv.cu``.

    Parameters
    ----------
    f, oh, ow : int
        Shape of the output; of rows that one thread takes together only the first counts.
    kw, sw : int
        Width of the window, and its stride along a row.
    itemsize : int
    threads : int
        That share the work of an image.

    Returns
    -------
    dict of str to int
        FT channels and PT pixels at a time, FP channels filled up to whole tiles, VECTOR numbers
        per load of the input.
    """

    def vector(pt: int) -> int:
        return next(v for v in (4, 2, 1) if pt * sw % v == 0 and v * itemsize <= 16)

    def cost(ft: int, pt: int) -> float:
        conflicts = max(1, gcd(pt * sw, 32) // vector(pt))  # of threads that read in one bank
        inputs, weights = (pt - 1) * sw + kw, kw * ceil_div(ft * itemsize, 16)
        instructions = ceil_div(inputs, vector(pt)) + weights + kw * ft * pt
        tasks = ceil_div(f, ft) * oh * ceil_div(ow, pt)
        return cycles(tasks, inputs * conflicts + weights, instructions, threads)

    sizes = [
        (ft, pt)
        for ft in (1, 2, 4, 6, 8)
        for pt in range(1, 9)
        if ft * pt <= MAX_TILE and pt <= ow and ft < 2 * f
    ]
    ft, pt = min(sizes, key=lambda size: cost(*size))
    return {"FT": ft, "PT": pt, "FP": round_up(f, ft), "VECTOR": vector(pt)}


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
