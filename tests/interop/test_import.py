"""``nplenet import``: weights of PyTorch become a model, whatever wrapper named them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nplenet.__main__ import main
from nplenet.checkpoint import load, load_model
from nplenet.interop import pytorch, torch_zip
from nplenet.layers import Sequential
from nplenet.models import LeNet5, LeNet5For28x28

MODELS: dict[str, tuple[Callable[[], Sequential], tuple[int, ...]]] = {
    "lenet5": (lambda: LeNet5(seed=3), (1, 32, 32)),
    "lenet5-28x28": (lambda: LeNet5For28x28(seed=3), (1, 28, 28)),
}


def write(path: Path, state: dict[str, np.ndarray]) -> Path:
    with path.open("wb") as file:
        torch_zip.write(file, state)
    return path


def imported(weights: Path, *options: str, like: str = "lenet5") -> int:
    output = str(weights.with_name("model.safetensors"))
    return main(["import", str(weights), "--like", like, "--output", output, *options])


@pytest.mark.parametrize("like", MODELS)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "_orig_mod.module."])
def test_the_weights_of_a_wrapped_model_are_those_of_the_model(
    prefix: str, like: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, shape = MODELS[like]
    state = make().state_dict()
    path = write(tmp_path / "weights.pth", {prefix + name: a for name, a in state.items()})
    assert imported(path, like=like) == 0
    written = tmp_path / "model.safetensors"
    found = load_model(written).state_dict()
    assert found.keys() == state.keys()
    assert all(np.array_equal(found[name], array) for name, array in state.items())
    assert load(written).input_shape == shape
    said = capsys.readouterr().out.splitlines()
    assert said[:-2] == ([f"stripped {prefix} from the names of the weights"] if prefix else [])
    size = "x".join(map(str, shape))
    assert said[-2] == f"wrote {written}: for images of {size}, pixels from 0 to 1"
    assert said[-1] == "if training normalised its pixels, import again with --mean and --std"


def test_classes_channels_and_biases_are_those_of_the_weights(tmp_path: Path) -> None:
    model = LeNet5(26, conv_bias=True, in_channels=3, seed=0)
    assert imported(write(tmp_path / "w.pth", model.state_dict())) == 0
    found = load_model(tmp_path / "model.safetensors")
    x = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    np.testing.assert_array_equal(found.eval()(x), model.eval()(x))


def test_weights_of_another_network_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "w.pth", {"module.fc.weight": np.zeros((2, 3), np.float32)})
    assert imported(path) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nplenet import: {path}: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        ([], ""),
        (["module.a", "b"], ""),
        (["model.model.a", "model.model.b"], "model.model."),
        (["modules.a"], ""),
        (["module.a", "module.model.b"], "module."),
    ],
)
def test_a_prefix_is_one_that_all_names_have(names: list[str], prefix: str) -> None:
    assert pytorch.common_prefix(names) == prefix
