"""The same model twice, on NumPy and as fused kernels: what tests of these compare."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nplenet.backend import Backend
from nplenet.compiled.cuda.feed import Feed, rows
from nplenet.compiled.cuda.fused import FusedStep, device_of, why_not_fused
from nplenet.layers import Dropout, Layer, ReLU
from nplenet.layers.sequential import leaves
from nplenet.losses import CrossEntropyLoss
from nplenet.optim import SGD

TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 2e-5}
"""Of each array's largest value, or of 1: both add the same numbers, in another order."""

KINK = 2e-6  # twice the rounding error of the inputs of LeNet-5's ReLUs in float32
CLASSES = 5

Make = Callable[[], Layer]


def layers_of(model: Layer) -> list[Layer]:
    return [layer for _, layer in leaves(model)]


def dropouts(model: Layer) -> list[Dropout]:
    """Return the layers that draw a key per step."""
    found = [layer for layer in layers_of(model) if isinstance(layer, Dropout)]
    return [layer for layer in found if layer.training and layer.p > 0.0]


def feed_of(
    cuda: Backend,
    model: Layer,
    images: np.ndarray,
    labels: np.ndarray,
    sizes: Sequence[int],
    **more: Any,
) -> Feed:
    """Return a feed of batches of these sizes, of the images in order; draws the dropout keys."""
    drops, n, steps = dropouts(model), sum(sizes), len(sizes)
    keys = [[int(d.rng.integers(2**64, dtype=np.uint64)) for d in drops] for _ in sizes]
    first = np.cumsum([0, *sizes[:-1]]).tolist()
    fault = cuda.xp.zeros(3, np.int64)
    feed = Feed(
        cuda,
        cuda.asarray(images),
        fault,
        entries=n,
        steps=steps,
        keys=len(drops),
        numbers=1,
        **more,
    )
    numbers = [[0.5 * step] for step in range(steps)]
    table = rows(first, range(1, steps + 1), keys, numbers)
    feed.load(order=np.arange(n), labels=labels[:n], table=table)
    return feed


class Twins:
    """The same model twice: the textbook on NumPy, and a fused step with its own optimizer."""

    def __init__(
        self,
        cuda: Backend,
        make: Make,
        shape: tuple[int, ...],
        sizes: Sequence[int],
        *,
        dtype: Any = np.float64,
        loss: Callable[[], CrossEntropyLoss] = CrossEntropyLoss,
        classes: int = CLASSES,
    ) -> None:
        self.cuda, self.sizes, self.classes = cuda, sizes, classes
        self.textbook, self.fused = make().astype(dtype), make().astype(dtype).to(cuda)
        self.loss, self.dtype, self.shape = loss(), np.dtype(dtype), shape
        self.tolerance = TOLERANCE[self.dtype]
        arguments = (layers_of(self.fused), shape, self.dtype)
        assert why_not_fused(*arguments, loss(), max(sizes), device_of(cuda)) == ""
        self.step = FusedStep(*arguments, max(sizes), loss(), cuda)
        self.optimizers = [SGD(m.parameters(), lr=0.1) for m in (self.textbook, self.fused)]
        rng = np.random.default_rng(0)
        self.images = rng.standard_normal((sum(sizes), *shape)).astype(dtype)
        self.labels = rng.integers(0, classes, sum(sizes))
        self.bytes: np.ndarray | None = None
        self.normal: np.ndarray | None = None

    def take_bytes(self, seed: int = 0, normal: np.ndarray | None = None) -> None:
        """Have images of bytes, of which those of the textbook are made."""
        rng = np.random.default_rng([seed, 1])
        self.bytes, self.normal = rng.integers(0, 256, self.images.shape, np.uint8), normal
        self.images = self.bytes.astype(self.dtype) / self.dtype.type(255)
        if normal is not None:
            mean, std = normal.astype(self.dtype)[:, :, None, None]
            self.images = (self.images - mean) / std

    def run(self) -> None:
        """Do all steps with both; everything must agree after each."""
        self.fused.zero_grad()
        for p in self.fused.parameters():
            p.grad += 7.0  # gradients are set, not added to
        images = self.images if self.bytes is None else self.bytes
        normal = None if self.normal is None else self.normal.astype(self.dtype)
        self.feed = feed_of(self.cuda, self.fused, images, self.labels, self.sizes, normal=normal)
        self.textbook.input_gradient, begin = False, 0
        for i, n in enumerate(self.sizes):
            rows = slice(begin, begin + n)
            x = self.images[rows]
            value = self.loss(self.textbook(x), self.labels[rows])
            self.textbook.zero_grad()
            self.textbook.backward(self.loss.backward())
            self.step.gradients(self.feed, n)
            self.assert_close("loss", self.feed.losses[i], np.float64(value))
            assert int(self.feed.correct[i]) == int(self.loss.correct)
            assert self.feed.step.get().tolist() == [i + 1]
            np.testing.assert_array_equal(self.feed.now.get(), self.feed.table[i].get())
            for p, q in zip(self.fused.parameters(), self.textbook.parameters(), strict=True):
                self.assert_close(f"step {i}, gradient of {q.name}", p.grad, q.grad)
            for optimizer in self.optimizers:
                optimizer.step()
            begin += n
        state = self.textbook.state_dict()
        for name, found in self.fused.state_dict().items():
            self.assert_close(name, found, state[name])

    def assert_same_predictions(self, n: int = 23) -> None:
        x = np.random.default_rng(5).standard_normal((n, *self.shape)).astype(self.dtype)
        out = self.cuda.xp.empty((n, self.classes), self.dtype)
        self.step.predict(self.cuda.asarray(x), out)
        self.assert_close("logits", out, self.textbook.eval()(x))

    def assert_close(self, what: str, found: Any, expected: Any) -> None:
        found, expected = self.cuda.to_numpy(self.cuda.asarray(found)), np.asarray(expected)
        assert found.shape == expected.shape, what
        assert np.isfinite(expected).all(), what
        error = np.abs(found - expected).max() / max(1.0, np.abs(expected).max())
        assert error <= self.tolerance, f"{what}: off by {error:.1e}"


def off_the_kinks(twins: Twins, *, as_bytes: bool = False) -> None:
    """Have images of which no ReLU of the model gets a number close to zero.

    A number within rounding of zero is cut by one program and passed by another, both right, and
    then whole gradients differ by more than rounding.
    """
    for seed in range(200):
        x = np.random.default_rng([9, seed]).standard_normal(twins.images.shape)
        x = x.astype(twins.dtype)
        if as_bytes:
            twins.take_bytes(seed)
            x = twins.images
        exact, y, nearest = copy.deepcopy(twins.textbook).astype(np.float64), x.astype(float), 1.0
        for layer in layers_of(exact):
            if isinstance(layer, ReLU):
                nearest = min(nearest, np.abs(y).min())
            y = layer(y)
        if nearest > KINK:
            twins.images = x
            return
    raise AssertionError(f"200 times a ReLU got a number below {KINK}")


def rng() -> np.random.Generator:
    return np.random.default_rng(0)
