"""Each way in which people save weights with PyTorch: the file loads, or says the next line.

The files are PyTorch's own, of one small network: ``tools/make_torch_files.py`` wrote them.
"""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from nplenet.__main__ import main
from nplenet.checkpoint import load_model
from nplenet.data import DataError
from nplenet.interop import pytorch, torch_zip
from nplenet.layers import BatchNorm1d, Dense, Sequential
from nplenet.models import LeNet5

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "tests" / "golden" / "torch_files"
WEIGHT = np.array([[0.5, -1, 2], [0.25, 4, -0.5]])
STATE = {
    "fc.weight": WEIGHT,
    "fc.bias": np.array([1.0, -2]),
    "norm.weight": np.ones(2),
    "norm.bias": np.zeros(2),
    "norm.running_mean": np.array([0.5, 0.25]),
    "norm.running_var": np.ones(2),
    "norm.num_batches_tracked": np.array(0),
}

# The key under which the weights lie, and what is stripped of their names.
LOADS = {
    "plain.pth": ("", ""),
    "plain.pt": ("", ""),
    "plain.safetensors": ("", ""),
    "parallel.pth": ("", "module."),
    "parallel.safetensors": ("", "module."),
    "compiled.pth": ("", "_orig_mod."),
    "compiled_parallel.pth": ("", "_orig_mod.module."),
    "wrapped.pth": ("", "model."),
    "wrapped_otherwise.pth": ("", "backbone."),
    "state_dict.pth": ("state_dict", ""),
    "model_state_dict.pth": ("model_state_dict", ""),
    "nested.pth": ("checkpoint.model", ""),
    "fsdp.pth": ("model", ""),
    "namespace.pth": ("model", ""),
    "values.pth": ("model", ""),
    "own_class.pth": ("model", ""),
    "lightning.ckpt": ("state_dict", "model."),
    "beside.pth": ("", ""),
    "tuple.pth": ("0", ""),
    "subclass.pth": ("", ""),
    "half.pth": ("", ""),
    "bfloat16.pth": ("", ""),
    "double.pth": ("", ""),
}

SAVE = r"torch\.save\(model\.state_dict\(\), NEW\)"
TRUST = r", if you trust the file, which may run code, type: import torch; "
WHOLE = r"torch\.load\(OLD, weights_only=False\)"
DENSE = r"\{k: v\.to_dense\(\) for k, v in torch\.load\(OLD, weights_only=True\)\.items\(\)\}"
FLOAT = r"\{k: v\.float\(\) if v\.is_floating_point\(\) else v for k, v in "
SAYS = {
    "two.pth": r"holds 2 dictionaries of tensors; give key=, one of 'model', 'ema'$",
    "cut.pth": r"is not a complete zip archive: truncated",
    "complex.pth": r"'fc\.weight' is complex64, and no layer here is complex$",
    "nan.pth": r"6 of 17 weights are not finite, such as nan in fc\.weight.*=True, in commands",
    "infinite.pth": r"2 of 17 weights are not finite, such as inf in fc\.bias.*=True, in commands",
    "legacy.pth": r"before 1\.6; .*torch\.save\(torch\.load\(OLD, weights_only=True\), NEW\)$",
    "script.pt": r"TorchScript program.*torch\.jit\.load\(OLD, map.*\)\.state_dict\(\), NEW\)$",
    "trace.pt": r"TorchScript program.*torch\.jit\.load\(OLD, map.*\)\.state_dict\(\), NEW\)$",
    "exported.pt2": r"exported program.*torch\.save\(dict\(torch\.export\.load\(OLD\)\.st.*NEW",
    "whole_model.pth": rf"Tiny': it is a whole model.*{TRUST}torch\.save\({WHOLE}\.state_dict\(\)",
    "model_inside.pth": rf"lies an object.*{TRUST}torch\.save\({WHOLE}\['model'\]\.state_dict\(\)",
    "list_of_parameters.pth": rf"holds a list, not a dictionary of tensors.*{SAVE}$",
    "one_tensor.pth": rf"holds a tensor, not a dictionary of tensors.*{SAVE}$",
    "optimizer_only.pth": rf"holds no weights; its keys are 'state', 'param_groups'.*{SAVE}$",
    "quantised_tensors.pth": rf"model is quantised, 'fc\.weight' for one.*{SAVE}$",
    "quantised_model.pth": rf"model is quantised, 'fc\._packed_params\.dtype' for one.*{SAVE}$",
    "meta.pth": rf"'fc\.weight' is without numbers, on the device meta.*{SAVE}$",
    "sparse.pth": rf"'fc\.weight' is sparse.*torch\.save\({DENSE}, NEW\)$",
    "float8_e4m3fn.pth": rf"is float8_e4m3fn, which NumPy.*\({FLOAT}torch\.load\(OLD.*, NEW\)$",
    "float8_e5m2.pth": rf"is float8_e5m2, which NumPy.*\({FLOAT}torch\.load\(OLD.*, NEW\)$",
    "float8_e4m3fn.safetensors": rf"is float8_e4m3fn, which .*\({FLOAT}load_file\(OLD\).*, NEW\)$",
}


