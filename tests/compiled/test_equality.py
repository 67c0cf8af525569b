"""A compiled step computes what the textbook layers compute: forward, gradients, state, updates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from math import prod

import numpy as np
import pytest

from nplenet.cases import ROWS, Case
from nplenet.compiled import CompiledStep, compile
from nplenet.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
    Tanh,
)
from nplenet.layers.sequential import leaves
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD, Adam, Optimizer

TOLERANCE = {np.float64: 1e-10, np.float32: 2e-5}
"""Of each array's largest value, or of 1: both add the same numbers, in another order."""

SMALL_CHUNKS = {"lanes": 16, "threads": 2}
"""So that few images make several chunks and a tail, for two threads where there are enough."""

KINK = {np.float64: 4e-15, np.float32: 2e-6}
"""Twice the rounding error of the inputs of LeNet-5's ReLUs in float32, and as much of float64."""

CLASSES = 5
CASES = [case for row in ROWS if issubclass(row.kind, Layer) for case in row.cases]
both_dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])

Make = Callable[[], Layer]


class Twins:
    """The same model twice: one runs on the textbook layers, one compiled."""

    def __init__(
        self,
        make: Make,
        batch_size: int,
        optimizer: Callable[[Layer], Optimizer] = lambda model: SGD(model.parameters(), lr=0.01),
        loss: Callable[[], CrossEntropyLoss] = CrossEntropyLoss,
        tunables: dict[str, int] = SMALL_CHUNKS,
    ) -> None:
        self.textbook, self.compiled = make(), make()
        self.loss, self.optimizer = loss(), optimizer(self.textbook)
        self.step = compile(
            self.compiled, loss(), optimizer(self.compiled), batch_size, tunables=tunables
        )
        assert isinstance(self.step, CompiledStep), self.step.describe()
        self.dtype = self.textbook.parameters()[0].data.dtype.type
        self.tolerance = TOLERANCE[self.dtype]

    def both_step(self, x: np.ndarray, y: np.ndarray) -> None:
        """Do a step with each; loss, right answers and gradients must agree."""
        value = self.loss(self.textbook(x), y)
        self.optimizer.zero_grad()
        self.textbook.input_gradient = False
        self.textbook.backward(self.loss.backward())
        self.optimizer.step()
        found = self.step(x, y)
        assert found.dtype == value.dtype
        self.assert_close("loss", found, value)
        assert int(self.step.correct) == int(self.loss.correct)
        for p, q in zip(self.compiled.parameters(), self.textbook.parameters(), strict=True):
            self.assert_close(f"gradient of {q.name}", p.grad, q.grad)

    def assert_same_state(self) -> None:
        state = self.textbook.state_dict()
        for name, found in self.compiled.state_dict().items():
            self.assert_close(name, found, state[name])

    def assert_same_predictions(self, x: np.ndarray) -> None:
        self.textbook.eval()
        self.assert_close("logits", self.step.predict(x), self.textbook(x))

    def assert_close(self, what: str, found: np.ndarray, expected: np.ndarray) -> None:
        expected = np.asarray(expected)
        assert found.shape == expected.shape, what
        assert np.isfinite(expected).all(), what
        error = np.abs(found - expected).max() / max(1.0, np.abs(expected).max())
        assert error <= self.tolerance, f"{what}: off by {error:.1e}"


def images(n: int, shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, n]).standard_normal((n, *shape)).astype(dtype)


def labels(n: int, classes: int = CLASSES) -> np.ndarray:
    return np.random.default_rng([1, n]).integers(0, classes, n)


