"""Files of PyTorch by other names, in other protocols, of other contents.

``torch.save`` is imitated: PyTorch is not installed for the tests. Modules named ``torch`` hold
what its pickles name, and the pickles are Python's own.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nplenet.data import DataError
from nplenet.interop import pytorch
from nplenet.layers import Dense, Sequential

RNG = np.random.default_rng(0)
STATE = {"0.weight": RNG.random((3, 4), np.float32), "0.bias": RNG.random(3, np.float32)}


class Storage:
    """A storage, which a pickle of PyTorch names by a persistent id."""

    def __init__(self, record: int, size: int) -> None:
        self.record, self.size = record, size


class Tensor:
    def __init__(self, record: int, array: np.ndarray) -> None:
        self.record, self.array = record, array

    def __reduce__(self) -> Any:
        array = self.array
        steps = tuple(s // array.itemsize for s in array.strides)
        storage = Storage(self.record, array.size)
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2  # type: ignore[attr-defined]
        return rebuild, (storage, 0, array.shape, steps, False, OrderedDict())


class Pickler(pickle.Pickler):
    def persistent_id(self, thing: Any) -> Any:
        if not isinstance(thing, Storage):
            return None
        kind = sys.modules["torch"].FloatStorage  # type: ignore[attr-defined]
        return "storage", kind, str(thing.record), "cpu", thing.size


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put modules in place of PyTorch that hold the names in its pickles."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    module.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})  # type: ignore[attr-defined]
    module.Size = type("Size", (tuple,), {"__module__": "torch"})  # type: ignore[attr-defined]

    def _rebuild_tensor_v2(*_: Any) -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def torch_save(content: Any, path: Path, protocol: int = 2) -> Path:
    """Write a file as ``torch.save(content, path, pickle_protocol=protocol)`` does."""
    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        for record, array in enumerate(STATE.values()):
            archive.writestr(f"archive/data/{record}", array.tobytes())
        archive.writestr("archive/byteorder", "little")
    return path


def state(**more: Any) -> Any:
    tensors = ((name, Tensor(k, array)) for k, (name, array) in enumerate(STATE.items()))
    return OrderedDict([*tensors, *more.items()])


def assert_is_state(found: dict[str, Any]) -> None:
    assert sorted(found) == sorted(STATE)
    for name, array in STATE.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_a_pickle_is_read(tmp_path: Path, protocol: int) -> None:
    path = torch_save(state(), tmp_path / "a.pth", protocol)
    assert_is_state(pytorch.load_state_dict(path))
    inside = {"epoch": 7, "rate": 1e-3, "state_dict": state(), "name": "x" * 300, "none": None}
    path = torch_save(inside, tmp_path / "b.pth", protocol)
    assert_is_state(pytorch.load_state_dict(path, "state_dict"))
    model = Sequential(Dense(4, 3))
    pytorch.load(model, path, key="state_dict")
    assert_is_state(model.state_dict())


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_text_longer_than_a_byte_counts_and_many_entries_are_read(
    tmp_path: Path, protocol: int
) -> None:
    """Text of 256 bytes and a memo of 256 entries have opcodes of their own."""
    many = OrderedDict((f"{k}." + "n" * k, Tensor(0, STATE["0.weight"])) for k in range(400))
    found = pytorch.load_state_dict(torch_save(many, tmp_path / "a.pth", protocol))
    assert list(found) == list(many)
    assert all((array == STATE["0.weight"]).all() for array in found.values())


NAMES = ("a.pth", "a.PT", "a.pth.tar", "pytorch_model.bin", "last.ckpt", "a.safetensors", "weights")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_known_by_its_contents(tmp_path: Path, name: str) -> None:
    assert_is_state(pytorch.load_state_dict(torch_save(state(), tmp_path / name)))
    model = Sequential(Dense(4, 3))
    model.load_state_dict(STATE)
    pytorch.save(model, tmp_path / "b.safetensors")
    (tmp_path / "b.safetensors").replace(tmp_path / name)
    assert_is_state(pytorch.load_state_dict(tmp_path / name))


@pytest.mark.parametrize("name", NAMES[:-2])
def test_what_is_saved_by_any_of_these_names_is_an_archive_of_pytorch(
    tmp_path: Path, name: str
) -> None:
    model = Sequential(Dense(4, 3))
    pytorch.save(model, tmp_path / name)
    assert zipfile.is_zipfile(tmp_path / name)
    found = pytorch.load_state_dict(tmp_path / name)
    for key, array in model.state_dict().items():
        assert found[key].tobytes() == array.tobytes()


def an_object_of(module: str) -> Any:
    """Return an object of a class in a module, as the pickle of a whole model is one."""
    kind = type("Net", (), {"__module__": module})
    sys.modules[module].Net = kind  # type: ignore[attr-defined]
    return kind()


MODULES = ("models", "__main__", "torch.nn.modules", "pytorch_lightning.callbacks", "argparse")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("module", MODULES)
def test_other_objects_are_passed_over_beside_the_weights_and_named_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, protocol: int
) -> None:
    names = module.split(".")
    for k in range(len(names)):  # its parents too, as Python imports them first
        name = ".".join(names[: k + 1])
        if name != "torch":
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    thing = an_object_of(module)
    path = torch_save(state(model=thing), tmp_path / "a.pth", protocol)
    assert_is_state(pytorch.load_state_dict(path))
    path = torch_save({"weights": state(), "more": [thing, {"x": thing}]}, path, protocol)
    assert_is_state(pytorch.load_state_dict(path))
    path = torch_save(thing, path, protocol)
    with pytest.raises(
        DataError, match=rf"asks for '{module}\.Net': it is a whole model"
    ) as refusal:
        pytorch.load_state_dict(path)
    line = f"torch.save(torch.load({str(path)!r}, weights_only=False).state_dict(), "
    assert f"if you trust the file, which may run code, type: import torch; {line}" in str(
        refusal.value
    )


def test_a_size_beside_tensors_is_passed_over(tmp_path: Path) -> None:
    size = sys.modules["torch"].Size((3, 4))  # type: ignore[attr-defined]
    assert_is_state(pytorch.load_state_dict(torch_save(state(shape=size), tmp_path / "a.pth")))


def test_a_pickle_that_torch_did_not_save_gets_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    for protocol in range(2, 6):
        path.write_bytes(pickle.dumps(STATE, protocol))
        with pytest.raises(
            DataError,
            match=r"but not by torch\.save.*which may run code, type: .*torch\.save\(pickle\.load",
        ):
            pytorch.load_state_dict(path)