def tiny() -> Sequential:
    return Sequential(fc=Dense(3, 2), norm=BatchNorm1d(2))


def assert_is_state(model: Sequential) -> None:
    found = model.state_dict()
    assert found.keys() == STATE.keys()
    for name, array in STATE.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_every_file_stands_in_the_table_and_is_small() -> None:
    assert {path.name for path in FILES.iterdir()} == LOADS.keys() | SAYS.keys()
    assert sum(path.stat().st_size for path in FILES.iterdir()) < 200_000


@pytest.mark.filterwarnings("ignore:.*stripped")
@pytest.mark.parametrize("name", LOADS)
def test_a_file_loads_with_its_key_found_and_the_prefix_of_its_names_stripped(name: str) -> None:
    key, prefix = LOADS[name]
    found = pytorch.read(FILES / name)
    assert found.key == key
    assert all(text.startswith(prefix + ("fc." if prefix else "")) for text in found.tensors) or (
        {text.removeprefix(prefix) for text in found.tensors} == STATE.keys()
    )
    assert pytorch.common_prefix(found.tensors, STATE) == prefix
    model = tiny()
    pytorch.load(model, FILES / name)
    assert_is_state(model)


@pytest.mark.parametrize("name", SAYS)
def test_any_other_file_says_in_one_line_what_it_is_and_what_to_type(name: str) -> None:
    path = FILES / name
    model = tiny()
    before = model.state_dict()
    with pytest.raises(ValueError, match=r".") as refusal:
        pytorch.load(model, path)
    text = str(refusal.value)
    assert str(path) in text
    assert "\n" not in text
    new = repr(str(FILES / f"{path.stem}-weights.pth"))
    text = text.replace(new, "NEW").replace(repr(str(path)), "OLD")
    assert re.search(SAYS[name], text), text
    assert all(np.array_equal(array, before[key]) for key, array in model.state_dict().items())


def test_one_of_two_dictionaries_is_chosen_by_its_key() -> None:
    model = tiny()
    pytorch.load(model, FILES / "two.pth", key="model")
    assert_is_state(model)
    pytorch.load(model, FILES / "two.pth", key="ema")
    np.testing.assert_array_equal(model.fc.weight.data, WEIGHT + 1)
    for name, key in (
        ("nested.pth", "checkpoint"),
        ("nested.pth", "checkpoint.model"),
        ("tuple.pth", "0"),
    ):
        model = tiny()
        pytorch.load(model, FILES / name, key=key)
        assert_is_state(model)
    for name, key in (("tuple.pth", "2"), ("nested.pth", "checkpoint.epoch"), ("two.pth", "ema.x")):
        with pytest.raises(DataError, match=f"it has no dictionary under key='{key}'"):
            pytorch.load(tiny(), FILES / name, key=key)


def test_weights_that_are_not_finite_load_where_that_is_allowed() -> None:
    model = tiny()
    pytorch.load(model, FILES / "infinite.pth", allow_non_finite=True)
    np.testing.assert_array_equal(model.fc.bias.data, [np.inf, -np.inf])


def test_what_is_stripped_is_said() -> None:
    with pytest.warns(UserWarning, match=r"parallel\.pth: stripped 'module\.' from the names"):
        pytorch.load(tiny(), FILES / "parallel.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's, of what its users have
def test_the_lines_for_pytorch_make_files_that_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="the lines are run by PyTorch where there is one")
    monkeypatch.syspath_prepend(ROOT / "tools")
    importlib.import_module("make_torch_files").write(tmp_path)
    for name, pattern in SAYS.items():
        if "OLD" not in pattern:
            continue
        with pytest.raises(DataError) as refusal:
            pytorch.load(tiny(), tmp_path / name)
        exec(str(refusal.value).partition("type: ")[2], {"torch": torch})
        model = tiny()
        pytorch.load(model, tmp_path / f"{Path(name).stem}-weights.pth")
        assert_is_state(model)


# ------------------------------------------------------------------ the commands


