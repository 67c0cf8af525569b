"""The kernels of loss, update, augmentation and graphs, each bound to the function it replaces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .base import Array
from .binding import by_value_or_pointer, replaces
from .launch import Launcher

SQUARE_PARTS = 64  # blocks per array in a norm: 16,384 threads, several thousand numbers at once


# ------------------------------------------------------------------ loss


@replaces("nplenet.losses.cross_entropy")
def cross_entropy(
    gpu: Launcher,
    logits: Array,
    targets: Array,
    smoothing: float,
    scale: float,
    fault: Array,
    forward: int | Array,
) -> tuple[Array, Array, Array]:
    logits = gpu.xp.ascontiguousarray(logits)
    targets = gpu.xp.ascontiguousarray(targets, dtype=np.int64)
    dlogits = gpu.xp.empty_like(logits)
    loss, correct = gpu.xp.empty((), logits.dtype), gpu.xp.empty((), np.int64)
    arrays = (logits, targets, dlogits, loss, correct, fault)
    n, k = logits.shape
    (forward,), pointer = by_value_or_pointer(gpu, forward, 1)
    numbers = (n, k, 1.0 - smoothing, smoothing / k, scale, forward, pointer)
    gpu.launch("cross_entropy", "cross_entropy", 1, *arrays, *numbers)
    return loss, dlogits, correct


# ------------------------------------------------------------------ optimizers


@replaces("nplenet.optim.sgd.sgd")
def sgd(
    gpu: Launcher, p: Array, g: Array, m: Array, s: None, t: None, numbers: Sequence[float] | Array
) -> None:
    (*floats, nesterov), pointer = by_value_or_pointer(gpu, numbers, 5)
    gpu.launch_each("optimizer", "sgd", p.size, p, g, m, p.size, *floats, int(nesterov), pointer)


@replaces("nplenet.optim.adam.adam")
def adam(
    gpu: Launcher,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    s: None,
    t: None,
    numbers: Sequence[float] | Array,
) -> None:
    floats, pointer = by_value_or_pointer(gpu, numbers, 6)
    gpu.launch_each("optimizer", "adam", p.size, p, g, m, v, p.size, *floats, pointer)


@replaces("nplenet.optim.clip.norm")
def norm(gpu: Launcher, *gradients: Array) -> Array:
    squares = gpu.xp.empty((len(gradients), SQUARE_PARTS), np.float64)
    for g, parts in zip(gradients, squares, strict=True):
        g = gpu.xp.ascontiguousarray(g)
        gpu.launch("sums", "square_sums", SQUARE_PARTS, g, parts, g.size)
    return gpu.xp.sqrt(squares.sum())


# ------------------------------------------------------------------ steps in a graph


@replaces("nplenet.compiled.cuda.feed.deal")
def deal(
    gpu: Launcher,
    table: Array,
    step: Array,
    now: Array,
    order: Array,
    coefficients: Array | None,
    inverted: Array | None,
    gray: Array | None,
    labels: Array,
    n: int,
) -> tuple[Array | None, ...]:
    epoch = (order, coefficients, inverted, gray, labels)
    batch = [None if a is None else gpu.xp.empty((n, *a.shape[1:]), a.dtype) for a in epoch]
    words = now.size
    gpu.launch_each("feed", "deal", max(6 * n, words), table, step, now, words, *epoch, *batch, n)
    return tuple(batch)


@replaces("nplenet.compiled.cuda.feed.finish")
def finish(
    gpu: Launcher, loss: Array, correct: Array, losses: Array, corrects: Array, step: Array
) -> None:
    gpu.launch("feed", "finish", 1, loss, correct, losses, corrects, step, block=1)


# ------------------------------------------------------------------ augmentation


@replaces("nplenet.augment.pipeline.augment_batch")
def augment_batch(
    gpu: Launcher,
    images: Array,
    indexes: Array,
    coefficients: Array | None,
    inverted: Array | None,
    gray: Array | None,
    fill: int,
    dtype: npt.DTypeLike,
    normal: Array | None = None,
) -> Array:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"augment_batch: images have shape {images.shape}, expected (M, C, H, W), C 1 or 3"
        )
    count, shapes = len(indexes), {"coefficients": (6,), "inverted": (), "gray": ()}
    for (name, shape), draw in zip(shapes.items(), (coefficients, inverted, gray), strict=True):
        if draw is not None and draw.shape != (count, *shape):
            raise ValueError(
                f"augment_batch: {name} has shape {draw.shape}, expected {(count, *shape)}"
            )
    out = gpu.xp.empty((count, *images.shape[1:]), dtype=dtype)
    if normal is not None and (normal.shape, normal.dtype) != ((2, images.shape[1]), out.dtype):
        raise ValueError(
            f"augment_batch: normal is {normal.dtype} {normal.shape}, expected {out.dtype} "
            f"{(2, images.shape[1])}"
        )
    arrays = (images, indexes, coefficients, inverted, gray, normal, out)
    pixels = count * images.shape[2] * images.shape[3]
    gpu.launch_each("augment", "augment_batch", pixels, *arrays, *out.shape, fill)
    return out
