"""Layers and networks drawn at random, as pairs: the library's, and PyTorch's of the same numbers.

See ``compare_with_torch.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from nplenet import layers as own

Rng = np.random.Generator
Array = np.ndarray
Pair = tuple[own.Layer, nn.Module]


def chance(rng: Rng, p: float) -> bool:
    return bool(rng.random() < p)


def pick(rng: Rng, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def whole(rng: Rng, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def side(rng: Rng, low: int, high: int) -> Any:
    """Draw a number for both axes of an image, or one for each."""
    numbers = whole(rng, low, high), whole(rng, low, high)
    return numbers if chance(rng, 0.5) else numbers[0]


def laid_out(rng: Rng, a: Array) -> Array:
    """Return an array of the same numbers that lies otherwise in memory; constant axes may too."""
    way = whole(rng, 0, 5)
    if way == 1:
        return np.asfortranarray(a)
    if way == 2:
        return np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    if way == 3:
        wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
        wide[..., ::2] = a
        return wide[..., ::2]
    if way == 4:
        return np.ascontiguousarray(a.swapaxes(0, -1)).swapaxes(0, -1)
    if way == 5:
        return np.broadcast_to(a[:1], a.shape)
    return a


def conv(rng: Rng, c: int, h: int, w: int) -> Iterator[Pair]:
    groups = pick(rng, [g for g in range(1, c + 1) if c % g == 0]) if chance(rng, 0.3) else 1
    out, kernel = groups * whole(rng, 1, 5), side(rng, 1, 5)
    options = {"stride": side(rng, 1, 3), "padding": side(rng, 0, 2), "bias": chance(rng, 0.5)}
    options |= {"groups": groups, "dilation": side(rng, 1, 2) if chance(rng, 0.3) else 1}
    yield own.Conv2d(c, out, kernel, **options), nn.Conv2d(c, out, kernel, **options)


def pooling(rng: Rng, c: int, h: int, w: int) -> Iterator[Pair]:
    kernel = side(rng, 1, 4)
    smallest = kernel if isinstance(kernel, int) else min(kernel)
    options = {"padding": whole(rng, 0, smallest // 2), "ceil_mode": chance(rng, 0.4)}
    if chance(rng, 0.7):
        options["stride"] = side(rng, 1, 3)
    if chance(rng, 0.5):
        options["count_include_pad"] = chance(rng, 0.5)
        yield own.AvgPool2d(kernel, **options), nn.AvgPool2d(kernel, **options)
    else:
        options["dilation"] = side(rng, 1, 2)
        yield own.MaxPool2d(kernel, **options), nn.MaxPool2d(kernel, **options)


def norm(rng: Rng, c: int, images: bool) -> Iterator[Pair]:
    if chance(rng, 0.3):
        groups, eps = pick(rng, [g for g in range(1, c + 1) if c % g == 0]), pick(rng, (1e-5, 0.1))
        affine = chance(rng, 0.7)
        yield own.GroupNorm(groups, c, eps, affine), nn.GroupNorm(groups, c, eps, affine)
    options = {"eps": pick(rng, (1e-5, 1e-3, 0.1)), "momentum": pick(rng, (0.1, 0.5, 1.0, None))}
    name = "BatchNorm2d" if images else "BatchNorm1d"
    yield getattr(own, name)(c, **options), getattr(nn, name)(c, **options)


def layer_norm(rng: Rng, shape: tuple[int, ...]) -> Pair:
    sizes = shape[whole(rng, 1, len(shape) - 1) :]
    options = {"elementwise_affine": chance(rng, 0.7), "bias": chance(rng, 0.7)}
    return own.LayerNorm(sizes, **options), nn.LayerNorm(sizes, **options)


def residual(rng: Rng, c: int, h: int, w: int) -> Iterator[Pair]:
    """A body of two convolutions with a norm and an activation, beside a way of its own or none."""
    out, stride = (c, 1) if chance(rng, 0.5) else (whole(rng, 1, 4), whole(rng, 1, 2))
    k = pick(rng, (1, 3))
    shape = {"stride": stride, "padding": k // 2}
    inside = [next(norm(rng, out, True)), next(activation(rng))]
    last = {"padding": 1, "bias": False}
    body = [
        (own.Conv2d(c, out, k, **shape), nn.Conv2d(c, out, k, **shape)),
        *inside,
        (own.Conv2d(out, out, 3, **last), nn.Conv2d(out, out, 3, **last)),
    ]
    ours, theirs = (own.Sequential(*[p[0] for p in body]), nn.Sequential(*[p[1] for p in body]))
    if (out, stride) == (c, 1):
        yield own.Residual(ours), Beside(theirs)
    else:
        way = own.Conv2d(c, out, 1, stride), nn.Conv2d(c, out, 1, stride)
        yield own.Residual(ours, way[0]), Beside(theirs, way[1])


class Mean(nn.Module):
    """PyTorch's ``GlobalAvgPool2d``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class Beside(nn.Module):
    """PyTorch's ``Residual``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        if shortcut is not None:
            self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + (self.shortcut(x) if hasattr(self, "shortcut") else x)


def activation(rng: Rng) -> Iterator[Pair]:
    if chance(rng, 0.2):
        approximate = pick(rng, ("none", "tanh"))
        yield own.GELU(approximate), nn.GELU(approximate)
    if chance(rng, 0.3):
        slope = float(rng.uniform(-0.5, 1.5))
        yield own.LeakyReLU(slope), nn.LeakyReLU(slope)
    else:
        name = pick(rng, ("ReLU", "Sigmoid", "Tanh"))
        yield getattr(own, name)(), getattr(nn, name)()


def dense(rng: Rng, features: int, out: int | None = None) -> Iterator[Pair]:
    out, bias = out or whole(rng, 1, 9), chance(rng, 0.7)
    yield own.Dense(features, out, bias=bias), nn.Linear(features, out, bias=bias)


def one_layer(rng: Rng) -> tuple[Pair, tuple[int, ...]]:
    """Draw a layer, and the shape of its input."""
    n, c, h, w = whole(rng, 1, 5), whole(rng, 1, 4), whole(rng, 5, 11), whole(rng, 5, 11)
    kinds = ("conv", "conv", "pool", "pool", "norm2", "norm1", "activation", "dense")
    kind = pick(rng, (*kinds, "layer norm", "mean", "softmax", "residual"))
    image = (n, c, h, w)
    if kind == "layer norm":
        shape = pick(rng, (image, (n, c, h), (n, c * h)))
        return layer_norm(rng, shape), shape
    if kind == "mean":
        return (own.GlobalAvgPool2d(), Mean()), image
    if kind == "softmax":
        dim = pick(rng, (1, 2, -1))
        return (own.Softmax(dim), nn.Softmax(dim)), image
    if kind == "residual":
        return next(residual(rng, c, h, w)), (n + 1, c, h, w)
    if kind == "conv":
        return next(conv(rng, c, h, w)), image
    if kind == "pool":
        return next(pooling(rng, c, h, w)), image
    if kind == "norm2":
        return next(norm(rng, c, True)), (n + 1, c, h, w)
    if kind == "norm1":
        return next(norm(rng, c, False)), (n + 1, c, h) if chance(rng, 0.5) else (n + 1, c)
    if kind == "dense":
        return next(dense(rng, c * h)), (n, c * h)
    return next(activation(rng)), pick(rng, (image, (n, c * h)))


def chain(rng: Rng, classes: int) -> tuple[own.Sequential, nn.Sequential, tuple[int, ...]]:
    """Draw a network from images to logits, and the shape (C, H, W) of its images."""
    shape = whole(rng, 1, 3), whole(rng, 8, 16), whole(rng, 8, 16)
    pairs: list[Pair] = []
    x = torch.zeros(2, *shape, dtype=torch.float64)

    def put(pair: Pair) -> None:
        nonlocal x
        y = pair[1].double().train()(x)
        if y.shape[1:].numel():
            x = y.detach()
            pairs.append(pair)

    for _ in range(whole(rng, 0, 3)):
        c, h, w = x.shape[1:]
        try:
            put(next((residual if chance(rng, 0.15) else conv)(rng, c, h, w)))
            if chance(rng, 0.6):
                put(next(norm(rng, x.shape[1], True)))
            if chance(rng, 0.8):
                put(next(activation(rng)))
            if chance(rng, 0.7):
                put(next(pooling(rng, *x.shape[1:])))
        except (RuntimeError, ValueError):  # the images have become too small
            break
    put((own.Flatten(), nn.Flatten()))
    for _ in range(whole(rng, 0, 2)):
        put(next(dense(rng, x.shape[1])))
        if chance(rng, 0.4):
            put(next(norm(rng, x.shape[1], False)))
        if chance(rng, 0.8):
            put(next(activation(rng)))
    put(next(dense(rng, x.shape[1], classes)))
    ours, theirs = zip(*pairs, strict=True)
    return own.Sequential(*ours), nn.Sequential(*theirs), shape


def same_state(rng: Rng, ours: own.Layer, theirs: nn.Module) -> None:
    """Give both the same random parameters and statistics, in numbers that float32 can hold."""
    state = {}
    for name, tensor in theirs.double().state_dict().items():
        if tensor.is_floating_point():
            low = 0.3 if name.endswith(("running_var", "norm.weight")) else -0.6
            values = rng.uniform(low, 1.0, tuple(tensor.shape)).astype("f4")
            tensor.copy_(torch.from_numpy(values))
        state[name] = tensor.numpy().copy()
    ours.load_state_dict(state)
