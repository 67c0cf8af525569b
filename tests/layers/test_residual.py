"""A residual block: the sum of two ways, its shapes, its names and its errors."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import assert_backward, cases_of

from nplenet.augment import ToFloat
from nplenet.backend import Backend
from nplenet.cases import Case
from nplenet.layers import BatchNorm2d, Conv2d, Dense, Dropout, Layer, ReLU, Residual, Sequential


class Times(Layer):
    """Multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.remember(self.factor * x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.recall(dy)
        return self.factor * dy


@pytest.mark.parametrize(("shortcut", "sum_"), [(None, 4.0), (Times(5), 8.0)])
def test_both_ways_are_added_forward_and_backward(shortcut: Layer | None, sum_: float) -> None:
    block = Residual(Times(3), shortcut)
    x = np.array([[1.0, -2.0]])
    assert block(x).tolist() == (sum_ * x).tolist()
    assert block.backward(x).tolist() == (sum_ * x).tolist()


def test_parameters_are_named_by_their_way() -> None:
    block = Residual(Sequential(Dense(2, 3), ReLU()), Dense(2, 3, bias=False))
    assert list(block.state_dict()) == ["body.0.weight", "body.0.bias", "shortcut.weight"]
    model = Sequential(first=block)
    assert [p.name for p in model.parameters()][-1] == "first.shortcut.weight"
    assert model.multiply_adds((4, 2)) == 4 * (6 + 6)


def test_modes_reach_both_ways(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    block = Residual(Sequential(BatchNorm2d(2)), Dropout(0.5, rng=rng)).to(backend).eval()
    assert not any(layer.training for _, layer in block.modules())
    assert block.generators() == {"shortcut.rng": rng}


def test_ways_of_other_shapes_are_refused() -> None:
    narrow = Residual(Conv2d(2, 3, 3, padding=1))
    message = (
        r"^Residual: its body makes the shape \(1, 3, 4, 4\), but its input has \(1, 2, 4, 4\); "
        "give it a shortcut"
    )
    with pytest.raises(ValueError, match=message):
        narrow(np.zeros((1, 2, 4, 4), np.float32))
    with pytest.raises(ValueError, match=message):
        narrow.output_shape((1, 2, 4, 4))
    strided = Sequential(block=Residual(Conv2d(2, 3, 3, 2), Conv2d(2, 3, 1)))
    with pytest.raises(ValueError, match=r"^block \(Residual\): its body .* its shortcut makes"):
        strided(np.zeros((1, 2, 5, 5), np.float32))


@pytest.mark.parametrize("way", ["body", "shortcut"])
def test_an_error_names_the_path_through_the_block(way: str) -> None:
    ways = {"body": Sequential(ReLU(), ReLU()), "shortcut": ReLU()}
    ways[way] = Sequential(ReLU(), Dense(3, 2))
    model = Sequential(Residual(**ways))
    with pytest.raises(ValueError, match=rf"^0\.{way}\.1 \(Dense\(3, 2, bias=True\)\): takes 3"):
        model(np.zeros((1, 2), np.float32))
    model = Sequential(Residual(ReLU(), Dense(3, 2)))
    with pytest.raises(ValueError, match=r"^0\.shortcut \(Dense\(3, 2, bias=True\)\): takes 3"):
        model.output_shape((1, 2))


def test_what_is_no_layer_or_stands_twice_is_refused() -> None:
    with pytest.raises(TypeError, match="Residual: body must be a Layer, got NoneType"):
        Residual(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Residual: shortcut must be a Layer, got ToFloat"):
        Residual(ReLU(), ToFloat())  # type: ignore[arg-type]
    layer = ReLU()
    with pytest.raises(ValueError, match="only once"):
        Residual(Sequential(layer), layer)


def test_it_prints_its_layers() -> None:
    assert repr(Residual(Sequential(ReLU()))) == (
        "Residual(\n  body: Sequential(\n    0: ReLU()\n  )\n)"
    )


@pytest.mark.parametrize("case", cases_of("residual"))
def test_backward_is_the_derivative_of_forward(case: Case) -> None:
    assert_backward(case)