def images_off_the_kinks(model: Layer, n: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return images of which no ReLU of a model gets a number close to zero.

    A number within rounding of zero is cut by one program and passed by another, both right, and
    then whole gradients differ by more than rounding.
    """
    dtype = model.parameters()[0].data.dtype.type
    exact = copy.deepcopy(model).astype(np.float64)
    for attempt in range(200):
        x = images(n, shape, dtype, seed + 10 * attempt)
        if off_the_kinks(copy.deepcopy(exact), x.astype(np.float64), KINK[dtype]):
            return x
    raise AssertionError(f"200 times a ReLU got a number below {KINK[dtype]}")


def off_the_kinks(exact: Layer, y: np.ndarray, nearest: float) -> bool:
    for _, layer in leaves(exact):
        if isinstance(layer, ReLU) and np.abs(y).min() <= nearest:
            return False
        y = layer(y)
    return True


def between_dense_layers(
    make: Callable[[np.random.Generator], Layer], shape: tuple[int, ...], dtype: type
) -> Make:
    """Return a model whose middle is what ``make`` returns, so that its dx is needed too."""

    def model() -> Layer:
        rng = np.random.default_rng(0)
        size = prod(shape)
        inner = make(rng).astype(dtype)
        first: list[Layer] = [Dense(size, size, rng=rng)]
        if len(shape) == 3:
            first = [Conv2d(shape[0], shape[0], 1, rng=rng)]
        elif len(shape) == 2:
            first = [Tanh()]
        outputs = prod(inner.output_shape((1, *shape))[1:])
        return Sequential(*first, inner, Flatten(), Dense(outputs, CLASSES, rng=rng)).astype(dtype)

    return model


@pytest.mark.parametrize("n", [7, 130])
@both_dtypes
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_operation_of_the_table_equals_the_textbook(case: Case, dtype: type, n: int) -> None:
    shape = case.input_shape[1:]
    twins = Twins(between_dense_layers(lambda rng: case.build(dtype=dtype), shape, dtype), n)
    for seed in range(2):
        twins.both_step(images_off_the_kinks(twins.textbook, n, shape, seed), labels(n))
    twins.assert_same_state()
    twins.assert_same_predictions(images(n + 20, shape, dtype))


@cache
def images_for_lenet5(dtype: type, n: int) -> np.ndarray:
    return images_off_the_kinks(LeNet5(seed=1, dtype=dtype), n, (1, 32, 32), 0)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 7, 32, 64, 100, 257])
@both_dtypes
def test_lenet5_equals_the_textbook(dtype: type, n: int, threads: int) -> None:
    twins = Twins(lambda: LeNet5(seed=1, dtype=dtype), n, tunables={"threads": threads})
    twins.both_step(images_for_lenet5(dtype, n), labels(n))
    twins.assert_same_state()
    twins.assert_same_predictions(images(n, (1, 32, 32), dtype))


def test_twenty_steps_of_adam_equal_the_textbook_in_float64() -> None:
    twins = Twins(
        lambda: LeNet5(seed=2, dtype=np.float64), 50, lambda model: Adam(model.parameters())
    )
    for seed in range(20):
        twins.both_step(images(50, (1, 32, 32), np.float64, seed), labels(50))
    twins.assert_same_state()


def test_twenty_steps_equal_the_textbook_in_float32() -> None:
    """With SGD: Adam divides each gradient by its size, which makes a rounding error of one that
    is nearly zero as large as a whole step."""
    twins = Twins(lambda: LeNet5(seed=2), 50)
    for seed in range(20):
        twins.both_step(images(50, (1, 32, 32), np.float32, seed), labels(50))
    twins.assert_same_state()


@both_dtypes
@pytest.mark.parametrize(
    "make",
    [
        lambda: Sequential(Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 2)), ReLU(), Flatten()),
        lambda: Sequential(Conv2d(2, 9, 3, padding=1), MaxPool2d(2, ceil_mode=True), Flatten()),
        lambda: Sequential(Conv2d(2, 4, 5, stride=3), Tanh(), AvgPool2d(2, padding=1), Flatten()),
        lambda: Sequential(Conv2d(2, 8, (9, 11)), Flatten()),
        lambda: Sequential(Conv2d(2, 3, (1, 4), bias=False), Conv2d(3, 8, (8, 1)), Flatten()),
        lambda: Sequential(Conv2d(2, 4, (7, 2), padding=(1, 0)), Flatten()),
        lambda: Sequential(Conv2d(2, 4, (2, 3), stride=(3, 2)), Flatten()),
        lambda: Sequential(Conv2d(2, 4, (2, 2)), BatchNorm2d(4), ReLU(), AvgPool2d(2), Flatten()),
        lambda: Sequential(
            Conv2d(2, 4, (4, 3), (1, 2)), BatchNorm2d(4), ReLU(), AvgPool2d((2, 1)), Flatten()
        ),
        lambda: Sequential(
            Conv2d(2, 6, 3, (3, 1), 1), BatchNorm2d(6), ReLU(), AvgPool2d((1, 11)), Flatten()
        ),
        lambda: Sequential(Conv2d(2, 8, (8, 10)), BatchNorm2d(8), ReLU(), AvgPool2d(2), Flatten()),
    ],
    ids=[
        "rectangular",
        "padded",
        "strided",
        "whole-image",
        "rows-and-columns",
        "taller-than-its-output",
        "gaps",
        "tiles-2x2",
        "tiles-2x1",
        "no-tiles",
        "one-tile",
    ],
)
def test_convolutions_of_odd_images_equal_the_textbook(make: Make, dtype: type) -> None:
    def seeded() -> Layer:
        model = make().astype(dtype)
        rng = np.random.default_rng(0)
        for p in model.parameters():
            p.data[...] = rng.standard_normal(p.data.shape) / 5
        width = model.output_shape((1, 2, 9, 11))[1]
        return Sequential(Conv2d(2, 2, 1, dtype=dtype, rng=rng), model, Dense(width, 5, rng=rng))

    twins = Twins(lambda: seeded().astype(dtype), 20)
    for n in (20, 1):
        twins.both_step(images(n, (2, 9, 11), dtype), labels(n))
    twins.assert_same_state()
    twins.assert_same_predictions(images(20, (2, 9, 11), dtype))


@both_dtypes
@pytest.mark.parametrize("transpose", [0, 1])
@pytest.mark.parametrize("tile_channels", [0, 64], ids=["by-taps", "whole-tiles"])
@pytest.mark.parametrize("lanes", [1, 16])
def test_convolutions_whose_output_is_stored_by_taps_equal_the_textbook(
    dtype: type, transpose: int, tile_channels: int, lanes: int
) -> None:
    """Few channels and many, with a stride, with padding; of the second one dx is needed too."""

    def model() -> Layer:
        rng = np.random.default_rng(0)
        return Sequential(
            Conv2d(2, 4, (4, 3), (1, 2), padding=(0, 1), rng=rng),
            BatchNorm2d(4),
            ReLU(),
            AvgPool2d((1, 2)),
            Conv2d(4, 18, (3, 2), padding=(1, 1), rng=rng),
            BatchNorm2d(18),
            ReLU(),
            AvgPool2d((2, 1)),
            Conv2d(18, 3, 2, rng=rng),
            BatchNorm2d(3),
            ReLU(),
            AvgPool2d((2, 3)),
            Flatten(),
            Dense(3, CLASSES, rng=rng),
        ).astype(dtype)

    tunables = {"lanes": lanes, "transpose": transpose, "tile_channels": tile_channels}
    twins = Twins(model, 20, tunables=tunables)
    for n in (20, 3):
        x = images_off_the_kinks(twins.textbook, n, (2, 9, 11), 0)
        twins.both_step(x, labels(n))
    twins.assert_same_state()
    twins.assert_same_predictions(images(20, (2, 9, 11), dtype))


def normed(dtype: type, *after: Callable[[], Layer]) -> Make:
    """Return a model with batch norm over five channels on images of 6x6, and what follows."""
    weights = [1.5, -0.7, 0.0, 1e-6, -1e-20]

    def model() -> Layer:
        rng = np.random.default_rng(0)
        middle = Sequential(BatchNorm2d(5, eps=1e-3), *(make() for make in after), Flatten())
        middle[0].weight.data[:] = weights  # type: ignore[attr-defined]
        middle[0].bias.data[:] = [0.3, 0.2, 0.5, -0.4, 0.1]  # type: ignore[attr-defined]
        width = middle.output_shape((1, 5, 6, 6))[1]
        first = Conv2d(2, 5, 1, rng=rng)
        return Sequential(first, middle, Dense(width, CLASSES, rng=rng)).astype(dtype)

    return model


AFTER = {
    "alone": (),
    "relu": (ReLU,),
    "fused": (ReLU, lambda: AvgPool2d(2)),
    "fused-3x2": (ReLU, lambda: AvgPool2d((3, 2))),
    "fused-1x1": (ReLU, lambda: AvgPool2d(1)),
    "padded": (ReLU, lambda: AvgPool2d(2, padding=1)),
}


@both_dtypes
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_negative_zero_and_tiny_weights_of_a_batch_norm_equal_the_textbook(
    after: tuple[Callable[[], Layer], ...], dtype: type
) -> None:
    twins = Twins(normed(dtype, *after), 40)
    for seed in range(2):
        twins.both_step(images(40, (2, 6, 6), dtype, seed), labels(40))
    twins.assert_same_state()
    twins.assert_same_predictions(images(40, (2, 6, 6), dtype))


@both_dtypes
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_constant_channels_and_distant_means_equal_the_textbook(
    after: tuple[Callable[[], Layer], ...], dtype: type
) -> None:
    def model() -> Layer:
        made = normed(dtype, *after)()
        made[0].weight.data[0] = 0.0  # type: ignore[index]  constant: it is the bias
        made[0].bias.data[:] = [2.0, 30.0, -30.0, 0.0, 0.0]  # type: ignore[index]  distant
        return made

    twins = Twins(model, 40)
    for seed in range(2):
        twins.both_step(images(40, (2, 6, 6), dtype, seed), labels(40))
    twins.assert_same_state()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_features_that_one_of_the_threads_does_equal_the_textbook(threads: int) -> None:
    def model() -> Layer:
        rng = np.random.default_rng(0)
        return Sequential(
            Conv2d(1, 4, 3, rng=rng),
            BatchNorm2d(4),
            ReLU(),
            Flatten(),
            Dense(64, 30, rng=rng),
            BatchNorm1d(30),
            ReLU(),
            Dropout(0.3, rng=np.random.default_rng(3)),
            Dense(30, CLASSES, rng=rng),
        ).astype(np.float64)

    twins = Twins(model, 190, tunables={"lanes": 16, "feature_lanes": 32, "threads": threads})
    for n in (127, 70, 190, 5, 64, 100):
        twins.both_step(images(n, (1, 6, 6), np.float64, n), labels(n))
    twins.assert_same_state()
    twins.assert_same_predictions(images(190, (1, 6, 6), np.float64))


@both_dtypes
def test_features_without_images_equal_the_textbook(dtype: type) -> None:
    def model() -> Layer:
        rng = np.random.default_rng(0)
        return Sequential(
            Dense(20, 30, rng=rng),
            BatchNorm1d(30),
            ReLU(),
            Dropout(0.3, rng=np.random.default_rng(3)),
            Dense(30, CLASSES, rng=rng),
        ).astype(dtype)

    twins = Twins(model, 40)
    for seed in range(3):
        twins.both_step(images(40, (20,), dtype, seed), labels(40))
    twins.assert_same_state()
    twins.assert_same_predictions(images(50, (20,), dtype))


@pytest.mark.parametrize(
    "make",
    [
        lambda: CrossEntropyLoss("sum"),
        lambda: CrossEntropyLoss(label_smoothing=0.1),
        lambda: CrossEntropyLoss("sum", label_smoothing=1.0),
    ],
    ids=["sum", "smoothing", "both"],
)
def test_every_form_of_the_loss_equals_the_textbook(make: Callable[[], CrossEntropyLoss]) -> None:
    def model() -> Layer:
        return Sequential(Dense(6, CLASSES, dtype=np.float64, rng=np.random.default_rng(0)))

    twins = Twins(model, 40, loss=make)
    twins.both_step(100 * images(40, (6,), np.float64), labels(40))


def test_a_batch_norm_frozen_in_eval_equals_the_textbook_in_training() -> None:
    def model() -> Layer:
        made = LeNet5(seed=1, dtype=np.float64)
        for _, layer in made.modules():
            if isinstance(layer, BatchNorm2d):
                layer.eval().running_var *= 2.0
        return made

    twins = Twins(model, 40)
    for seed in range(2):
        twins.both_step(images(40, (1, 32, 32), np.float64, seed), labels(40))
    twins.assert_same_state()
    twins.textbook.train()
    twins.compiled.train()
    twins.both_step(images(40, (1, 32, 32), np.float64), labels(40))
    twins.assert_same_state()


def test_windows_of_more_pixels_than_a_byte_counts_equal_the_textbook() -> None:
    def model() -> Layer:
        rng = np.random.default_rng(0)
        layers = (Conv2d(1, 2, 1, rng=rng), BatchNorm2d(2), ReLU(), AvgPool2d(16), Flatten())
        return Sequential(*layers, Dense(8, CLASSES, rng=rng)).astype(np.float64)

    twins = Twins(model, 20)
    twins.both_step(images(20, (1, 32, 32), np.float64), labels(20))
    twins.assert_same_state()


def test_a_batch_of_any_size_up_to_the_largest_equals_the_textbook() -> None:
    twins = Twins(lambda: LeNet5(seed=1, dtype=np.float64), 40)
    for n in (40, 3, 16, 1, 40, 17):
        twins.both_step(images(n, (1, 32, 32), np.float64), labels(n))
    twins.assert_same_state()


def windows_overlap() -> Layer:
    rng = np.random.default_rng(0)
    layers = (Conv2d(1, 3, 3, rng=rng), BatchNorm2d(3), Tanh(), MaxPool2d(5), Flatten())
    return Sequential(*layers, Dense(108, 10, rng=rng))


def features_normalised() -> Layer:
    rng = np.random.default_rng(0)
    layers = (Dense(1024, 20, rng=rng), BatchNorm1d(20), ReLU(), Dense(20, 10, rng=rng))
    return Sequential(Flatten(), *layers)


def lenet_without_dropout() -> Layer:
    model = LeNet5(seed=0)
    for _, layer in model.modules():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    return model


@both_dtypes
@pytest.mark.parametrize("size", [1e-16, 1e8, 1e14, 1e16, 1e18])
@pytest.mark.parametrize("make", [lenet_without_dropout, windows_overlap, features_normalised])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # the sum of squares, at first
def test_a_batch_norm_keeps_its_input_however_large_or_small_the_images(
    make: Make, size: float, dtype: type
) -> None:
    """After the first step its bias is not zero, and a fixed limit for the gain drops the input."""
    x = np.random.default_rng(0).random((64, 1, 32, 32)).astype(dtype) * dtype(size)
    y = labels(64, 10)
    twins = Twins(lambda: make().astype(dtype), 64, lambda model: Adam(model.parameters()))
    for _ in range(3):
        twins.optimizer.zero_grad()
        expected = twins.loss(twins.textbook(x), y)
        twins.textbook.backward(twins.loss.backward())
        twins.optimizer.step()
        # 1e-4, not rounding: Adam turns a gradient that is rounding alone into a whole step.
        assert abs(twins.step(x, y) - expected) < 1e-4


def test_a_weight_that_is_zero_or_close_to_it_leaves_the_bias() -> None:
    def model() -> Layer:
        made = windows_overlap().astype(np.float64)
        norm = made[1]  # type: ignore[index]
        norm.weight.data[:] = 0.0, 1e-20, 1e-9
        norm.bias.data[:] = 0.5, -0.5, 0.25
        return made

    twins = Twins(model, 40)
    twins.both_step(images(40, (1, 32, 32), np.float64), labels(40))
    twins.assert_same_state()
