"""Models alone: saved with their architecture, and loaded from nothing else."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import DIGITS, Trainer, assert_same_weights

from nplenet.architecture import build
from nplenet.augment import standard_augmentation
from nplenet.checkpoint import (
    LATEST,
    CheckpointError,
    CheckpointFolder,
    load,
    load_model,
    save_model,
)
from nplenet.data import DataLoader
from nplenet.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GroupNorm,
    Layer,
    LeakyReLU,
    ReLU,
    Residual,
    Sequential,
)
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5, LeNet5For28x28
from nplenet.optim import SGD
from nplenet.seeds import generator
from nplenet.train import fit


class Custom(Flatten):
    """A layer that is not the library's."""


def test_a_model_comes_back_from_its_file_with_its_architecture(tmp_path: Path) -> None:
    for model in (LeNet5(dropout=0.1, conv_bias=True, seed=1), LeNet5(dtype=np.float64, seed=1)):
        save_model(model, tmp_path / "m.safetensors")
        again = load_model(tmp_path / "m.safetensors")
        assert_same_weights(model, again)
        assert repr(again).split("\n")[1:] == repr(model).split("\n")[1:]
        x = np.random.default_rng(0).random((2, 1, 32, 32)).astype(model.parameters()[0].data.dtype)
        assert np.array_equal(again(x), model.eval()(x))


@pytest.mark.parametrize("double", ["0", "1", "2.body", "4"])
def test_a_layer_of_another_dtype_comes_back_in_it(double: str, tmp_path: Path) -> None:
    # The file held the double precision, but the model that came from it had lost it.
    inner = Sequential(Dense(5, 5, rng=1), LeakyReLU())
    model = Sequential(
        Dense(4, 5, rng=0), BatchNorm1d(5), Residual(inner), ReLU(), Dense(5, 3, rng=2)
    )
    dict(model.modules())[f"{double}."].astype(np.float64)
    for parameter in model.parameters():
        parameter.data *= 1.0 + 1e-9
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key], array, strict=True)


