"""Every backward passes the gradient check, and every kind of wrong backward fails it."""

from __future__ import annotations

import copy
import inspect
from types import SimpleNamespace
from typing import Any

import gpusim
import numpy as np
import pytest

import nplenet.layers
import nplenet.losses
from nplenet.__main__ import main
from nplenet.backend import Array, Backend
from nplenet.cases import CASES, ROWS, Case, Row, select
from nplenet.gradcheck import Report, TensorCheck, check_case, check_layer, check_loss
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
    Tanh,
)
from nplenet.losses import CrossEntropyLoss


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


# ------------------------------------------------------------------------------ the table


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_backward_is_the_derivative_of_forward(case: Case, backend: Backend) -> None:
    if backend.name == "cupy" and gpusim.installed() and case.name.startswith("lenet5"):
        pytest.skip("slow on the simulated device, where its layers are checked one by one")
    report = check_case(case, backend=backend.name)
    assert report.ok, f"\n{report}"
    assert report.max_relative_error <= 1e-6


def test_every_exported_layer_has_a_case() -> None:
    exported = {getattr(nplenet.layers, name) for name in nplenet.layers.__all__}
    layers = {kind for kind in exported if issubclass(kind, Layer)} - {Layer}
    assert layers <= {row.kind for row in ROWS}