def weights(path: Path, state: dict[str, np.ndarray]) -> Path:
    with path.open("wb") as file:
        torch_zip.write(file, state)
    return path


@pytest.mark.parametrize("command", ["predict", "draw", "evaluate", "report", "info", "export"])
@pytest.mark.parametrize("name", ["plain.pth", "plain.pt", "plain.safetensors", "legacy.pth"])
def test_a_command_that_is_given_weights_of_pytorch_says_the_line_that_imports_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    path = tmp_path / f"my {name}"
    shutil.copy(FILES / name, path)
    more = {"predict": ["x.png"], "export": ["--to", "onnx"]}.get(command, [])
    assert main([command, str(path), *more]) == 2
    new = path.with_name(f"{path.stem}-nplenet.safetensors")
    line = f"type first: nplenet import '{path}' --like lenet5 --output '{new}'\n"
    assert capsys.readouterr().err.endswith(line)


def test_two_classes_of_one_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = weights(tmp_path / "w.pth", LeNet5(seed=3).state_dict())
    line = ["import", str(path), "--output", str(tmp_path / "new.safetensors"), "--like", "lenet5"]
    assert main([*line, "--classes", "a,b,c,d,e,f,g,h,b,j"]) == 2
    assert capsys.readouterr().err.endswith("--classes has 'b' twice\n")
    assert not (tmp_path / "new.safetensors").exists()


def test_the_line_of_import_makes_a_model_of_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = LeNet5(seed=3).state_dict()
    path, new = weights(tmp_path / "w.pth", state), tmp_path / "w-nplenet.safetensors"
    assert main(["info", str(path)]) == 2
    line = capsys.readouterr().err.partition("type first: nplenet ")[2].split()
    assert (
        main([*line, "--mean", "0.1307", "--std", "0.3081", "--classes", "a,b,c,d,e,f,g,h,i,j"])
        == 0
    )
    assert "32x32, pixels from 0 to 1, minus 0.1307, divided by 0.3081" in capsys.readouterr().out
    model = load_model(new)
    assert all(np.array_equal(model.state_dict()[name], array) for name, array in state.items())
    assert model.pictures.classes == tuple("abcdefghij")
    image = np.full((1, 1, 32, 32), 255, np.uint8)
    assert np.allclose(model.preprocessing(image, None), (1 - 0.1307) / 0.3081)


def test_two_dictionaries_are_a_line_to_type_with_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", str(FILES / "two.pth"), "--like", "lenet5", "--output", str(tmp_path / "m")]
    assert main(words) == 2
    line = (
        f"type nplenet import {FILES / 'two.pth'} --key model --like lenet5 --output {tmp_path}/m"
    )
    assert f"{line}, or the key ema" in capsys.readouterr().err


@pytest.mark.parametrize("bias", [False, True])
def test_other_names_in_the_same_order_are_matched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bias: bool
) -> None:
    layers = dict(zip("0145", ("conv1", "bn1", "conv2", "bn2"), strict=True))
    table = {f"features.{k}": name for k, name in layers.items()}
    table |= {"classifier.1": "fc1", "classifier.4": "fc2", "classifier.7": "fc3"}
    state = LeNet5(26, conv_bias=bias, seed=3).state_dict()
    named = {}
    for name, array in state.items():
        layer, _, last = name.rpartition(".")
        named[f"{table[layer]}.{last}"] = array
    path = weights(tmp_path / "w.pth", named)
    new = tmp_path / "m.safetensors"
    assert main(["import", str(path), "--like", "lenet5", "--output", str(new)]) == 0
    assert "in their order: conv1.weight is features.0.weight" in capsys.readouterr().out
    found = load_model(new).state_dict()
    assert found.keys() == state.keys()
    assert all(np.array_equal(found[name], array) for name, array in state.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: {k: v for k, v in s.items() if "running" not in k},
            "lacks the statistics of th",
        ),
        (lambda s: s | {"features.0.weight": np.zeros((6, 1, 3, 3), "f4")}, r"0.weight is float32"),
        (lambda s: {"conv.weight": np.zeros((2, 3), "f4")}, r"do not fit lenet5: conv.weight (2"),
        (
            lambda s: s | {"features.0.weight": np.full((6, 1, 5, 5), np.nan, "f4")},
            "150 of 61,774 weights are not finite, such as nan in features.0.weight",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: object, words: str
) -> None:
    path = weights(tmp_path / "w.pth", change(LeNet5(seed=3).state_dict()))  # type: ignore[operator]
    new = tmp_path / "m.safetensors"
    assert main(["import", str(path), "--like", "lenet5", "--output", str(new)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not new.exists()
