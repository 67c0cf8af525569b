"""A step of fused kernels computes what the textbook layers compute, on any chain."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import prod

import gpusim
import numpy as np
import pytest
from fused_twins import CLASSES, Make, Twins, feed_of, layers_of, off_the_kinks, rng

import nplenet
from nplenet import get_backend
from nplenet.augment import (
    Compose,
    RandomAffine,
    RandomInvert,
    ToFloat,
    fuse,
    standard_augmentation,
)
from nplenet.backend import Backend
from nplenet.cases import ROWS, Case
from nplenet.compiled.cuda.feed import Feed, rows
from nplenet.compiled.cuda.fused import Device, FusedStep, why_not_fused
from nplenet.data import DataLoader, DeviceLoader
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5, LeNet5For28x28

ORDERS = ("forward", "reverse", "random:7")


# --------------------------------------------------------------------------- whole models


@pytest.mark.parametrize("sizes", [(1,), (7, 7, 3), (64, 37), (300,)], ids=str)
def test_lenet5_equals_the_textbook(cuda: Backend, sizes: tuple[int, ...]) -> None:
    twins = Twins(cuda, lambda: LeNet5(seed=1, dropout=0.5), (1, 32, 32), sizes, classes=10)
    twins.run()
    twins.assert_same_predictions()
    assert len(twins.step.kernels()) == 6


def test_lenet5_without_dropout_equals_the_textbook_in_float32(cuda: Backend) -> None:
    make = lambda: LeNet5(seed=1, dropout=0.0)  # noqa: E731
    twins = Twins(cuda, make, (1, 32, 32), (100,), dtype=np.float32, classes=10)
    off_the_kinks(twins)
    twins.run()
    twins.assert_same_predictions()


MODELS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "28x28": (lambda: LeNet5For28x28(seed=1), (1, 28, 28)),
    "colour": (lambda: LeNet5(seed=1, in_channels=3, conv_bias=True), (3, 32, 32)),
    "no-batch-norm": (
        lambda: Sequential(
            Conv2d(2, 4, 3, padding=1, rng=rng()),
            Tanh(),
            MaxPool2d(2),
            Conv2d(4, 5, 3, rng=rng()),
            LeakyReLU(-0.2),
            Flatten(),
            Dense(45, 10, rng=rng()),
        ),
        (2, 10, 10),
    ),
    "batch-norm-first-and-twice": (
        lambda: Sequential(
            BatchNorm2d(2),
            BatchNorm2d(2, momentum=None),
            MaxPool2d(2),
            Flatten(),
            Dense(18, 10, rng=rng()),
        ),
        (2, 6, 6),
    ),
    "dropout-before-batch-norm": (
        lambda: Sequential(
            Flatten(),
            Dense(72, 11, rng=rng()),
            Dropout(0.3, rng=rng()),
            BatchNorm1d(11),
            LeakyReLU(),
            Sigmoid(),
            Dense(11, 10, rng=rng()),
        ),
        (2, 6, 6),
    ),
    "dense": (
        lambda: Sequential(
            Dense(7, 40, rng=rng()),
            BatchNorm1d(40),
            ReLU(),
            Dropout(0.5, rng=rng()),
            Dense(40, 10, rng=rng()),
        ),
        (7,),
    ),
    "elementwise-one-after-the-other": (
        lambda: Sequential(
            Dense(6, 250, rng=rng()),
            Dense(250, 120, rng=rng()),
            Dropout(0.5, rng=rng()),
            ReLU(),
            Dropout(0.5, rng=rng()),  # its output lies half over the first dropout's input
            Dense(120, 200, rng=rng()),
            Dense(200, 10, rng=rng()),
        ),
        (6,),
    ),
    "one-dense": (lambda: Sequential(Dense(1030, 10, rng=rng())), (1030,)),
    "one-convolution": (
        lambda: Sequential(Conv2d(1, 10, 4, stride=2, rng=rng()), AvgPool2d(2), Flatten()),
        (1, 6, 6),
    ),
    "frozen": (
        lambda: Sequential(
            Conv2d(1, 3, 3, rng=rng()),
            BatchNorm2d(3).eval(),
            Tanh(),
            AvgPool2d(2),
            BatchNorm2d(3),
            Flatten(),
            Dense(12, 10, rng=rng()),
        ),
        (1, 6, 6),
    ),
    "more-padding-than-window": (  # its frame of dy has the shape of dy, and holds a part of it
        lambda: Sequential(
            Conv2d(1, 2, 1, rng=rng()),
            Conv2d(2, 3, 3, stride=2, padding=4, rng=rng()),
            Flatten(),
            Dense(75, 10, rng=rng()),
        ),
        (1, 3, 3),
    ),
    "pools-that-cannot-be-fused": (
        lambda: Sequential(
            BatchNorm2d(2),
            ReLU(),
            AvgPool2d(2, ceil_mode=True),
            Conv2d(2, 4, 2, stride=(2, 1), padding=(1, 0), rng=rng()),
            BatchNorm2d(4),
            AvgPool2d(2),
            Flatten(),
            BatchNorm1d(4),
        ),
        (2, 7, 7),
    ),
}


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS)
def test_other_models_equal_the_textbook(cuda: Backend, make: Make, shape: tuple[int, ...]) -> None:
    classes = make().output_shape((2, *shape))[1]
    twins = Twins(cuda, make, shape, (9, 9, 2), classes=classes)
    twins.run()
    twins.assert_same_predictions()


CASES = [
    case
    for row in ROWS
    if issubclass(row.kind, Layer) and not issubclass(row.kind, (Sequential, ReLU))
    if "cuda" in row.rungs
    for case in row.cases
    if getattr(case.build(), "is_plain", True)  # a convolution without groups and dilation
]


def chains(cases: Sequence[Case]) -> list[tuple[list[Case], tuple[int, ...]]]:
    """Return cases and the shape of their input: as many in a chain as may follow each other.

    A module takes a second to compile, so poolings share one, on larger images than in the table.
    """
    found: list[tuple[list[Case], tuple[int, ...]]] = []
    shape: tuple[int, ...] = ()
    for case in cases:
        layer = case.build()
        assert isinstance(layer, Layer)
        in_chain = isinstance(layer, (AvgPool2d, MaxPool2d, LeakyReLU, Sigmoid, Tanh))
        pooling = isinstance(layer, (AvgPool2d, MaxPool2d))
        if not (in_chain and shape) or (pooling and min(shape[1:]) < 7):
            shape = case.input_shape[1:]
            if pooling:
                shape = (2, 29, 34)
            found.append(([], shape))
        found[-1][0].append(case)
        shape = layer.output_shape((2, *shape))[1:]
        if not in_chain:
            shape = ()
    return found


CHAINS = {case[0].name: (case, shape) for case, shape in chains(CASES)}


@pytest.mark.parametrize(("cases", "shape"), CHAINS.values(), ids=CHAINS)
def test_every_case_of_the_table_equals_the_textbook(
    cuda: Backend, cases: Sequence[Case], shape: tuple[int, ...]
) -> None:
    Twins(cuda, between_dense_layers(cases, shape), shape, (6, 5)).run()


def between_dense_layers(cases: Sequence[Case], shape: tuple[int, ...]) -> Make:
    """Return a model with the layers of the cases in the middle, so that their dx is needed."""

    def model() -> Layer:
        made = [case.build(dtype=np.float64) for case in cases]
        inner = Sequential(*(layer for layer in made if isinstance(layer, Layer)))
        first: Layer = Tanh()
        if len(shape) == 1:
            first = Dense(shape[0], shape[0], rng=rng())
        elif len(shape) == 3:
            first = Conv2d(shape[0], shape[0], 1, rng=rng())
        elif len(shape) == 2:
            first = BatchNorm1d(shape[0])
        outputs = prod(inner.output_shape((1, *shape))[1:])
        return Sequential(first, inner, Flatten(), Dense(outputs, CLASSES, rng=rng()))

    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: CrossEntropyLoss("sum"),
        lambda: CrossEntropyLoss(label_smoothing=0.1),
        lambda: CrossEntropyLoss("sum", label_smoothing=1.0),
    ],
    ids=["sum", "smoothing", "both"],
)
def test_every_form_of_the_loss_equals_the_textbook(
    cuda: Backend, make: Callable[[], CrossEntropyLoss]
) -> None:
    model = lambda: Sequential(Dense(6, 40, rng=rng()))  # noqa: E731  more classes than lanes
    twins = Twins(cuda, model, (6,), (40, 11), loss=make, classes=40)
    twins.images *= 30.0
    twins.run()


def test_a_distant_mean_does_not_swallow_the_deviation(cuda: Backend) -> None:
    make = lambda: Sequential(BatchNorm2d(2), Flatten(), Dense(18, CLASSES, rng=rng()))  # noqa: E731
    twins = Twins(cuda, make, (2, 3, 3), (30,), dtype=np.float32)
    twins.images = (twins.images * 0.01 + 1000.0).astype(np.float32)
    twins.run()


def test_statistics_that_are_not_numbers_stay_so(cuda: Backend) -> None:
    make = lambda: Sequential(BatchNorm2d(2), Flatten(), Dense(18, CLASSES, rng=rng()))  # noqa: E731
    twins = Twins(cuda, make, (2, 3, 3), (30,))
    twins.images[3, 1, 0, 0] = np.nan
    feed = feed_of(cuda, twins.fused, twins.images, twins.labels, twins.sizes)
    twins.step.gradients(feed, 30)
    twins.textbook(twins.images)
    for name in ("running_mean", "running_var"):
        expected = getattr(layers_of(twins.textbook)[0], name)
        assert np.isnan(expected).tolist() == [False, True]
        found = cuda.to_numpy(getattr(layers_of(twins.fused)[0], name))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


# --------------------------------------------------------------------------- images and faults

AFFINE = Compose([RandomAffine(40, (0.3, 0.2), (0.5, 2), 20, 9), RandomInvert(), ToFloat()])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("changes", [standard_augmentation(), AFFINE], ids=["standard", "affine"])
def test_bytes_are_augmented_as_by_the_device_loader(
    cuda: Backend, changes: Compose, channels: int
) -> None:
    r = np.random.default_rng(3)
    images = r.integers(0, 256, (30, channels, 8, 8), np.uint8)
    labels = r.integers(0, CLASSES, 30)
    transform = Compose([*changes.transforms[:-1], ToFloat(np.float64)])
    pipeline = fuse(transform)
    assert pipeline is not None
    size = channels * 64

    def model() -> Layer:
        return Sequential(Flatten(), Dense(size, CLASSES, dtype=np.float64, rng=rng()))

    textbook, fused, loss = model(), model().to(cuda), CrossEntropyLoss()
    loader = DataLoader(
        images, labels, 15, shuffle=True, rng=r, transform=transform, transform_rng=r
    )
    device_loader = DeviceLoader(loader, pipeline, get_backend("numpy"))
    state = loader.state_dict()
    batches = list(device_loader)
    loader.load_state_dict(state)
    order = loader.draw_order()
    draws = pipeline.draw(loader.sizes(), loader.transform_rng, 8, 8)
    step = FusedStep(layers_of(fused), images.shape[1:], np.float64, 15, CrossEntropyLoss(), cuda)
    feed = Feed(
        cuda,
        cuda.asarray(images),
        cuda.xp.zeros(3, np.int64),
        entries=30,
        steps=2,
        keys=0,
        numbers=0,
        augmented=[a is not None for a in draws],
        fill=pipeline.fill,
    )
    feed.load(
        order=order,
        labels=labels[order],
        table=rows([0, 15], [1, 2], [[], []], [[], []]),
        draws=draws,
    )
    for i, (x, y) in enumerate(batches):
        textbook.zero_grad()
        value = loss(textbook(x), y)
        textbook.backward(loss.backward())
        step.gradients(feed, 15)
        assert abs(float(feed.losses[i]) - float(value)) < 1e-12
        for p, q in zip(fused.parameters(), textbook.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.get(), q.grad, rtol=0, atol=1e-12)
    out = cuda.xp.empty((30, CLASSES))
    step.predict(cuda.asarray(images), out)
    np.testing.assert_allclose(out.get(), textbook(images / 255.0), rtol=0, atol=1e-12)


def test_a_label_out_of_range_is_noted_and_the_loss_is_nan(cuda: Backend) -> None:
    model = Sequential(Dense(3, CLASSES, dtype=np.float64, rng=rng())).to(cuda)
    labels = np.array([0, 1, 2, 7, -1, 0, 1, 9, 0])
    step = FusedStep(layers_of(model), (3,), np.float64, 3, CrossEntropyLoss(), cuda)
    feed = feed_of(cuda, model, np.ones((9, 3)), labels, (3, 3, 3))
    for _ in range(3):
        step.gradients(feed, 3)
    assert np.isnan(feed.losses.get()).tolist() == [False, True, True]
    assert feed.fault.get().tolist() == [2, 0, 7]  # the first one


def test_one_value_per_channel_is_refused_as_by_the_textbook(cuda: Backend) -> None:
    model = Sequential(Dense(3, 4, rng=rng()), BatchNorm1d(4)).to(cuda)
    step = FusedStep(layers_of(model), (3,), np.float32, 2, CrossEntropyLoss(), cuda)
    feed = feed_of(cuda, model, np.ones((2, 3), np.float32), np.zeros(2, int), (2,))
    with pytest.raises(ValueError, match=r"BatchNorm1d\(4.*more than one value per channel"):
        step.gradients(feed, 1)
    with pytest.raises(ValueError, match="the largest has 2"):
        step.gradients(feed, 3)
    other = feed_of(cuda, model, np.ones((2, 5), np.float32), np.zeros(2, int), (2,))
    with pytest.raises(ValueError, match=r"images of \(3,\), the feed has \(5,\)"):
        step.gradients(other, 2)
    out = cuda.xp.empty((2, 4))
    with pytest.raises(ValueError, match=r"an output of \(2, 4\) float32, .* \(2, 4\) float64"):
        step.predict(feed.images, out)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_another_dtype_become_that_of_the_model(cuda: Backend, dtype: type) -> None:
    model = lambda: Sequential(Dense(6, CLASSES, rng=rng()))  # noqa: E731
    twins = Twins(cuda, model, (6,), (8,))
    given = np.random.default_rng(1).integers(0, 256, (8, 6)).astype(dtype)
    twins.images = given / (255.0 if dtype is np.uint8 else 1.0)
    twins.run()
    expected = float(twins.feed.losses[0])
    feed = feed_of(cuda, twins.fused, given, twins.labels, (8,))
    twins.fused.load_state_dict(model().state_dict())
    twins.step.gradients(feed, 8)
    assert float(feed.losses[0]) == expected


# --------------------------------------------------------------------------- bits and launches


def test_the_same_bits_in_any_order_of_threads(cuda: Backend) -> None:
    bits = set()
    x = np.random.default_rng(1).standard_normal((20, 1, 32, 32)).astype(np.float32)
    for order in (*ORDERS, "forward"):
        model = LeNet5(seed=1).to(cuda)
        step = FusedStep(layers_of(model), (1, 32, 32), np.float32, 20, CrossEntropyLoss(), cuda)
        feed = feed_of(cuda, model, x, np.arange(20) % 10, (20,))
        with gpusim.thread_order(order):
            step.gradients(feed, 20)
        arrays = [p.grad for p in model.parameters()] + [feed.losses, *model._state().values()]
        bits.add(b"".join(a.get().tobytes() for a in arrays))
    assert len(bits) == 1


def test_a_step_is_six_launches_and_nothing_else(cuda: Backend, simulated: None) -> None:
    model = LeNet5(seed=1).to(cuda)
    step = FusedStep(layers_of(model), (1, 32, 32), np.float32, 8, CrossEntropyLoss(), cuda)
    x = cuda.asarray(np.zeros((8, 1, 32, 32), np.float32))
    feed, out = (
        feed_of(cuda, model, x, np.zeros(8, int), (4, 4)),
        cuda.xp.empty((8, 10), np.float32),
    )
    step.gradients(feed, 4)
    step.predict(x, out)
    with gpusim.counting() as count:
        step.gradients(feed, 4)
    assert (count.launches, count.syncs, count.allocations) == (6, 0, 0)
    assert count.h2d == count.d2h == count.d2d == count.memsets == 0
    with gpusim.counting() as count:
        step.predict(x, out)
    assert (count.launches, count.allocations) == (1, 0)
    kernels = step.kernels()
    assert [kernel.name for kernel in kernels] == [*(f"pass{i}" for i in range(1, 6)), "finish"]
    products = 117_600 + 240_000 + 48_000 + 10_080 + 840  # of the forward, per image
    operations = 2 * (3 * products - 117_600)  # the images need no gradient
    assert sum(kernel.flop for kernel in kernels) == 4 * operations
    assert all(kernel.nbytes > 0 for kernel in kernels[:-1])


def test_a_captured_step_gives_the_same_bits(cuda: Backend) -> None:
    x, bits = np.random.default_rng(1).standard_normal((8, 3)), set()
    for captured in (False, True):
        make = Sequential(Dense(3, 4, dtype=np.float64, rng=rng()), BatchNorm1d(4))
        model = make.astype(np.float64).to(cuda)
        step = FusedStep(layers_of(model), (3,), np.float64, 4, CrossEntropyLoss(), cuda)
        feed = feed_of(cuda, model, x, np.arange(8) % 4, (4, 4))
        step.gradients(feed, 4)  # compiles
        feed.step.fill(0)
        stream = cuda.xp.cuda.Stream(non_blocking=True)
        with stream:
            if captured:
                stream.begin_capture()
            for _ in range(2):
                step.gradients(feed, 4)
            if captured:
                stream.end_capture().launch(stream)
            stream.synchronize()
        arrays = [p.grad for p in model.parameters()] + [feed.losses, feed.step, feed.correct]
        bits.add(b"".join(a.get().tobytes() for a in arrays))
    assert len(bits) == 1


def test_a_chain_that_needs_too_much_shared_memory_is_refused() -> None:
    wide = Sequential(
        Conv2d(3, 64, 3, padding=1), ReLU(), Conv2d(64, 64, 3, padding=1), ReLU(), MaxPool2d(2)
    )
    wide = Sequential(*layers_of(wide), Flatten(), Dense(64 * 32 * 32, 10))
    float32, loss = np.dtype(np.float32), CrossEntropyLoss()
    why = why_not_fused(layers_of(wide), (3, 64, 64), float32, loss, 64, Device(232448, 132))
    assert why.startswith("pass1 (Source forward, Conv2d forward, ReLU forward")
    assert "bytes of shared memory for a block, and the device has 232448" in why
    deep = [Dense(9, 9) for _ in range(90)]
    why = why_not_fused(deep, (9,), float32, loss, 64, Device(232448, 132))
    assert re.fullmatch(r"the kernels need arguments of 4\d\d\d bytes, of at most 4096", why)
    lenet = layers_of(LeNet5(seed=1))
    assert why_not_fused(lenet, (1, 32, 32), float32, loss, 64, Device(65536, 40)) == ""
    assert why_not_fused(lenet, (1, 32, 32), float32, loss, 64, Device(49152, 40)) == ""
    why = why_not_fused(lenet, (1, 32, 32), float32, loss, 64, Device(40960, 40))
    assert why.startswith("pass4 (BatchNorm2d backward, Conv2d backward")


@pytest.mark.parametrize("why", ["is not C-contiguous", "does not begin at a multiple of 16 bytes"])
def test_parameters_that_lie_otherwise_than_an_optimizers_are_read_by_the_textbook_kernels(
    cuda: Backend, why: str
) -> None:
    xp, rng = cuda.xp, np.random.default_rng(0)
    model = Sequential(Dense(8, 8, rng=rng), ReLU(), Dense(8, 4, rng=rng)).to(cuda).eval()
    x = cuda.asarray(rng.standard_normal((5, 8)), np.float32)
    right, weight = cuda.to_numpy(model(x)), model.parameters()[0]
    there = xp.zeros(8 * 8 + 1, np.float32)[1:].reshape(8, 8)
    if "contiguous" in why:
        there = xp.zeros((8, 8), np.float32).T
    there[...] = weight.data
    weight.data = there
    step = nplenet.compile(model)
    for _ in range(3):
        np.testing.assert_allclose(cuda.to_numpy(step.predict(x)), right, rtol=0, atol=1e-6)
    assert why in step.describe()


def test_statistics_that_are_not_contiguous_are_refused(cuda: Backend) -> None:
    norm = BatchNorm1d(3)
    model = Sequential(norm, Dense(3, 4, rng=np.random.default_rng(0))).to(cuda)
    norm.running_mean = cuda.xp.zeros(6, np.float32)[::2]
    step = nplenet.compile(model)
    with pytest.raises(ValueError, match=r"float32 \(3,\) is not C-contiguous"):
        step.predict(cuda.xp.zeros((2, 3), np.float32))