def test_every_loss_has_a_case() -> None:
    losses = {
        kind
        for _, kind in inspect.getmembers(nplenet.losses, inspect.isclass)
        if kind.__module__ == "nplenet.losses" and hasattr(kind, "backward")
    }
    assert losses
    assert losses <= {row.kind for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_has_cases_that_build_its_class(row: Row) -> None:
    assert row.cases
    assert all(type(case.build()) is row.kind for case in row.cases)


def test_case_names_are_unique() -> None:
    assert len(CASES) == sum(len(row.cases) for row in ROWS)


def test_select_takes_rows_and_cases_once_each() -> None:
    names = [case.name for case in select(["relu", "conv2d/stride", "relu/plain"])]
    assert names == ["relu/plain", "conv2d/stride"]


# ------------------------------------------------------------------------------ wrong backwards


class FlippedSign(Tanh):
    def backward(self, dy: Array) -> Array:
        return -super().backward(dy)


class ZeroGradient(Tanh):
    def backward(self, dy: Array) -> Array:
        return 0 * super().backward(dy)


class NotANumber(Tanh):
    def backward(self, dy: Array) -> Array:
        return np.nan * super().backward(dy)


class OneNotANumber(Dense):
    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        self.weight.grad[1, 1] = np.nan
        return dx


class Infinite(Tanh):
    def backward(self, dy: Array) -> Array:
        return np.inf * super().backward(dy)


class SlightlyTooLarge(Tanh):
    def backward(self, dy: Array) -> Array:
        return 1.00001 * super().backward(dy)


class OneElementWrong(Dense):
    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        self.weight.grad[1, 2] *= 1.001
        return dx


class TransposedWeightGradient(Dense):
    def backward(self, dy: Array) -> Array:
        before = self.weight.grad.copy()
        dx = super().backward(dy)
        self.weight.grad = before + (self.weight.grad - before).T
        return dx


class WrongWeightShape(Dense):
    def backward(self, dy: Array) -> Array:
        self.weight.grad = np.zeros_like(self.weight.data)
        dx = super().backward(dy)
        self.weight.grad = self.weight.grad[:1]
        return dx


class NoInputGradient(Dense):
    def backward(self, dy: Array) -> Array:
        super().backward(dy)
        return None


class AssignedNotAccumulated(Dense):
    def backward(self, dy: Array) -> Array:
        self.zero_grad()
        return super().backward(dy)


class DxAccumulates(Tanh):
    total: Any = 0

    def backward(self, dy: Array) -> Array:
        self.total = self.total + super().backward(dy)
        return self.total


class MissingMeanTerm(BatchNorm2d):
    """Batch norm that forgets that the mean depends on x."""

    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        std = np.sqrt(self.statistics_var + self.eps)[:, None, None]
        term = dy.mean(axis=(0, 2, 3), keepdims=True)[0] * self.weight.data[:, None, None] / std
        return dx + term

    def forward(self, x: Array) -> Array:
        self.statistics_var = x.var(axis=(0, 2, 3))
        return super().forward(x)


class ConstantStatistics(BatchNorm2d):
    """Batch norm that takes mean and variance for constants."""

    def backward(self, dy: Array) -> Array:
        super().backward(dy)
        return dy * (self.weight.data / np.sqrt(self.statistics_var + self.eps))[:, None, None]

    def forward(self, x: Array) -> Array:
        self.statistics_var = x.var(axis=(0, 2, 3))
        return super().forward(x)


class WrongDivisor(AvgPool2d):
    def backward(self, dy: Array) -> Array:
        return super().backward(dy) * 4 / 5


class FlippedKernel(Conv2d):
    def backward(self, dy: Array) -> Array:
        self.weight.data = self.weight.data[:, :, ::-1]
        dx = super().backward(dy)
        self.weight.data = self.weight.data[:, :, ::-1]
        return dx


class NoBiasGradient(Conv2d):
    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        assert self.bias is not None
        self.bias.zero_grad()
        return dx


class ForgottenMask(Dropout):
    def backward(self, dy: Array) -> Array:
        super().backward(dy)
        return dy


class LeakingReLU(ReLU):
    def backward(self, dy: Array) -> Array:
        return super().backward(dy) + 1e-4 * dy


class SharedMaximum(MaxPool2d):
    """Max pooling that spreads dy over the window like an average."""

    def backward(self, dy: Array) -> Array:
        super().backward(dy)
        return np.repeat(np.repeat(dy / 4, 2, axis=2), 2, axis=3)


IMAGES = (3, 2, 4, 4)
SABOTAGED = [
    (FlippedSign(), (4, 5)),
    (ZeroGradient(), (4, 5)),
    (NotANumber(), (4, 5)),
    (OneNotANumber(5, 3, rng=rng()), (4, 5)),
    (Infinite(), (4, 5)),
    (SlightlyTooLarge(), (4, 5)),
    (OneElementWrong(5, 3, rng=rng()), (4, 5)),
    (OneElementWrong(50, 30, rng=rng()), (2, 50)),  # a large tensor: random directions see it too
    (TransposedWeightGradient(4, 4, rng=rng()), (3, 4)),
    (AssignedNotAccumulated(5, 3, rng=rng()), (4, 5)),
    (DxAccumulates(), (4, 5)),
    (MissingMeanTerm(2), IMAGES),
    (ConstantStatistics(2), IMAGES),
    (WrongDivisor(2), IMAGES),
    (FlippedKernel(2, 3, 3, rng=rng()), IMAGES),
    (NoBiasGradient(2, 3, 3, rng=rng()), IMAGES),
    (ForgottenMask(0.5, rng=rng()), (4, 5)),
    (LeakingReLU(), (4, 5)),
    (SharedMaximum(2), IMAGES),
]


@pytest.mark.parametrize(
    ("layer", "shape"), SABOTAGED, ids=[type(layer).__name__ for layer, _ in SABOTAGED]
)
def test_a_wrong_backward_fails(layer: Layer, shape: tuple[int, ...]) -> None:
    report = check_layer(layer, normal(*shape))
    assert not report.ok, f"\n{report}"
    assert "FAIL" in str(report)


@pytest.mark.parametrize(
    ("layer", "shape"), SABOTAGED, ids=[type(layer).__name__ for layer, _ in SABOTAGED]
)
def test_a_wrong_backward_fails_in_a_network_too(layer: Layer, shape: tuple[int, ...]) -> None:
    assert not check_layer(Sequential(Tanh(), layer, LeakyReLU()), normal(*shape)).ok


@pytest.mark.parametrize(
    ("layer", "shape"), SABOTAGED, ids=[type(layer).__name__ for layer, _ in SABOTAGED]
)
def test_the_layer_that_was_sabotaged_passes_as_it_was(
    layer: Layer, shape: tuple[int, ...]
) -> None:
    honest = copy.deepcopy(layer)
    honest.__class__ = type(layer).__mro__[1]  # without this, the failures above prove nothing
    report = check_layer(honest, normal(*shape))
    assert report.ok, f"\n{report}"


def test_a_verdict_with_nan_is_a_failure() -> None:
    report = check_layer(NotANumber(), normal(4, 5))
    assert np.isnan(report.max_relative_error)
    assert not report.ok


def test_an_output_that_is_nan_fails() -> None:
    x = normal(4, 5)
    x[1, 2] = np.nan
    assert not check_layer(Dense(5, 3, rng=rng()), x).ok


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (WrongWeightShape, "gradient of shape (1, 5) for (3, 5)"),
        (NoInputGradient, "gradient of shape (0,) for (4, 5)"),
    ],
)
def test_a_gradient_of_another_shape_fails_and_is_named(kind: type[Dense], fault: str) -> None:
    report = check_layer(kind(5, 3, rng=rng()), normal(4, 5))
    assert not report.ok
    assert fault in str(report)


def test_the_fault_says_that_gradients_do_not_accumulate() -> None:
    report = check_layer(AssignedNotAccumulated(5, 3, rng=rng()), normal(4, 5))
    assert [c.fault for c in report.checks] == ["", *["does not accumulate"] * 2]


def test_only_the_wrong_tensor_is_blamed() -> None:
    report = check_layer(OneElementWrong(5, 3, rng=rng()), normal(4, 5))
    assert [(c.tensor, c.ok) for c in report.checks] == [
        ("x", True),
        ("weight", False),
        ("bias", True),
    ]


