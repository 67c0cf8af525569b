"""What is saved can be loaded, whatever the arrays are like; what can't be is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from nplenet import load_model, save_model
from nplenet.checkpoint import CheckpointError, CheckpointFolder, CheckpointWarning, load
from nplenet.compiled import TextbookStep
from nplenet.data import DataLoader
from nplenet.interop import pytorch
from nplenet.layers import AvgPool2d, Conv2d, Dense, Flatten, Layer, ReLU, Sequential
from nplenet.losses import CrossEntropyLoss
from nplenet.models import LeNet5
from nplenet.optim import SGD
from nplenet.train import fit

DTYPES = ("<f4", ">f4", "<f8", ">f8")


def swapped(model: Layer, dtype: str) -> Layer:
    """Give each parameter an array of this dtype, in Fortran order."""
    for parameter in model.parameters():
        parameter.data = np.asarray(parameter.data, dtype, order="F")
    return model


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", ["constructor", "assigned"])
def test_arrays_of_any_byte_order_are_saved_as_they_are(
    tmp_path: Path, dtype: str, way: str
) -> None:
    if way == "constructor":
        model: Layer = Sequential(Conv2d(1, 2, 3, dtype=dtype), Flatten(), Dense(8, 3, dtype=dtype))
    else:
        model = swapped(Sequential(Conv2d(1, 2, 3), Flatten(), Dense(8, 3)), dtype)
    expected = model.state_dict()
    save_model(model, tmp_path / "m.safetensors")
    found = load_model(tmp_path / "m.safetensors").state_dict()
    for suffix in ("pth", "safetensors"):
        path = tmp_path / f"w.{suffix}"
        pytorch.save(model, path)
        found |= {f"{suffix}.{k}": v for k, v in pytorch.load_state_dict(path).items()}
    assert len(found) == 3 * len(expected) == 12
    for name, array in found.items():
        bare = name.removeprefix("pth.").removeprefix("safetensors.")
        np.testing.assert_array_equal(array, expected[bare])
        assert array.dtype == np.dtype(dtype).newbyteorder("=")


def test_big_endian_parameters_are_exported_as_they_are(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from nplenet.interop.onnx import export

    model = swapped(Sequential(Flatten(), Dense(4, 3)), ">f4")
    export(model, tmp_path / "m.onnx", (1, 1, 2, 2))
    stored = onnx.load(tmp_path / "m.onnx").graph.initializer
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored}
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("name", ["m.pth", "m.PT", "m.pth.tar", "m.onnx"])
def test_the_name_of_another_format_is_refused_with_the_way_to_write_it(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match=r"name it \.safetensors, or write .*nplenet\.interop\."):
        save_model(Sequential(Dense(3, 2)), tmp_path / name)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["m.safetensors", "m", "m.bin", "m.model", "m.v1.2"])
def test_any_other_name_is_saved_and_loaded(tmp_path: Path, name: str) -> None:
    model = LeNet5(seed=0)
    save_model(model, tmp_path / name)
    found = load_model(tmp_path / name).state_dict()
    for key, array in model.state_dict().items():
        assert found[key].tobytes() == array.tobytes()


def test_a_model_that_an_older_version_saved_as_pth_is_loaded(tmp_path: Path) -> None:
    save_model(Sequential(Dense(3, 2)), tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").rename(tmp_path / "m.pth")
    assert len(load_model(tmp_path / "m.pth").parameters()) == 2


@pytest.mark.parametrize("name", ["m.pth", "m.bin", "m.ckpt", "m.safetensors"])
def test_a_file_of_pytorch_is_known_by_its_contents(tmp_path: Path, name: str) -> None:
    pytorch.save(Sequential(Dense(3, 2)), tmp_path / "w.pth")
    (tmp_path / "w.pth").rename(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"a file of PyTorch, .* type first: nplenet import"):
        load(tmp_path / name)
    (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(CheckpointError, match=r"a file of PyTorch.* --like lenet5 --output .*/m-"):
        load(tmp_path / name)


def test_a_header_that_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    """A file of safetensors begins with the size of its header, here 128 and 640: 0x80 0x02."""
    model, path = Sequential(Dense(3, 2)), tmp_path / "m.safetensors"
    save_model(model, path)
    metadata_size = len(path.read_bytes())
    sizes = set()
    for length in range(1200):
        array = {"x": np.zeros(1, np.float32)}
        content = safetensors.numpy.save(array, metadata={"a": "b" * length})
        sizes.add(content[:2])
        if content[:2] == b"\x80\x02":
            path.write_bytes(content)
            with pytest.raises(CheckpointError, match="a safetensors file, but not by nplenet"):
                load(path)
            break
    assert b"\x80\x02" in sizes
    assert metadata_size > 0


def deep() -> Layer:
    layer: Layer = Sequential(Dense(3, 2))
    for _ in range(40):
        layer = Sequential(layer)
    return layer


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (deep, "nests more than 32 chains"),
        (lambda: Sequential(Conv2d(1, 4096, 1)), r"makes \(4096, 32, 32\) of an image"),
        (lambda: Sequential(AvgPool2d(512), ReLU()), "sizes of this AvgPool2d multiply to 262144"),
    ],
)
def test_a_model_that_no_file_may_ask_for_is_not_saved(
    tmp_path: Path, make: Callable[[], Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        save_model(make(), tmp_path / "m.safetensors")
    assert not any(tmp_path.iterdir())


def test_a_run_whose_checkpoints_load_model_refuses_says_so_once(tmp_path: Path) -> None:
    model = Sequential(AvgPool2d(512, padding=256), Flatten(), Dense(1, 2))
    loader = DataLoader(np.zeros((2, 1, 2, 2), np.float32), np.array([0, 1]), 2)
    optimizer, folder = SGD(model.parameters(), 0.1), CheckpointFolder(tmp_path)
    loss = CrossEntropyLoss()
    with pytest.warns(CheckpointWarning, match="resume .* load_model will refuse") as warned:
        fit(
            model,
            loss,
            optimizer,
            loader,
            epochs=2,
            checkpoints=folder,
            progress=False,
            step=TextbookStep(model, loss, optimizer, 2, "a test"),
        )
    assert len(warned) == 1
    with pytest.raises(CheckpointError, match="sizes of this AvgPool2d"):
        load_model(tmp_path / "checkpoint.safetensors")


def test_the_old_order_of_arguments_warns_and_saves(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.warns(DeprecationWarning, match=r"use save_model\(model, path\)"):
        save_model(path, Sequential(Dense(3, 2)))  # type: ignore[arg-type]
    assert len(load_model(path).parameters()) == 2
