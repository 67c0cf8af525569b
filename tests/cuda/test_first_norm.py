"""The first batch norm by the moments of the windows: on images of bytes, without a barrier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gpusim
import numpy as np
import pytest
from fused_twins import CLASSES, Make, Twins, feed_of, layers_of, off_the_kinks, rng

from nplenet.backend import Backend
from nplenet.compiled.cuda.feed import Feed, rows
from nplenet.compiled.cuda.fused import Device, FusedStep, device_of
from nplenet.compiled.cuda.fused.training import Training
from nplenet.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Flatten,
    Layer,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sequential,
    Tanh,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5, LeNet5For28x28
from nplenet.optim import Adam, AdamW
from nplenet.window import Window

BY_MOMENTS = ["moments", "join_moments", "pass1", "pass2", "pass3", "finish"]
NORMAL = np.array([[0.3, 0.5], [0.25, 0.4]])


def names(step: FusedStep) -> list[str]:
    return [kernel.name for kernel in step.kernels()]


@pytest.mark.parametrize("sizes", [(1,), (7, 7, 3), (64, 37), (300,)], ids=str)
def test_lenet5_on_bytes_equals_the_textbook(cuda: Backend, sizes: tuple[int, ...]) -> None:
    twins = Twins(cuda, lambda: LeNet5(seed=1, dropout=0.5), (1, 32, 32), sizes, classes=10)
    twins.take_bytes()
    twins.run()
    assert names(twins.step) == BY_MOMENTS


def test_lenet5_on_bytes_equals_the_textbook_in_float32(cuda: Backend) -> None:
    make = lambda: LeNet5(seed=1, dropout=0.0)  # noqa: E731
    twins = Twins(cuda, make, (1, 32, 32), (100,), dtype=np.float32, classes=10)
    off_the_kinks(twins, as_bytes=True)
    twins.run()
    assert names(twins.step) == BY_MOMENTS


def chain(first: Conv2d, *rest: Layer, outputs: int) -> Layer:
    norm = BatchNorm2d(first.weight.data.shape[0])
    return Sequential(first, norm, *rest, Flatten(), Dense(outputs, CLASSES, rng=rng()))


def conv(*arguments: int, **more: Any) -> Conv2d:
    return Conv2d(*arguments, bias=False, rng=rng(), **more)


CHAINS: dict[str, tuple[Make, tuple[int, ...], np.ndarray | None]] = {
    "padded": (
        lambda: chain(conv(1, 6, 5, padding=2), ReLU(), AvgPool2d(2), outputs=1176),
        (1, 28, 28),
        None,
    ),
    "no-activation": (lambda: chain(conv(1, 3, 3), outputs=75), (1, 7, 7), None),
    "colour": (
        lambda: chain(conv(3, 4, 3, padding=1), Tanh(), AvgPool2d(2), outputs=36),
        (3, 6, 7),
        None,
    ),
    "normalised": (
        lambda: chain(conv(2, 3, (2, 4)), LeakyReLU(), MaxPool2d(2), outputs=24),
        (2, 9, 8),
        NORMAL,
    ),
    "pixels-without-a-window": (
        lambda: chain(conv(1, 3, 3), ReLU(), AvgPool2d((2, 4)), outputs=9),
        (1, 9, 8),
        None,
    ),
    "as-large-as-the-image": (lambda: chain(conv(1, 5, (6, 5)), outputs=5), (1, 6, 5), None),
    "more-padding-than-window": (
        lambda: chain(conv(2, 3, 2, padding=3), ReLU(), AvgPool2d(3), outputs=27),
        (2, 4, 5),
        None,
    ),
    "pixels-of-64": (lambda: chain(conv(4, 2, 4), ReLU(), outputs=98), (4, 10, 10), None),
}


@pytest.mark.parametrize(("make", "shape", "normal"), CHAINS.values(), ids=CHAINS)
def test_other_chains_on_bytes_equal_the_textbook(
    cuda: Backend, make: Make, shape: tuple[int, ...], normal: np.ndarray | None
) -> None:
    twins = Twins(cuda, make, shape, (9, 9, 2), classes=make().output_shape((2, *shape))[1])
    twins.take_bytes(normal=normal)
    twins.run()
    assert names(twins.step)[:2] == BY_MOMENTS[:2]


def frozen(layer: int, which: str) -> Make:
    def make() -> Layer:
        model = chain(conv(1, 3, 3), ReLU(), AvgPool2d(2), outputs=12)
        getattr(layers_of(model)[layer], which).requires_grad = False
        return model

    return make


def in_eval() -> Layer:
    model = chain(conv(1, 3, 3), ReLU(), AvgPool2d(2), outputs=12)
    layers_of(model)[1].eval()
    return model


WITHOUT: dict[str, tuple[Make, tuple[int, ...], np.ndarray | None]] = {
    "stride": (lambda: chain(conv(1, 3, 3, stride=2), ReLU(), outputs=12), (1, 6, 6), None),
    "bias": (
        lambda: chain(Conv2d(1, 3, 3, rng=rng()), ReLU(), AvgPool2d(2), outputs=12),
        (1, 6, 6),
        None,
    ),
    "zeros-that-are-not-normalised": (
        lambda: chain(conv(2, 3, 3, padding=1), ReLU(), AvgPool2d(2), outputs=27),
        (2, 6, 6),
        NORMAL,
    ),
    "pool-before-batch-norm": (lambda: LeNet5For28x28(seed=1), (1, 28, 28), None),
    "no-batch-norm": (
        lambda: Sequential(conv(1, 3, 3), Tanh(), Flatten(), Dense(48, CLASSES, rng=rng())),
        (1, 6, 6),
        None,
    ),
    "running-statistics": (in_eval, (1, 6, 6), None),
    "frozen-weight": (frozen(1, "weight"), (1, 6, 6), None),
    "frozen-bias": (frozen(1, "bias"), (1, 6, 6), None),
    "large-windows": (lambda: chain(conv(1, 3, 9), ReLU(), outputs=12), (1, 10, 10), None),
}


@pytest.mark.parametrize(("make", "shape", "normal"), WITHOUT.values(), ids=WITHOUT)
def test_chains_without_moments_take_bytes_too(
    cuda: Backend, make: Make, shape: tuple[int, ...], normal: np.ndarray | None
) -> None:
    twins = Twins(cuda, make, shape, (9, 5), classes=make().output_shape((2, *shape))[1])
    twins.take_bytes(normal=normal)
    twins.run()
    assert "moments" not in names(twins.step)


def test_a_filter_without_weight_has_its_gradients(cuda: Backend) -> None:
    def make() -> Layer:
        model = chain(conv(1, 4, 3), ReLU(), AvgPool2d(2), outputs=16)
        convolution, norm = layers_of(model)[:2]
        norm.weight.data[1] = 0.0  # type: ignore[attr-defined]  # its scale is 0
        norm.bias.data[:] = 0.5  # type: ignore[attr-defined]
        convolution.weight.data[2] = 0.0  # type: ignore[attr-defined]  # its variance is 0
        return model

    twins = Twins(cuda, make, (1, 6, 6), (20,))
    twins.take_bytes()
    twins.run()
    assert names(twins.step)[:2] == BY_MOMENTS[:2]


def windows_of(images: np.ndarray, layer: Conv2d) -> np.ndarray:
    """Return all windows of images (N, C, H, W) as rows (windows, C * KH * KW)."""
    window: Window = layer.window
    (kh, kw), (ph, pw) = window.size, window.padding
    padded = np.pad(images, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(2, 3))
    return views.transpose(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1] * kh * kw)


@pytest.mark.parametrize("n", [1, 50])
def test_the_moments_are_exact(cuda: Backend, n: int) -> None:
    """Bytes of 255 and of 0: the largest sums, and the largest variance."""
    layer = conv(2, 3, (3, 2), padding=(1, 0))
    model = chain(layer, ReLU(), outputs=3 * 6 * 7).to(cuda)
    arguments = (layers_of(model), (2, 6, 8), np.float32, n)
    step = FusedStep(*arguments, CrossEntropyLoss(), cuda)
    images = 255 * np.random.default_rng(0).integers(0, 2, (n, 2, 6, 8), np.uint8)
    feed = feed_of(cuda, model, images, np.zeros(n, int), (n,))
    step.gradients(feed, n)
    (compiled,) = (p for p in step._programs.values() if "moments" in p.arrays)
    found = compiled.arrays["moments"].get()[1]  # of the forward with this number
    exact = windows_of(images.astype(np.int64), layer)
    m, sums, products = len(exact), exact.sum(axis=0), exact.T @ exact
    covariance = (products * m - np.outer(sums, sums)) / (m * 255.0) ** 2
    np.testing.assert_allclose(found[:12], sums / (255.0 * m), rtol=1e-15)
    np.testing.assert_allclose(found[12:].reshape(12, 12), covariance, rtol=0, atol=1e-15)


def trained(cuda: Backend, order: str, each: int, sizes: tuple[int, ...]) -> bytes:
    """Return all that some steps leave behind, enqueued ``each`` at a time."""
    model = chain(conv(1, 3, 3), ReLU(), AvgPool2d(2), outputs=12).to(cuda)
    optimizer, loss = AdamW(model.parameters(), lr=0.01), CrossEntropyLoss()
    r, numbers = np.random.default_rng(3), []
    for _ in sizes:
        optimizer.step_count += 1
        numbers.append(optimizer.numbers())
    images = cuda.asarray(r.integers(0, 256, (sum(sizes), 1, 6, 6), np.uint8))
    fault = cuda.xp.zeros(3, np.int64)
    feed = Feed(
        cuda,
        images,
        fault,
        entries=len(images),
        steps=len(sizes),
        keys=0,
        numbers=len(numbers[0]),
    )
    first = np.cumsum([0, *sizes[:-1]]).tolist()
    table = rows(first, range(1, len(sizes) + 1), [[]] * len(sizes), numbers)
    labels = r.integers(0, CLASSES, len(images))
    feed.load(order=r.permutation(len(images)), labels=labels, table=table)
    step = FusedStep(layers_of(model), (1, 6, 6), np.float32, max(sizes), loss, cuda, optimizer)
    with gpusim.thread_order(order):
        done = 0
        while done < len(sizes):
            times = min(each, len(sizes) - done)
            step.step(feed, sizes[done], optimizer, times)
            done += times
    arrays = [p.grad for p in model.parameters()] + [feed.losses, feed.correct, feed.fault]
    arrays += [*model._state().values(), *(p.data for p in model.parameters())]
    return b"".join(a.get().tobytes() for a in arrays)


def test_the_same_bits_in_any_order_of_threads(cuda: Backend) -> None:
    orders = ("forward", "reverse", "random:7", "forward")
    assert len({trained(cuda, order, 3, (40, 40, 40)) for order in orders}) == 1


def test_more_steps_than_have_moments_at_a_time_give_the_bits_of_single_steps(
    cuda: Backend,
) -> None:
    sizes = (2,) * 260
    assert trained(cuda, "forward", 1, sizes) == trained(cuda, "forward", 260, sizes)


@pytest.mark.parametrize("optimizer", [Adam, AdamW])
def test_the_update_within_the_step_gives_the_bits_of_the_one_behind_it(
    cuda: Backend, optimizer: Callable[..., Any]
) -> None:
    found = []
    for within in (False, True):
        model = chain(conv(1, 3, 3), ReLU(), AvgPool2d(2), outputs=12).to(cuda)
        updates = optimizer(model.parameters(), lr=0.01, weight_decay=0.1)
        updates.step_count = 1
        images = np.random.default_rng(1).integers(0, 256, (8, 1, 6, 6), np.uint8)
        feed = feed_of(cuda, model, images, np.arange(8) % CLASSES, (8,))
        feed.table = cuda.asarray(rows([0], [1], [[]], [updates.numbers()]))
        feed.words = feed.table.shape[1]
        feed.now = cuda.xp.zeros(feed.words, np.uint64)
        loss = CrossEntropyLoss()
        step = FusedStep(layers_of(model), (1, 6, 6), np.float32, 8, loss, cuda, updates)
        if within:
            step.step(feed, 8, updates, 1)
        else:
            step.gradients(feed, 8)
            updates.update(feed.numbers)
        found.append([a.get().tobytes() for p in model.parameters() for a in (p.data, p.grad)])
    assert found[0] == found[1]


def test_filters_that_are_not_trained_take_no_moments(cuda: Backend) -> None:
    layers, device = layers_of(frozen(0, "weight")()), device_of(cuda)
    training = Training(layers, (1, 6, 6), np.dtype(np.float32), CrossEntropyLoss(), 4, device)
    assert training.on_bytes is None


@pytest.mark.parametrize(
    ("shared", "processors", "on_bytes"),
    [
        (232448, 132, True),
        (166912, 108, True),
        (101376, 84, True),
        (65536, 40, True),
        (49152, 40, False),
    ],
    ids=["H100", "A100", "RTX 5080", "T4", "48 KiB"],
)
def test_a_device_without_room_for_the_larger_kernels_keeps_the_barriers(
    shared: int, processors: int, on_bytes: bool
) -> None:
    device, layers = Device(shared, processors), layers_of(LeNet5(seed=1))
    for n in (64, 1024):
        arguments = (layers, (1, 32, 32), np.dtype(np.float32), CrossEntropyLoss(), n)
        training = Training(*arguments, device)
        assert len(training.any.kernels) == 6
        assert (training.on_bytes is not None) == on_bytes
        if training.on_bytes is not None:
            assert len(training.on_bytes.kernels) == 4
            assert training.on_bytes.too_large() is None
            assert training.on_bytes.has_room or shared < 131072