# ------------------------------------------------------------------------------ kinks


@pytest.mark.parametrize("layer", [ReLU(), LeakyReLU()])
@pytest.mark.parametrize("distance", [0.0, 1e-9, -3e-7, 6e-7, 9.9e-7])
def test_an_element_on_or_near_a_kink_is_left_out_and_counted(
    layer: Layer, distance: float
) -> None:
    x = normal(4, 5)
    x /= np.abs(x).max()  # so that the step is 1e-6
    x[2, 3] = distance
    (check,) = check_layer(layer, x).checks
    assert check.ok
    assert (check.compared, check.kinks) == (19, 1)


def test_an_element_beyond_the_step_from_a_kink_is_compared() -> None:
    x = normal(4, 5)
    x /= np.abs(x).max()
    x[2, 3] = 1.1e-6
    (check,) = check_layer(ReLU(), x).checks
    assert check.ok
    assert (check.compared, check.kinks) == (20, 0)


def test_a_tie_in_a_maximum_is_left_out_and_counted() -> None:
    x = normal(1, 1, 8, 8)
    x[0, 0, 0, :2] = 9.0
    (check,) = check_layer(MaxPool2d(2), x).checks
    assert check.ok
    assert (check.compared, check.kinks) == (62, 2)


@pytest.mark.parametrize("shape", [(4, 5), (40, 50)], ids=["elements", "directions"])
def test_a_check_with_kinks_everywhere_fails_instead_of_passing_on_nothing(
    shape: tuple[int, ...],
) -> None:
    report = check_layer(ReLU(), np.zeros(shape))
    assert not report.ok
    assert "clear of kinks" in str(report)


def test_a_direction_across_a_kink_is_drawn_again() -> None:
    x = np.ones((20, 20))
    x[0, 0] = 1e-6  # a third of all directions cross zero here
    (check,) = check_layer(ReLU(), x).checks
    assert check.ok
    assert check.compared == 8
    assert check.kinks > 0
    assert check.unit == "directions"


# ------------------------------------------------------------------------------ how it measures


def test_a_zero_gradient_is_not_blamed_for_rounding() -> None:
    model = Sequential(Conv2d(2, 3, 3, rng=rng()), BatchNorm2d(3))
    bias = next(c for c in check_layer(model, normal(2, 2, 6, 6)).checks if c.tensor == "bias")
    assert bias.ok
    assert bias.compared == 3


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_scale_of_the_input_does_not_matter(scale: float) -> None:
    model = Sequential(Conv2d(2, 3, 3, rng=rng()), ReLU(), Dropout(0.3, rng=rng()))
    report = check_layer(model, scale * normal(2, 2, 6, 6))
    assert report.ok, f"\n{report}"


def test_a_float32_layer_and_input_are_checked_in_float64() -> None:
    layer = Dense(5, 3, rng=rng())
    report = check_layer(layer, normal(4, 5).astype(np.float32))
    assert report.max_relative_error < 1e-8
    assert layer.weight.data.dtype == np.float32


@pytest.mark.parametrize("name", ["sequential/nested", "lenet5/grey", "batchnorm2d/train"])
def test_the_layer_the_input_and_the_generators_stay_as_they_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer differences: a tensor of more than 8 elements is moved along directions.
    monkeypatch.setattr("nplenet.gradcheck.MAX_SIZE_FOR_ELEMENTS", 8)
    layer, x = CASES[name].build(dtype=np.float32), CASES[name].input(dtype=np.float32)
    assert isinstance(layer, Layer)
    layer.parameters()[0].grad += 1
    before = [*layer.state_dict().values(), *(p.grad.copy() for p in layer.parameters()), x.copy()]
    generators = [vars(m)["rng"] for _, m in layer.modules() if "rng" in vars(m)]
    states = [str(generator.bit_generator.state) for generator in generators]
    check_layer(layer, x)
    after = [*layer.state_dict().values(), *(p.grad for p in layer.parameters()), x]
    assert all(
        np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(before, after, strict=True)
    )
    assert states == [str(generator.bit_generator.state) for generator in generators]


def test_the_input_gradient_is_checked_even_where_the_layer_skips_it() -> None:
    layer = Dense(5, 3, rng=rng())
    layer.input_gradient = False
    assert check_layer(layer, normal(4, 5)).ok
    assert not layer.input_gradient


def test_the_same_seed_gives_the_same_report() -> None:
    case = CASES["sequential/nested"]
    assert str(check_case(case, seed=5)) == str(check_case(case, seed=5))


def test_running_statistics_of_eval_mode_are_used() -> None:
    layer = BatchNorm1d(3).eval()
    layer.running_var[:] = 4
    (dx, *_) = check_layer(layer, normal(4, 3)).checks
    assert dx.ok