def test_the_model_of_a_checkpoint_needs_nothing_else(tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.fit(epochs=1, checkpoints=CheckpointFolder(tmp_path))
    assert_same_weights(trainer.model, load_model(tmp_path / LATEST))


def test_numbers_of_numpy_in_a_layer_are_saved_as_plain_ones(tmp_path: Path) -> None:
    half = np.float32(0.5)
    norm = BatchNorm2d(np.int64(3), eps=half, momentum=half)
    model = Sequential(norm, LeakyReLU(half), Flatten(), Dropout(half))
    save_model(model, tmp_path / "m.safetensors")
    assert repr(load_model(tmp_path / "m.safetensors")) == repr(model)


def test_a_model_of_28_by_28_is_saved_with_its_architecture(tmp_path: Path) -> None:
    model = LeNet5For28x28(seed=0)
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert_same_weights(again, model)
    x = np.ones((2, 1, 28, 28), np.float32)
    assert np.array_equal(again(x), model.eval()(x))


def test_a_model_with_other_layers_is_refused_by_name_but_its_run_is_saved(tmp_path: Path) -> None:
    model = Sequential(body=Sequential(Custom(), Dense(1024, 10)), end=Dropout(0.5))
    with pytest.raises(TypeError, match=r"layer body\.0 is a Custom"):
        save_model(model, tmp_path / "m.safetensors")
    fit(
        model,
        CrossEntropyLoss(),
        SGD(model.parameters()),
        DataLoader(
            *DIGITS, 32, transform=standard_augmentation(), transform_rng=generator(0, "augment")
        ),
        epochs=1,
        checkpoints=CheckpointFolder(tmp_path),
        progress=False,
    )
    saved = load(tmp_path / LATEST)
    with pytest.raises(CheckpointError, match="not the library's"):
        saved.model()
    other = Sequential(body=Sequential(Custom(), Dense(1024, 10)), end=Dropout(0.5))
    other.load_state_dict(saved.part("model."))
    assert_same_weights(model, other)


def test_a_chain_with_a_forward_of_its_own_is_not_saved_as_a_plain_one(tmp_path: Path) -> None:
    class Branching(Sequential):
        def forward(self, x: Any) -> Any:
            return x + super().forward(x)

    with pytest.raises(TypeError, match="layer inner is a Branching"):
        save_model(Sequential(inner=Branching(Flatten())), tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ([], "does not describe a layer"),
        ({"type": "Sequential", "layers": []}, "does not describe a Sequential"),
        ({"type": "Python"}, "unknown type 'Python'"),
        ({"type": "Layer"}, "unknown type 'Layer'"),
        ({"type": "Dense", "in_features": 3, "out_features": 1 << 40}, "multiply to"),
        (
            {"type": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 1 << 30},
            "multiply",
        ),
        ({"type": "BatchNorm1d", "num_features": 1 << 40}, "largest weight has 6 numbers"),
        ({"type": "Dense", "in_features": 3, "out_features": 4}, r"weight is float32 \(2, 3\)"),
        ({"type": "Dense", "in_features": 3, "out_features": 2, "code": 1}, "no argument"),
        ({"type": "Dense", "in_features": 3, "out_features": 2, "bias": False}, "unknown"),
        ({"type": "Dropout", "p": 3.0}, r"in \[0, 1\]"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(description: Any, words: str) -> None:
    weights = Dense(3, 2).state_dict()
    with pytest.raises(ValueError, match=words):
        build(description, weights)


def convolution(times: int = 1, **arguments: Any) -> dict[str, Any]:
    """Return the description of a chain of convolutions with a kernel of 3."""
    sizes = {"in_channels": 6, "out_channels": 6, "kernel_size": 3, "bias": False}
    layer = {"type": "Conv2d", **sizes, **arguments}
    return {"type": "Sequential", "layers": {str(i): layer for i in range(times)}}


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (convolution(padding=3000), r"0: this Conv2d makes \(6, 6030, 6030\) of an image"),
        (convolution(padding=10**18), "more than a file may ask for"),
        (
            {"type": "Residual", "body": convolution(padding=3000), "shortcut": None},
            r"body\.0: this Conv2d makes \(6, 6030, 6030\) of an image",
        ),
        (convolution(kernel_size=[1, 3], in_channels=1, out_channels=1 << 16), "the sizes of this"),
        (convolution(times=200, padding=8), r"\d\d: this Conv2d makes .*, more than a file"),
        (
            convolution(padding=1000, dilation=1000),
            r"makes \(6, 32, 32\) .* and 24,774,144 numbers",
        ),
        (convolution(padding=1000, stride=1000), "more than a file may ask for"),
        ({"type": "LayerNorm", "normalized_shape": [1] * 300_000}, "has 300,000 entries"),
    ],
    ids=[
        *("padding", "absurd-padding", "residual", "channels", "many-paddings"),
        *("frame-of-dilation", "frame-of-stride", "axes"),
    ],
)
def test_a_model_that_would_take_far_more_memory_than_its_file_is_refused_before_it_does(
    description: Any, words: str
) -> None:
    weights = {f"{i}.weight": np.zeros((6, 6, 3, 3), np.float32) for i in range(200)}
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=words):
            build(description, weights)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "model",
    [
        Sequential(Conv2d(1, 2, 1, padding=3), ReLU()),
        Sequential(Flatten(), Dense(4096, 10)),
        Sequential(Conv2d(1024, 64, 3, padding=2), ReLU()),  # of small maps of many channels
        Sequential(BatchNorm2d(3), Conv2d(3, 64, 7, padding=6)),
        Conv2d(512, 1024, 3, groups=512, dilation=3),
        Sequential(GroupNorm(512, 1024)),
        Sequential(Residual(Sequential(Conv2d(3, 64, 3, padding=1)), Conv2d(3, 64, 1)), ReLU()),
        Sequential(Residual(Dense(784, 784)), Residual(Dense(784, 9), Dense(784, 9, bias=False))),
    ],
    ids=["1x1", "features", "channels", "wide", "depthwise", "groups", "residual", "not-images"],
)
def test_a_model_with_padding_or_many_channels_is_saved_and_loaded(
    model: Layer, tmp_path: Path
) -> None:
    save_model(model, tmp_path / "m.safetensors")
    assert repr(load_model(tmp_path / "m.safetensors")) == repr(model.eval())


def test_a_description_can_t_nest_without_end() -> None:
    description: dict[str, Any] = {"type": "Flatten"}
    for _ in range(100):
        description = {"type": "Sequential", "layers": {"0": description}}
    with pytest.raises(ValueError, match="nests more than"):
        build(description, {})


def test_a_description_of_too_many_layers_is_refused_before_any_is_made() -> None:
    layers = {str(i): {"type": "ReLU"} for i in range(7_000)}
    with pytest.raises(ValueError, match="more than 7,000 layers"):
        build(
            {"type": "Sequential", "layers": {"inner": {"type": "Sequential", "layers": layers}}},
            {},
        )
    block = {"type": "Residual", "body": {"type": "Sequential", "layers": layers}}
    with pytest.raises(ValueError, match="more than 7,000 layers"):
        build(block, {})
    del layers["6999"], layers["6998"]
    assert len(build({"type": "Sequential", "layers": layers}, {}).children()) == 6998