def test_a_layer_with_hidden_randomness_is_refused() -> None:
    source = np.random.default_rng(0)

    class Noise(Layer):
        def forward(self, x: Array) -> Array:
            return self.remember(x + source.random())

    with pytest.raises(ValueError, match=r"two forwards of Noise on one input differ"):
        check_layer(Noise(), normal(2, 2))


@pytest.mark.parametrize("x", [[[1.0, 2.0]], np.ones((1, 2), np.uint8)], ids=["list", "uint8"])
def test_an_input_that_is_no_array_of_floats_is_refused(x: Any) -> None:
    with pytest.raises(TypeError, match="check_layer: x must be an array of floats, got"):
        check_layer(ReLU(), x)


def test_an_empty_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"check_layer: x is empty, of shape \(0, 3\)"):
        check_layer(ReLU(), np.ones((0, 3)))


def test_the_worst_error_of_a_report_is_that_of_its_worst_tensor() -> None:
    checks = tuple(
        TensorCheck("L", "t", error, 1, 1, 0, "elements", 1e-6) for error in (1e-9, 1e-7)
    )
    assert Report(checks).max_relative_error == 1e-7


class DeviceArray(np.ndarray):
    """Stands for an array of another library."""


class DeviceBackend(Backend):
    """Takes only its own arrays and, like one that holds a module, can't be copied."""

    name = "device"

    def __init__(self) -> None:
        self.xp = SimpleNamespace(ndarray=DeviceArray, tanh=np.tanh, module=np)

    def asarray(self, array: Any, dtype: Any = None) -> Array:
        return np.asarray(array, dtype=dtype).view(DeviceArray)

    def to_numpy(self, array: Array) -> np.ndarray:
        assert self.owns(array)
        return np.asarray(array.view(np.ndarray))


def test_a_layer_is_checked_on_its_own_backend() -> None:
    device = DeviceBackend()
    layer = Sequential(Dense(5, 3, rng=rng()), Tanh()).to(device)
    report = check_layer(layer, normal(4, 5))
    assert report.ok, f"\n{report}"
    assert layer.backend is device
    assert not check_layer(Sequential(SlightlyTooLarge()).to(device), normal(4, 5)).ok


# ------------------------------------------------------------------------------ losses


class WrongMean(CrossEntropyLoss):
    def backward(self) -> Array:
        return super().backward() * 3


@pytest.mark.parametrize("shape", [(4, 5), (40, 10)], ids=["elements", "directions"])
def test_a_wrong_loss_gradient_fails(shape: tuple[int, int]) -> None:
    targets = np.arange(shape[0]) % shape[1]
    assert check_loss(CrossEntropyLoss(), normal(*shape), targets).ok
    assert not check_loss(WrongMean(), normal(*shape), targets).ok


# ------------------------------------------------------------------------------ the command


def test_the_command_prints_a_row_for_each_tensor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "dense/bias", "relu"]) == 0
    header, *rows, last = capsys.readouterr().out.splitlines()
    assert header.split() == [
        *("case", "layer", "tensor", "compared", "kinks", "relative", "error", "verdict")
    ]
    assert [row.split()[:3] for row in rows] == [
        ["dense/bias", "Dense", "x"],
        ["dense/bias", "Dense", "weight"],
        ["dense/bias", "Dense", "bias"],
        ["relu/plain", "ReLU", "x"],
    ]
    assert all(row.endswith(" ok") for row in rows)
    assert last == "2 of 2 cases passed at 1e-06"


def test_the_command_exits_with_1_when_a_check_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "tanh", "--tolerance", "1e-16"]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_the_command_refuses_an_unknown_name_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["gradcheck", "relu", "conv3d"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("nplenet gradcheck: unknown name 'conv3d', expected one of conv2d, ")


def test_a_command_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


class Overwriting(Layer):
    def forward(self, x: Array) -> Array:
        x *= 2
        return self.remember(x.copy())

    def backward(self, dy: Array) -> Array:
        self.recall(dy)
        return 2 * dy


class Silent(Flatten):
    def backward(self, dy: Array) -> Array:
        super().backward(dy)


def test_a_forward_that_changes_its_input_is_refused() -> None:
    with pytest.raises(ValueError, match="Overwriting changes its input"):
        check_layer(Overwriting(), np.ones((2, 3)))


def test_a_backward_that_returns_nothing_is_told_so() -> None:
    report = check_layer(Silent(), np.ones((2, 3)))
    assert not report.ok
    assert "backward returned None, not dx" in str(report)


def test_a_class_in_place_of_a_layer_is_refused() -> None:
    with pytest.raises(TypeError, match="layer must be a layer"):
        check_layer(Flatten, np.ones((2, 3)))  # type: ignore[arg-type]
